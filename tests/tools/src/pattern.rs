// SPDX-License-Identifier: GPL-2.0

//! The bytes that memory holds before a read.

use std::ops::Range;

/// The bytes that memory holds before a read. No two groups of eight are the same, so that bytes
/// from another place, or from the memory of another read, are not taken for untouched ones.
#[derive(Clone, Copy, Debug)]
pub struct Pattern(u64);

impl Pattern {
    /// The pattern of `seed`. Each read has a seed of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Bytes 8 `number` to 8 `number` + 7 of the pattern (splitmix64).
    fn word(self, number: usize) -> [u8; 8] {
        let mut word = self
            .0
            .wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    }

    /// The bytes from `from` on.
    pub fn bytes(self, from: usize) -> impl Iterator<Item = u8> {
        let words = (from / 8..).flat_map(move |number| self.word(number));
        words.skip(from % 8)
    }

    /// Fills memory with the pattern.
    pub fn fill(self, memory: &mut [u8]) {
        for (number, word) in memory.chunks_mut(8).enumerate() {
            word.copy_from_slice(&self.word(number)[..word.len()]);
        }
    }

    /// The first byte of `memory` at `place` that no longer is the pattern's.
    #[must_use]
    pub fn change(self, memory: &[u8], place: Range<usize>) -> Option<usize> {
        let mut at = place.start;
        while at < place.end {
            let end = place.end.min((at / 8 + 1) * 8);
            let put = self.word(at / 8);
            let pairs = memory[at..end].iter().zip(&put[at % 8..]);
            for (n, (found, put)) in pairs.enumerate() {
                if found != put {
                    return Some(at + n);
                }
            }
            at = end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_byte_for_byte_and_nowhere_else() {
        let pattern = Pattern::new(1);
        let mut memory = vec![0; 1003];
        pattern.fill(&mut memory);
        for start in 0..20 {
            assert!(memory[start..]
                .iter()
                .copied()
                .eq(pattern.bytes(start).take(1003 - start)));
            for end in start..40 {
                assert_eq!(pattern.change(&memory, start..end), None);
            }
        }
        for at in 0..memory.len() {
            let mut memory = memory.clone();
            memory[at] ^= 0x10;
            assert_eq!(pattern.change(&memory, 0..1003), Some(at));
            assert_eq!(pattern.change(&memory, at..at + 1), Some(at));
            assert_eq!(pattern.change(&memory, 0..at), None);
            assert_eq!(pattern.change(&memory, at + 1..1003), None);
        }
        // Untouched bytes of another place, and of another read.
        memory.copy_within(512..520, 0);
        assert!(pattern.change(&memory, 0..8).is_some());
        Pattern::new(2).fill(&mut memory);
        for at in (0..1000).step_by(8) {
            assert!(pattern.change(&memory, at..at + 8).is_some());
        }
    }
}
