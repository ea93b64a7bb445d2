// SPDX-License-Identifier: GPL-2.0

//! Headers and trailers with one field wrong, and layers that open.

use super::*;
use crate::{
    lsmt::testing::{
        area,
        DATA,
        HEADER,
        SEALED, //
    },
    ErrorKind,
    FormatError,
    StructureError, //
};
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
fn fields_that_are_not_read() {
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
        let error = Err(OpenError::Structure(StructureError::TooShort {
            len: Bytes::new(len),
            needed: Bytes::new(8192),
        }));
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
            Err(OpenError::Structure(StructureError::HeaderMagic { found }))
        );
        let mut bad = trailer();
        bad[at] ^= 0x80;
        let found = *bad.first_chunk().unwrap();
        assert_eq!(
            open(&header(), &bad),
            Err(OpenError::Structure(StructureError::TrailerMagic { found }))
        );
    }
}

#[test]
fn header_flags() {
    let with = |flags| open(&area(flags, 0, 0, 0), &trailer());
    let flags = DATA;
    assert_eq!(
        with(flags),
        Err(OpenError::Structure(StructureError::HeaderFlag {
            flags: flags.into()
        }))
    );
    let flags = HEADER;
    assert_eq!(
        with(flags),
        Err(OpenError::Structure(StructureError::HeaderType {
            flags: flags.into()
        }))
    );
}

#[test]
fn trailer_flags() {
    let with = |flags| open(&header(), &area(flags, 40_960, 256, 0));
    let flags = HEADER | DATA | SEALED;
    assert_eq!(
        with(flags),
        Err(OpenError::Structure(StructureError::TrailerFlag {
            flags: flags.into()
        }))
    );
    let flags = SEALED;
    assert_eq!(
        with(flags),
        Err(OpenError::Structure(StructureError::TrailerType {
            flags: flags.into()
        }))
    );
    let flags = DATA;
    assert_eq!(
        with(flags),
        Err(OpenError::Structure(StructureError::TrailerNotSealed {
            flags: flags.into()
        }))
    );
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
        assert_eq!(
            error,
            OpenError::Structure(StructureError::IndexTooLong { entries, limit })
        );
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
            Err(OpenError::Structure(StructureError::IndexPlace {
                offset,
                len: Bytes::new(4096),
                start: 4096,
                limit: LIMIT
            }))
        );
    }
    // Not at a sector: like in the format's own reader, data ends at the sector before.
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
