// SPDX-License-Identifier: GPL-2.0

//! Where the blocks and the index are in a ZFile, from its header and, if the header was not
//! overwritten, its trailer. A [`Layout`] exists only after all checks of these two.

#[cfg(test)]
mod tests;

use super::{
    error::OpenError,
    header_trailer::{
        HeaderTrailer,
        HEADER_LEN, //
    },
};
use crate::{
    arith::{
        add_u32,
        mul_u64, //
    },
    convert::{
        u64_from,
        usize_from, //
    },
    header_trailer::{
        check_index_entries,
        check_index_place,
        trailer_offset,
        Unchecked as _, //
    },
    units::{
        BlockIndex,
        BlockSize,
        Bytes,
        CompressedOffset,
        ContentOffset, //
    },
    Crc32c,
    StructureError, //
};

/// The most entries that an index may have: 4 GB. Readers refuse more since 2026.
const MAX_INDEX_ENTRIES: u64 = 1_000_000_000;

/// The length of an index entry in bytes.
pub(super) const ENTRY_LEN: u64 = 4;

/// The length of the CRC after a block in bytes.
pub(super) const CRC_LEN: u32 = 4;

/// The most bytes that a stored block has more than its content: writers have 512 bytes of room for
/// incompressible content, and a CRC follows.
const MAX_GROWTH: u32 = 516;

/// [`HEADER_LEN`] as a length in the file.
const HEADER_BYTES: u64 = u64_from(HEADER_LEN);

/// How the blocks of a ZFile are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// One raw LZ4 block each: no frame, no size, no dictionary.
    Lz4,
    /// One Zstandard frame each.
    Zstd,
}

/// Where the blocks and the index are in a ZFile.
///
/// # Invariants
///
/// The content is not empty, `block_count` is its length divided by the block size, rounded up, and
/// the index lies between the header and `zfile_len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    zfile_len: u64,
    content_len: u64,
    index_offset: u64,
    index_crc: Option<u32>,
    block_count: u32,
    block_size: BlockSize,
    algorithm: Algorithm,
    verify: bool,
}

impl Layout {
    /// Checks the fields of the header or trailer in use. The index must end at or before `limit`.
    fn new(area: HeaderTrailer<'_>, zfile_len: u64, limit: u64) -> Result<Self, OpenError> {
        let len = area.dictionary_len();
        if len != 0 {
            return Err(OpenError::Dictionary { len });
        }
        let algorithm = match area.algorithm() {
            1 => Algorithm::Lz4,
            2 => Algorithm::Zstd,
            number => return Err(OpenError::Algorithm { number }),
        };
        let bytes = area.block_size();
        let Some(block_size) = BlockSize::new(bytes) else {
            return Err(OpenError::BlockSize { bytes });
        };
        let content_len = area.content_len();
        if content_len == 0 {
            return Err(OpenError::ContentEmpty);
        }

        let entries = area.index_size();
        let block_count = check_index_entries(entries, MAX_INDEX_ENTRIES)?;
        let blocks = block_size.blocks_needed(Bytes::new(content_len));
        if entries != blocks {
            return Err(OpenError::IndexSize { entries, blocks });
        }
        let layout = Self {
            zfile_len,
            content_len,
            index_offset: area.index_offset(),
            index_crc: area.index_crc(),
            block_count,
            block_size,
            algorithm,
            verify: area.verify(),
        };
        check_index_place(layout.index_offset, layout.index_len(), HEADER_BYTES, limit)?;
        Ok(layout)
    }

    /// The length of the ZFile, as the caller gave it.
    #[inline]
    #[must_use]
    pub const fn zfile_len(&self) -> Bytes {
        Bytes::new(self.zfile_len)
    }

    /// The length of the content: at least 1, and not always a multiple of 512.
    #[inline]
    #[must_use]
    pub const fn content_len(&self) -> Bytes {
        Bytes::new(self.content_len)
    }

    /// The bytes of content in a block.
    #[inline]
    #[must_use]
    pub const fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// How the blocks are compressed.
    #[inline]
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether a CRC follows each block.
    #[inline]
    #[must_use]
    pub const fn verify(&self) -> bool {
        self.verify
    }

