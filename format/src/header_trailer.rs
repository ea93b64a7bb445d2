// SPDX-License-Identifier: GPL-2.0

//! The checks of headers and trailers that both formats make alike: magic, flags, and the place of
//! the index. A field that only one format has is never read here.

use crate::{
    arith::mul_u64,
    error::StructureError,
    fields::bytes_at,
    units::Bytes, //
};

/// The length of the magic of both formats.
pub(crate) const MAGIC_LEN: usize = 24;

/// The flags of a header or trailer. Three bits are the same in both formats.
#[derive(Clone, Copy)]
pub(crate) struct Flags(pub(crate) u64);

impl Flags {
    const fn is_header(self) -> bool {
        self.0 & 1 != 0
    }

    /// A data file, as opposed to an index file.
    const fn is_data(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    const fn is_sealed(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// The names of the flags that are set, in the order of `names`. A flag that is not there is
    /// left out.
    #[inline]
    pub(crate) fn names(
        self,
        names: &'static [(u64, &'static str)],
    ) -> impl Iterator<Item = &'static str> {
        names
            .iter()
            .filter_map(move |(bit, name)| (self.0 & bit != 0).then_some(*name))
    }
}

/// A header or trailer that has not been checked yet.
pub(crate) trait Unchecked: Copy {
    /// The first bytes of every header and trailer of the format.
    const MAGIC: [u8; MAGIC_LEN];

    /// The bytes in the place of the magic.
    fn magic(self) -> [u8; MAGIC_LEN];

    /// The flags.
    fn flags(self) -> Flags;

    /// Whether the magic is there.
    fn has_magic(self) -> bool {
        self.magic() == Self::MAGIC
    }

    /// Checks that it is a header.
    fn check_header(self) -> Result<(), StructureError> {
        if !self.has_magic() {
            return Err(StructureError::HeaderMagic {
                found: first_bytes(self),
            });
        }
        let flags = self.flags();
        if !flags.is_header() {
            return Err(StructureError::HeaderFlag { flags: flags.0 });
        }
        Ok(())
    }

    /// Checks that a header is that of a data file.
    fn check_header_type(self) -> Result<(), StructureError> {
        let flags = self.flags();
        if !flags.is_data() {
            return Err(StructureError::HeaderType { flags: flags.0 });
        }
        Ok(())
    }

    /// Checks that it is the trailer of a data file that was finished.
    fn check_trailer(self) -> Result<(), StructureError> {
        if !self.has_magic() {
            return Err(StructureError::TrailerMagic {
                found: first_bytes(self),
            });
        }
        let flags = self.flags();
        if flags.is_header() {
            return Err(StructureError::TrailerFlag { flags: flags.0 });
        }
        if !flags.is_data() {
            return Err(StructureError::TrailerType { flags: flags.0 });
        }
        if !flags.is_sealed() {
            return Err(StructureError::TrailerNotSealed { flags: flags.0 });
        }
        Ok(())
    }
}

/// The first eight bytes, for the error of another magic.
fn first_bytes(area: impl Unchecked) -> [u8; 8] {
    *bytes_at::<0, 8, MAGIC_LEN>(&area.magic())
}

/// The offset of the trailer of an image that is `len` bytes long: the trailer is at the end, and
/// as long as the header.
pub(crate) fn trailer_offset(len: Bytes, header_len: u64) -> Result<u64, StructureError> {
    match len.get().checked_sub(header_len) {
        Some(offset) if offset >= header_len => Ok(offset),
        _ => Err(StructureError::TooShort {
            len,
            needed: Bytes::new(mul_u64(header_len, 2)),
        }),
    }
}

/// Checks the number of entries of an index.
pub(crate) fn check_index_entries(entries: u64, limit: u64) -> Result<u32, StructureError> {
    match u32::try_from(entries) {
        Ok(count) if entries <= limit => Ok(count),
        _ => Err(StructureError::IndexTooLong { entries, limit }),
    }
}

/// Checks that an index of `len` bytes at `offset` lies between `start` and `limit`.
pub(crate) fn check_index_place(
    offset: u64,
    len: Bytes,
    start: u64,
    limit: u64,
) -> Result<(), StructureError> {
    match offset.checked_add(len.get()) {
        Some(end) if offset >= start && end <= limit => Ok(()),
        _ => Err(StructureError::IndexPlace {
            offset,
            len,
            start,
            limit,
        }),
    }
}
