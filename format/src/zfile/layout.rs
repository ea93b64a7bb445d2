// SPDX-License-Identifier: GPL-2.0

//! Where things are in a ZFile, from its header and, where the header was not overwritten, its
//! trailer. A [`Layout`] exists only after every check that needs no more than those two.

use super::error::OpenError;
use super::header_trailer::{HeaderTrailer, HEADER_LEN};
use crate::arith::{add_u32, mul_u64};
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
        let index_len = mul_u64(entries, ENTRY_LEN);
        let end = index_offset.checked_add(index_len);
        if index_offset < HEADER_BYTES || end.is_none_or(|end| end > limit) {
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
        Bytes::new(mul_u64(u64::from(self.block_count), ENTRY_LEN))
    }

    /// The CRC of the index, [`None`] if the file has none.
    #[inline]
    #[must_use]
    pub const fn index_crc(&self) -> Option<u32> {
        self.index_crc
    }

    /// How many bytes of content a block holds: the block size, or less for the last block.
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

    /// The least bytes a block can be stored in, its CRC included.
    #[inline]
    #[must_use]
    pub const fn min_stored_len(&self) -> u32 {
        if self.verify {
            CRC_LEN + 1
        } else {
            1
        }
    }

    /// The most bytes a block can be stored in, its CRC included: 516 more than the block size.
    #[inline]
    #[must_use]
    pub const fn max_stored_len(&self) -> u32 {
        add_u32(self.block_size.get(), MAX_GROWTH)
    }
}

