// SPDX-License-Identifier: GPL-2.0

//! Why a ZFile does not open: one variant per check, with the texts that users see.

use crate::{
    units::BlockIndex,
    ErrorKind,
    FormatError,
    StructureError, //
};
use core::{
    ffi::CStr,
    fmt, //
};

/// Why a ZFile does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// A check that both formats make.
    Structure(StructureError),
    /// The digest of the header is wrong: a byte of it has changed.
    HeaderDigest {
        /// The digest in the header.
        stored: u32,
        /// The digest that the header has.
        computed: u32,
    },
    /// The digest of the trailer is wrong: a byte of it has changed.
    TrailerDigest {
        /// The digest in the trailer.
        stored: u32,
        /// The digest that the trailer has.
        computed: u32,
    },
    /// The file is compressed with a dictionary. No writer creates such files.
    Dictionary {
        /// The length of the dictionary.
        len: u32,
    },
    /// The algorithm is neither LZ4 nor Zstandard.
    Algorithm {
        /// Its number.
        number: u8,
    },
    /// The block size is not a power of two from 512 to 65536.
    BlockSize {
        /// The block size in bytes.
        bytes: u32,
    },
    /// The content has no bytes. The file is valid, but no device can have this size.
    ContentEmpty,
    /// The index does not have as many entries as the content has blocks.
    IndexSize {
        /// The number of entries.
        entries: u64,
        /// The number of blocks of the content.
        blocks: u64,
    },
    /// The length in an index entry has no room for more than a CRC, or no block can be that long.
    IndexEntry {
        /// The block.
        block: BlockIndex,
        /// The stored length.
        len: u32,
        /// The least valid length.
        min: u32,
        /// The largest valid length.
        max: u32,
    },
    /// The blocks overlap the index.
    BlocksPastIndex {
        /// The first block that does.
        block: BlockIndex,
        /// The offset of its end.
        end: u64,
        /// The offset of the index.
        index_offset: u64,
    },
    /// The CRC of the index is wrong: a byte of it has changed.
    IndexCrc {
        /// The CRC in the header or trailer.
        stored: u32,
        /// The CRC that the index has.
        computed: u32,
    },
    /// The caller brought too little memory for the jump table.
    Memory {
        /// The number of groups.
        groups: usize,
        /// The number of groups that the jump table needs.
        needed: usize,
    },
}

impl FormatError for OpenError {
    fn message(&self) -> &'static CStr {
        use StructureError::*;

        match self {
            Self::Structure(error) => match error {
                TooShort { .. } => c"ZFile: too short for header and trailer",
                HeaderMagic { .. } => c"ZFile header: wrong magic",
                HeaderFlag { .. } => c"ZFile header: not marked as header",
                HeaderType { .. } => c"ZFile header: not marked as data file",
                TrailerMagic { .. } => c"ZFile trailer: wrong magic",
                TrailerFlag { .. } => c"ZFile trailer: marked as header",
                TrailerType { .. } => c"ZFile trailer: not marked as data file",
                TrailerNotSealed { .. } => c"ZFile trailer: not sealed",
                IndexTooLong { .. } => c"ZFile index: too many entries",
                IndexPlace { .. } => c"ZFile index: outside of the file",
                IndexIncomplete { .. } => c"ZFile index: incomplete",
                IndexSurplus { .. } => c"ZFile index: more bytes than entries",
            },
            Self::HeaderDigest { .. } => c"ZFile header: wrong digest",
            Self::TrailerDigest { .. } => c"ZFile trailer: wrong digest",
            Self::Dictionary { .. } => c"ZFile: dictionaries are not supported",
            Self::Algorithm { .. } => c"ZFile: unknown compression algorithm",
            Self::BlockSize { .. } => c"ZFile: invalid block size",
            Self::ContentEmpty => c"ZFile: content is empty",
            Self::IndexSize { .. } => c"ZFile index: size does not match content size",
            Self::IndexEntry { .. } => c"ZFile index: invalid block length",
            Self::BlocksPastIndex { .. } => c"ZFile index: blocks overlap the index",
            Self::IndexCrc { .. } => c"ZFile index: wrong CRC",
            Self::Memory { .. } => c"ZFile index: too little memory for the jump table",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Structure(error) => error.kind(),
            Self::Dictionary { .. } | Self::Algorithm { .. } | Self::ContentEmpty => {
                ErrorKind::Unsupported
            }
            Self::Memory { .. } => ErrorKind::TooLarge,
            _ => ErrorKind::Malformed,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().to_str().unwrap_or_default())?;
        match self {
            Self::Structure(error) => error.write_values(f),
            Self::HeaderDigest { stored, computed }
            | Self::TrailerDigest { stored, computed }
            | Self::IndexCrc { stored, computed } => {
                write!(f, " (stored {stored:#010x}, computed {computed:#010x})")
            }
            Self::Dictionary { len } => write!(f, " ({len} bytes)"),
            Self::Algorithm { number } => write!(f, " (number {number})"),
            Self::BlockSize { bytes } => write!(f, " ({bytes} bytes)"),
            Self::ContentEmpty => Ok(()),
            Self::IndexSize { entries, blocks } => {
                write!(f, " ({entries} entries, {blocks} blocks)")
            }
            Self::IndexEntry {
                block,
                len,
                min,
                max,
            } => write!(f, " (block {block}: {len} bytes, {min} to {max} allowed)"),
            Self::BlocksPastIndex {
                block,
                end,
                index_offset,
            } => write!(
                f,
                " (block {block} ends at {end}, index starts at {index_offset})"
            ),
            Self::Memory { groups, needed } => {
                write!(f, " ({groups} groups, needs {needed})")
            }
        }
    }
}

impl core::error::Error for OpenError {}

impl From<StructureError> for OpenError {
    fn from(error: StructureError) -> Self {
        Self::Structure(error)
    }
}
