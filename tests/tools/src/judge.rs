// SPDX-License-Identifier: GPL-2.0

//! What a read may leave in the memory it was given, and whether it may end as it did.
//!
//! A reader fills all memory, also around the pieces, with a [`Pattern`] before each read, and has
//! a [`Target`] judged after it:
//!
//! - The memory around the pieces holds the pattern, however the read ended.
//! - After a success the pieces hold the right bytes.
//! - After an error each sector is as it was before, or is zero, or is right. Anything else is a
//!   leak: half of a block, what another read left in a buffer, memory of the kernel.
//!
//! Through the page cache, bytes come only from pages that were read without an error: there an
//! error leaves all memory as it was. If some pages precede the one that cannot be read, the read
//! returns their bytes and a short count.

use crate::{
    content::{compare, Content},
    pattern::Pattern,
    sys::errno_name,
    Failure, SECTOR,
};
use rustix::io::Errno;
use std::{io, ops::Range};

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

/// How a read ended that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All bytes came, and they are right.
    Well,
    /// It failed, or returned only the bytes before the first that cannot be read.
    Badly,
}

/// Memory that was read into.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// All memory that was filled with the pattern.
    pub memory: &'a [u8],
    /// The pieces of it that the read was given, in order and without overlap.
    pub places: &'a [Range<usize>],
    /// What the memory held before.
    pub pattern: Pattern,
    /// Where in the content the read began, in bytes.
    pub at: u64,
    /// Whether the read went through the page cache.
    pub cached: bool,
}

impl Target<'_> {
    /// Checks how a read ended and what it left in the memory.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
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

    /// Checks what a read left in the memory that failed, for whatever reason.
    ///
    /// # Errors
    ///
    /// The first sector, or the first byte around the pieces, that holds what it must not.
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
                "the read failed and left something in the {} bytes at {at}: {before} are as \
                 before, {zero} zero, {right}; they begin with {:02x?}",
                found.len(),
                &found[..found.len().min(16)]
            ));
        }
        Ok(())
    }

    /// Checks that the memory around the pieces is as it was.
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

    /// Checks that the first `len` bytes of the pieces are right.
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

    /// Checks that all of the pieces but their first `len` bytes is as it was.
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

    /// The sectors of the read, or the parts of them that it covers: where each is in the content
    /// and in memory. A sector that lies in two pieces counts as two.
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
    use crate::fake::content;

    /// Content of which no two sectors are the same, and no byte can be right in sector 9.
    struct Made(Vec<u8>);

    impl Content for Made {
        fn len(&self) -> u64 {
            Content::len(&self.0)
        }

        fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Failure> {
            self.0.bytes_at(at, out)
        }

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
                content: Made(content(20)),
                memory,
                places: vec![1000..2024, 2536..3048, 4072..6632],
                pattern,
                at: 4 * 512,
                cached: false,
            }
        }

        /// The same through the page cache, into one piece, from byte 100 of sector 4 on.
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

        /// The judgement of a read that failed and was allowed to.
        fn failed(&self) -> Result<Ended, Failure> {
            let one = self.judge(Err(Errno::IO), Wanted::Either);
            let other = self.judge(Err(Errno::IO), Wanted::Failure { unreadable: 2100 });
            assert_eq!(one, other);
            one
        }
    }

    /// Asserts that `result` is an error whose words contain `text`.
    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, text: &str) {
        let failure = result.expect_err("it should be refused");
        assert!(failure.contains(text), "{failure}");
    }

    const EIO: Result<usize, Errno> = Err(Errno::IO);

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
                        content: Made(content(20)),
                        places: read.places.clone(),
                        ..read
                    };
                    read.put(LEN).memory[at] ^= 1;
                    refused(read.judge(Ok(LEN), Wanted::Success), "should be");
                    refused(read.judge(Ok(LEN), Wanted::Either), "should be");
                }
            }
        }
        // Bytes that are missing, zero, or from the next sector.
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
            // Other bytes: from another sector, from the memory of another read.
            let other = read.right(number + 1);
            read.sector(number).copy_from_slice(&other);
            refused(read.failed(), "left something");
            Pattern::new(8).fill(read.sector(number));
            refused(read.failed(), "left something");
            read.sector(number).fill(0xff);
            refused(read.failed(), "left something");
            // Half of the right bytes, then untouched ones or zeros.
            for rest in [None, Some(0)] {
                let mut read = Read::new();
                let right = read.right(number);
                if let Some(byte) = rest {
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
        // Not even zeros and right bytes may be left.
        let mut read = Read::cached();
        read.memory[1001..1001 + LEN].fill(0);
        refused(read.failed(), "memory behind them");
        read.put(LEN);
        refused(read.failed(), "memory behind them");
        // A read that must succeed returns all bytes.
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
        read.content = Made(content(8));
        refused(read.judge(Ok(LEN), Wanted::Success), "should be");
        read.content = Made(content(20));
        read.put(LEN).content.0.truncate(8 * 512);
        refused(read.judge(Ok(LEN), Wanted::Success), "beyond the end");
        refused(read.failed(), "beyond the end");
    }
}
