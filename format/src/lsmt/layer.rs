// SPDX-License-Identifier: GPL-2.0

//! Where things are in an LSMT blob, from its header and trailer. A [`Layer`] exists only after
//! every check that needs no more than those two.

use super::error::OpenError;
use crate::arith::mul_u64;
use crate::convert::u64_from;
use crate::fields::{bytes_at, u32_at, u64_at};
use crate::units::{Bytes, Sector};

/// The length of an LSMT blob's header in bytes, and of its trailer: both have the same length.
pub const HEADER_LEN: usize = 4096;

/// [`HEADER_LEN`] as a length in the blob.
const HEADER_BYTES: u64 = u64_from(HEADER_LEN);

/// The least length of a blob: a header, directly followed by a trailer, is an empty layer.
const MIN_LEN: u64 = 2 * HEADER_BYTES;

/// The most entries the index of a read-only layer may have: 16 MB of them. Readers refuse more
/// since 2026.
const MAX_INDEX_ENTRIES: u64 = 1_000_000;

/// The length of an index entry in bytes.
pub(super) const ENTRY_LEN: u64 = 16;

/// What both header and trailer start with.
const MAGIC: [u8; 24] = [
    0x4c, 0x53, 0x4d, 0x54, 0x00, 0x01, 0x02, 0x00, // "LSMT", a version
    0x65, 0x7e, 0x63, 0xd2, 0x94, 0x44, 0x08, 0x4c, 0xa2, 0xd2, 0xc8, 0xec, 0x4f, 0xcf, 0xae, 0x8a,
];

/// A header or trailer, not checked yet.
#[derive(Clone, Copy)]
pub(super) struct HeaderTrailer<'a>(pub(super) &'a [u8; HEADER_LEN]);

impl HeaderTrailer<'_> {
    pub(super) fn has_magic(self) -> bool {
        *bytes_at::<0, 24, HEADER_LEN>(self.0) == MAGIC
    }

    fn first_bytes(self) -> [u8; 8] {
        *bytes_at::<0, 8, HEADER_LEN>(self.0)
    }

    pub(super) fn flags(self) -> Flags {
        Flags(u32_at::<28, HEADER_LEN>(self.0))
    }

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

/// The flags of an area. Those above bit 2 say nothing that a reader of sealed layers needs.
#[derive(Clone, Copy)]
pub(super) struct Flags(pub(super) u32);

impl Flags {
    const fn is_header(self) -> bool {
        self.0 & 1 << 0 != 0
    }

    /// A data file, as opposed to an index file.
    const fn is_data(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    const fn is_sealed(self) -> bool {
        self.0 & 1 << 2 != 0
    }
}

/// Where the trailer of a blob is: its last 4096 bytes.
///
/// # Errors
///
/// [`OpenError::TooShort`].
pub fn trailer_offset(blob_len: Bytes) -> Result<Bytes, OpenError> {
    match blob_len.get().checked_sub(HEADER_BYTES) {
        Some(offset) if offset >= HEADER_BYTES => Ok(Bytes::new(offset)),
        _ => Err(OpenError::TooShort {
            blob_len,
            needed: Bytes::new(MIN_LEN),
        }),
    }
}

/// Where things are in an LSMT blob.
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
        if !flags.is_data() {
            return Err(OpenError::HeaderType { flags: flags.0 });
        }

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

        let virtual_size = Bytes::new(area.virtual_size());
        if !virtual_size.is_whole_sectors() {
            return Err(OpenError::VirtualSize {
                bytes: virtual_size,
            });
        }
        let entries = area.index_size();
        let index_entries = match u32::try_from(entries) {
            Ok(count) if entries <= MAX_INDEX_ENTRIES => count,
            _ => {
                return Err(OpenError::IndexTooLong {
                    entries,
                    limit: MAX_INDEX_ENTRIES,
                })
            }
        };
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
            index_offset,
            index_entries,
            virtual_size: virtual_size.get(),
        })
    }

    /// Where the index starts in the blob: at a sector in every layer a writer made, but that is
    /// not checked, as by the format's own reader.
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
    /// the layers below. It does not limit what the layer holds.
    #[inline]
    #[must_use]
    pub const fn virtual_size(&self) -> Bytes {
        Bytes::new(self.virtual_size)
    }

    /// Where the data of the layer ends at the latest: the sector the index starts in.
    #[inline]
    pub(super) const fn data_end(&self) -> Sector {
        Sector::new(self.index_offset().whole_sectors().get())
    }
}

