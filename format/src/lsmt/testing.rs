// SPDX-License-Identifier: GPL-2.0

//! Headers, trailers and segments for the unit tests of this folder.

use super::{
    header_trailer::HEADER_LEN,
    layer::Layer,
    segment::Segment, //
};
use crate::units::{
    Bytes,
    Sector,
    Sectors, //
};

pub(super) const HEADER: u32 = 1 << 0;
pub(super) const DATA: u32 = 1 << 1;
pub(super) const SEALED: u32 = 1 << 2;

/// A header or trailer of a layer.
pub(super) fn area(
    flags: u32,
    index_offset: u64,
    index_size: u64,
    virtual_size: u64,
) -> [u8; HEADER_LEN] {
    let mut area = [0; HEADER_LEN];
    area[..8].copy_from_slice(b"LSMT\0\x01\x02\0");
    area[8..24]
        .copy_from_slice(b"\x65\x7e\x63\xd2\x94\x44\x08\x4c\xa2\xd2\xc8\xec\x4f\xcf\xae\x8a");
    area[28..32].copy_from_slice(&flags.to_le_bytes());
    area[32..40].copy_from_slice(&index_offset.to_le_bytes());
    area[40..48].copy_from_slice(&index_size.to_le_bytes());
    area[48..56].copy_from_slice(&virtual_size.to_le_bytes());
    area
}

/// A layer whose index is at `index_offset`, where its data ends.
pub(super) fn layer(index_offset: u64, entries: u64) -> Layer {
    let header = area(HEADER | DATA, 0, 0, 0);
    let trailer = area(DATA | SEALED, index_offset, entries, 0);
    let len = index_offset
        .saturating_add(entries * 16)
        .saturating_add(4096);
    Layer::open(&header, &trailer, Bytes::new(len)).unwrap()
}

/// An index entry as it is on disk.
pub(super) fn entry(start: u64, len: u64, source: u64, zeroed: bool, tag: u64) -> [u8; 16] {
    let place = start | len << 50;
    let content = source | u64::from(zeroed) << 55 | tag << 56;
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&place.to_le_bytes());
    entry[8..].copy_from_slice(&content.to_le_bytes());
    entry
}

/// A segment of layer 0.
pub(super) fn data(start: u64, len: u64, source: u64) -> Segment {
    Segment::data(Sector::new(start), Sectors::new(len), Sector::new(source)).unwrap()
}

/// A zeroed segment of layer 0.
pub(super) fn zeros(start: u64, len: u64) -> Segment {
    Segment::zeros(Sector::new(start), Sectors::new(len)).unwrap()
}