/// What the header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOutcome {
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
pub fn open(
    header: &[u8; HEADER_LEN],
    zfile_len: Bytes,
    crc: Crc32c,
) -> Result<HeaderOutcome, OpenError> {
    let len = zfile_len.get();
    let too_short = |needed| OpenError::TooShort {
        zfile_len,
        needed: Bytes::new(needed),
    };
    if len < HEADER_BYTES {
        return Err(too_short(HEADER_BYTES));
    }
    let area = HeaderTrailer(header);
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
        return Layout::new(area, len, len).map(HeaderOutcome::Complete);
    }
    if !flags.is_data() {
        return Err(OpenError::HeaderType { flags: flags.0 });
    }
    match len.checked_sub(HEADER_BYTES) {
        Some(offset) if offset >= HEADER_BYTES => Ok(HeaderOutcome::NeedsTrailer(PendingTrailer {
            zfile_len: len,
            offset,
        })),
        _ => Err(too_short(2 * HEADER_BYTES)),
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
    pub fn finish(self, trailer: &[u8; HEADER_LEN], crc: Crc32c) -> Result<Layout, OpenError> {
        let area = HeaderTrailer(trailer);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::crc32c;
    use crate::zfile::testing::{Fields, DATA, DIGEST, HEADER, OVERWRITTEN, SEALED};
    use crate::{ErrorKind, FormatError};
    use std::string::ToString;

    /// Opens a file by its header alone, whose header-overwritten flag is set.
    fn complete(fields: Fields) -> Result<Layout, OpenError> {
        match open(&fields.area(), Bytes::new(LEN), crc32c)? {
            HeaderOutcome::Complete(layout) => Ok(layout),
            HeaderOutcome::NeedsTrailer(_) => panic!("the header is complete"),
        }
    }

    /// Opens a file by a right header and this trailer.
    fn by_trailer(trailer: &[u8; HEADER_LEN]) -> Result<Layout, OpenError> {
        let header = Fields {
            flags: HEADER | DATA | DIGEST,
            ..Fields::ZERO
        };
        match open(&header.area(), Bytes::new(LEN), crc32c)? {
            HeaderOutcome::Complete(_) => panic!("the header is not complete"),
            HeaderOutcome::NeedsTrailer(pending) => {
                assert_eq!(pending.offset().get(), LEN - 512);
                pending.finish(trailer, crc32c)
            }
        }
    }

    const LEN: u64 = 100_000;

    /// 17 blocks, the last of 512 bytes.
    const GOOD: Fields = Fields {
        flags: HEADER | DATA | OVERWRITTEN | DIGEST,
        index_offset: 40_000,
        index_size: 17,
        content_len: 66_048,
        index_crc: 0x1234_5678,
        block_size: 4096,
        algorithm: 1,
        dictionary_len: 0,
        verify: 1,
    };

    const GOOD_TRAILER: Fields = Fields {
        flags: DATA | SEALED | DIGEST,
        ..GOOD
    };

    #[test]
    fn the_header_vector_of_the_format() {
        let area = Fields {
            flags: 0x13,
            block_size: 4096,
            algorithm: 1,
            verify: 1,
            ..Fields::ZERO
        }
        .area();
        assert_eq!(area[28..32], [0xfc, 0x12, 0xa2, 0xc7]);
    }

    #[test]
    fn a_good_file_opens_both_ways() {
        for layout in [complete(GOOD), by_trailer(&GOOD_TRAILER.area())] {
            let layout = layout.unwrap();
            assert_eq!(layout.zfile_len().get(), LEN);
            assert_eq!(layout.content_len().get(), 66_048);
            assert_eq!(layout.block_size().get(), 4096);
            assert_eq!(layout.algorithm(), Algorithm::Lz4);
            assert!(layout.verify());
            assert_eq!(layout.block_count(), 17);
            assert_eq!(layout.index_offset().get(), 40_000);
            assert_eq!(layout.index_len().get(), 68);
            assert_eq!(layout.index_crc(), Some(0x1234_5678));
            assert_eq!(layout.min_stored_len(), 5);
            assert_eq!(layout.max_stored_len(), 4612);
            assert_eq!(layout.block_len(BlockIndex::new(0)), Some(4096));
            assert_eq!(layout.block_len(BlockIndex::new(15)), Some(4096));
            assert_eq!(layout.block_len(BlockIndex::new(16)), Some(512));
            assert_eq!(layout.block_len(BlockIndex::new(17)), None);
            assert_eq!(layout.block_len(BlockIndex::new(u32::MAX)), None);
        }
    }

    #[test]
    fn what_writers_never_say_the_same_is_read() {
        for verify in [0, 1, 2, 255] {
            let layout = complete(Fields { verify, ..GOOD }).unwrap();
            assert_eq!(layout.verify(), verify != 0);
        }
        let zstd = complete(Fields {
            algorithm: 2,
            ..GOOD
        });
        assert_eq!(zstd.unwrap().algorithm(), Algorithm::Zstd);
        // "The index is compressed": declared, never done.
        let compressed_index = complete(Fields {
            flags: GOOD.flags | 1 << 5,
            ..GOOD
        });
        assert_eq!(compressed_index.unwrap().block_count(), 17);
        // An overwritten header need not be marked as data, as the format's own reader has it.
        let untyped = complete(Fields {
            flags: HEADER | OVERWRITTEN | DIGEST,
            ..GOOD
        });
        assert_eq!(untyped.unwrap().block_count(), 17);
    }

    #[test]
    fn old_files_have_garbage_where_nobody_looks() {
        let header = Fields {
            flags: 0x7ffe_a464_0b43,
            index_offset: u64::MAX,
            index_size: u64::MAX,
            index_crc: 0xdead_beef,
            ..Fields::ZERO
        };
        let mut header = header.area();
        header[28..32].fill(0x55);
        header[68..72].fill(0x55);
        header[77..84].fill(0x55);
        header[89..].fill(0x55);
        let trailer = Fields {
            flags: 0x7ffe_a464_0b46,
            index_crc: 0xdead_beef,
            ..GOOD
        };
        let mut trailer = trailer.area();
        trailer[24..32].fill(0xaa);
        trailer[68..72].fill(0xaa);
        trailer[77..84].fill(0xaa);
        trailer[89..].fill(0xaa);
        let Ok(HeaderOutcome::NeedsTrailer(pending)) = open(&header, Bytes::new(LEN), crc32c)
        else {
            panic!("an old header is right and not complete");
        };
        let layout = pending.finish(&trailer, crc32c).unwrap();
        assert_eq!(layout.index_crc(), None);
        assert_eq!(layout.block_count(), 17);
    }

    #[test]
    fn too_short() {
        let short = |fields: Fields, len| open(&fields.area(), Bytes::new(len), crc32c);
        let error = |len, needed| {
            Err(OpenError::TooShort {
                zfile_len: Bytes::new(len),
                needed: Bytes::new(needed),
            })
        };
        assert_eq!(short(GOOD, 0), error(0, 512));
        assert_eq!(short(GOOD, 511), error(511, 512));
        let needs_trailer = Fields {
            flags: HEADER | DATA | DIGEST,
            ..Fields::ZERO
        };
        assert_eq!(short(needs_trailer, 1023), error(1023, 1024));
        assert!(short(needs_trailer, 1024).is_ok());
    }

    #[test]
    fn header_magic() {
        for at in 0..24 {
            let mut area = GOOD.area();
            area[at] ^= 1;
            let found = *area.first_chunk().unwrap();
            assert_eq!(
                open(&area, Bytes::new(LEN), crc32c),
                Err(OpenError::HeaderMagic { found })
            );
        }
    }

    #[test]
    fn header_flag_and_type() {
        let flags = DATA | DIGEST;
        assert_eq!(
            complete(Fields { flags, ..GOOD }),
            Err(OpenError::HeaderFlag { flags })
        );
        let flags = HEADER | DIGEST;
        assert_eq!(
            complete(Fields { flags, ..GOOD }),
            Err(OpenError::HeaderType { flags })
        );
    }

    #[test]
    fn header_digest_covers_every_byte() {
        let good = GOOD.area();
        let stored = u32::from_le_bytes([good[28], good[29], good[30], good[31]]);
        for at in (28..32).chain(40..HEADER_LEN) {
            let mut area = good;
            area[at] ^= 0x40;
            match open(&area, Bytes::new(LEN), crc32c) {
                Err(OpenError::HeaderDigest {
                    stored: found,
                    computed,
                }) => {
                    assert_ne!(found, computed);
                    assert_eq!(found == stored, at >= 32);
                }
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }

    #[test]
    fn trailer_magic() {
        let mut area = GOOD_TRAILER.area();
        area[23] ^= 1;
        assert_eq!(
            by_trailer(&area),
            Err(OpenError::TrailerMagic {
                found: *b"ZFile\0\x01\0"
            })
        );
        assert_eq!(
            by_trailer(&[0; HEADER_LEN]),
            Err(OpenError::TrailerMagic { found: [0; 8] })
        );
    }

    #[test]
    fn trailer_flags() {
        let with = |flags| by_trailer(&Fields { flags, ..GOOD }.area());
        let flags = HEADER | DATA | SEALED | DIGEST;
        assert_eq!(with(flags), Err(OpenError::TrailerFlag { flags }));
        let flags = SEALED | DIGEST;
        assert_eq!(with(flags), Err(OpenError::TrailerType { flags }));
        let flags = DATA | DIGEST;
        assert_eq!(with(flags), Err(OpenError::TrailerNotSealed { flags }));
    }

    #[test]
    fn trailer_digest() {
        let mut area = GOOD_TRAILER.area();
        area[300] = 1;
        assert!(matches!(
            by_trailer(&area),
            Err(OpenError::TrailerDigest { stored, computed }) if stored != computed
        ));
    }

    #[test]
    fn dictionary() {
        let error = complete(Fields {
            dictionary_len: 4,
            ..GOOD
        })
        .unwrap_err();
        assert_eq!(error, OpenError::Dictionary { len: 4 });
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn algorithm() {
        for number in [0, 3, 9, 255] {
            let error = complete(Fields {
                algorithm: number,
                ..GOOD
            })
            .unwrap_err();
            assert_eq!(error, OpenError::Algorithm { number });
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn block_size() {
        for bytes in [0, 1, 256, 511, 513, 12_288, 131_072, 1 << 31, u32::MAX] {
            let error = complete(Fields {
                block_size: bytes,
                ..GOOD
            })
            .unwrap_err();
            assert_eq!(error, OpenError::BlockSize { bytes });
            assert_eq!(error.kind(), ErrorKind::Malformed);
        }
        for shift in 9..=16 {
            let size = 1 << shift;
            let layout = complete(Fields {
                block_size: size,
                index_size: 66_048u64.div_ceil(u64::from(size)),
                ..GOOD
            });
            assert_eq!(layout.unwrap().block_size().get(), size);
        }
    }

    #[test]
    fn content_empty() {
        let error = complete(Fields {
            content_len: 0,
            index_size: 0,
            ..GOOD
        })
        .unwrap_err();
        assert_eq!(error, OpenError::ContentEmpty);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn index_too_long() {
        for entries in [
            1_000_000_001,
            1 << 32,
            (1 << 32) + 17,
            (1 << 62) + 17,
            u64::MAX,
        ] {
            let error = complete(Fields {
                index_size: entries,
                ..GOOD
            })
            .unwrap_err();
            let limit = 1_000_000_000;
            assert_eq!(error, OpenError::IndexTooLong { entries, limit });
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
        let most = Fields {
            index_size: 1_000_000_000,
            content_len: 4_096_000_000_000,
            ..GOOD
        };
        let Ok(HeaderOutcome::Complete(layout)) = open(&most.area(), Bytes::new(1 << 40), crc32c)
        else {
            panic!("as large as it may be");
        };
        assert_eq!(layout.block_count(), 1_000_000_000);
        assert_eq!(layout.index_len().get(), 4_000_000_000);
    }

    #[test]
    fn index_size() {
        for (content_len, entries, blocks) in [
            (66_048, 16, 17),
            (66_048, 18, 17),
            (66_048, 0, 17),
            (1 << 62, 17, 1 << 50),
            (u64::MAX, 17, 1 << 52),
        ] {
            let file = complete(Fields {
                content_len,
                index_size: entries,
                ..GOOD
            });
            assert_eq!(file, Err(OpenError::IndexSize { entries, blocks }));
        }
    }

    #[test]
    fn index_place() {
        let error = |offset, limit| {
            Err(OpenError::IndexPlace {
                offset,
                len: Bytes::new(68),
                limit,
            })
        };
        for index_offset in [0, 511, LEN - 67, u64::MAX - 67, u64::MAX] {
            let file = complete(Fields {
                index_offset,
                ..GOOD
            });
            assert_eq!(file, error(index_offset, LEN));
        }
        // With an overwritten header the index may end with the file; else the trailer is there.
        for index_offset in [512, LEN - 68] {
            let file = complete(Fields {
                index_offset,
                ..GOOD
            });
            assert_eq!(file.unwrap().index_offset().get(), index_offset);
        }
        let trailer = |index_offset| {
            by_trailer(
                &Fields {
                    index_offset,
                    ..GOOD_TRAILER
                }
                .area(),
            )
        };
        assert!(trailer(LEN - 512 - 68).is_ok());
        assert_eq!(trailer(LEN - 512 - 67), error(LEN - 512 - 67, LEN - 512));
    }

    #[test]
    fn errors_say_what_and_how_much() {
        let error = OpenError::BlockSize { bytes: 12_288 };
        assert_eq!(error.message(), c"ZFile: invalid block size");
        assert_eq!(error.to_string(), "ZFile: invalid block size (12288 bytes)");
        let error = OpenError::HeaderMagic {
            found: *b"hsqs\0\0\0\0",
        };
        assert_eq!(
            error.to_string(),
            "ZFile header: wrong magic (0x6873717300000000)"
        );
    }
}
