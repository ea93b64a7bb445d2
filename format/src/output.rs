// SPDX-License-Identifier: GPL-2.0

//! Memory that content is written to, in segments.

use core::mem::take;

/// Where content goes: memory in segments, written from its first byte to its last.
pub trait Output {
    /// How many bytes are not written yet.
    fn remaining(&self) -> usize;

    /// The rest of the current segment. Empty only at the end.
    fn current(&mut self) -> &mut [u8];

    /// Moves past `bytes` bytes of the current segment, which have been written.
    fn advance(&mut self, bytes: usize);

    /// Calls `fill` with the memory of the next `bytes` bytes, if one segment holds them all, else
    /// returns [`None`]. When `fill` fails, the bytes count as not written.
    #[inline]
    fn fill<E>(
        &mut self,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let filled = fill(self.current().get_mut(..bytes)?);
        if filled.is_ok() {
            self.advance(bytes);
        }
        Some(filled)
    }

    /// Writes `data` next, over as many segments as it takes. Data beyond the end is ignored.
    #[inline]
    fn write(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let segment = self.current();
            let n = segment.len().min(data.len());
            let (Some(place), Some((now, later))) =
                (segment.get_mut(..n), data.split_at_checked(n))
            else {
                return;
            };
            if n == 0 {
                return;
            }
            place.copy_from_slice(now);
            self.advance(n);
            data = later;
        }
    }

    /// Writes zeros to the end.
    #[inline]
    fn zero_rest(&mut self) {
        while self.remaining() > 0 {
            let segment = self.current();
            let n = segment.len();
            if n == 0 {
                return;
            }
            segment.fill(0);
            self.advance(n);
        }
    }
}

/// One segment.
impl Output for &mut [u8] {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn current(&mut self) -> &mut [u8] {
        self
    }

    #[inline]
    fn advance(&mut self, bytes: usize) {
        *self = take(self).get_mut(bytes..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_takes_what_one_segment_holds() {
        let mut memory = [7; 8];
        let mut out = &mut memory[..];
        let ones = |place: &mut [u8]| {
            place.fill(1);
            Ok::<(), ()>(())
        };
        assert_eq!(Output::fill(&mut out, 9, ones), None);
        assert_eq!(Output::fill(&mut out, 3, |_| Err(())), Some(Err(())));
        assert_eq!(out.remaining(), 8);
        assert_eq!(Output::fill(&mut out, 3, ones), Some(Ok(())));
        assert_eq!(out.remaining(), 5);
        out.zero_rest();
        assert_eq!(memory, [1, 1, 1, 0, 0, 0, 0, 0]);
    }
}
