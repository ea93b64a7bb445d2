// SPDX-License-Identifier: GPL-2.0

//! What a device should hold: a file's bytes, and zeros up to the end of its last sector.

use crate::{Context, Failure, SECTOR};
use std::{ops::Range, path::Path};

/// The bytes a device should hold, all in memory.
pub struct Reference {
    bytes: Vec<u8>,
}

impl Reference {
    /// The file at `path`, from the byte `skip` on, `bytes` of it or all.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has not as many bytes.
    pub fn open(path: &Path, skip: u64, bytes: Option<u64>) -> Result<Self, Failure> {
        let mut all = std::fs::read(path).context(path.display())?;
        let available = (all.len() as u64)
            .checked_sub(skip)
            .filter(|&available| bytes.is_none_or(|bytes| bytes <= available))
            .ok_or_else(|| format!("{} has only {} bytes", path.display(), all.len()))?;
        all.drain(..skip as usize);
        all.truncate(bytes.unwrap_or(available) as usize);
        all.resize(all.len().next_multiple_of(SECTOR as usize), 0);
        Ok(Self { bytes: all })
    }

    /// How many bytes there are, a whole number of sectors.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Compares what was read from `at` on.
    ///
    /// # Errors
    ///
    /// The first byte that differs.
    pub fn compare(&self, at: u64, read: &[u8]) -> Result<(), Failure> {
        let start = at as usize;
        let Some(want) = self.bytes.get(start..start + read.len()) else {
            return Err(format!("{} bytes at {at} are beyond the end", read.len()));
        };
        if want == read {
            return Ok(());
        }
        let different = |(read, want): (&u8, &u8)| read != want;
        let first = read.iter().zip(want).position(different).unwrap_or(0);
        let count = read
            .iter()
            .zip(want)
            .filter(|&pair| different(pair))
            .count();
        Err(format!(
            "byte {} is {:#04x}, should be {:#04x} ({count} bytes of {} differ)",
            at + first as u64,
            read[first],
            want[first],
            read.len()
        ))
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
