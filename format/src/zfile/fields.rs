// SPDX-License-Identifier: GPL-2.0

//! All fields of a header or trailer of a ZFile, for tools that show them. It never judges a field:
//! readers use `Layout`.
//!
//! All functions are inline, so a program that does not call them, like the kernel module, has no
//! code of them.

use super::header_trailer::{
    HeaderTrailer,
    DIGEST,
    HEADER_LEN,
    OVERWRITTEN, //
};
use crate::{
    fields::{
        u32_at,
        u8_at, //
    },
    header_trailer::{
        Flags,
        Unchecked as _, //
    },
    Crc32c, //
};

/// The flags that have a name, lowest bit first.
const FLAGS: [(u64, &str); 6] = [
    (1, "header"),
    (1 << 1, "data"),
    (1 << 2, "sealed"),
    (OVERWRITTEN, "header_overwritten"),
    (DIGEST, "digest"),
    (1 << 5, "index_compressed"),
];

/// The fields of a header or trailer of a ZFile, valid or not.
///
/// The first writers left garbage in fields that they did not set. In a header that was not
/// overwritten, the fields of the index are 0 or such garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderTrailerFields {
    /// Whether it starts with the magic of a ZFile. If not, the other fields most likely have no
    /// meaning.
    pub has_magic: bool,
    /// The length of the fields, 96. No reader uses it.
    pub size: u32,
    /// The stored digest. Only valid with the flag of the digest.
    pub digest: u32,
    /// The computed digest.
    pub computed_digest: u32,
    /// The flags, see [`Self::flag_names`].
    pub flags: u64,
    /// The offset of the index in bytes, from the first byte of the header.
    pub index_offset: u64,
    /// The number of entries of the index, not of its bytes.
    pub index_size: u64,
    /// The length of the content in bytes.
    pub original_file_size: u64,
    /// The CRC of the index. Only valid with the flag of the digest.
    pub index_crc: u32,
    /// The bytes of content in a block.
    pub block_size: u32,
    /// The number of the compression algorithm: 1 is LZ4, 2 is Zstandard.
    pub algo: u8,
    /// The compression level: 0 in all files, at any level.
    pub level: u8,
    /// Whether a dictionary was used, if not 0. No reader uses it.
    pub use_dict: u8,
    /// The length of the dictionary in bytes: 0 in all files.
    pub dict_size: u32,
    /// Whether a CRC follows each block, if not 0.
    pub verify: u8,
}

impl HeaderTrailerFields {
    /// The fields of a header or trailer.
    #[inline]
    #[must_use]
    pub fn new(area: &[u8; HEADER_LEN], crc: Crc32c) -> Self {
        let fields = HeaderTrailer(area);
        Self {
            has_magic: fields.has_magic(),
            size: u32_at::<24, HEADER_LEN>(area),
            digest: fields.stored_digest(),
            computed_digest: fields.computed_digest(crc),
            flags: fields.flags().0,
            index_offset: fields.index_offset(),
            index_size: fields.index_size(),
            original_file_size: fields.content_len(),
            index_crc: u32_at::<64, HEADER_LEN>(area),
            block_size: fields.block_size(),
            algo: fields.algorithm(),
            level: u8_at::<77, HEADER_LEN>(area),
            use_dict: u8_at::<78, HEADER_LEN>(area),
            dict_size: fields.dictionary_len(),
            verify: u8_at::<88, HEADER_LEN>(area),
        }
    }

    /// The names of the flags that are set, lowest bit first. A flag without a name is left out.
    #[inline]
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        Flags(self.flags).names(&FLAGS)
    }

    /// Whether the digest and the CRC of the index are valid.
    #[inline]
    #[must_use]
    pub fn has_digest(&self) -> bool {
        self.flags & DIGEST != 0
    }

    /// Whether a header has all fields of the trailer, so that readers ignore the trailer.
    #[inline]
    #[must_use]
    pub fn is_overwritten(&self) -> bool {
        self.flags & OVERWRITTEN != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::crc32c,
        zfile::testing::{
            Fields,
            DATA,
            HEADER,
            SEALED, //
        },
    };
    use std::vec::Vec;

    const WRITTEN: Fields = Fields {
        flags: DATA | SEALED | 1 << 40,
        index_offset: 40_000,
        index_size: 17,
        content_len: 66_048,
        index_crc: 0x1234_5678,
        block_size: 4096,
        algorithm: 2,
        dictionary_len: 3,
        verify: 4,
    };

    #[test]
    fn every_field_is_where_the_format_has_it() {
        let mut area = WRITTEN.area();
        area[28..32].copy_from_slice(&0xdead_beef_u32.to_le_bytes());
        area[68..72].fill(0xee);
        area[77] = 5;
        area[78] = 6;
        area[79..84].fill(0xee);
        area[89..].fill(0xee);
        let mut without_digest = area;
        without_digest[28..32].fill(0);
        let fields = HeaderTrailerFields {
            has_magic: true,
            size: 96,
            digest: 0xdead_beef,
            computed_digest: crc32c(0, &without_digest),
            flags: WRITTEN.flags,
            index_offset: 40_000,
            index_size: 17,
            original_file_size: 66_048,
            index_crc: 0x1234_5678,
            block_size: 4096,
            algo: 2,
            level: 5,
            use_dict: 6,
            dict_size: 3,
            verify: 4,
        };
        assert_eq!(HeaderTrailerFields::new(&area, crc32c), fields);
        let names: Vec<_> = fields.flag_names().collect();
        assert_eq!(names, ["data", "sealed"]);
        assert!(!fields.has_digest() && !fields.is_overwritten());
        // With another magic the other fields are read all the same.
        area[23] ^= 1;
        assert!(!HeaderTrailerFields::new(&area, crc32c).has_magic);
        assert_eq!(HeaderTrailerFields::new(&area, crc32c).index_size, 17);
    }

    #[test]
    fn a_valid_digest_is_the_computed_one() {
        let flags = HEADER | DATA | OVERWRITTEN | DIGEST;
        let area = Fields { flags, ..WRITTEN }.area();
        let fields = HeaderTrailerFields::new(&area, crc32c);
        assert_eq!(fields.digest, fields.computed_digest);
        assert!(fields.has_digest() && fields.is_overwritten());
        let names: Vec<_> = fields.flag_names().collect();
        assert_eq!(names, ["header", "data", "header_overwritten", "digest"]);
        let flags = u64::MAX;
        let all = HeaderTrailerFields::new(&Fields { flags, ..WRITTEN }.area(), crc32c);
        assert_eq!(all.flag_names().count(), FLAGS.len());
        assert_eq!(all.flag_names().last(), Some("index_compressed"));
    }
}
