// SPDX-License-Identifier: GPL-2.0

//! Direct reads of all of a device in order, compared with what it should hold.

use crate::{
    content::Content,
    device::Source,
    holes::Holes,
    judge::{Ended, Target, Wanted},
    pattern::Pattern,
    sys::Buffer,
    Failure,
};
use std::io::IoSliceMut;

/// Bytes of memory around each read that are checked too.
const MARGIN: usize = 1024;

/// Each read goes to the beginning of a page of memory.
const PAGE: usize = 4096;

/// Reads all units of `unit` bytes in order. Those that touch a hole must fail, and with `zeroed`
/// leave nothing but zeros. Returns how many were read, and how many failed.
///
/// # Errors
///
/// The first read that is wrong.
pub fn sweep(
    device: &impl Source,
    content: &impl Content,
    holes: &Holes,
    unit: u64,
    zeroed: bool,
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
            places: std::slice::from_ref(&place),
            pattern,
            at,
            cached: false,
        };
        let ended = target
            .judge(&outcome, wanted, content)
            .map_err(|failure| format!("reading {len} bytes at {at}: {failure}"))?;
        match ended {
            Ended::Well => good += 1,
            Ended::Badly if zeroed && memory[place].iter().any(|&byte| byte != 0) => {
                return Err(format!(
                    "reading {len} bytes at {at} failed and left more than zeros"
                ));
            }
            Ended::Badly => bad += 1,
        }
        at += len as u64;
    }
    Ok((good, bad))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{content, error, holes, Did, Fake, Flaw, GOOD};
    use rustix::io::Errno;
    use std::cell::Cell;

    /// Sweeps a device of 100 sectors, of which 10 to 13 cannot be read; the sweep expects `bad`.
    fn swept(bad: &str, unit: u64, from: u32, flaw: Flaw<'_>) -> Result<(u64, u64), Failure> {
        let content = content(100);
        let hole = holes("5120+2048");
        let device = Fake {
            content: &content,
            holes: &hole,
            offset: 0,
            cached: false,
            flaw,
            from: Cell::new(from),
        };
        sweep(&device, &content, &holes(bad), unit, false)
    }

    #[test]
    fn what_a_read_leaves_that_fails_must_be_zeros() {
        let content = content(100);
        let hole = holes("5120+2048");
        let swept = |left: Option<u8>| {
            let fill = |did: &mut Did<'_>| {
                if let (Err(_), Some(byte)) = (&did.outcome, left) {
                    did.out.fill(byte);
                }
            };
            let device = Fake {
                content: &content,
                holes: &hole,
                offset: 0,
                cached: false,
                flaw: &fill,
                from: Cell::new(0),
            };
            sweep(&device, &content, &hole, 512, true)
        };
        assert_eq!(swept(Some(0)), Ok((96, 4)));
        let what = swept(None).unwrap_err();
        assert!(what.contains("left more than zeros"), "{what}");
    }

    #[test]
    fn a_sweep_reads_all() {
        let hole = "5120+2048";
        assert_eq!(swept(hole, 512, 0, GOOD), Ok((96, 4)));
        assert_eq!(swept(hole, 4096, 0, GOOD), Ok((12, 1)));
        assert_eq!(swept(hole, 1 << 20, 0, GOOD), Ok((0, 1)));
        // More bytes can be read than expected, or fewer.
        assert!(swept("", 512, 0, GOOD).is_err());
        assert!(swept("5120+1536", 512, 0, GOOD).is_err());
        assert!(swept("5120+2560", 512, 0, GOOD).is_err());
    }

    #[test]
    fn a_sweep_finds_one_wrong_sector_anywhere() {
        let hole = "5120+2048";
        for number in 0..100u64 {
            // A read that fails must not leave another byte, others must not return a wrong one.
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
        let longer = content(101);
        let device = Fake {
            content: &longer,
            holes: &Holes::default(),
            offset: 0,
            cached: false,
            flaw: GOOD,
            from: Cell::new(0),
        };
        assert!(sweep(&device, &content(100), &Holes::default(), 512, false).is_err());
        assert!(sweep(&device, &content(102), &Holes::default(), 512, false).is_err());
    }
}
