// SPDX-License-Identifier: GPL-2.0

//! A file that a device should hold: its bytes, then zeros up to the end of its last sector.

use crate::{content::Content, Context, Failure, SECTOR};
use std::{fs::File, os::unix::fs::FileExt, path::Path};

/// The bytes a device should hold. They are read when they are compared: a case compares few.
pub struct Reference {
    file: File,
    /// Where the bytes begin in the file.
    skip: u64,
    /// How many of them the file holds; zeros follow.
    bytes: u64,
}

impl Reference {
    /// The file at `path` from byte `skip` on: `bytes` bytes, or all.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is shorter.
    pub fn open(path: &Path, skip: u64, bytes: Option<u64>) -> Result<Self, Failure> {
        let file = File::open(path).context(path.display())?;
        let len = file.metadata().context(path.display())?.len();
        let available = len
            .checked_sub(skip)
            .filter(|&available| bytes.is_none_or(|bytes| bytes <= available))
            .ok_or_else(|| format!("{} has only {len} bytes", path.display()))?;
        Ok(Self {
            file,
            skip,
            bytes: bytes.unwrap_or(available),
        })
    }
}

impl Content for Reference {
    fn len(&self) -> u64 {
        self.bytes.next_multiple_of(SECTOR)
    }

    fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Failure> {
        if at + out.len() as u64 > self.len() {
            return Err(format!("{} bytes at {at} are beyond the end", out.len()));
        }
        let held = self.bytes.saturating_sub(at).min(out.len() as u64);
        let (held, zeros) = out.split_at_mut(held as usize);
        zeros.fill(0);
        self.file
            .read_exact_at(held, self.skip + at)
            .context("the reference")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_followed_by_zeros_up_to_the_end_of_its_sector() {
        let path = std::env::temp_dir().join(format!("overlaybd-reference-{}", std::process::id()));
        std::fs::write(&path, [7; 700]).unwrap();
        let reference = Reference::open(&path, 100, None).unwrap();
        let short = Reference::open(&path, 100, Some(10)).unwrap();
        let too_short = Reference::open(&path, 100, Some(601)).is_err();
        std::fs::remove_file(&path).unwrap();
        assert!(too_short);
        assert_eq!((reference.len(), short.len()), (1024, 512));
        let mut out = [1; 8];
        reference.bytes_at(596, &mut out).unwrap();
        assert_eq!(out, [7, 7, 7, 7, 0, 0, 0, 0]);
        short.bytes_at(6, &mut out).unwrap();
        assert_eq!(out, [7, 7, 7, 7, 0, 0, 0, 0]);
        reference.bytes_at(1016, &mut out).unwrap();
        assert_eq!(out, [0; 8]);
        assert!(reference.bytes_at(1017, &mut out).is_err());
    }
}
