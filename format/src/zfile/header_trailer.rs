// SPDX-License-Identifier: GPL-2.0

//! The 512-byte area that a ZFile has at its start (header) and at its end (trailer), and what of
//! it can be checked without knowing which of the two it is. It judges no field but the digest.

use crate::fields::{bytes_at, u32_at, u64_at, u8_at};
use crate::Crc32c;

/// The length of a ZFile's header in bytes, and of its trailer: both have the same length.
pub const HEADER_LEN: usize = 512;

/// What both header and trailer start with: "ZFile", a version, "tuji.yyf@Alibaba".
const MAGIC: [u8; 24] = *b"ZFile\0\x01\0tuji.yyf@Alibaba";

/// A header or trailer, not checked yet.
#[derive(Clone, Copy)]
pub(super) struct HeaderTrailer<'a>(pub(super) &'a [u8; HEADER_LEN]);

impl HeaderTrailer<'_> {
    pub(super) fn has_magic(self) -> bool {
        *bytes_at::<0, 24, HEADER_LEN>(self.0) == MAGIC
    }

    /// The first eight bytes, for the error that says there is no magic.
    pub(super) fn first_bytes(self) -> [u8; 8] {
        *bytes_at::<0, 8, HEADER_LEN>(self.0)
    }

    pub(super) fn flags(self) -> Flags {
        Flags(u64_at::<32, HEADER_LEN>(self.0))
    }

    /// The digest in the area, and the one of the area: the CRC of all 512 bytes, with those of the
    /// digest itself taken as zero. [`None`] if the area has no digest.
    pub(super) fn digests(self, crc: Crc32c) -> Option<(u32, u32)> {
        if !self.flags().has_digest() {
            return None;
        }
        Some((self.stored_digest(), self.computed_digest(crc)))
    }

    #[inline]
    pub(super) fn stored_digest(self) -> u32 {
        u32_at::<28, HEADER_LEN>(self.0)
    }

    #[inline]
    pub(super) fn computed_digest(self, crc: Crc32c) -> u32 {
        let before = bytes_at::<0, 28, HEADER_LEN>(self.0);
        let after = bytes_at::<32, 480, HEADER_LEN>(self.0);
        crc(crc(crc(0, before), &[0; 4]), after)
    }

    pub(super) fn index_offset(self) -> u64 {
        u64_at::<40, HEADER_LEN>(self.0)
    }

    /// The number of entries of the index, not of its bytes.
    pub(super) fn index_size(self) -> u64 {
        u64_at::<48, HEADER_LEN>(self.0)
    }

    pub(super) fn content_len(self) -> u64 {
        u64_at::<56, HEADER_LEN>(self.0)
    }

    /// The CRC of the index, [`None`] if the area has none.
    pub(super) fn index_crc(self) -> Option<u32> {
        if self.flags().has_digest() {
            Some(u32_at::<64, HEADER_LEN>(self.0))
        } else {
            None
        }
    }

    pub(super) fn block_size(self) -> u32 {
        u32_at::<72, HEADER_LEN>(self.0)
    }

    pub(super) fn algorithm(self) -> u8 {
        u8_at::<76, HEADER_LEN>(self.0)
    }

    pub(super) fn dictionary_len(self) -> u32 {
        u32_at::<84, HEADER_LEN>(self.0)
    }

    /// Whether a CRC follows each block.
    pub(super) fn verify(self) -> bool {
        u8_at::<88, HEADER_LEN>(self.0) != 0
    }
}

/// The flags of an area. Bits above 5 are garbage in old files; bit 5 ("index is compressed") is
/// declared, never set and never honoured.
#[derive(Clone, Copy)]
pub(super) struct Flags(pub(super) u64);

impl Flags {
    pub(super) const fn is_header(self) -> bool {
        self.0 & 1 << 0 != 0
    }

    /// A data file, as opposed to an index file.
    pub(super) const fn is_data(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    pub(super) const fn is_sealed(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// The header was written again at the end, and says all that the trailer does.
    pub(super) const fn is_overwritten(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// The digest and the CRC of the index are valid.
    const fn has_digest(self) -> bool {
        self.0 & 1 << 4 != 0
    }
}
