// SPDX-License-Identifier: GPL-2.0

//! A block device or file, opened read-only for direct or buffered reads.

use crate::{
    sys::{
        self,
        queue::{read_at_once, read_while_written, Reads},
        Buffer,
    },
    Context, Failure,
};
use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions},
    io::{self, IoSliceMut, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The length of the reads of [`Device::scan`], in bytes.
const PIECE: usize = 1 << 20;

/// A device, or what stands in for one in tests.
pub trait Source {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Whether it is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops its pages from the page cache.
    fn drop_cache(&self);

    /// One `preadv2`.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    fn read(&self, slices: &mut [IoSliceMut<'_>], at: u64, nowait: bool) -> io::Result<usize>;
}

/// A device or file.
pub struct Device {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Device {
    /// Opens `path`; with `direct`, reads bypass the page cache.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or has no length.
    pub fn open(path: &Path, direct: bool) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.read(true);
        if direct {
            options.custom_flags(OFlags::DIRECT.bits() as i32);
        }
        let mut file = options.open(path).context(path.display())?;
        let len = file.seek(SeekFrom::End(0)).context(path.display())?;
        Ok(Self {
            file,
            path: path.to_owned(),
            len,
        })
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads from each place that `next` returns, several of them at once, into a buffer that holds
    /// as many reads, and passes each place and what was read from there to `take`. Returns the
    /// number of reads.
    ///
    /// # Errors
    ///
    /// What the kernel or `take` reports, or if a read is short.
    pub fn read_at_once(
        &self,
        buffer: &mut Buffer,
        how: Reads,
        next: impl FnMut() -> Option<u64>,
        take: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<u64, Failure> {
        read_at_once(&self.file, buffer, how, next, take).context(self.path.display())
    }

    /// Reads `bytes` bytes from `at` on into the beginning of a buffer, while another thread writes
    /// to that memory. Returns the number of bytes read.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn read_while_written(
        &self,
        buffer: &mut Buffer,
        bytes: u32,
        at: u64,
    ) -> io::Result<usize> {
        read_while_written(&self.file, buffer, bytes, at)
    }

    /// Reads `bytes` bytes from `at` on, in order and in large pieces, and passes each with its
    /// offset to `take`.
    ///
    /// # Errors
    ///
    /// What the kernel or `take` reports, or if the device is too short.
    pub fn scan(
        &self,
        at: u64,
        bytes: u64,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut buffer = Buffer::new(PIECE, true);
        let end = at
            .checked_add(bytes)
            .filter(|&end| end <= self.len)
            .ok_or_else(|| {
                format!(
                    "{} has {} bytes, {bytes} at {at} were asked for",
                    self.path.display(),
                    self.len
                )
            })?;
        let mut at = at;
        while at < end {
            let want = (PIECE as u64).min(end - at) as usize;
            // Direct reads are whole sectors.
            let whole = want.next_multiple_of(512);
            let n = self
                .read(&mut [IoSliceMut::new(&mut buffer[..whole])], at, false)
                .context(format_args!("{} at byte {at}", self.path.display()))?;
            let n = n.min(want);
            if n == 0 {
                return Err(format!("{} ends at byte {at}", self.path.display()));
            }
            take(at, &buffer[..n])?;
            at += n as u64;
        }
        Ok(())
    }
}

impl Source for Device {
    fn len(&self) -> u64 {
        self.len
    }

    fn drop_cache(&self) {
        sys::drop_cache(&self.file);
    }

    fn read(&self, slices: &mut [IoSliceMut<'_>], at: u64, nowait: bool) -> io::Result<usize> {
        sys::preadv(&self.file, slices, at, nowait)
    }
}
