// SPDX-License-Identifier: GPL-2.0

//! Finds a layer's blob in a file: in a tar or not, in a ZFile or not. It tries these in the order
//! of the reference reader.

use crate::{Error, Payload, ReadAt, Slice, ZfileReader};

/// The blob of a layer.
#[derive(Debug)]
pub enum Blob<R> {
    /// The bytes of the file, or of the tar member.
    Raw(Slice<R>),
    /// The content of a ZFile.
    Zfile(Box<ZfileReader<Slice<R>>>),
}

impl<R: ReadAt> Blob<R> {
    /// Opens a layer file.
    ///
    /// # Errors
    ///
    /// [`Error::Zfile`] if it is a ZFile that does not open, [`Error::Io`].
    pub fn open(file: R) -> Result<Self, Error> {
        let payload = Payload::find(&file)?;
        let bytes = Slice::new(file, payload.offset, payload.len);
        let mut magic = [0; 5];
        if bytes.len() >= 5 {
            bytes.read_at(0, &mut magic)?;
        }
        if &magic == b"ZFile" {
            Ok(Self::Zfile(Box::new(ZfileReader::open(bytes)?)))
        } else {
            Ok(Self::Raw(bytes))
        }
    }
}

impl<R: ReadAt> ReadAt for Blob<R> {
    fn len(&self) -> u64 {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Zfile(content) => content.len(),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Raw(bytes) => bytes.read_at(offset, buf),
            Self::Zfile(content) => content.read_at(offset, buf),
        }
    }
}
