// SPDX-License-Identifier: GPL-2.0

//! Why an LSMT layer does not open: one variant per check.

use crate::units::{Bytes, Sector, Sectors};
use crate::{ErrorKind, FormatError};
use core::ffi::CStr;
use core::fmt;

/// Why an LSMT layer does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The blob has no room for a header and a trailer.
    TooShort {
        /// The length of the blob.
        blob_len: Bytes,
        /// The least it would have to be.
        needed: Bytes,
    },
    /// The header does not start with the magic of an LSMT layer: it is none, or it is compressed.
    HeaderMagic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// The header does not have the flag of a header: it may be a trailer.
    HeaderFlag {
        /// The flags.
        flags: u32,
    },
    /// The header does not have the flag of a data file: it may be the index of a writable layer.
    HeaderType {
        /// The flags.
        flags: u32,
    },
    /// The last 4096 bytes are no trailer: the blob is cut, padded or writable, or its length is
    /// wrong.
    TrailerMagic {
        /// The first eight bytes of where the trailer should be.
        found: [u8; 8],
    },
    /// The trailer has the flag of a header.
    TrailerFlag {
        /// The flags.
        flags: u32,
    },
    /// The trailer does not have the flag of a data file.
    TrailerType {
        /// The flags.
        flags: u32,
    },
    /// The trailer is not marked as sealed: the layer was never finished.
    TrailerNotSealed {
        /// The flags.
        flags: u32,
    },
    /// The virtual size is no whole number of sectors.
    VirtualSize {
        /// The virtual size.
        bytes: Bytes,
    },
    /// The index has more entries than any reader accepts.
    IndexTooLong {
        /// The number of entries.
        entries: u64,
        /// The most there may be.
        limit: u64,
    },
    /// The index is not between the header and the trailer.
    IndexPlace {
        /// Where the index starts.
        offset: u64,
        /// How long it is.
        len: Bytes,
        /// Where it has to end at the latest.
        limit: u64,
    },
    /// An entry starts before the one in front of it ends.
    EntryOrder {
        /// The number of the entry in the index.
        entry: u32,
        /// Where it starts.
        start: Sector,
        /// Where the one in front of it ends.
        previous_end: Sector,
    },
    /// The data of an entry is not between the header and the index. The place of a zeroed entry,
    /// which has no data, may be up to the index.
    EntrySource {
        /// The number of the entry in the index.
        entry: u32,
        /// Where its data starts in the blob.
        source: Sector,
        /// How many sectors it has.
        len: Sectors,
        /// Where data has to end at the latest.
        limit: Sector,
    },
    /// The caller brought fewer bytes than the index has.
    IndexIncomplete {
        /// The number of entries that came whole.
        entries: u32,
        /// The number of entries of the index.
        expected: u32,
    },
    /// The caller brought more bytes than the index has.
    IndexSurplus {
        /// The number of entries of the index.
        expected: u32,
    },
    /// The caller brought too little memory for the index.
    Memory {
        /// The number of segments.
        segments: usize,
        /// The number of segments it takes.
        needed: usize,
    },
}

impl FormatError for OpenError {
    fn message(&self) -> &'static CStr {
        match self {
            Self::TooShort { .. } => c"LSMT: too short for header and trailer",
            Self::HeaderMagic { .. } => c"LSMT header: wrong magic",
            Self::HeaderFlag { .. } => c"LSMT header: not marked as header",
            Self::HeaderType { .. } => c"LSMT header: not marked as data file",
            Self::TrailerMagic { .. } => c"LSMT trailer: wrong magic",
            Self::TrailerFlag { .. } => c"LSMT trailer: marked as header",
            Self::TrailerType { .. } => c"LSMT trailer: not marked as data file",
            Self::TrailerNotSealed { .. } => c"LSMT trailer: not sealed",
            Self::VirtualSize { .. } => c"LSMT: virtual size is not a multiple of 512",
            Self::IndexTooLong { .. } => c"LSMT index: too many entries",
            Self::IndexPlace { .. } => c"LSMT index: outside of the layer",
            Self::EntryOrder { .. } => c"LSMT index: entries out of order",
            Self::EntrySource { .. } => c"LSMT index: data outside of the layer",
            Self::IndexIncomplete { .. } => c"LSMT index: incomplete",
            Self::IndexSurplus { .. } => c"LSMT index: more bytes than entries",
            Self::Memory { .. } => c"LSMT index: too little memory",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::IndexTooLong { .. } | Self::Memory { .. } => ErrorKind::TooLarge,
            _ => ErrorKind::Malformed,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().to_str().unwrap_or_default())?;
        match self {
            Self::TooShort { blob_len, needed } => {
                write!(f, " ({blob_len} bytes, needs {needed})")
            }
            Self::HeaderMagic { found } | Self::TrailerMagic { found } => {
                write!(f, " ({:#018x})", u64::from_be_bytes(*found))
            }
            Self::HeaderFlag { flags }
            | Self::HeaderType { flags }
            | Self::TrailerFlag { flags }
            | Self::TrailerType { flags }
            | Self::TrailerNotSealed { flags } => write!(f, " (flags {flags:#x})"),
            Self::VirtualSize { bytes } => write!(f, " ({bytes} bytes)"),
            Self::IndexTooLong { entries, limit } => {
                write!(f, " ({entries}, at most {limit})")
            }
            Self::IndexPlace { offset, len, limit } => write!(
                f,
                " ({len} bytes at {offset}, may start at 4096 and end at {limit})"
            ),
            Self::EntryOrder {
                entry,
                start,
                previous_end,
            } => write!(
                f,
                " (entry {entry} starts at sector {start}, the one before ends at {previous_end})"
            ),
            Self::EntrySource {
                entry,
                source,
                len,
                limit,
            } => write!(
                f,
                " (entry {entry}: {len} sectors at {source}, may start at 8 and end at {limit})"
            ),
            Self::IndexIncomplete { entries, expected } => {
                write!(f, " ({entries} of {expected} entries)")
            }
            Self::IndexSurplus { expected } => write!(f, " ({expected} entries)"),
            Self::Memory { segments, needed } => {
                write!(f, " ({segments} segments, needs {needed})")
            }
        }
    }
}

impl core::error::Error for OpenError {}
