// SPDX-License-Identifier: GPL-2.0

//! The content of a layer file, decompressed if it is compressed.
//!
//! The bytes decide what the file is, in the order of the format's own reader: a tar, else a ZFile,
//! else the content itself. A file that starts like another known kind is named and refused.

use crate::error::{Error, Result};
use crate::payload::Payload;
use crate::zfile::{Codec, Zfile};

/// The content of a layer file, decompressed.
#[derive(Debug)]
pub enum Content {
    /// The payload itself.
    Raw(Payload),
    /// The content of a ZFile.
    Zfile(Box<Zfile>),
}

impl Content {
    /// Whether a payload starts like a ZFile.
    pub(crate) fn is_zfile(payload: &Payload) -> Result<bool> {
        // `Zfile::open` checks the whole magic; a file with this start is no other kind of layer.
        Ok(payload.first_bytes()?.starts_with(b"ZFile\0\x01\0"))
    }

    /// Detects what a payload is, and opens it.
    ///
    /// # Errors
    ///
    /// A ZFile with something wrong in its header, trailer or index; a file of another known kind.
    /// The errors do not name the file.
    pub fn open(payload: Payload) -> Result<Self> {
        if Self::is_zfile(&payload)? {
            return Ok(Self::Zfile(Box::new(Zfile::open(payload)?)));
        }
        let start = payload.first_bytes()?;
        let other = match start {
            [0x1f, 0x8b, ..] => {
                Some("a gzip file: an ordinary layer of a container image, not converted")
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                Some("a Zstandard file: an ordinary layer of a container image, not converted")
            }
            [b'{', ..] => Some("a text in JSON: for a config file there is --config"),
            _ => None,
        };
        match other {
            Some(what) => Err(Error::refused(format!("it is {what}"))),
            None => Ok(Self::Raw(payload)),
        }
    }

    /// The payload of the file.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        match self {
            Self::Raw(payload) => payload,
            Self::Zfile(zfile) => zfile.payload(),
        }
    }

    /// The ZFile, if the payload is one.
    #[must_use]
    pub fn zfile(&self) -> Option<&Zfile> {
        match self {
            Self::Raw(_) => None,
            Self::Zfile(zfile) => Some(zfile),
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Raw(payload) => payload.len(),
            Self::Zfile(zfile) => zfile.layout().content_len().get(),
        }
    }

    /// Whether its length is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes from `at` on.
    ///
    /// # Errors
    ///
    /// If not all of them can be read.
    pub fn read(&self, at: u64, buf: &mut [u8], codec: &mut Codec) -> Result<()> {
        match self {
            Self::Raw(payload) => payload.read(at, buf),
            Self::Zfile(zfile) => zfile.read(at, buf, codec),
        }
    }
}
