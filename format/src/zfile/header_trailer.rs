// SPDX-License-Identifier: GPL-2.0

//! The 512 bytes that a ZFile has at its start (header) and at its end (trailer): the raw fields
//! that a reader needs. No field is judged here but the digest, which covers all of them.

use crate::{
    fields::{
        bytes_at,
        u32_at,
        u64_at,
        u8_at, //
    },
    header_trailer::{
        Flags,
        Unchecked,
        MAGIC_LEN, //
    },
    Crc32c, //
};

/// The length of a ZFile's header in bytes, and of its trailer: both have the same length.
pub const HEADER_LEN: usize = 512;

/// The flag of a header that the writer rewrote after compression: it has the trailer's fields.
pub(super) const OVERWRITTEN: u64 = 1 << 3;

/// The flag of a header or trailer whose digest and CRC of the index are valid.
pub(super) const DIGEST: u64 = 1 << 4;

/// A header or trailer that has not been checked yet.
///
/// In old files the flags above bit 5 are garbage. Bit 5 ("index is compressed") is declared, but
/// no writer sets it and no reader honours it.
#[derive(Clone, Copy)]
pub(super) struct HeaderTrailer<'a>(pub(super) &'a [u8; HEADER_LEN]);

impl Unchecked for HeaderTrailer<'_> {
    /// A name, a version, and "tuji.yyf@Alibaba".
    const MAGIC: [u8; MAGIC_LEN] = *b"ZFile\0\x01\0tuji.yyf@Alibaba";

    fn magic(self) -> [u8; MAGIC_LEN] {
        *bytes_at::<0, MAGIC_LEN, HEADER_LEN>(self.0)
    }

    fn flags(self) -> Flags {
        Flags(u64_at::<32, HEADER_LEN>(self.0))
    }
}

impl HeaderTrailer<'_> {
    pub(super) fn is_overwritten(self) -> bool {
        self.flags().0 & OVERWRITTEN != 0
    }

    fn has_digest(self) -> bool {
        self.flags().0 & DIGEST != 0
    }

    /// The stored and the computed digest if they differ. [`None`] if they agree, or if there is no
    /// digest.
    pub(super) fn wrong_digest(self, crc: Crc32c) -> Option<(u32, u32)> {
        if !self.has_digest() {
            return None;
        }
        let (stored, computed) = (self.stored_digest(), self.computed_digest(crc));
        (stored != computed).then_some((stored, computed))
    }

    #[inline]
    pub(super) fn stored_digest(self) -> u32 {
        u32_at::<28, HEADER_LEN>(self.0)
    }

    /// The CRC of all 512 bytes, with those of the digest itself taken as zero.
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

    /// The CRC of the index, [`None`] if there is none.
    pub(super) fn index_crc(self) -> Option<u32> {
        self.has_digest().then(|| u32_at::<64, HEADER_LEN>(self.0))
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
