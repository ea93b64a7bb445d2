// SPDX-License-Identifier: GPL-2.0

//! What a device should hold: a file's bytes, and zeros up to the end of its last sector.

use crate::{judge::Content, Context, Failure, SECTOR};
use std::{fs::File, ops::Range, os::unix::fs::FileExt, path::Path};

/// The bytes a device should hold. They are read when they are compared: most are never looked at.
pub struct Reference {
    file: File,
    /// Where the bytes begin in the file.
    skip: u64,
    /// How many of them the file holds; zeros follow.
    bytes: u64,
}

impl Reference {
    /// The file at `path`, from the byte `skip` on, `bytes` of it or all.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has not as many bytes.
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
    /// A whole number of sectors.
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

/// Ranges of bytes that cannot be read.
#[derive(Clone, Default)]
pub struct Holes(Vec<Range<u64>>);

impl Holes {
    /// Adds a range in the form `OFFSET+LENGTH`.
    ///
    /// # Errors
    ///
    /// If it has another form.
    pub fn add(&mut self, text: &str) -> Result<(), Failure> {
        let parse = || {
            let (start, len) = text.split_once('+')?;
            let (start, len): (u64, u64) = (start.parse().ok()?, len.parse().ok()?);
            Some(start..start.checked_add(len)?)
        };
        self.0
            .push(parse().ok_or_else(|| format!("'{text}' is not OFFSET+LENGTH"))?);
        Ok(())
    }

    /// The first byte of `len` bytes at `at` that is in one of them.
    #[must_use]
    pub fn first(&self, at: u64, len: u64) -> Option<u64> {
        let touched = self
            .0
            .iter()
            .filter(|hole| at < hole.end && hole.start < at + len && !hole.is_empty());
        touched.map(|hole| hole.start.max(at)).min()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(texts: &[&str]) -> Holes {
        let mut holes = Holes::default();
        for text in texts {
            holes.add(text).unwrap();
        }
        holes
    }

    #[test]
    fn the_first_byte_in_a_hole() {
        assert_eq!(holes(&[]).first(0, u64::MAX), None);
        for holes in [holes(&["512+512", "4096+1"]), holes(&["4096+1", "512+512"])] {
            assert!(!holes.is_empty());
            assert_eq!(holes.first(0, 512), None);
            assert_eq!(holes.first(0, 513), Some(512));
            assert_eq!(holes.first(0, 8192), Some(512));
            assert_eq!(holes.first(700, 8192), Some(700));
            assert_eq!(holes.first(1023, 1), Some(1023));
            assert_eq!(holes.first(1024, 3072), None);
            assert_eq!(holes.first(1024, 3073), Some(4096));
            assert_eq!(holes.first(4096, 1), Some(4096));
            assert_eq!(holes.first(4097, 1000), None);
        }
    }

    #[test]
    fn holes_have_a_start_and_a_length() {
        for text in ["", "512", "512-512", "+", "1+", "+1", "a+1", "1+-1"] {
            assert!(Holes::default().add(text).is_err(), "{text}");
        }
        let far = format!("{}+2", u64::MAX);
        assert!(Holes::default().add(&far).is_err());
    }

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
