// SPDX-License-Identifier: GPL-2.0

//! The payload of a layer file or blob: all of it, or the file in the tar that it is.
//!
//! It interprets no byte of the payload, and never writes.

use crate::blob::RemoteBlob;
use crate::error::{Error, Result, Status};
use crate::tar::{self, Member};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The length of the pieces of a long read.
const PIECE: u64 = 1 << 20;

/// Where the bytes of a payload are.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file on this machine, open for reading.
    File(Arc<File>),
    /// A blob in a registry.
    Blob(Arc<RemoteBlob>),
}

/// The bytes of a layer in its file or blob.
///
/// # Invariants
///
/// `place` lies within `file_len`, the length of the file when it was opened or of the blob, and
/// starts at a multiple of 512.
#[derive(Clone, Debug)]
pub struct Payload {
    origin: Origin,
    path: PathBuf,
    file_len: u64,
    place: Member,
    in_tar: bool,
}

impl Payload {
    /// Opens a file, and looks for a tar around the layer.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not a regular file; a tar with something wrong.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot =
            |error: std::io::Error| Error::io(format!("cannot read {}", path.display()), &error);
        let file = File::open(path).map_err(cannot)?;
        let about = file.metadata().map_err(cannot)?;
        if !about.is_file() {
            return Err(Error::new(
                Status::Device,
                format!("{} is no regular file", path.display()),
            ));
        }
        Self::new(
            Origin::File(Arc::new(file)),
            path.to_path_buf(),
            about.size(),
        )
    }

    /// Looks for a tar around the layer in a blob.
    ///
    /// # Errors
    ///
    /// A blob that cannot be read; a tar with something wrong.
    pub fn of_blob(blob: RemoteBlob) -> Result<Self> {
        let (path, len) = (PathBuf::from(blob.url()), blob.size());
        Self::new(Origin::Blob(Arc::new(blob)), path, len)
    }

    fn new(origin: Origin, path: PathBuf, file_len: u64) -> Result<Self> {
        let mut payload = Self {
            origin,
            path,
            file_len,
            place: Member {
                offset: 0,
                len: file_len,
            },
            in_tar: false,
        };
        let found = tar::first_file(file_len, |at, buf| payload.read(at, buf))
            .map_err(|error| error.within(payload.path.display()))?;
        if let Some(place) = found {
            payload.place = place;
            payload.in_tar = true;
        }
        Ok(payload)
    }

    /// Fills `buf` with the bytes of the payload from `at` on.
    ///
    /// # Errors
    ///
    /// If not all of them can be read.
    pub fn read(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        let tried = || {
            format!(
                "cannot read {} bytes at {} of {}",
                buf.len(),
                at.saturating_add(self.place.offset),
                self.path.display()
            )
        };
        let inside = at
            .checked_add(buf.len() as u64)
            .is_some_and(|end| end <= self.place.len);
        if !inside {
            return Err(Error::refused(format!("{}: it ends before", tried())));
        }
        let tried = tried();
        self.read_file(self.place.offset + at, buf)
            .map_err(|error| Error::io(tried, &error))
    }

    /// Fills `buf` with the bytes of the file or blob from `at` on.
    ///
    /// # Errors
    ///
    /// If not all of them can be read.
    pub fn read_file(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.origin {
            Origin::File(file) => file.read_exact_at(buf, at),
            Origin::Blob(blob) => blob.read(at, buf),
        }
    }

    /// The file or the blob.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path that it was opened with, or the URL of the blob.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length of the file or blob in bytes, the tar included.
    #[must_use]
    pub const fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Where the payload starts in the file or blob, in bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.place.offset
    }

    /// The length of the payload in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.place.len
    }

    /// Whether its length is 0.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.place.len == 0
    }

    /// Whether it lies in a tar.
    #[must_use]
    pub const fn in_tar(&self) -> bool {
        self.in_tar
    }

    /// The first bytes, by which its kind is detected; zeros after the end.
    pub(crate) fn first_bytes(&self) -> Result<[u8; 24]> {
        let mut bytes = [0; 24];
        let there = self.place.len.min(24);
        self.read(0, &mut bytes[..usize::try_from(there).unwrap_or_default()])?;
        Ok(bytes)
    }
}

/// Splits `len` bytes into pieces, and calls `each` with the start of each piece and memory of its
/// length, which `each` fills. The memory is reused.
pub(crate) fn in_pieces(
    len: u64,
    mut each: impl FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut memory = vec![0; usize::try_from(len.min(PIECE)).unwrap_or_default()];
    let mut done = 0;
    while done < len {
        let now = usize::try_from((len - done).min(PIECE)).unwrap_or_default();
        each(done, &mut memory[..now])?;
        done += now as u64;
    }
    Ok(())
}
