// SPDX-License-Identifier: GPL-2.0

//! Why a ZFile does not open: one variant per check.

use crate::units::{BlockIndex, Bytes};
use crate::{ErrorKind, FormatError};
use core::ffi::CStr;
use core::fmt;

/// Why a ZFile does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The file has no room for a header, or none for the trailer it needs.
    TooShort {
        /// The length of the file.
        zfile_len: Bytes,
        /// The least it would have to be.
        needed: Bytes,
    },
    /// The header does not start with the magic of a ZFile: it is none, or the offset is wrong.
    HeaderMagic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// The header does not have the flag of a header: it may be a trailer.
    HeaderFlag {
        /// The flags.
        flags: u64,
    },
    /// The header does not have the flag of a data file.
    HeaderType {
        /// The flags.
        flags: u64,
    },
    /// The header is not what its digest was made from.
    HeaderDigest {
        /// The digest in the header.
        stored: u32,
        /// The digest of the header.
        computed: u32,
    },
    /// The last 512 bytes are no trailer: the file is cut or padded, or its length is wrong.
    TrailerMagic {
        /// The first eight bytes of where the trailer should be.
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
    /// The trailer is not marked as sealed: the file was never finished.
    TrailerNotSealed {
        /// The flags.
        flags: u64,
    },
    /// The trailer is not what its digest was made from.
    TrailerDigest {
        /// The digest in the trailer.
        stored: u32,
        /// The digest of the trailer.
        computed: u32,
    },
    /// The file is compressed with a dictionary. No writer makes such files.
    Dictionary {
        /// The length of the dictionary.
        len: u32,
    },
    /// The algorithm is neither LZ4 nor Zstandard.
    Algorithm {
        /// Its number.
        number: u8,
    },
    /// The block size is no power of two from 512 to 65536.
    BlockSize {
        /// The block size in bytes.
        bytes: u32,
    },
    /// The content has no bytes: a valid file, of which no device can be made.
    ContentEmpty,
    /// The index has more entries than any reader accepts.
    IndexTooLong {
        /// The number of entries.
        entries: u64,
        /// The most there may be.
        limit: u64,
    },
    /// The index does not have as many entries as the content has blocks.
    IndexSize {
        /// The number of entries.
        entries: u64,
        /// The number of blocks of the content.
        blocks: u64,
    },
    /// The index is not between the header and the trailer, or the end of the file.
    IndexPlace {
        /// Where the index starts.
        offset: u64,
        /// How long it is.
        len: Bytes,
        /// Where it has to end at the latest.
        limit: u64,
    },
    /// An index entry is not longer than the CRC it includes, or longer than any block can get.
    IndexEntry {
        /// The block.
        block: BlockIndex,
        /// The stored length.
        len: u32,
        /// The shortest it may be.
        min: u32,
        /// The longest it may be.
        max: u32,
    },
    /// The blocks run into the index.
    BlocksPastIndex {
        /// The first block that does.
        block: BlockIndex,
        /// Where it ends.
        end: u64,
        /// Where the index starts.
        index_offset: u64,
    },
    /// The index is not what its CRC was made from.
    IndexCrc {
        /// The CRC in the header or trailer.
        stored: u32,
        /// The CRC of the index.
        computed: u32,
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
    /// The caller brought too little memory for the jump table.
    Memory {
        /// The number of groups.
        groups: usize,
        /// The number of groups it takes.
        needed: usize,
    },
}

impl FormatError for OpenError {
    fn message(&self) -> &'static CStr {
        match self {
            Self::TooShort { .. } => c"ZFile: too short for header and trailer",
            Self::HeaderMagic { .. } => c"ZFile header: wrong magic",
            Self::HeaderFlag { .. } => c"ZFile header: not marked as header",
            Self::HeaderType { .. } => c"ZFile header: not marked as data file",
            Self::HeaderDigest { .. } => c"ZFile header: wrong digest",
            Self::TrailerMagic { .. } => c"ZFile trailer: wrong magic",
            Self::TrailerFlag { .. } => c"ZFile trailer: marked as header",
            Self::TrailerType { .. } => c"ZFile trailer: not marked as data file",
            Self::TrailerNotSealed { .. } => c"ZFile trailer: not sealed",
            Self::TrailerDigest { .. } => c"ZFile trailer: wrong digest",
            Self::Dictionary { .. } => c"ZFile: dictionaries are not supported",
            Self::Algorithm { .. } => c"ZFile: unknown compression algorithm",
            Self::BlockSize { .. } => c"ZFile: invalid block size",
            Self::ContentEmpty => c"ZFile: content is empty",
            Self::IndexTooLong { .. } => c"ZFile index: too many entries",
            Self::IndexSize { .. } => c"ZFile index: size does not match content size",
            Self::IndexPlace { .. } => c"ZFile index: outside of the file",
            Self::IndexEntry { .. } => c"ZFile index: invalid block length",
            Self::BlocksPastIndex { .. } => c"ZFile index: blocks overlap the index",
            Self::IndexCrc { .. } => c"ZFile index: wrong CRC",
            Self::IndexIncomplete { .. } => c"ZFile index: incomplete",
            Self::IndexSurplus { .. } => c"ZFile index: more bytes than entries",
            Self::Memory { .. } => c"ZFile index: too little memory for the jump table",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Dictionary { .. } | Self::Algorithm { .. } | Self::ContentEmpty => {
                ErrorKind::Unsupported
            }
            Self::IndexTooLong { .. } | Self::Memory { .. } => ErrorKind::TooLarge,
            _ => ErrorKind::Malformed,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().to_str().unwrap_or_default())?;
        match self {
            Self::TooShort { zfile_len, needed } => {
                write!(f, " ({zfile_len} bytes, needs {needed})")
            }
            Self::HeaderMagic { found } | Self::TrailerMagic { found } => {
                write!(f, " ({:#018x})", u64::from_be_bytes(*found))
            }
            Self::HeaderFlag { flags }
            | Self::HeaderType { flags }
            | Self::TrailerFlag { flags }
            | Self::TrailerType { flags }
            | Self::TrailerNotSealed { flags } => write!(f, " (flags {flags:#x})"),
            Self::HeaderDigest { stored, computed }
            | Self::TrailerDigest { stored, computed }
            | Self::IndexCrc { stored, computed } => {
                write!(f, " (stored {stored:#010x}, computed {computed:#010x})")
            }
            Self::Dictionary { len } => write!(f, " ({len} bytes)"),
            Self::Algorithm { number } => write!(f, " (number {number})"),
            Self::BlockSize { bytes } => write!(f, " ({bytes} bytes)"),
            Self::ContentEmpty => Ok(()),
            Self::IndexTooLong { entries, limit } => {
                write!(f, " ({entries}, at most {limit})")
            }
            Self::IndexSize { entries, blocks } => {
                write!(f, " ({entries} entries, {blocks} blocks)")
            }
            Self::IndexPlace { offset, len, limit } => write!(
                f,
                " ({len} bytes at {offset}, may start at 512 and end at {limit})"
            ),
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
            Self::IndexIncomplete { entries, expected } => {
                write!(f, " ({entries} of {expected} entries)")
            }
            Self::IndexSurplus { expected } => write!(f, " ({expected} entries)"),
            Self::Memory { groups, needed } => {
                write!(f, " ({groups} groups, needs {needed})")
            }
        }
    }
}

impl core::error::Error for OpenError {}
