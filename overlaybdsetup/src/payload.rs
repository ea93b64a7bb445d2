// SPDX-License-Identifier: GPL-2.0

//! The payload of a layer file: the whole file, or the file in the tar that it is.
//!
//! It interprets no byte of the payload, and never writes.

use crate::error::{Error, Result, Status};
use crate::tar::{self, Member};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The length of the pieces of a long read.
const PIECE: u64 = 1 << 20;

/// The bytes of a layer in its file.
///
/// # Invariants
///
/// `place` lies within `file_len`, the length of the file when it was opened, and starts at a
/// multiple of 512.
#[derive(Clone, Debug)]
pub struct Payload {
    file: Arc<File>,
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
        let mut payload = Self {
            file: Arc::new(file),
            path: path.to_path_buf(),
            file_len: about.size(),
            place: Member {
                offset: 0,
                len: about.size(),
            },
            in_tar: false,
        };
        let found = tar::first_file(about.size(), |at, buf| payload.read(at, buf))
            .map_err(|error| error.within(path.display()))?;
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
        self.file
            .read_exact_at(buf, self.place.offset + at)
            .map_err(|error| Error::io(tried, &error))
    }

    /// The file, open for reading.
    #[must_use]
    pub const fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The path that it was opened with.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length of the file in bytes, the tar included.
    #[must_use]
    pub const fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Where the payload starts in the file, in bytes.
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
