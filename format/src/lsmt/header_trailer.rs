// SPDX-License-Identifier: GPL-2.0

//! The 4096 bytes that an LSMT blob has at its start (header) and at its end (trailer): the raw
//! fields that a reader needs. No field is judged here.

use crate::{
    fields::{
        bytes_at,
        u32_at,
        u64_at, //
    },
    header_trailer::{
        Flags,
        Unchecked,
        MAGIC_LEN, //
    },
};

/// The length of an LSMT blob's header in bytes, and of its trailer: both have the same length.
pub const HEADER_LEN: usize = 4096;

/// A header or trailer that has not been checked yet.
#[derive(Clone, Copy)]
pub(super) struct HeaderTrailer<'a>(pub(super) &'a [u8; HEADER_LEN]);

impl Unchecked for HeaderTrailer<'_> {
    const MAGIC: [u8; MAGIC_LEN] =
        *b"LSMT\0\x01\x02\0\x65\x7e\x63\xd2\x94\x44\x08\x4c\xa2\xd2\xc8\xec\x4f\xcf\xae\x8a";

    fn magic(self) -> [u8; MAGIC_LEN] {
        *bytes_at::<0, MAGIC_LEN, HEADER_LEN>(self.0)
    }

    fn flags(self) -> Flags {
        Flags(u32_at::<28, HEADER_LEN>(self.0).into())
    }
}

impl HeaderTrailer<'_> {
    pub(super) fn index_offset(self) -> u64 {
        u64_at::<32, HEADER_LEN>(self.0)
    }

    /// The number of entries of the index, padding included.
    pub(super) fn index_size(self) -> u64 {
        u64_at::<40, HEADER_LEN>(self.0)
    }

    pub(super) fn virtual_size(self) -> u64 {
        u64_at::<48, HEADER_LEN>(self.0)
    }
}
