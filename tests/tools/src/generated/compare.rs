// SPDX-License-Identifier: GPL-2.0

//! What a device must hold whose image was generated, compared with what it holds.

use crate::{
    content::Content,
    device::Source,
    judge::{Target, Wanted},
    pattern::Pattern,
    Failure, SECTOR,
};
use overlaybd_image::generate::{Expected, Image, Verdict};
use std::{io::IoSliceMut, ops::Range};

/// Bytes of memory before and after each read that are checked too: a page, so that a read can go
/// to the beginning of one.
const MARGIN: usize = 4096;

/// What an image holds. No bytes are right where it cannot be read.
struct Held<'a>(&'a Expected);

impl Content for Held<'_> {
    fn len(&self) -> u64 {
        Content::len(&self.0.bytes)
    }

    fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Failure> {
        self.0.bytes.bytes_at(at, out)
    }

    fn has_right_bytes(&self, at: u64) -> bool {
        let sector = (at / SECTOR) as usize;
        self.0.readable(&(sector..sector + 1))
    }
}

/// Reads all of an image's device, directly and through the page cache: first in order, in pieces
/// of many lengths, then all at once. `memory` must be larger than the image by two pages.
///
/// # Errors
///
/// The first read that is wrong.
pub fn compare(
    image: &Image,
    direct: &impl Source,
    buffered: &impl Source,
    memory: &mut [u8],
    seed: u64,
) -> Result<(), Failure> {
    let Verdict::Reads(expected) = &image.verdict else {
        return Err("the image should have been refused".into());
    };
    for device in [direct.len(), buffered.len()] {
        if device != expected.bytes.len() as u64 {
            return Err(format!(
                "the device has {device} bytes, should have {}",
                expected.bytes.len()
            ));
        }
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let sectors = expected.bytes.len() / SECTOR as usize;
    let longest = 1 << rng.u8(1..9);
    let mut at = 0;
    while at < sectors {
        let range = at..sectors.min(at + rng.usize(1..=longest));
        let start = MARGIN + rng.usize(0..8) * SECTOR as usize;
        let pattern = Pattern::new(rng.u64(..));
        if rng.u8(0..4) == 0 {
            let start = start + rng.usize(0..8);
            read(buffered, true, expected, &range, memory, start, pattern)?;
        } else {
            read(direct, false, expected, &range, memory, start, pattern)?;
        }
        at = range.end;
    }
    let (all, pattern) = (0..sectors, Pattern::new(rng.u64(..)));
    read(direct, false, expected, &all, memory, MARGIN, pattern)?;
    read(buffered, true, expected, &all, memory, MARGIN, pattern)
}

/// Reads some sectors to byte `start` of the memory.
fn read(
    device: &impl Source,
    cached: bool,
    expected: &Expected,
    sectors: &Range<usize>,
    memory: &mut [u8],
    start: usize,
    pattern: Pattern,
) -> Result<(), Failure> {
    let (at, len) = (
        sectors.start as u64 * SECTOR,
        sectors.len() * SECTOR as usize,
    );
    let memory = memory
        .get_mut(start - MARGIN..start + len + MARGIN)
        .ok_or("an image is larger than the buffer")?;
    let place = MARGIN..MARGIN + len;
    pattern.fill(memory);
    let outcome = device.read(
        &mut [IoSliceMut::new(&mut memory[place.clone()])],
        at,
        false,
    );
    let target = Target {
        memory,
        places: &[place],
        pattern,
        at,
        cached,
    };
    let way = if cached { "buffered" } else { "direct" };
    target
        .judge(&outcome, wanted(expected, sectors, cached), &Held(expected))
        .map_err(|what| format!("{way} read of the sectors {sectors:?}: {what}"))
        .map(drop)
}

/// How a read of some sectors may end.
fn wanted(expected: &Expected, sectors: &Range<usize>, cached: bool) -> Wanted {
    let bad = |sector: &usize| !expected.readable(&(*sector..*sector + 1));
    match sectors.clone().find(bad) {
        Some(sector) => Wanted::Failure {
            unreadable: sector as u64 * SECTOR,
        },
        // The page cache decides which other sectors fail together with those that cannot be read.
        None if cached && !expected.unreadable.is_empty() => Wanted::Either,
        None => Wanted::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::io;

    /// Something wrong with a device: may change the memory of a read and how it ends. The number
    /// is the read's first sector.
    type Flaw<'a> = &'a dyn Fn(&mut [u8], usize, &mut io::Result<usize>);

    /// An image in memory that fails where it must, with a flaw.
    struct Fake<'a> {
        expected: &'a Expected,
        cached: bool,
        flaw: Flaw<'a>,
    }

    impl Source for Fake<'_> {
        fn len(&self) -> u64 {
            self.expected.bytes.len() as u64
        }

        fn drop_cache(&self) {}

        fn read(&self, slices: &mut [IoSliceMut<'_>], at: u64, _: bool) -> io::Result<usize> {
            let [out] = slices else {
                panic!("one piece, not {}", slices.len())
            };
            let sector = (at / SECTOR) as usize;
            let sectors = sector..sector + out.len() / SECTOR as usize;
            let right = &self.expected.bytes[at as usize..][..out.len()];
            let bad = |sector: &usize| !self.expected.readable(&(*sector..*sector + 1));
            let good = sectors
                .clone()
                .find(bad)
                .map_or(out.len(), |first| (first - sectors.start) * SECTOR as usize);
            let mut outcome = if good == out.len() || self.cached && good > 0 {
                out[..good].copy_from_slice(&right[..good]);
                Ok(good)
            } else {
                Err(Errno::IO.into())
            };
            (self.flaw)(out, sector, &mut outcome);
            outcome
        }
    }

    /// An image of which some sectors cannot be read, among them the first, and one of which all
    /// can.
    fn images() -> [Image; 2] {
        let find = |partly: bool| {
            let mut images = (0..).map(|number| Image::new(5, number));
            let fits = |image: &Image| match &image.verdict {
                Verdict::Reads(expected) if image.sectors > 20 => {
                    let bad: usize = expected.unreadable.iter().map(Range::len).sum();
                    let first = !expected.readable(&(0..1));
                    first == partly && (bad > 0) == partly && bad < image.sectors as usize
                }
                _ => false,
            };
            images.find(fits).unwrap()
        };
        [find(true), find(false)]
    }

    fn check_with(image: &Image, of_cached: bool, flaw: Flaw<'_>) -> Result<(), Failure> {
        let Verdict::Reads(expected) = &image.verdict else {
            panic!("it reads")
        };
        let device = |cached| Fake {
            expected,
            cached,
            flaw: if cached == of_cached {
                flaw
            } else {
                &|_, _, _| {}
            },
        };
        let mut memory = vec![0; 1 << 20];
        compare(image, &device(false), &device(true), &mut memory, 1)
    }

    #[test]
    fn an_image_that_reads_as_it_should_passes() {
        for image in images() {
            check_with(&image, false, &|_, _, _| {}).unwrap();
        }
    }

    #[test]
    fn wrong_bytes_do_not() {
        for image in images() {
            for cached in [false, true] {
                let flaw = |out: &mut [u8], _, outcome: &mut io::Result<usize>| {
                    if let Ok(1..) = outcome {
                        out[0] ^= 1;
                    }
                };
                let what = check_with(&image, cached, &flaw).unwrap_err();
                assert!(what.contains("should be"), "{what}");
            }
        }
    }

    #[test]
    fn wrong_bytes_of_all_at_once_do_not() {
        for image in images() {
            let all = image.sectors as usize * SECTOR as usize;
            for cached in [false, true] {
                let flaw = |out: &mut [u8], _, _: &mut io::Result<usize>| {
                    if out.len() == all {
                        out[all - 1] ^= 1;
                    }
                };
                assert!(check_with(&image, cached, &flaw).is_err());
            }
        }
    }

    #[test]
    fn reads_that_fail_or_end_early_do_not() {
        let [partly, whole] = images();
        let eio = |_: &mut [u8], _, outcome: &mut io::Result<usize>| {
            *outcome = Err(Errno::IO.into());
        };
        let early = |_: &mut [u8], _, outcome: &mut io::Result<usize>| {
            if let Ok(n) = outcome {
                *n -= 512;
            }
        };
        for cached in [false, true] {
            assert!(check_with(&whole, cached, &eio).is_err());
            assert!(check_with(&whole, cached, &early).is_err());
        }
        assert!(check_with(&partly, false, &eio).is_err());
        assert!(check_with(&partly, false, &early).is_err());
    }

    #[test]
    fn other_errors_and_successes_where_it_must_fail_do_not() {
        let [partly, _] = images();
        for cached in [false, true] {
            for other in [Ok(()), Err(Errno::INVAL), Err(Errno::AGAIN)] {
                let flaw = |out: &mut [u8], _, outcome: &mut io::Result<usize>| {
                    if outcome.is_err() {
                        *outcome = match other {
                            Ok(()) => Ok(out.len()),
                            Err(errno) => Err(io::Error::from(errno)),
                        };
                    }
                };
                assert!(check_with(&partly, cached, &flaw).is_err());
            }
        }
    }

    #[test]
    fn what_a_failed_read_leaves_does_not() {
        let [partly, _] = images();
        let leave = |cached, leave: &dyn Fn(&mut [u8], usize)| {
            let flaw = |out: &mut [u8], sector, outcome: &mut io::Result<usize>| {
                if outcome.is_err() {
                    leave(out, sector);
                }
            };
            check_with(&partly, cached, &flaw)
        };
        leave(false, &|out, _| out.fill(0)).unwrap();
        for cached in [false, true] {
            let what = leave(cached, &|out, _| out[0] ^= 1).unwrap_err();
            assert!(what.contains("left something") || cached, "{what}");
            assert!(leave(cached, &|out, _| out.fill(0xdb)).is_err());
        }
        // The bytes that stand for the content where it cannot be read.
        let Verdict::Reads(expected) = &partly.verdict else {
            panic!("it reads in part")
        };
        let held = expected.bytes.iter().map(|byte| byte | 1).collect();
        let mut other = partly.clone();
        other.verdict = Verdict::Reads(Expected {
            bytes: held,
            unreadable: expected.unreadable.clone(),
        });
        let Verdict::Reads(expected) = &other.verdict else {
            panic!("it was made so")
        };
        let flaw = |out: &mut [u8], sector: usize, outcome: &mut io::Result<usize>| {
            if outcome.is_err() {
                let from = sector * SECTOR as usize;
                out.copy_from_slice(&expected.bytes[from..from + out.len()]);
            }
        };
        let what = check_with(&other, false, &flaw).unwrap_err();
        assert!(what.contains("none can be right"), "{what}");
    }

    #[test]
    fn a_device_of_another_length_does_not() {
        let [_, image] = images();
        let Verdict::Reads(expected) = &image.verdict else {
            panic!("it reads")
        };
        let mut longer = expected.clone();
        longer.bytes.resize(longer.bytes.len() + 512, 0);
        let device = |expected, cached| Fake {
            expected,
            cached,
            flaw: &|_, _, _| {},
        };
        let mut memory = vec![0; 1 << 20];
        let one = (&device(&longer, false), &device(expected, true));
        let other = (&device(expected, false), &device(&longer, true));
        for (direct, buffered) in [one, other] {
            let what = compare(&image, direct, buffered, &mut memory, 1).unwrap_err();
            assert!(what.contains("should have"), "{what}");
        }
    }
}
