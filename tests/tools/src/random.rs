// SPDX-License-Identifier: GPL-2.0

//! Reads of a device at random places and in every shape that user space can give them, compared
//! with what it should hold.
//!
//! Direct reads begin and end at any sector. Their memory begins at any multiple of 512 bytes in a
//! page, in one piece or in several, in huge pages or in small ones: the segments of their bios
//! begin and end anywhere and may be several pages long. Buffered reads begin and end at any byte.
//! [`judge`](crate::judge) checks what each read leaves in memory, whether it succeeds or not.

use crate::{
    content::Content,
    device::{Device, Source},
    holes::Holes,
    judge::{Ended, Target, Wanted},
    pattern::Pattern,
    sys::Buffer,
    Context, Failure, SECTOR,
};
use rustix::io::Errno;
use std::{
    io::{self, IoSliceMut},
    ops::Range,
    path::{Path, PathBuf},
};

/// Bytes of memory around each read that are checked too.
const MARGIN: usize = 1024;

/// What to read.
pub struct Plan {
    /// How many reads each thread does, unless `until` ends it before.
    pub reads: u64,
    /// The thread creates this file after its first read.
    pub ready: Option<PathBuf>,
    /// The thread ends once this file exists.
    pub until: Option<PathBuf>,
    /// The unit of direct reads in bytes, the device's logical block size or a multiple of it:
    /// reads begin and end at such units, and their pieces at such units of memory.
    pub unit: u64,
    /// The longest read in bytes, a multiple of the unit.
    pub max_bytes: u64,
    /// The most pieces of a direct read.
    pub max_pieces: usize,
    /// Where the reference begins on the device, in bytes, a multiple of 512.
    pub device_offset: u64,
    /// Which bytes of the reference cannot be read.
    pub holes: Holes,
    /// Any read may fail with EIO.
    pub allow_eio: bool,
    /// Only direct reads that wait.
    pub direct_only: bool,
    /// Only direct reads with `RWF_NOWAIT`.
    pub nowait_only: bool,
}

/// What the reads did.
#[derive(Clone, Copy, Default)]
pub struct Done {
    /// How many there were.
    pub reads: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Reads with `RWF_NOWAIT` that the device answered.
    pub nowait_answered: u64,
    /// Those that it declined, which were repeated without the flag.
    pub nowait_refused: u64,
    /// Reads that failed and were allowed to.
    pub failed: u64,
}

impl Done {
    /// Adds the counts of another thread.
    pub fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.bytes += other.bytes;
        self.nowait_answered += other.nowait_answered;
        self.nowait_refused += other.nowait_refused;
        self.failed += other.failed;
    }
}

/// How to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    DirectNowait,
    Buffered,
}

/// A thread that reads one device at random places.
pub struct Reader<'a, S, C> {
    direct: S,
    buffered: S,
    reference: &'a C,
    plan: &'a Plan,
    rng: fastrand::Rng,
    huge: Buffer,
    small: Buffer,
    done: Done,
}

impl<'a, C: Content> Reader<'a, Device, C> {
    /// A reader of the device at `path`. What it reads depends on the seed alone.
    ///
    /// # Errors
    ///
    /// If the device cannot be opened or is shorter than the reference.
    pub fn new(path: &Path, reference: &'a C, plan: &'a Plan, seed: u64) -> Result<Self, Failure> {
        let direct = Device::open(path, true)?;
        let buffered = Device::open(path, false)?;
        Self::of(direct, buffered, reference, plan, seed).context(path.display())
    }
}

impl<'a, S: Source, C: Content> Reader<'a, S, C> {
    /// A reader of a device that was opened twice.
    fn of(
        direct: S,
        buffered: S,
        reference: &'a C,
        plan: &'a Plan,
        seed: u64,
    ) -> Result<Self, Failure> {
        if direct.len() < plan.device_offset + reference.len() {
            return Err(format!(
                "the device has {} bytes, the reference ends at {}",
                direct.len(),
                plan.device_offset + reference.len()
            ));
        }
        // Before each piece there may be a gap of less than a page and one of less than a unit.
        let gaps = plan.max_pieces * (4096 + plan.unit as usize);
        let room = plan.max_bytes as usize + gaps + 2 * MARGIN + 8192;
        Ok(Self {
            direct,
            buffered,
            reference,
            plan,
            rng: fastrand::Rng::with_seed(seed),
            huge: Buffer::new(room, true),
            small: Buffer::new(room, false),
            done: Done::default(),
        })
    }

