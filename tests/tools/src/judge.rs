// SPDX-License-Identifier: GPL-2.0

//! What a read may leave in the memory it was given, and whether it may end as it did.
//!
//! A reader fills all memory, that around the pieces too, with a [`Pattern`] before each read, and
//! has a [`Target`] judged after it:
//!
//! - The memory around the pieces holds the pattern, however the read ended.
//! - After a success the pieces hold the right bytes.
//! - After an error each sector is as it was before, or is zero, or is right. Anything else was handed
//!   out though nobody vouches for it: half of a block, what another read left in a buffer, memory of
//!   the kernel.
//!
//! Through the page cache bytes come only from pages that could be read: there an error leaves all
//! memory as it was. If some pages come before the one that cannot be read, the read gives what is in
//! them and says so with a short count.

use crate::{sys::errno_name, Failure, SECTOR};
use rustix::io::Errno;
use std::{io, ops::Range};

/// The bytes that memory holds before a read. No eight of them are the same as eight others, so that
/// bytes from another place, or from another read's memory, are not taken for untouched ones.
#[derive(Clone, Copy, Debug)]
pub struct Pattern(u64);

impl Pattern {
    /// A pattern that depends on `seed`, which is another one for each read.
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
    fn bytes(self, from: usize) -> impl Iterator<Item = u8> {
        let words = (from / 8..).flat_map(move |number| self.word(number));
        words.skip(from % 8)
    }

    /// Fills memory with the pattern.
    pub fn fill(self, memory: &mut [u8]) {
        for (number, word) in memory.chunks_mut(8).enumerate() {
            word.copy_from_slice(&self.word(number)[..word.len()]);
        }
    }

    /// The first byte of `memory` at `place` that is not the pattern's any more.
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

/// What a device should hold.
pub trait Content {
    /// How many bytes it has.
    fn len(&self) -> u64;

    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the bytes from `at` on into `out`.
    ///
    /// # Errors
    ///
    /// If there are not as many, or they cannot be had.
    fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Failure>;

    /// Whether anything is right in the sector that `at` is in. Where nothing is, a read that fails
    /// leaves the sector as it was, or zero.
    fn has_right_bytes(&self, at: u64) -> bool {
        let _ = at;
        true
    }
}

/// Compares what was read from `at` on.
///
/// # Errors
///
/// The first byte that differs.
pub fn compare(content: &impl Content, at: u64, read: &[u8]) -> Result<(), Failure> {
    let mut place = [0; 65536];
    let mut from = at;
    for piece in read.chunks(place.len()) {
        let want = &mut place[..piece.len()];
        content.bytes_at(from, want)?;
        if want != piece {
            let different = |(read, want): (&u8, &u8)| read != want;
            let pairs = || piece.iter().zip(&*want);
            let first = pairs().position(different).unwrap_or(0);
            return Err(format!(
                "byte {} is {:#04x}, should be {:#04x} ({} bytes of the {} from {from} on differ)",
                from + first as u64,
                piece[first],
                want[first],
                pairs().filter(|&pair| different(pair)).count(),
                piece.len()
            ));
        }
        from += piece.len() as u64;
    }
    Ok(())
}

/// How a read may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It must succeed.
    Success,
    /// It may succeed, or fail with EIO.
    Either,
    /// It must fail with EIO: the byte at `unreadable` is the first that cannot be read.
    Failure {
        /// Where that byte is in the content.
        unreadable: u64,
    },
}

/// How a read ended that was as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All bytes came, and they are right.
    Well,
    /// It failed, or gave only what comes before that which failed.
    Badly,
}

/// Memory that was read into.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// All memory that was filled with the pattern.
    pub memory: &'a [u8],
    /// The pieces of it that were given to the read, in order and not overlapping.
    pub places: &'a [Range<usize>],
    /// What the memory held before.
    pub pattern: Pattern,
    /// Where in the content the read began, in bytes.
    pub at: u64,
    /// Whether the read went through the page cache.
    pub cached: bool,
}