/// The size of the image that layers of these virtual sizes make, lowest layer first: that of the
/// topmost layer that has one, 0 if none has.
#[must_use]
pub fn virtual_size(layers: impl DoubleEndedIterator<Item = Bytes>) -> Bytes {
    layers
        .rev()
        .find(|size| size.get() != 0)
        .unwrap_or(Bytes::new(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsmt::testing::{area, DATA, HEADER, SEALED};
    use crate::{ErrorKind, FormatError};
    use std::string::ToString;

    const LEN: u64 = 100_000;
    const LIMIT: u64 = LEN - 4096;

    fn open(header: &[u8; 4096], trailer: &[u8; 4096]) -> Result<Layer, OpenError> {
        Layer::open(header, trailer, Bytes::new(LEN))
    }

    fn header() -> [u8; 4096] {
        area(HEADER | DATA, 0, 0, 0)
    }

    fn trailer() -> [u8; 4096] {
        area(DATA | SEALED, 40_960, 256, 1 << 20)
    }

    fn by_trailer(offset: u64, entries: u64, virtual_size: u64) -> Result<Layer, OpenError> {
        open(
            &header(),
            &area(DATA | SEALED, offset, entries, virtual_size),
        )
    }

    #[test]
    fn a_good_layer() {
        let layer = open(&header(), &trailer()).unwrap();
        assert_eq!(layer.index_offset().get(), 40_960);
        assert_eq!(layer.index_entries(), 256);
        assert_eq!(layer.index_len().get(), 4096);
        assert_eq!(layer.virtual_size().get(), 1 << 20);
        assert_eq!(layer.data_end().get(), 80);
    }

    #[test]
    fn what_nobody_looks_at() {
        let mut header = area(
            HEADER | DATA | SEALED | 1 << 4 | 1 << 31,
            u64::MAX,
            u64::MAX,
            777,
        );
        let mut trailer = trailer();
        trailer[28..32].copy_from_slice(&0xffff_fffe_u32.to_le_bytes());
        for area in [&mut header, &mut trailer] {
            area[24..28].fill(0x55);
            area[56..].fill(0x55);
        }
        let layer = open(&header, &trailer).unwrap();
        assert_eq!(layer.virtual_size().get(), 1 << 20);
    }

    #[test]
    fn too_short() {
        for len in [0, 4096, 5000, 8191] {
            let error = Err(OpenError::TooShort {
                blob_len: Bytes::new(len),
                needed: Bytes::new(8192),
            });
            assert_eq!(trailer_offset(Bytes::new(len)), error);
            assert_eq!(
                Layer::open(&header(), &trailer(), Bytes::new(len)),
                error.map(|_| unreachable!())
            );
        }
        assert_eq!(trailer_offset(Bytes::new(8192)), Ok(Bytes::new(4096)));
    }

    #[test]
    fn an_empty_layer_is_one() {
        let trailer = area(DATA | SEALED, 4096, 0, 0);
        let layer = Layer::open(&header(), &trailer, Bytes::new(8192)).unwrap();
        assert_eq!(layer.index_entries(), 0);
        assert_eq!(layer.index_len(), Bytes::new(0));
    }

    #[test]
    fn magic() {
        for at in 0..24 {
            let mut bad = header();
            bad[at] ^= 0x80;
            let found = *bad.first_chunk().unwrap();
            assert_eq!(
                open(&bad, &trailer()),
                Err(OpenError::HeaderMagic { found })
            );
            let mut bad = trailer();
            bad[at] ^= 0x80;
            let found = *bad.first_chunk().unwrap();
            assert_eq!(
                open(&header(), &bad),
                Err(OpenError::TrailerMagic { found })
            );
        }
    }

    #[test]
    fn header_flags() {
        let with = |flags| open(&area(flags, 0, 0, 0), &trailer());
        let flags = DATA;
        assert_eq!(with(flags), Err(OpenError::HeaderFlag { flags }));
        let flags = HEADER;
        assert_eq!(with(flags), Err(OpenError::HeaderType { flags }));
    }

    #[test]
    fn trailer_flags() {
        let with = |flags| open(&header(), &area(flags, 40_960, 256, 0));
        let flags = HEADER | DATA | SEALED;
        assert_eq!(with(flags), Err(OpenError::TrailerFlag { flags }));
        let flags = SEALED;
        assert_eq!(with(flags), Err(OpenError::TrailerType { flags }));
        let flags = DATA;
        assert_eq!(with(flags), Err(OpenError::TrailerNotSealed { flags }));
    }

    #[test]
    fn virtual_size_in_sectors() {
        for size in [1, 511, 33_554_433, u64::MAX] {
            let error = by_trailer(40_960, 256, size).unwrap_err();
            assert_eq!(
                error,
                OpenError::VirtualSize {
                    bytes: Bytes::new(size)
                }
            );
            assert_eq!(error.kind(), ErrorKind::Malformed);
        }
    }

    #[test]
    fn index_too_long() {
        for entries in [1_000_001, 1 << 32, (1 << 60) + 1, u64::MAX] {
            let error = by_trailer(40_960, entries, 0).unwrap_err();
            let limit = 1_000_000;
            assert_eq!(error, OpenError::IndexTooLong { entries, limit });
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
        let most = area(DATA | SEALED, 40_960, 1_000_000, 0);
        let layer = Layer::open(&header(), &most, Bytes::new(1 << 30)).unwrap();
        assert_eq!(layer.index_len().get(), 16_000_000);
    }

    #[test]
    fn index_place() {
        let latest = LIMIT - 256 * 16;
        for offset in [0, 4095, latest + 1, LEN, u64::MAX - 4095, u64::MAX] {
            assert_eq!(
                by_trailer(offset, 256, 0),
                Err(OpenError::IndexPlace {
                    offset,
                    len: Bytes::new(4096),
                    limit: LIMIT
                })
            );
        }
        // Not at a sector: read as the format's own reader does, data ends in whole sectors.
        for offset in [4096, 4097, latest] {
            let layer = by_trailer(offset, 256, 0).unwrap();
            assert_eq!(layer.data_end().get(), offset / 512);
        }
    }

    #[test]
    fn the_topmost_size_wins() {
        let size = |sizes: &[u64]| virtual_size(sizes.iter().map(|size| Bytes::new(*size))).get();
        assert_eq!(size(&[]), 0);
        assert_eq!(size(&[0, 0]), 0);
        assert_eq!(size(&[512, 1024, 0]), 1024);
        assert_eq!(size(&[2048, 1024]), 1024);
    }

    #[test]
    fn errors_say_what_and_how_much() {
        let error = by_trailer(40_960, 256, 100).unwrap_err();
        assert_eq!(
            error.message(),
            c"LSMT: virtual size is not a multiple of 512"
        );
        assert_eq!(
            error.to_string(),
            "LSMT: virtual size is not a multiple of 512 (100 bytes)"
        );
    }
}
