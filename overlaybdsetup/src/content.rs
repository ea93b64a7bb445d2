// SPDX-License-Identifier: GPL-2.0

//! What a layer file holds, decompressed where it is compressed.
//!
//! What it is is found out from the bytes, in the order of the format's own reader: a tar, else a ZFile, else
//! the bytes themselves. Where the start is that of something else that is known, it is named and refused.

use crate::error::{Error, Result};
use crate::payload::Payload;
use crate::zfile::{Codec, Zfile};

/// What a layer file holds, decompressed.
#[derive(Debug)]
pub enum Content {
    /// The bytes of the payload themselves.
    Raw(Payload),
    /// The content of a ZFile.
    Zfile(Box<Zfile>),
}

impl Content {
    /// Whether a payload starts as a ZFile does.
    pub(crate) fn is_zfile(payload: &Payload) -> Result<bool> {
        // Both halves of the magic are checked by what opens it: with one wrong it is no layer of any kind.
        Ok(payload.first_bytes()?.starts_with(b"ZFile\0\x01\0"))
    }

    /// Finds out what a payload is, and opens it.
    ///
    /// # Errors
    ///
    /// A ZFile with something wrong in header, trailer or index, and what is known not to be a layer. The
    /// errors do not name the file.
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

    /// The file it is in.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        match self {
            Self::Raw(payload) => payload,
            Self::Zfile(zfile) => zfile.payload(),
        }
    }

    /// The ZFile it is in, if it is in one.
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

    /// Whether there are no bytes in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads bytes from `at` on.
    ///
    /// # Errors
    ///
    /// If they cannot be read, all of them.
    pub fn read(&self, at: u64, buf: &mut [u8], codec: &mut Codec) -> Result<()> {
        match self {
            Self::Raw(payload) => payload.read(at, buf),
            Self::Zfile(zfile) => zfile.read(at, buf, codec),
        }
    }
}
