// SPDX-License-Identifier: GPL-2.0

//! Why an LSMT layer does not open: one variant per check, with the texts that users see.

use crate::{
    units::{
        Bytes,
        Sector,
        Sectors, //
    },
    ErrorKind,
    FormatError,
    StructureError, //
};
use core::{
    ffi::CStr,
    fmt, //
};

/// Why an LSMT layer does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// A check that both formats make.
    Structure(StructureError),
    /// The virtual size is not a whole number of sectors.
    VirtualSize {
        /// The virtual size.
        bytes: Bytes,
    },
    /// An entry starts before the previous one ends.
    EntryOrder {
        /// The number of the entry in the index.
        entry: u32,
        /// Its first sector.
        start: Sector,
        /// The end of the previous entry.
        previous_end: Sector,
    },
    /// The data of an entry is not between the header and the index. The place of a zeroed entry,
    /// which has no data, may be up to the index.
    EntrySource {
        /// The number of the entry in the index.
        entry: u32,
        /// The first sector of its data in the blob.
        source: Sector,
        /// The number of its sectors.
        len: Sectors,
        /// The largest sector that data may end at.
        limit: Sector,
    },
    /// The caller brought too little memory for the index.
    Memory {
        /// The number of segments.
        segments: usize,
        /// The number of segments that the index needs.
        needed: usize,
    },
}

impl FormatError for OpenError {
    fn message(&self) -> &'static CStr {
        use StructureError::*;

        match self {
            Self::Structure(error) => match error {
                TooShort { .. } => c"LSMT: too short for header and trailer",
                HeaderMagic { .. } => c"LSMT header: wrong magic",
                HeaderFlag { .. } => c"LSMT header: not marked as header",
                HeaderType { .. } => c"LSMT header: not marked as data file",
                TrailerMagic { .. } => c"LSMT trailer: wrong magic",
                TrailerFlag { .. } => c"LSMT trailer: marked as header",
                TrailerType { .. } => c"LSMT trailer: not marked as data file",
                TrailerNotSealed { .. } => c"LSMT trailer: not sealed",
                IndexTooLong { .. } => c"LSMT index: too many entries",
                IndexPlace { .. } => c"LSMT index: outside of the layer",
                IndexIncomplete { .. } => c"LSMT index: incomplete",
                IndexSurplus { .. } => c"LSMT index: more bytes than entries",
            },
            Self::VirtualSize { .. } => c"LSMT: virtual size is not a multiple of 512",
            Self::EntryOrder { .. } => c"LSMT index: entries out of order",
            Self::EntrySource { .. } => c"LSMT index: data outside of the layer",
            Self::Memory { .. } => c"LSMT index: too little memory",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Structure(error) => error.kind(),
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
            Self::VirtualSize { bytes } => write!(f, " ({bytes} bytes)"),
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
            Self::Memory { segments, needed } => {
                write!(f, " ({segments} segments, needs {needed})")
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
