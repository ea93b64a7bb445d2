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
        Err(error) => matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EOPNOTSUPP)),
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
