// SPDX-License-Identifier: GPL-2.0

//! Random access to bytes of known length: a file, memory, a part of either, a ZFile's content, an
//! image.

use crate::Error;
use std::fmt::Debug;
use std::fs::File;
use std::io::{Error as IoError, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Random access to bytes of known length.
pub trait ReadAt: Debug {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// If not all of them can be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it.
    ///
    /// # Errors
    ///
    /// As [`Self::read_at`].
    fn read_all(&self) -> Result<Vec<u8>, Error> {
        let mut all = vec![0; usize::try_from(self.len()).map_err(|_| too_far())?];
        self.read_at(0, &mut all)?;
        Ok(all)
    }
}

fn too_far() -> Error {
    Error::Io(IoError::new(ErrorKind::UnexpectedEof, "read past the end"))
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let start = usize::try_from(offset).map_err(|_| too_far())?;
        let end = start.checked_add(buf.len()).ok_or_else(too_far)?;
        buf.copy_from_slice(self.get(start..end).ok_or_else(too_far)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.as_slice().read_at(offset, buf)
    }
}

impl ReadAt for File {
    fn len(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        Ok(self.read_exact_at(buf, offset)?)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn len(&self) -> u64 {
        R::len(self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        R::read_at(self, offset, buf)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Arc<R> {
    fn len(&self) -> u64 {
        R::len(self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        R::read_at(self, offset, buf)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Box<R> {
    fn len(&self) -> u64 {
        R::len(self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        R::read_at(self, offset, buf)
    }
}

/// A part of another [`ReadAt`].
#[derive(Clone, Copy, Debug)]
pub struct Slice<R> {
    inner: R,
    start: u64,
    len: u64,
}

impl<R: ReadAt> Slice<R> {
    /// The `len` bytes of `inner` from `start` on, or as many of them as there are.
    pub fn new(inner: R, start: u64, len: u64) -> Self {
        let start = start.min(inner.len());
        let len = len.min(inner.len() - start);
        Self { inner, start, len }
    }
}

impl<R: ReadAt> ReadAt for Slice<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(buf.len() as u64).ok_or_else(too_far)?;
        if end > self.len {
            return Err(too_far());
        }
        self.inner.read_at(self.start + offset, buf)
    }
}
