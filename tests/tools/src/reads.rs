// SPDX-License-Identifier: GPL-2.0

//! Reads of a device, compared with a reference: all of it in order, and at random in every shape
//! user space can give them.
//!
//! Direct reads begin and end at any sector, land at any multiple of 512 bytes in a page, in one
//! piece or in several, in huge pages or in small ones: so the bios have segments that begin and
//! end anywhere and are several pages long. Buffered reads begin and end at any byte. What a read may
//! leave in memory, whether it succeeds or not, is the affair of [`judge`](crate::judge).

use crate::{
    device::{Device, Source},
    judge::{Content, Ended, Pattern, Target, Wanted},
    reference::Holes,
    sys::Buffer,
    Context, Failure, SECTOR,
};
use rustix::io::Errno;
use std::{
    io::{self, IoSliceMut},
    ops::Range,
    path::{Path, PathBuf},
};

/// What is to be read.
pub struct Plan {
    /// How many reads each thread makes, if it is not told to stop before.
    pub reads: u64,
    /// This file is made after the first read.
    pub ready: Option<PathBuf>,
    /// The thread ends once this file is there.
    pub until: Option<PathBuf>,
    /// The unit of direct reads in bytes, the device's logical block size or a multiple of it: they
    /// begin and end at such units, and their pieces begin and end at such units of memory.
    pub unit: u64,
    /// The longest read in bytes, a multiple of the unit.
    pub max_bytes: u64,
    /// The most pieces a direct read is made of.
    pub max_pieces: usize,
    /// Where the reference begins on the device, in bytes, a multiple of 512.
    pub device_offset: u64,
    /// What must fail to be read, in bytes of the reference.
    pub holes: Holes,
    /// Any read may fail with EIO.
    pub allow_eio: bool,
    /// Only direct reads.
    pub direct_only: bool,
}

/// What was done.
#[derive(Clone, Copy, Default)]
pub struct Done {
    /// Reads made.
    pub reads: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Reads with `RWF_NOWAIT` that were answered at once.
    pub nowait_answered: u64,
    /// Those that were refused, and made again without it.
    pub nowait_refused: u64,
    /// Reads that failed, as they should.
    pub failed: u64,
}

impl Done {
    /// Adds what another thread did.
    pub fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.bytes += other.bytes;
        self.nowait_answered += other.nowait_answered;
        self.nowait_refused += other.nowait_refused;
        self.failed += other.failed;
    }
}

/// How a read is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    DirectNowait,
    Buffered,
}

/// Reads one device at random places.
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

/// Bytes around what is read that are looked at too.
const MARGIN: usize = 1024;

/// Reads in order are made to the beginning of a page.
const PAGE: usize = 4096;

/// Reads all units of `unit` bytes in order, directly: those that touch a hole must fail. Says how
/// many were read, and how many failed.
///
/// # Errors
///
/// The first read that is not as it should be.
pub fn sweep(
    device: &impl Source,
    content: &impl Content,
    holes: &Holes,
    unit: u64,
) -> Result<(u64, u64), Failure> {
    if device.len() != content.len() {
        return Err(format!(
            "the device has {} bytes, the reference {}",
            device.len(),
            content.len()
        ));
    }
    let mut memory = Buffer::new(unit as usize + 2 * PAGE, false);
    let (mut good, mut bad) = (0, 0);
    let mut at = 0;
    while at < device.len() {
        let len = unit.min(device.len() - at) as usize;
        let place = MARGIN..MARGIN + len;
        let memory = &mut memory[PAGE - MARGIN..PAGE + len + MARGIN];
        let pattern = Pattern::new(at / unit);
        pattern.fill(memory);
        let outcome = device.read(
            &mut [IoSliceMut::new(&mut memory[place.clone()])],
            at,
            false,
        );
        let wanted = match holes.first(at, len as u64) {
            Some(unreadable) => Wanted::Failure { unreadable },
            None => Wanted::Success,
        };
        let target = Target {
            memory,
            places: &[place],
            pattern,
            at,
            cached: false,
        };
        let ended = target
            .judge(&outcome, wanted, content)
            .map_err(|failure| format!("reading {len} bytes at {at}: {failure}"))?;
        match ended {
            Ended::Well => good += 1,
            Ended::Badly => bad += 1,
        }
        at += len as u64;
    }
    Ok((good, bad))
}