impl Target<'_> {
    /// Whether a read may have ended like this and left this in the memory.
    ///
    /// # Errors
    ///
    /// What is not as it should be.
    pub fn judge(
        &self,
        outcome: &io::Result<usize>,
        wanted: Wanted,
        content: &impl Content,
    ) -> Result<Ended, Failure> {
        self.surroundings()?;
        let len = self.places.iter().map(ExactSizeIterator::len).sum();
        match (outcome, wanted) {
            (Ok(n), Wanted::Failure { .. }) if *n == len => {
                Err("it succeeded and should have failed".into())
            }
            (Ok(n), _) if *n == len => {
                self.right(len, content)?;
                Ok(Ended::Well)
            }
            (Ok(n @ 1..), Wanted::Either | Wanted::Failure { .. }) if *n < len && self.cached => {
                match wanted {
                    Wanted::Failure { unreadable } if self.at + *n as u64 > unreadable => {
                        return Err(format!(
                            "{n} bytes were read, and byte {unreadable} cannot be"
                        ))
                    }
                    _ => {}
                }
                self.right(*n, content)?;
                self.untouched(*n)?;
                Ok(Ended::Badly)
            }
            (Ok(n), _) => Err(format!("{n} bytes were read, not {len}")),
            (Err(error), Wanted::Either | Wanted::Failure { .. })
                if Errno::from_io_error(error) == Some(Errno::IO) =>
            {
                self.leftovers(content)?;
                Ok(Ended::Badly)
            }
            (Err(error), _) => Err(format!("{} ({error})", errno_name(error))),
        }
    }

    /// Whether a read that did not give what it was asked for, for whatever reason, left nothing
    /// behind that it must not.
    ///
    /// # Errors
    ///
    /// The first sector, or the first byte around the pieces, that is not as it should be.
    pub fn leftovers(&self, content: &impl Content) -> Result<(), Failure> {
        self.surroundings()?;
        if self.cached {
            return self.untouched(0);
        }
        for (at, place) in self.sectors() {
            let found = &self.memory[place.clone()];
            if found.iter().all(|byte| *byte == 0)
                || self.pattern.change(self.memory, place.clone()).is_none()
            {
                continue;
            }
            let mut right = vec![0; found.len()];
            let known = content.has_right_bytes(at);
            if known {
                content.bytes_at(at, &mut right)?;
                if found == right {
                    continue;
                }
            }
            let same = |other: &mut dyn Iterator<Item = u8>| {
                let pairs = found.iter().zip(other);
                pairs.filter(|(found, other)| **found == *other).count()
            };
            let before = same(&mut self.pattern.bytes(place.start));
            let zero = same(&mut std::iter::repeat(0));
            let right = if known {
                format!("{} right", same(&mut right.into_iter()))
            } else {
                "none can be right".into()
            };
            return Err(format!(
                "the read failed and left something in the {} bytes at {at}: {before} are as before, \
                 {zero} zero, {right}; they begin with {:02x?}",
                found.len(),
                &found[..found.len().min(16)]
            ));
        }
        Ok(())
    }

    /// The memory around the pieces must be as it was.
    fn surroundings(&self) -> Result<(), Failure> {
        let ends = self.places.iter().map(|place| place.end);
        let starts = self.places.iter().map(|place| place.start);
        let gaps = std::iter::once(0)
            .chain(ends)
            .zip(starts.chain([self.memory.len()]));
        for (from, to) in gaps {
            if let Some(at) = self.pattern.change(self.memory, from..to) {
                return Err(format!("memory outside of the read was written, at {at}"));
            }
        }
        Ok(())
    }

    /// The first `len` bytes that were asked for must be right.
    fn right(&self, len: usize, content: &impl Content) -> Result<(), Failure> {
        let (mut at, mut left) = (self.at, len);
        for place in self.places {
            let read = &self.memory[place.clone()][..place.len().min(left)];
            compare(content, at, read)?;
            at += read.len() as u64;
            left -= read.len();
        }
        Ok(())
    }

    /// All that was asked for, but the first `len` bytes, must be as it was.
    fn untouched(&self, len: usize) -> Result<(), Failure> {
        let mut skip = len;
        for place in self.places {
            let from = place.start + skip.min(place.len());
            if let Some(at) = self.pattern.change(self.memory, from..place.end) {
                return Err(format!(
                    "the read ended after {len} bytes, and memory behind them was written, at {at}"
                ));
            }
            skip = skip.saturating_sub(place.len());
        }
        Ok(())
    }

    /// The sectors that were asked for, or the parts of them: where each is in the content and in
    /// memory. A sector in two pieces is two.
    fn sectors(&self) -> impl Iterator<Item = (u64, Range<usize>)> + '_ {
        let mut at = self.at;
        self.places.iter().flat_map(move |place| {
            let first = at;
            at += place.len() as u64;
            let (mut next, end) = (place.start, place.end);
            std::iter::from_fn(move || {
                let start = next;
                let at = first + (start - place.start) as u64;
                let rest = (SECTOR - at % SECTOR) as usize;
                next = end.min(start + rest);
                (start < end).then_some((at, start..next))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content that is nowhere zero and nowhere the same.
    struct Made(Vec<u8>);

    impl Made {
        fn new(sectors: usize) -> Self {
            let mut bytes = vec![0; sectors * 512];
            Pattern::new(0x0c0f_fee0).fill(&mut bytes);
            Self(bytes)
        }
    }

    impl Content for Made {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Failure> {
            let from = at as usize;
            let there = self.0.get(from..from + out.len()).ok_or("beyond the end")?;
            out.copy_from_slice(there);
            Ok(())
        }

        /// Sector 9 holds nothing that could be right.
        fn has_right_bytes(&self, at: u64) -> bool {
            at / SECTOR != 9
        }
    }

    /// A read of the sectors 4 to 11 in three pieces, of 2, 1 and 5 sectors.
    struct Read {
        content: Made,
        memory: Vec<u8>,
        places: Vec<Range<usize>>,
        pattern: Pattern,
        at: u64,
        cached: bool,
    }

    const LEN: usize = 8 * 512;

    impl Read {
        fn new() -> Self {
            let pattern = Pattern::new(7);
            let mut memory = vec![0; 1000 + LEN + 512 + 3 * 512 + 100];
            pattern.fill(&mut memory);
            Self {
                content: Made::new(20),
                memory,
                places: vec![1000..2024, 2536..3048, 4072..6632],
                pattern,
                at: 4 * 512,
                cached: false,
            }
        }

        /// The same through the page cache, into one piece, from a byte inside of sector 4 on.
        fn cached() -> Self {
            let mut read = Self::new();
            read.places = std::iter::once(1001..1001 + LEN).collect();
            read.at += 100;
            read.cached = true;
            read
        }

        /// Puts the first `len` bytes of the content where they belong.
        fn put(&mut self, len: usize) -> &mut Self {
            let from = self.at as usize;
            let mut bytes = self.content.0[from..from + len].iter().copied();
            for place in self.places.clone() {
                for (byte, right) in self.memory[place].iter_mut().zip(&mut bytes) {
                    *byte = right;
                }
            }
            self
        }

        /// The memory of one of the sectors 4 to 11.
        fn sector(&mut self, number: usize) -> &mut [u8] {
            let starts = [1000, 1512, 2536, 4072, 4584, 5096, 5608, 6120];
            let start = starts[number - 4];
            &mut self.memory[start..start + 512]
        }

        fn right(&self, number: usize) -> Vec<u8> {
            self.content.0[number * 512..(number + 1) * 512].to_vec()
        }

        fn judge(&self, outcome: Result<usize, Errno>, wanted: Wanted) -> Result<Ended, Failure> {
            let target = Target {
                memory: &self.memory,
                places: &self.places,
                pattern: self.pattern,
                at: self.at,
                cached: self.cached,
            };
            let outcome = outcome.map_err(io::Error::from);
            target.judge(&outcome, wanted, &self.content)
        }

        /// Has it judged as a read that failed, as it might.
        fn failed(&self) -> Result<Ended, Failure> {
            let one = self.judge(Err(Errno::IO), Wanted::Either);
            let other = self.judge(Err(Errno::IO), Wanted::Failure { unreadable: 2100 });
            assert_eq!(one, other);
            one
        }
    }

    /// That this is told to be wrong in these words.
    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, text: &str) {
        let failure = result.expect_err("it should be refused");
        assert!(failure.contains(text), "{failure}");
    }

    const EIO: Result<usize, Errno> = Err(Errno::IO);

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

    #[test]
    fn right_bytes_are_right() {
        for mut read in [Read::new(), Read::cached()] {
            read.put(LEN);
            assert_eq!(read.judge(Ok(LEN), Wanted::Success), Ok(Ended::Well));
            assert_eq!(read.judge(Ok(LEN), Wanted::Either), Ok(Ended::Well));
        }
    }

    #[test]
    fn any_wrong_byte_of_a_success_is_found() {
        for read in [Read::new(), Read::cached()] {
            for place in read.places.clone() {
                for at in [
                    place.start,
                    place.start + 511,
                    place.end - 512,
                    place.end - 1,
                ] {
                    let mut read = Read {
                        memory: read.memory.clone(),
                        content: Made::new(20),
                        places: read.places.clone(),
                        ..read
                    };
                    read.put(LEN).memory[at] ^= 1;
                    refused(read.judge(Ok(LEN), Wanted::Success), "should be");
                    refused(read.judge(Ok(LEN), Wanted::Either), "should be");
                }
            }
        }
        // Bytes that were left out, were zeroed, or come from the next sector.
        let mut read = Read::new();
        refused(read.judge(Ok(LEN), Wanted::Success), "byte 2048 is");
        read.put(LEN).sector(7).fill(0);
        refused(read.judge(Ok(LEN), Wanted::Success), "byte 3584 is 0x00");
        let next = read.right(8);
        read.put(LEN).sector(7).copy_from_slice(&next);
        refused(read.judge(Ok(LEN), Wanted::Success), "byte 3584 is");
    }

    #[test]
    fn the_surroundings_hold_however_a_read_ends() {
        let around = [0, 999, 2024, 2535, 3048, 4071, 6632, 6731];
        for at in around {
            for whole in [true, false] {
                let mut read = Read::new();
                if whole {
                    read.put(LEN);
                }
                read.memory[at] ^= 1;
                let outcome = if whole { Ok(LEN) } else { EIO };
                refused(read.judge(outcome, Wanted::Either), "outside of the read");
            }
        }
    }

    #[test]
    fn the_surroundings_hold_of_a_read_that_is_made_again() {
        for at in [0, 2024, 6731] {
            let mut read = Read::new();
            read.memory[at] ^= 1;
            let target = Target {
                memory: &read.memory,
                places: &read.places,
                pattern: read.pattern,
                at: read.at,
                cached: false,
            };
            refused(target.leftovers(&read.content), "outside of the read");
        }
    }

    #[test]
    fn how_a_read_may_end() {
        let fails = Wanted::Failure { unreadable: 2100 };
        let mut read = Read::new();
        assert_eq!(read.judge(EIO, fails), Ok(Ended::Badly));
        assert_eq!(read.judge(EIO, Wanted::Either), Ok(Ended::Badly));
        refused(read.judge(EIO, Wanted::Success), "EIO");
        for errno in [Errno::AGAIN, Errno::INVAL, Errno::NOMEM, Errno::ILSEQ] {
            for wanted in [Wanted::Success, Wanted::Either, fails] {
                assert!(read.judge(Err(errno), wanted).is_err());
            }
        }
        read.put(LEN);
        refused(read.judge(Ok(LEN), fails), "should have failed");
        for n in [0, 512, LEN - 1, LEN + 1] {
            for wanted in [Wanted::Success, Wanted::Either, fails] {
                refused(read.judge(Ok(n), wanted), "bytes were read");
            }
        }
    }

    #[test]
    fn a_failed_read_may_leave_zeros_and_right_bytes() {
        let mut read = Read::new();
        assert_eq!(read.failed(), Ok(Ended::Badly));
        read.put(LEN);
        read.sector(9).fill(0);
        assert_eq!(read.failed(), Ok(Ended::Badly));
        let mut read = Read::new();
        let right = read.right(6);
        read.sector(6).copy_from_slice(&right);
        read.sector(7).fill(0);
        assert_eq!(read.failed(), Ok(Ended::Badly));
    }

    #[test]
    fn a_failed_read_may_leave_nothing_else() {
        for number in 4..12 {
            for at in [0, 1, 255, 510, 511] {
                // One byte, of a sector that is as it was, or zero, or right.
                let mut read = Read::new();
                read.sector(number)[at] ^= 0x80;
                refused(read.failed(), "511 are as before");
                read.sector(number).fill(0);
                read.sector(number)[at] = 0xdb;
                refused(read.failed(), &format!("bytes at {}", number * 512));
                read = Read::new();
                let right = read.right(number);
                read.sector(number).copy_from_slice(&right);
                read.sector(number)[at] ^= 1;
                refused(read.failed(), "left something");
            }
            let mut read = Read::new();
            // Other bytes altogether: from another sector, from another read's memory.
            let other = read.right(number + 1);
            read.sector(number).copy_from_slice(&other);
            refused(read.failed(), "left something");
            Pattern::new(8).fill(read.sector(number));
            refused(read.failed(), "left something");
            read.sector(number).fill(0xff);
            refused(read.failed(), "left something");
            // Half of what is right, and nothing or zeros behind it.
            for behind in [None, Some(0)] {
                let mut read = Read::new();
                let right = read.right(number);
                if let Some(byte) = behind {
                    read.sector(number).fill(byte);
                }
                read.sector(number)[..256].copy_from_slice(&right[..256]);
                refused(read.failed(), "left something");
            }
        }
    }

    #[test]
    fn where_nothing_is_right_only_zeros_may_be_left() {
        let mut read = Read::new();
        let right = read.right(9);
        read.sector(9).copy_from_slice(&right);
        refused(read.failed(), "none can be right");
        read.sector(9).fill(0);
        assert_eq!(read.failed(), Ok(Ended::Badly));
    }

    #[test]
    fn the_page_cache_gives_what_comes_before() {
        let fails = Wanted::Failure { unreadable: 2248 };
        for wanted in [Wanted::Either, fails] {
            let mut read = Read::cached();
            assert_eq!(read.judge(EIO, wanted), Ok(Ended::Badly));
            read.put(100);
            assert_eq!(read.judge(Ok(100), wanted), Ok(Ended::Badly));
            refused(read.judge(Ok(99), wanted), "memory behind them");
            refused(
                read.judge(Ok(101), wanted),
                if wanted == fails {
                    "cannot be"
                } else {
                    "should be"
                },
            );
            refused(read.judge(EIO, wanted), "memory behind them");
            refused(read.judge(Ok(0), wanted), "0 bytes were read");
            read.memory[1002] ^= 1;
            refused(read.judge(Ok(100), wanted), "should be");
        }
        // Zeros and right bytes are too much as well.
        let mut read = Read::cached();
        read.memory[1001..1001 + LEN].fill(0);
        refused(read.failed(), "memory behind them");
        read.put(LEN);
        refused(read.failed(), "memory behind them");
        // A read that must succeed gives all.
        refused(
            Read::cached().put(100).judge(Ok(100), Wanted::Success),
            "100 bytes were read",
        );
        refused(Read::cached().judge(EIO, Wanted::Success), "EIO");
    }

    #[test]
    fn a_read_into_pieces_that_ends_early_leaves_the_later_ones() {
        let mut read = Read::new();
        read.cached = true;
        read.put(1100);
        assert_eq!(read.judge(Ok(1100), Wanted::Either), Ok(Ended::Badly));
        for at in [2536 + 76, 3047, 4072, 6631] {
            let mut read = Read::new();
            read.cached = true;
            read.put(1100).memory[at] ^= 1;
            refused(read.judge(Ok(1100), Wanted::Either), "memory behind them");
        }
    }

    #[test]
    fn content_that_cannot_be_had_is_an_error() {
        let mut read = Read::new();
        read.content = Made::new(8);
        refused(read.judge(Ok(LEN), Wanted::Success), "should be");
        read.content = Made::new(20);
        read.put(LEN).content.0.truncate(8 * 512);
        refused(read.judge(Ok(LEN), Wanted::Success), "beyond the end");
        refused(read.failed(), "beyond the end");
    }
}