    /// The number of blocks: 1 to 1,000,000,000.
    #[inline]
    #[must_use]
    pub const fn block_count(&self) -> u32 {
        self.block_count
    }

    /// The offset of the index: any byte.
    #[inline]
    #[must_use]
    pub const fn index_offset(&self) -> CompressedOffset {
        CompressedOffset::new(self.index_offset)
    }

    /// The length of the index: four bytes for each block.
    #[inline]
    #[must_use]
    pub fn index_len(&self) -> Bytes {
        Bytes::new(mul_u64(u64::from(self.block_count), ENTRY_LEN))
    }

    /// The CRC of the index, [`None`] if the file has none.
    #[inline]
    #[must_use]
    pub const fn index_crc(&self) -> Option<u32> {
        self.index_crc
    }

    /// The bytes of content in this block: the block size, or less for the last block.
    /// [`None`] if there is no such block.
    #[inline]
    #[must_use]
    pub fn block_len(&self, block: BlockIndex) -> Option<usize> {
        if block.get() >= self.block_count {
            return None;
        }
        let start = self.block_size.start_of(block);
        let rest = ContentOffset::new(self.content_len)
            .checked_sub(start)?
            .get();
        let full = u64::from(self.block_size.get());
        u32::try_from(rest.min(full)).ok().map(usize_from)
    }

    /// The least length of a stored block, its CRC included.
    #[inline]
    #[must_use]
    pub const fn min_stored_len(&self) -> u32 {
        if self.verify {
            CRC_LEN + 1
        } else {
            1
        }
    }

    /// The largest length of a stored block, its CRC included: 516 more than the block size.
    #[inline]
    #[must_use]
    pub const fn max_stored_len(&self) -> u32 {
        add_u32(self.block_size.get(), MAX_GROWTH)
    }
}

/// The result of a valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOutcome {
    /// The header was overwritten, and has all fields.
    Complete(Layout),
    /// The trailer has the fields.
    NeedsTrailer(PendingTrailer),
}

/// A ZFile whose header is valid, and whose trailer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingTrailer {
    zfile_len: u64,
    offset: u64,
}

/// Checks the first 512 bytes of a ZFile that is `zfile_len` bytes long.
///
/// The exact length matters: the trailer is the last 512 bytes.
///
/// # Errors
///
/// [`StructureError::TooShort`], any of the `Header` errors, and, if the header is complete, those
/// of its fields.
pub fn open(
    header: &[u8; HEADER_LEN],
    zfile_len: Bytes,
    crc: Crc32c,
) -> Result<HeaderOutcome, OpenError> {
    let len = zfile_len.get();
    if len < HEADER_BYTES {
        return Err(OpenError::Structure(StructureError::TooShort {
            len: zfile_len,
            needed: Bytes::new(HEADER_BYTES),
        }));
    }
    let header = HeaderTrailer(header);
    header.check_header()?;
    if let Some((stored, computed)) = header.wrong_digest(crc) {
        return Err(OpenError::HeaderDigest { stored, computed });
    }
    if header.is_overwritten() {
        // Such a file may have lost its trailer, and may have any bytes after its index.
        return Layout::new(header, len, len).map(HeaderOutcome::Complete);
    }
    header.check_header_type()?;
    Ok(HeaderOutcome::NeedsTrailer(PendingTrailer {
        zfile_len: len,
        offset: trailer_offset(zfile_len, HEADER_BYTES)?,
    }))
}

impl PendingTrailer {
    /// The offset of the trailer, the last 512 bytes: any byte.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> CompressedOffset {
        CompressedOffset::new(self.offset)
    }

    /// Checks the trailer.
    ///
    /// # Errors
    ///
    /// Any of the `Trailer` errors, and those of its fields.
    pub fn finish(self, trailer: &[u8; HEADER_LEN], crc: Crc32c) -> Result<Layout, OpenError> {
        let trailer = HeaderTrailer(trailer);
        trailer.check_trailer()?;
        if let Some((stored, computed)) = trailer.wrong_digest(crc) {
            return Err(OpenError::TrailerDigest { stored, computed });
        }
        Layout::new(trailer, self.zfile_len, self.offset)
    }
}