impl<'a, C: Content> Reader<'a, Device, C> {
    /// A reader of the device at `path`. What it does depends on the seed alone.
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
    /// A reader of a device that is opened twice.
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
        // Every piece may be preceded by a gap of less than a page and one of less than a unit.
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

    /// Makes the reads of the plan.
    ///
    /// # Errors
    ///
    /// The first read that is not as it should be.
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

    /// Where the next read is, in units of `unit` bytes: mostly short, sometimes as long as may be,
    /// sometimes up to the very end.
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
            // A read that would have had to wait is made again: what it left is looked at now.
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
            // Which other bytes it gives up together with those that cannot be read is the page
            // cache's affair.
            None if way == Way::Buffered && !self.holes.is_empty() => Wanted::Either,
            None => Wanted::Success,
        }
    }
}

/// Whether a read of `len` bytes with `RWF_NOWAIT` has to be made again without: it would have had to
/// wait, for some of the bytes or for all, or the device does not offer it.
fn refused(outcome: &io::Result<usize>, len: usize) -> bool {
    match outcome {
        Ok(n) => *n < len,
        Err(error) => matches!(
            Errno::from_io_error(error),
            Some(Errno::AGAIN | Errno::OPNOTSUPP)
        ),
    }
}

/// Reads into `places` of `memory`, which are in order and do not overlap.
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
    use std::cell::Cell;

    /// Content that is nowhere zero and nowhere the same.
    struct Made(Vec<u8>);

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
    }

    fn made(sectors: usize) -> Made {
        let mut bytes = vec![0; sectors * 512];
        Pattern::new(99).fill(&mut bytes);
        Made(bytes)
    }

    /// What a read of a [`Fake`] did: the memory it was given, in one piece, where it was from, whether
    /// it must not wait, and how it is to end.
    struct Did<'a> {
        out: &'a mut Vec<u8>,
        at: u64,
        nowait: bool,
        outcome: io::Result<usize>,
    }

    type Flaw<'a> = &'a dyn Fn(&mut Did<'_>);

    /// A device in memory with a hole, which may be made to do worse.
    struct Fake<'a> {
        content: &'a Made,
        holes: &'a Holes,
        /// Where the content begins on the device; there are zeros before it.
        offset: u64,
        cached: bool,
        flaw: Flaw<'a>,
        /// The flaw shows in this read and in those after it.
        from: Cell<u32>,
    }

    const GOOD: Flaw<'static> = &|_| {};

    fn error(errno: Errno) -> io::Result<usize> {
        Err(errno.into())
    }

    impl Source for Fake<'_> {
        fn len(&self) -> u64 {
            self.offset + self.content.len()
        }

        fn drop_cache(&self) {}

        fn read(&self, slices: &mut [IoSliceMut<'_>], at: u64, nowait: bool) -> io::Result<usize> {
            let at = at - self.offset;
            // The memory as it was, which the flaw may change.
            let mut out: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let len = out.len();
            let hole = self.holes.first(at, len as u64);
            let good = match hole {
                None => len,
                // What the page cache gives are whole pages.
                Some(hole) if self.cached && hole / 4096 * 4096 > at => {
                    (hole / 4096 * 4096 - at) as usize
                }
                Some(_) => 0,
            };
            out[..good].copy_from_slice(&self.content.0[at as usize..at as usize + good]);
            let outcome = if good > 0 { Ok(good) } else { error(Errno::IO) };
            let mut did = Did {
                out: &mut out,
                at,
                nowait,
                outcome,
            };
            let left = self.from.get();
            self.from.set(left.saturating_sub(1));
            if left == 0 {
                (self.flaw)(&mut did);
            }
            let outcome = did.outcome;
            let mut rest = out.as_slice();
            for slice in slices {
                let (bytes, behind) = rest.split_at(slice.len());
                slice.copy_from_slice(bytes);
                rest = behind;
            }
            outcome
        }
    }

    fn plan(holes: &str) -> Plan {
        let mut plan = Plan {
            reads: 400,
            ready: None,
            until: None,
            unit: 512,
            max_bytes: 64 << 10,
            max_pieces: 5,
            device_offset: 3 * 512,
            holes: Holes::default(),
            allow_eio: false,
            direct_only: false,
        };
        if !holes.is_empty() {
            plan.holes.add(holes).unwrap();
        }
        plan
    }

    /// Reads at random with a flaw in the direct reads and one in the buffered ones.
    fn random(plan: &Plan, direct: Flaw<'_>, buffered: Flaw<'_>) -> Result<Done, Failure> {
        let content = made(300);
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

    /// That a flaw is found in direct reads and in buffered ones, if it shows in those.
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
        // Nobody else may say so.
        let again: Flaw<'_> = &|did| did.outcome = error(Errno::AGAIN);
        found(&plan(""), again);
        // What was left by one that was refused.
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
            // All of them, one place further.
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
        // It may fail, and has to leave nothing then.
        assert!(random(&plan, flaw, GOOD).is_ok());
        let leave: Flaw<'_> = &|did| {
            did.out[0] ^= 1;
            did.outcome = error(Errno::IO);
        };
        found(&plan, leave);
    }

    #[test]
    fn a_hole_that_can_be_read_is_found() {
        let content = made(300);
        found(&plan(HOLE), &|did| {
            did.outcome = Ok(did.out.len());
            let there = did.at as usize..did.at as usize + did.out.len();
            did.out.copy_from_slice(&content.0[there]);
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
            // Another read's memory.
            &|did| {
                if failed(did) {
                    Pattern::new(5).fill(did.out);
                }
            },
        ];
        for flaw in flaws {
            found(&plan(HOLE), flaw);
        }
        // Zeros are left by the targets, and never by the page cache.
        let zeros: Flaw<'_> = &|did| {
            if failed(did) {
                did.out.fill(0);
            }
        };
        assert!(random(&plan(HOLE), zeros, GOOD).is_ok());
        assert!(random(&plan(HOLE), GOOD, zeros).is_err());
        // Behind what the page cache gives.
        let behind: Flaw<'_> = &|did| {
            if let Ok(n) = did.outcome {
                if n < did.out.len() {
                    did.out[n] ^= 1;
                }
            }
        };
        assert!(random(&plan(HOLE), GOOD, behind).is_err());
    }

    #[test]
    fn a_device_that_is_too_short_is_found() {
        let plan = plan("");
        let content = made(10);
        let longer = made(11);
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

    /// Sweeps a device of 100 sectors, of which 10 to 13 cannot be read, or is told that it is so.
    fn swept(told: &str, unit: u64, from: u32, flaw: Flaw<'_>) -> Result<(u64, u64), Failure> {
        let content = made(100);
        let holes = plan("5120+2048").holes;
        let device = Fake {
            content: &content,
            holes: &holes,
            offset: 0,
            cached: false,
            flaw,
            from: Cell::new(from),
        };
        sweep(&device, &content, &plan(told).holes, unit)
    }

    #[test]
    fn a_sweep_reads_all() {
        let hole = "5120+2048";
        assert_eq!(swept(hole, 512, 0, GOOD), Ok((96, 4)));
        assert_eq!(swept(hole, 4096, 0, GOOD), Ok((12, 1)));
        assert_eq!(swept(hole, 1 << 20, 0, GOOD), Ok((0, 1)));
        // More can be read, or less.
        assert!(swept("", 512, 0, GOOD).is_err());
        assert!(swept("5120+1536", 512, 0, GOOD).is_err());
        assert!(swept("5120+2560", 512, 0, GOOD).is_err());
    }

    #[test]
    fn a_sweep_finds_one_wrong_sector_anywhere() {
        let hole = "5120+2048";
        for number in 0..100u64 {
            // Of a read that fails no other byte may be there, of others no wrong one.
            let once = |did: &mut Did<'_>| {
                if did.at == number * 512 {
                    did.out[511] ^= 1;
                }
            };
            assert!(swept(hole, 512, 0, &once).is_err(), "sector {number}");
            let fails = |did: &mut Did<'_>| {
                if did.at == number * 512 {
                    did.outcome = match did.outcome {
                        Ok(_) => error(Errno::IO),
                        Err(_) => Ok(512),
                    };
                }
            };
            assert!(swept(hole, 512, 0, &fails).is_err(), "sector {number}");
        }
        let short: Flaw<'_> = &|did| did.outcome = Ok(did.out.len() - 512);
        assert!(swept("", 512, 0, short).is_err());
        let content = made(101);
        let device = Fake {
            content: &content,
            holes: &Holes::default(),
            offset: 0,
            cached: false,
            flaw: GOOD,
            from: Cell::new(0),
        };
        assert!(sweep(&device, &made(100), &Holes::default(), 512).is_err());
        assert!(sweep(&device, &made(102), &Holes::default(), 512).is_err());
    }
}
