// SPDX-License-Identifier: GPL-2.0

//! Reads of a device that changes between two contents: each sector must be that of one of them.

use crate::{device::Source, sys::Buffer, Context, Failure, SECTOR};
use std::io::IoSliceMut;

/// The longest read in sectors.
const LONGEST: u64 = 1024;

/// Reads at random until it is `over`, and calls `first` after the first read. Returns how many
/// sectors were of each content alone.
///
/// # Errors
///
/// The first read that fails, or that has a sector of neither content.
pub fn either(
    device: &impl Source,
    contents: [&[u8]; 2],
    rng: &mut fastrand::Rng,
    over: impl Fn() -> bool,
    first: impl Fn() -> Result<(), Failure>,
) -> Result<[u64; 2], Failure> {
    let sectors = contents[0].len() as u64 / SECTOR;
    if contents[0].len() != contents[1].len() || sectors == 0 {
        return Err("the contents are not equally long, or empty".into());
    }
    let mut counts = [0; 2];
    let mut buffer = Buffer::new((LONGEST * SECTOR) as usize, false);
    let mut reads = 0u64;
    while !over() {
        let len = rng.u64(1..=LONGEST.min(sectors));
        let at = rng.u64(0..=sectors - len) * SECTOR;
        let bytes = &mut buffer[..(len * SECTOR) as usize];
        let read = device.read(&mut [IoSliceMut::new(bytes)], at, false);
        let read = read.context(format_args!("a read at {at}"))?;
        if read != bytes.len() {
            return Err(format!("a read at {at} is short: {read} bytes"));
        }
        for (n, sector) in bytes.chunks(SECTOR as usize).enumerate() {
            let from = at as usize + n * SECTOR as usize;
            let of = contents.map(|content| content[from..][..sector.len()] == *sector);
            match of {
                [true, false] => counts[0] += 1,
                [false, true] => counts[1] += 1,
                [true, true] => {}
                [false, false] => return Err(format!("the sector at {from} is of neither")),
            }
        }
        if reads == 0 {
            first()?;
        }
        reads += 1;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, GOOD};
    use std::cell::Cell;

    fn read(device: &[u8], one: &[u8], other: &[u8]) -> Result<[u64; 2], Failure> {
        let device = Fake {
            content: &device.to_vec(),
            holes: &crate::holes::Holes::default(),
            offset: 0,
            cached: false,
            flaw: GOOD,
            from: Cell::new(0),
        };
        let left = Cell::new(20);
        let over = || left.replace(left.get() - 1) == 0;
        let mut rng = fastrand::Rng::with_seed(1);
        either(&device, [one, other], &mut rng, over, || Ok(()))
    }

    #[test]
    fn sectors_of_both_are_counted_and_others_found() {
        let (one, other) = ([1; 4096], [2; 4096]);
        let mut mixed = one;
        mixed[512..1024].fill(2);
        let counts = read(&mixed, &one, &other).unwrap();
        assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
        mixed[600] = 1;
        let what = read(&mixed, &one, &other).unwrap_err();
        assert!(what.contains("at 512 is of neither"), "{what}");
        assert!(read(&mixed, &one, &other[..512]).is_err());
    }
}