    /// Does the reads of the plan.
    ///
    /// # Errors
    ///
    /// The first read that is wrong.
    pub fn run(mut self) -> Result<Done, Failure> {
        let over = |until: &PathBuf| until.exists();
        for n in 0..self.plan.reads {
            if self.plan.until.as_ref().is_some_and(over) {
                break;
            }
            self.one()
                .map_err(|failure| format!("read {n}: {failure}"))?;
            if let Some(path) = self.plan.ready.as_ref().filter(|_| n == 0) {
                std::fs::write(path, "").context(path.display())?;
            }
        }
        Ok(self.done)
    }

    /// Offset and length of the next read, multiples of `unit` bytes: mostly short, sometimes as
    /// long as the plan allows, sometimes up to the very end.
    fn place(&mut self, unit: u64) -> (u64, u64) {
        let end = self.reference.len() / unit;
        let max = (self.plan.max_bytes / unit).min(end);
        let limit = 1 << self.rng.u32(0..=max.ilog2());
        let len = self.rng.u64(1..=max.min(2 * limit));
        let last = end - len;
        let start = if self.rng.u8(0..16) == 0 {
            last
        } else {
            self.rng.u64(0..=last)
        };
        (start * unit, len * unit)
    }

    fn way(&mut self) -> Way {
        if self.plan.nowait_only {
            return Way::DirectNowait;
        }
        match self.rng.u8(0..8) {
            0 if !self.plan.direct_only => Way::DirectNowait,
            1 | 2 if !self.plan.direct_only => Way::Buffered,
            _ => Way::Direct,
        }
    }

    /// Cuts `len` bytes into pieces of whole units.
    fn pieces(&mut self, len: usize) -> Vec<usize> {
        let unit = self.plan.unit as usize;
        let units = len / unit;
        let count = match self.rng.u8(0..3) {
            0 => self.rng.usize(1..=self.plan.max_pieces).min(units),
            _ => 1,
        };
        let mut cuts: Vec<_> = (1..count).map(|_| self.rng.usize(1..units)).collect();
        cuts.extend([0, units]);
        cuts.sort_unstable();
        cuts.dedup();
        let sizes = cuts.windows(2).map(|cut| (cut[1] - cut[0]) * unit);
        sizes.collect()
    }

    fn one(&mut self) -> Result<(), Failure> {
        let way = self.way();
        let (at, len) = self.place(if way == Way::Buffered {
            1
        } else {
            self.plan.unit
        });
        let len = len as usize;
        let sizes = if way == Way::Buffered {
            if self.rng.u8(0..4) == 0 {
                self.buffered.drop_cache();
            }
            vec![len]
        } else {
            self.pieces(len)
        };
        let mut next = MARGIN;
        let mut places: Vec<Range<usize>> = Vec::new();
        for size in sizes {
            let gap = self.rng.usize(0..8);
            let start = match way {
                Way::Buffered => next + self.rng.usize(0..4096),
                _ => (next + gap * SECTOR as usize).next_multiple_of(self.plan.unit as usize),
            };
            next = start + size;
            places.push(start..next);
        }
        let huge = self.rng.bool();
        let pattern = Pattern::new(self.rng.u64(..));
        let what = format!(
            "{way:?} read of {len} bytes at {at} into {} pieces ({places:?}, huge pages: {huge})",
            places.len()
        );
        self.read_and_compare(way, at, len, &places, huge, pattern)
            .map_err(|failure| format!("{what}: {failure}"))?;
        self.done.reads += 1;
        Ok(())
    }

    fn read_and_compare(
        &mut self,
        way: Way,
        at: u64,
        len: usize,
        places: &[Range<usize>],
        huge: bool,
        pattern: Pattern,
    ) -> Result<(), Failure> {
        let memory = if huge {
            &mut self.huge
        } else {
            &mut self.small
        };
        let end = places.last().map_or(0, |place| place.end) + MARGIN;
        let memory = &mut memory[..end];
        let device = match way {
            Way::Buffered => &self.buffered,
            _ => &self.direct,
        };
        let from = self.plan.device_offset + at;
        let mut read = |nowait| {
            pattern.fill(memory);
            let outcome = read_into(device, memory, places, from, nowait);
            let target = Target {
                memory,
                places,
                pattern,
                at,
                cached: way == Way::Buffered,
            };
            // The caller repeats a read that would have waited: check what it left before that.
            if nowait && refused(&outcome, len) {
                return target.leftovers(self.reference).map(|()| None);
            }
            let wanted = self.plan.wanted(way, at, len as u64);
            target.judge(&outcome, wanted, self.reference).map(Some)
        };
        let ended = if way == Way::DirectNowait {
            match read(true)? {
                Some(ended) => {
                    self.done.nowait_answered += u64::from(ended == Ended::Well);
                    Some(ended)
                }
                None => {
                    self.done.nowait_refused += 1;
                    read(false)?
                }
            }
        } else {
            read(false)?
        };
        match ended {
            Some(Ended::Well) => self.done.bytes += len as u64,
            _ => self.done.failed += 1,
        }
        Ok(())
    }
}

