// SPDX-License-Identifier: GPL-2.0

//! All fields of a header, a trailer or an index entry, for tools that show them. It never judges a
//! field: readers use `Layer` and `Segment`.
//!
//! All functions are inline, so a program that does not call them, like the kernel module, has no
//! code of them.

use super::{
    header_trailer::{
        HeaderTrailer,
        HEADER_LEN, //
    },
    segment::{
        LAYER_SHIFT,
        PADDING_START,
        SOURCE_MASK,
        START_BITS,
        START_MASK,
        ZEROED, //
    },
};
use crate::{
    convert::low_u8,
    fields::{
        bytes_at,
        u32_at,
        u64_at,
        u8_at, //
    },
    header_trailer::{
        Flags,
        Unchecked as _, //
    },
    units::{
        Sector,
        Sectors, //
    },
};

/// The length of a uuid in a header or trailer: 36 characters and a NUL.
const UUID_LEN: usize = 37;

/// The length of the tag of a layer.
const TAG_LEN: usize = 256;

/// The flags that have a name, lowest bit first.
const FLAGS: [(u64, &str); 6] = [
    (1, "header"),
    (1 << 1, "data"),
    (1 << 2, "sealed"),
    (1 << 3, "gc"),
    (1 << 4, "sparse"),
    (1 << 5, "info_valid"),
];

/// The fields of a header or trailer of a layer, valid or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderTrailerFields {
    /// Whether it starts with the magic of a layer. If not, the other fields most likely have no
    /// meaning.
    pub has_magic: bool,
    /// The length of the fields, 390. No reader uses it.
    pub size: u32,
    /// The flags, see [`Self::flag_names`].
    pub flags: u32,
    /// The offset of the index in bytes. Only valid in a trailer.
    pub index_offset: u64,
    /// The number of entries of the index, padding included. Only valid in a trailer.
    pub index_size: u64,
    /// The size of the image that the layer asks for, in bytes. Only valid in a trailer.
    pub virtual_size: u64,
    /// The name of the layer, as text up to the first NUL.
    pub uuid: [u8; UUID_LEN],
    /// The name of the layer below when this one was written, as text up to the first NUL.
    pub parent_uuid: [u8; UUID_LEN],
    /// The version of the format, 1.
    pub version: u8,
    /// The minor version, 1.
    pub sub_version: u8,
    /// A note of the layer's creator, as text up to the first NUL if there is one.
    pub user_tag: [u8; TAG_LEN],
}

impl HeaderTrailerFields {
    /// The fields of a header or trailer.
    #[inline]
    #[must_use]
    pub fn new(area: &[u8; HEADER_LEN]) -> Self {
        let fields = HeaderTrailer(area);
        Self {
            has_magic: fields.has_magic(),
            size: u32_at::<24, HEADER_LEN>(area),
            flags: u32_at::<28, HEADER_LEN>(area),
            index_offset: fields.index_offset(),
            index_size: fields.index_size(),
            virtual_size: fields.virtual_size(),
            uuid: *bytes_at::<56, UUID_LEN, HEADER_LEN>(area),
            parent_uuid: *bytes_at::<93, UUID_LEN, HEADER_LEN>(area),
            version: u8_at::<132, HEADER_LEN>(area),
            sub_version: u8_at::<133, HEADER_LEN>(area),
            user_tag: *bytes_at::<134, TAG_LEN, HEADER_LEN>(area),
        }
    }

    /// The names of the flags that are set, lowest bit first. A flag without a name is left out.
    #[inline]
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        Flags(self.flags.into()).names(&FLAGS)
    }
}

/// The fields of an index entry, valid or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFields {
    /// The first sector in the image.
    pub start: Sector,
    /// The number of sectors: at most 16383.
    pub len: Sectors,
    /// The first sector in the blob.
    pub source: Sector,
    /// Whether the sectors are zero, and `source` has no meaning.
    pub zeroed: bool,
    /// The tag: 0, or in a layer that was merged from several the number of one of them.
    pub tag: u8,
}

impl EntryFields {
    /// The length of an entry in bytes.
    pub const LEN: usize = 16;

    /// The fields of an entry.
    #[inline]
    #[must_use]
    pub fn new(entry: &[u8; Self::LEN]) -> Self {
        let place = u64_at::<0, { Self::LEN }>(entry);
        let content = u64_at::<8, { Self::LEN }>(entry);
        Self {
            start: Sector::new(place & START_MASK),
            len: Sectors::new(place >> START_BITS),
            source: Sector::new(content & SOURCE_MASK),
            zeroed: content & ZEROED != 0,
            tag: low_u8(content >> LAYER_SHIFT),
        }
    }

    /// Whether it only pads the index.
    #[inline]
    #[must_use]
    pub const fn is_padding(&self) -> bool {
        self.start.get() == PADDING_START
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsmt::testing::{
        area,
        entry,
        DATA,
        HEADER,
        SEALED, //
    };
    use std::vec::Vec;

    #[test]
    fn every_field_is_where_the_format_has_it() {
        let mut area = area(DATA | SEALED | 1 << 4 | 1 << 31, 40_960, 256, 1 << 20);
        area[24..28].copy_from_slice(&390u32.to_le_bytes());
        area[56..93].fill(b'u');
        area[93..130].fill(b'p');
        area[130..132].fill(0xee);
        area[132] = 1;
        area[133] = 2;
        area[134..390].fill(b't');
        area[390..].fill(0xee);
        let fields = HeaderTrailerFields {
            has_magic: true,
            size: 390,
            flags: DATA | SEALED | 1 << 4 | 1 << 31,
            index_offset: 40_960,
            index_size: 256,
            virtual_size: 1 << 20,
            uuid: [b'u'; 37],
            parent_uuid: [b'p'; 37],
            version: 1,
            sub_version: 2,
            user_tag: [b't'; 256],
        };
        assert_eq!(HeaderTrailerFields::new(&area), fields);
        let names: Vec<_> = fields.flag_names().collect();
        assert_eq!(names, ["data", "sealed", "sparse"]);
        // With another magic the other fields are read all the same.
        area[23] ^= 1;
        let other = HeaderTrailerFields {
            has_magic: false,
            ..fields
        };
        assert_eq!(HeaderTrailerFields::new(&area), other);
    }

    #[test]
    fn flags_without_a_name_are_left_out() {
        let fields = HeaderTrailerFields::new(&area(HEADER | 1 << 6, 0, 0, 0));
        assert_eq!(fields.flag_names().collect::<Vec<_>>(), ["header"]);
        let fields = HeaderTrailerFields::new(&area(u32::MAX, 0, 0, 0));
        assert_eq!(fields.flag_names().count(), FLAGS.len());
    }

    #[test]
    fn entries_keep_their_tag() {
        let fields = EntryFields {
            start: Sector::new((1 << 50) - 2),
            len: Sectors::new(16_383),
            source: Sector::new((1 << 55) - 1),
            zeroed: true,
            tag: 255,
        };
        let bytes = entry((1 << 50) - 2, 16_383, (1 << 55) - 1, true, 255);
        assert_eq!(EntryFields::new(&bytes), fields);
        assert!(!fields.is_padding());
        let padding = EntryFields::new(&entry((1 << 50) - 1, 3, 4, false, 5));
        assert!(padding.is_padding());
        assert_eq!(padding.len.get(), 3);
        assert_eq!(padding.source.get(), 4);
        assert_eq!((padding.zeroed, padding.tag), (false, 5));
    }
}
