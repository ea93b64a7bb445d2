// SPDX-License-Identifier: GPL-2.0

//! Where the index and the data are in an LSMT blob, from its header and trailer. A [`Layer`]
//! exists only after all checks of these two.

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
    arith::mul_u64,
    convert::u64_from,
    header_trailer::{
        self,
        check_index_entries,
        check_index_place,
        Unchecked as _, //
    },
    units::{
        Bytes,
        Sector, //
    },
};

/// [`HEADER_LEN`] as a length in the blob.
const HEADER_BYTES: u64 = u64_from(HEADER_LEN);

/// The most entries that the index of a read-only layer may have: 16 MB. Readers refuse more since
/// 2026.
const MAX_INDEX_ENTRIES: u64 = 1_000_000;

/// The length of an index entry in bytes.
pub(super) const ENTRY_LEN: u64 = 16;

/// The offset of the trailer of a blob: the trailer is its last 4096 bytes.
///
/// # Errors
///
/// [`StructureError::TooShort`](crate::StructureError::TooShort): a header that a trailer follows
/// at once, an empty layer, is the shortest blob.
pub fn trailer_offset(blob_len: Bytes) -> Result<Bytes, OpenError> {
    Ok(Bytes::new(header_trailer::trailer_offset(
        blob_len,
        HEADER_BYTES,
    )?))
}

/// Where the index and the data are in an LSMT blob.
///
/// # Invariants
///
/// The index lies between the header and the trailer, and has at most 1,000,000 entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    index_offset: u64,
    index_entries: u32,
    virtual_size: u64,
}

impl Layer {
    /// Checks the first and the last 4096 bytes of a blob that is `blob_len` bytes long.
    ///
    /// # Errors
    ///
    /// Any [`OpenError`] that is not about an entry of the index.
    pub fn open(
        header: &[u8; HEADER_LEN],
        trailer: &[u8; HEADER_LEN],
        blob_len: Bytes,
    ) -> Result<Self, OpenError> {
        let limit = trailer_offset(blob_len)?.get();

        let header = HeaderTrailer(header);
        header.check_header()?;
        header.check_header_type()?;

        let trailer = HeaderTrailer(trailer);
        trailer.check_trailer()?;
        let virtual_size = Bytes::new(trailer.virtual_size());
        if !virtual_size.is_whole_sectors() {
            return Err(OpenError::VirtualSize {
                bytes: virtual_size,
            });
        }
        let layer = Self {
            index_offset: trailer.index_offset(),
            index_entries: check_index_entries(trailer.index_size(), MAX_INDEX_ENTRIES)?,
            virtual_size: virtual_size.get(),
        };
        check_index_place(layer.index_offset, layer.index_len(), HEADER_BYTES, limit)?;
        Ok(layer)
    }

    /// The offset of the index in the blob. Writers put it at a sector, but this is not checked:
    /// the format's own reader does not either.
    #[inline]
    #[must_use]
    pub const fn index_offset(&self) -> Bytes {
        Bytes::new(self.index_offset)
    }

    /// The number of entries of the index, padding included: at most 1,000,000.
    #[inline]
    #[must_use]
    pub const fn index_entries(&self) -> u32 {
        self.index_entries
    }

    /// The length of the index: 16 bytes for each entry.
    #[inline]
    #[must_use]
    pub fn index_len(&self) -> Bytes {
        Bytes::new(mul_u64(u64::from(self.index_entries), ENTRY_LEN))
    }

    /// The size of the image that this layer asks for: a multiple of 512, 0 if it leaves that to
    /// the layers below. The layer may hold sectors after it.
    #[inline]
    #[must_use]
    pub const fn virtual_size(&self) -> Bytes {
        Bytes::new(self.virtual_size)
    }

    /// The largest sector that data may end at: the one that the index starts in.
    #[inline]
    pub(super) const fn data_end(&self) -> Sector {
        Sector::new(self.index_offset().whole_sectors().get())
    }
}

/// The size of an image of layers with these virtual sizes, lowest layer first: that of the topmost
/// layer that has one, 0 if none has.
#[must_use]
pub fn virtual_size(layers: impl DoubleEndedIterator<Item = Bytes>) -> Bytes {
    layers
        .rev()
        .find(|size| size.get() != 0)
        .unwrap_or(Bytes::new(0))
}