impl Plan {
    /// How a read may end.
    fn wanted(&self, way: Way, at: u64, len: u64) -> Wanted {
        match self.holes.first(at, len) {
            Some(unreadable) => Wanted::Failure { unreadable },
            None if self.allow_eio => Wanted::Either,
            // The page cache decides which other bytes fail together with those that cannot be
            // read.
            None if way == Way::Buffered && !self.holes.is_empty() => Wanted::Either,
            None => Wanted::Success,
        }
    }
}

/// Whether a read of `len` bytes with `RWF_NOWAIT` must be repeated without it: it would have
/// waited for some of the bytes or for all, or the device does not support the flag.
fn refused(outcome: &io::Result<usize>, len: usize) -> bool {
    match outcome {
        Ok(n) => *n < len,
        Err(error) => matches!(
            Errno::from_io_error(error),
            Some(Errno::AGAIN | Errno::OPNOTSUPP)
        ),
    }
}

/// Reads into the `places` of `memory`, which are in order and do not overlap.
fn read_into(
    device: &impl Source,
    memory: &mut [u8],
    places: &[Range<usize>],
    at: u64,
    nowait: bool,
) -> io::Result<usize> {
    let mut rest = memory;
    let mut taken = 0;
    let mut slices = Vec::with_capacity(places.len());
    for place in places {
        let (_, tail) = rest.split_at_mut(place.start - taken);
        let (slice, tail) = tail.split_at_mut(place.len());
        slices.push(IoSliceMut::new(slice));
        rest = tail;
        taken = place.end;
    }
    device.read(&mut slices, at, nowait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{content, error, holes, Did, Fake, Flaw, GOOD};
    use std::cell::Cell;

    /// 400 reads of a device on which these bytes cannot be read.
    fn plan(bad: &str) -> Plan {
        Plan {
            reads: 400,
            ready: None,
            until: None,
            unit: 512,
            max_bytes: 64 << 10,
            max_pieces: 5,
            device_offset: 3 * 512,
            holes: holes(bad),
            allow_eio: false,
            direct_only: false,
            nowait_only: false,
        }
    }

    /// Reads at random with a flaw in the direct reads and one in the buffered ones.
    fn random(plan: &Plan, direct: Flaw<'_>, buffered: Flaw<'_>) -> Result<Done, Failure> {
        let content = content(300);
        let device = |cached, flaw| Fake {
            content: &content,
            holes: &plan.holes,
            offset: plan.device_offset,
            cached,
            flaw,
            from: Cell::new(30),
        };
        let (direct, buffered) = (device(false, direct), device(true, buffered));
        Reader::of(direct, buffered, &content, plan, 1)?.run()
    }

    /// Asserts that a flaw is found in direct reads, and in buffered ones.
    #[track_caller]
    fn found(plan: &Plan, flaw: Flaw<'_>) {
        let direct = random(plan, flaw, GOOD);
        assert!(direct.is_err(), "it is not found in direct reads");
        let buffered = random(plan, GOOD, flaw);
        assert!(buffered.is_err(), "it is not found in buffered reads");
    }

    const HOLE: &str = "20480+5632";

    #[test]
    fn a_good_device_is_good() {
        let done = random(&plan(""), GOOD, GOOD).unwrap();
        assert_eq!((done.reads, done.failed, done.nowait_refused), (400, 0, 0));
        assert!(done.nowait_answered > 20);
        let done = random(&plan(HOLE), GOOD, GOOD).unwrap();
        assert_eq!(done.reads, 400);
        assert!(done.failed > 20, "{}", done.failed);
        // Most reads are short.
        assert!(done.bytes > 400 * 1024, "{}", done.bytes);
    }

    #[test]
    fn reads_that_must_not_wait_are_made_again() {
        let refuse = |errno| {
            move |did: &mut Did<'_>| {
                if did.nowait {
                    did.out.fill(0);
                    did.outcome = error(errno);
                }
            }
        };
        for errno in [Errno::AGAIN, Errno::OPNOTSUPP] {
            let done = random(&plan(""), &refuse(errno), GOOD).unwrap();
            assert!(done.nowait_refused > 20);
        }
        assert!(random(&plan(""), &refuse(Errno::IO), GOOD).is_err());
        // A read that may wait must not fail so.
        let again: Flaw<'_> = &|did| did.outcome = error(Errno::AGAIN);
        found(&plan(""), again);
        // What a declined read leaves.
        let leave: Flaw<'_> = &|did| {
            if did.nowait {
                did.out[0] ^= 1;
                did.outcome = error(Errno::AGAIN);
            }
        };
        let what = random(&plan(""), leave, GOOD).err().unwrap();
        assert!(what.contains("left something"), "{what}");
    }

    #[test]
    fn wrong_bytes_are_found() {
        for holes in ["", HOLE] {
            let plan = plan(holes);
            found(&plan, &|did| {
                if did.outcome.is_ok() {
                    did.out[0] ^= 1;
                }
            });
            found(&plan, &|did| {
                if let Ok(n) = did.outcome {
                    did.out[n - 1] ^= 0x80;
                }
            });
            // All bytes, shifted by one.
            found(&plan, &|did| did.out.rotate_right(1));
        }
    }

    #[test]
    fn errors_and_short_reads_are_found() {
        let plan = plan("");
        for errno in [Errno::IO, Errno::INVAL, Errno::NOMEM] {
            found(&plan, &|did| did.outcome = error(errno));
        }
        found(&plan, &|did| {
            did.outcome = Ok(did.out.len() - 1);
        });
    }

    #[test]
    fn only_eio_is_an_error_that_is_wanted() {
        for errno in [Errno::INVAL, Errno::ILSEQ, Errno::NODATA] {
            found(&plan(HOLE), &|did| {
                if did.outcome.is_err() {
                    did.outcome = error(errno);
                }
            });
        }
    }

    #[test]
    fn an_error_where_none_should_be_is_found_in_direct_reads() {
        let flaw: Flaw<'_> = &|did| did.outcome = error(Errno::IO);
        assert!(random(&plan(HOLE), flaw, GOOD).is_err());
        let mut plan = plan("");
        plan.allow_eio = true;
        // A read may fail, and must then leave nothing.
        assert!(random(&plan, flaw, GOOD).is_ok());
        let leave: Flaw<'_> = &|did| {
            did.out[0] ^= 1;
            did.outcome = error(Errno::IO);
        };
        found(&plan, leave);
    }

    #[test]
    fn a_hole_that_can_be_read_is_found() {
        let content = content(300);
        found(&plan(HOLE), &|did| {
            did.outcome = Ok(did.out.len());
            let there = did.at as usize..did.at as usize + did.out.len();
            did.out.copy_from_slice(&content[there]);
        });
    }

    #[test]
    fn what_a_failed_read_leaves_is_found() {
        let failed = |did: &Did<'_>| did.outcome.is_err();
        let flaws: [Flaw<'_>; 4] = [
            &|did| {
                if failed(did) {
                    did.out[0] ^= 1;
                }
            },
            &|did| {
                if failed(did) {
                    let last = did.out.len() - 1;
                    did.out[last] ^= 1;
                }
            },
            &|did| {
                if failed(did) {
                    did.out.fill(0xdb);
                }
            },
            // The memory of another read.
            &|did| {
                if failed(did) {
                    Pattern::new(5).fill(did.out);
                }
            },
        ];
        for flaw in flaws {
            found(&plan(HOLE), flaw);
        }
        // The targets may leave zeros, the page cache never does.
        let zeros: Flaw<'_> = &|did| {
            if failed(did) {
                did.out.fill(0);
            }
        };
        assert!(random(&plan(HOLE), zeros, GOOD).is_ok());
        assert!(random(&plan(HOLE), GOOD, zeros).is_err());
        // After the bytes that the page cache returns.
        let after: Flaw<'_> = &|did| {
            if let Ok(n) = did.outcome {
                if n < did.out.len() {
                    did.out[n] ^= 1;
                }
            }
        };
        assert!(random(&plan(HOLE), GOOD, after).is_err());
    }

    #[test]
    fn a_device_that_is_too_short_is_found() {
        let plan = plan("");
        let (content, longer) = (content(10), content(11));
        let device = || Fake {
            content: &content,
            holes: &plan.holes,
            offset: plan.device_offset,
            cached: false,
            flaw: GOOD,
            from: Cell::new(0),
        };
        assert!(Reader::of(device(), device(), &content, &plan, 1).is_ok());
        assert!(Reader::of(device(), device(), &longer, &plan, 1).is_err());
    }
}
