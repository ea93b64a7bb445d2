// SPDX-License-Identifier: GPL-2.0

//! Headers, trailers and layouts for the unit tests of this folder.

pub(super) use super::header_trailer::{DIGEST, OVERWRITTEN};
use super::layout::{
    open,
    HeaderOutcome,
    Layout, //
};
use crate::{
    testing::crc32c,
    units::Bytes, //
};

pub(super) const HEADER: u64 = 1 << 0;
pub(super) const DATA: u64 = 1 << 1;
pub(super) const SEALED: u64 = 1 << 2;

/// The fields of a header or trailer that are read.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub(super) flags: u64,
    pub(super) index_offset: u64,
    pub(super) index_size: u64,
    pub(super) content_len: u64,
    pub(super) index_crc: u32,
    pub(super) block_size: u32,
    pub(super) algorithm: u8,
    pub(super) dictionary_len: u32,
    pub(super) verify: u8,
}

impl Fields {
    pub(super) const ZERO: Self = Self {
        flags: 0,
        index_offset: 0,
        index_size: 0,
        content_len: 0,
        index_crc: 0,
        block_size: 0,
        algorithm: 0,
        dictionary_len: 0,
        verify: 0,
    };

    /// The bytes of the header or trailer, with a valid digest if the flags have that of a digest.
    pub(super) fn area(self) -> [u8; 512] {
        let mut area = [0; 512];
        area[..24].copy_from_slice(b"ZFile\0\x01\0tuji.yyf@Alibaba");
        area[24..28].copy_from_slice(&96u32.to_le_bytes());
        area[32..40].copy_from_slice(&self.flags.to_le_bytes());
        area[40..48].copy_from_slice(&self.index_offset.to_le_bytes());
        area[48..56].copy_from_slice(&self.index_size.to_le_bytes());
        area[56..64].copy_from_slice(&self.content_len.to_le_bytes());
        area[64..68].copy_from_slice(&self.index_crc.to_le_bytes());
        area[72..76].copy_from_slice(&self.block_size.to_le_bytes());
        area[76] = self.algorithm;
        area[84..88].copy_from_slice(&self.dictionary_len.to_le_bytes());
        area[88] = self.verify;
        if self.flags & DIGEST != 0 {
            let digest = crc32c(0, &area);
            area[28..32].copy_from_slice(&digest.to_le_bytes());
        }
        area
    }
}

/// The layout of an LZ4 file with these fields.
pub(super) fn layout(
    content_len: u64,
    block_size: u32,
    verify: bool,
    index_offset: u64,
    index_crc: Option<u32>,
) -> Layout {
    let digest = if index_crc.is_some() { DIGEST } else { 0 };
    let fields = Fields {
        flags: HEADER | DATA | OVERWRITTEN | digest,
        index_offset,
        index_size: content_len.div_ceil(u64::from(block_size)),
        content_len,
        index_crc: index_crc.unwrap_or(0xdead_beef),
        block_size,
        algorithm: 1,
        dictionary_len: 0,
        verify: verify.into(),
    };
    match open(&fields.area(), Bytes::new(1 << 62), crc32c).unwrap() {
        HeaderOutcome::Complete(layout) => layout,
        HeaderOutcome::NeedsTrailer(_) => panic!("the header is complete"),
    }
}
