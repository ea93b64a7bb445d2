// SPDX-License-Identifier: GPL-2.0

//! What a device should hold: a file's bytes, and zeros up to the end of its last sector.

use crate::{Context, Failure, SECTOR};
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

    /// How many bytes there are, a whole number of sectors.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes.next_multiple_of(SECTOR)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Compares what was read from `at` on.
    ///
    /// # Errors
    ///
    /// The first byte that differs.
    pub fn compare(&self, at: u64, read: &[u8]) -> Result<(), Failure> {
        let mut place = [0; 65536];
        let mut from = at;
        for piece in read.chunks(place.len()) {
            let want = &mut place[..piece.len()];
            self.bytes_at(from, want)?;
            if want != piece {
                let different = |(read, want): (&u8, &u8)| read != want;
                let pairs = || piece.iter().zip(&*want);
                let first = pairs().position(different).unwrap_or(0);
                return Err(format!(
                    "byte {} is {:#04x}, should be {:#04x} ({} bytes of the {} from {from} on differ)",
                    from + first as u64,
                    piece[first],
                    want[first],
                    pairs().filter(|&pair| different(pair)).count(),
                    piece.len()
                ));
            }
            from += piece.len() as u64;
        }
        Ok(())
    }

    /// The bytes from `at` on.
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

    /// Whether any byte of `len` bytes at `at` is in one of them.
    #[must_use]
    pub fn touch(&self, at: u64, len: u64) -> bool {
        self.0
            .iter()
            .any(|hole| at < hole.end && hole.start < at + len)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
