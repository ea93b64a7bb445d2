// SPDX-License-Identifier: GPL-2.0

//! Where things are in a ZFile, from its header and, where the header was not overwritten, its
//! trailer. A [`Layout`] exists only after every check that needs no more than those two.

use super::area::{Area, AREA_LEN};
use super::error::OpenError;
use crate::convert::{u64_from, usize_from};
use crate::units::{BlockIndex, BlockSize, Bytes, CompressedOffset, ContentOffset};
use crate::Crc32c;

/// The most entries an index may have: 4 GB of them. Readers refuse more since 2026.
const MAX_INDEX_ENTRIES: u64 = 1_000_000_000;

/// The length of an index entry in bytes.
pub(super) const ENTRY_LEN: u64 = 4;

/// The length of the CRC behind a block in bytes.
pub(super) const CRC_LEN: u32 = 4;

/// How much longer than its content a block can be stored: writers have 512 bytes of room for
/// incompressible content, and a CRC follows.
const MAX_GROWTH: u32 = 516;

/// [`AREA_LEN`] as a length in the file.
const AREA_BYTES: u64 = u64_from(AREA_LEN);

/// How the blocks of a ZFile are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// One raw LZ4 block each: no frame, no size, no dictionary.
    Lz4,
    /// One Zstandard frame each.
    Zstd,
}

/// Where things are in a ZFile.
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
    /// Checks the fields of the area in use. The index has to end at `limit`.
    fn new(area: Area<'_>, zfile_len: u64, limit: u64) -> Result<Self, OpenError> {
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
        let block_count = match u32::try_from(entries) {
            Ok(count) if entries <= MAX_INDEX_ENTRIES => count,
            _ => {
                return Err(OpenError::IndexTooLong {
                    entries,
                    limit: MAX_INDEX_ENTRIES,
                })
            }
        };
        let blocks = block_size.blocks_needed(Bytes::new(content_len));
        if entries != blocks {
            return Err(OpenError::IndexSize { entries, blocks });
        }

        let index_offset = area.index_offset();
        let index_len = entries.wrapping_mul(ENTRY_LEN);
        let end = index_offset.checked_add(index_len);
        if index_offset < AREA_BYTES || end.is_none_or(|end| end > limit) {
            return Err(OpenError::IndexPlace {
                offset: index_offset,
                len: Bytes::new(index_len),
                limit,
            });
        }

        Ok(Self {
            zfile_len,
            content_len,
            index_offset,
            index_crc: area.index_crc(),
            block_count,
            block_size,
            algorithm,
            verify: area.verify(),
        })
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

    /// How much content a block holds.
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

    /// Where the index starts: at any byte.
    #[inline]
    #[must_use]
    pub const fn index_offset(&self) -> CompressedOffset {
        CompressedOffset::new(self.index_offset)
    }

    /// The length of the index: four bytes for each block.
    #[inline]
    #[must_use]
    pub fn index_len(&self) -> Bytes {
        Bytes::new(u64::from(self.block_count).wrapping_mul(ENTRY_LEN))
    }

    /// The CRC of the index, [`None`] if the file has none.
    #[inline]
    #[must_use]
    pub const fn index_crc(&self) -> Option<u32> {
        self.index_crc
    }

    /// How many bytes of content a block holds: the block size, or less for the last block. [`None`]
    /// if there is no such block.
    #[inline]
    #[must_use]
    pub fn block_len(&self, block: BlockIndex) -> Option<usize> {
        if block.get() >= self.block_count {
            return None;
        }
        let start = self.block_size.start_of(block);
        let rest = ContentOffset::new(self.content_len).since(start)?.get();
        let full = u64::from(self.block_size.get());
        u32::try_from(rest.min(full)).ok().map(usize_from)
    }

    /// The least bytes a block can be stored in, its CRC included.
    #[inline]
    #[must_use]
    pub const fn min_stored_len(&self) -> u32 {
        if self.verify {
            CRC_LEN.wrapping_add(1)
        } else {
            1
        }
    }

    /// The most bytes a block can be stored in, its CRC included: 516 more than the block size.
    #[inline]
    #[must_use]
    pub const fn max_stored_len(&self) -> u32 {
        self.block_size.get().wrapping_add(MAX_GROWTH)
    }
}

/// What the header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// All there is to know: the header was overwritten.
    Complete(Layout),
    /// That the trailer has to be read.
    NeedsTrailer(PendingTrailer),
}

/// A ZFile whose header is right, and whose trailer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingTrailer {
    zfile_len: u64,
    offset: u64,
}

/// Checks the first 512 bytes of a ZFile that is `zfile_len` bytes long.
///
/// The exact length matters: a trailer is the last 512 bytes, and anything behind it hides it.
///
/// # Errors
///
/// [`OpenError::TooShort`], any of the `Header` errors, and, if the header is complete, whatever is
/// wrong with its fields.
pub fn open(header: &[u8; AREA_LEN], zfile_len: Bytes, crc: Crc32c) -> Result<Opening, OpenError> {
    let len = zfile_len.get();
    let too_short = |needed| OpenError::TooShort {
        zfile_len,
        needed: Bytes::new(needed),
    };
    if len < AREA_BYTES {
        return Err(too_short(AREA_BYTES));
    }
    let area = Area(header);
    if !area.has_magic() {
        return Err(OpenError::HeaderMagic {
            found: area.first_bytes(),
        });
    }
    let flags = area.flags();
    if !flags.is_header() {
        return Err(OpenError::HeaderFlag { flags: flags.0 });
    }
    if let Some((stored, computed)) = area.digests(crc) {
        if stored != computed {
            return Err(OpenError::HeaderDigest { stored, computed });
        }
    }
    if flags.is_overwritten() {
        // Such a file may have lost its trailer, and have anything behind its index.
        return Layout::new(area, len, len).map(Opening::Complete);
    }
    if !flags.is_data() {
        return Err(OpenError::HeaderType { flags: flags.0 });
    }
    match len.checked_sub(AREA_BYTES) {
        Some(offset) if offset >= AREA_BYTES => Ok(Opening::NeedsTrailer(PendingTrailer {
            zfile_len: len,
            offset,
        })),
        _ => Err(too_short(AREA_BYTES.wrapping_mul(2))),
    }
}

impl PendingTrailer {
    /// Where the trailer is: the last 512 bytes, at any byte.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> CompressedOffset {
        CompressedOffset::new(self.offset)
    }

    /// Checks the trailer.
    ///
    /// # Errors
    ///
    /// Any of the `Trailer` errors, and whatever is wrong with its fields.
    pub fn finish(self, trailer: &[u8; AREA_LEN], crc: Crc32c) -> Result<Layout, OpenError> {
        let area = Area(trailer);
        if !area.has_magic() {
            return Err(OpenError::TrailerMagic {
                found: area.first_bytes(),
            });
        }
        let flags = area.flags();
        if flags.is_header() {
            return Err(OpenError::TrailerFlag { flags: flags.0 });
        }
        if !flags.is_data() {
            return Err(OpenError::TrailerType { flags: flags.0 });
        }
        if !flags.is_sealed() {
            return Err(OpenError::TrailerNotSealed { flags: flags.0 });
        }
        if let Some((stored, computed)) = area.digests(crc) {
            if stored != computed {
                return Err(OpenError::TrailerDigest { stored, computed });
            }
        }
        Layout::new(area, self.zfile_len, self.offset)
    }
}
