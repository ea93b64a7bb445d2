// SPDX-License-Identifier: GPL-2.0

//! What the errors of both formats have in common: their kinds, and the checks of header, trailer
//! and index that are the same. Messages name a format, so they are in the formats' modules.

use crate::units::Bytes;
use core::{
    convert::Infallible,
    ffi::CStr,
    fmt, //
};

/// The kind of an error, for a caller that has to choose an error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The image breaks the format: it is damaged, cut, or not of this format at all (`EINVAL`).
    Malformed,
    /// The image may be valid, but it uses what this reader does not know (`EOPNOTSUPP`).
    Unsupported,
    /// The image is larger than the format's readers accept (`EFBIG`).
    TooLarge,
}

/// A check of the format that an image fails. Its [`Display`](fmt::Display) form is the message and
/// the offending value.
pub trait FormatError: fmt::Display {
    /// A short text that names the check.
    fn message(&self) -> &'static CStr;

    /// The kind of error, by which a caller chooses an error number.
    fn kind(&self) -> ErrorKind;
}

/// The error type of a read that checks nothing, so that only I/O can fail.
impl FormatError for Infallible {
    fn message(&self) -> &'static CStr {
        match *self {}
    }

    fn kind(&self) -> ErrorKind {
        match *self {}
    }
}

/// A check of header, trailer or index that both formats make, and that an image fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StructureError {
    /// The image has no room for a header, or none for the trailer it needs.
    TooShort {
        /// The length of the image.
        len: Bytes,
        /// The least length it must have.
        needed: Bytes,
    },
    /// The header does not start with the magic: the image is of another format, compressed, or at
    /// another offset.
    HeaderMagic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// The header does not have the flag of a header: it may be a trailer.
    HeaderFlag {
        /// The flags.
        flags: u64,
    },
    /// The header does not have the flag of a data file: it may be the index of a writable layer.
    HeaderType {
        /// The flags.
        flags: u64,
    },
    /// The last bytes are no trailer: the image is cut, padded or writable, or the caller gave
    /// another length.
    TrailerMagic {
        /// The first eight bytes where the trailer must be.
        found: [u8; 8],
    },
    /// The trailer has the flag of a header.
    TrailerFlag {
        /// The flags.
        flags: u64,
    },
    /// The trailer does not have the flag of a data file.
    TrailerType {
        /// The flags.
        flags: u64,
    },
    /// The trailer is not marked as sealed: the writer never finished the image.
    TrailerNotSealed {
        /// The flags.
        flags: u64,
    },
    /// The index has more entries than any reader accepts.
    IndexTooLong {
        /// The number of entries.
        entries: u64,
        /// The largest number of entries.
        limit: u64,
    },
    /// The index is not between the header and the trailer, or the end of the image.
    IndexPlace {
        /// Where the index starts.
        offset: u64,
        /// The length of the index.
        len: Bytes,
        /// The least offset it may have.
        start: u64,
        /// The largest offset it may end at.
        limit: u64,
    },
    /// The caller brought fewer bytes than the index has.
    IndexIncomplete {
        /// The number of complete entries.
        entries: u32,
        /// The number of entries of the index.
        expected: u32,
    },
    /// The caller brought more bytes than the index has.
    IndexSurplus {
        /// The number of entries of the index.
        expected: u32,
    },
}

impl StructureError {
    pub(crate) const fn kind(&self) -> ErrorKind {
        match self {
            Self::IndexTooLong { .. } => ErrorKind::TooLarge,
            _ => ErrorKind::Malformed,
        }
    }

    /// Writes the offending values, as they follow the message.
    pub(crate) fn write_values(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len, needed } => write!(f, " ({len} bytes, needs {needed})"),
            Self::HeaderMagic { found } | Self::TrailerMagic { found } => {
                write!(f, " ({:#018x})", u64::from_be_bytes(*found))
            }
            Self::HeaderFlag { flags }
            | Self::HeaderType { flags }
            | Self::TrailerFlag { flags }
            | Self::TrailerType { flags }
            | Self::TrailerNotSealed { flags } => write!(f, " (flags {flags:#x})"),
            Self::IndexTooLong { entries, limit } => write!(f, " ({entries}, at most {limit})"),
            Self::IndexPlace {
                offset,
                len,
                start,
                limit,
            } => write!(
                f,
                " ({len} bytes at {offset}, may start at {start} and end at {limit})"
            ),
            Self::IndexIncomplete { entries, expected } => {
                write!(f, " ({entries} of {expected} entries)")
            }
            Self::IndexSurplus { expected } => write!(f, " ({expected} entries)"),
        }
    }
}
