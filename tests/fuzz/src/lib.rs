// SPDX-License-Identifier: GPL-2.0

//! Code that the fuzz targets share: it parses an input, creates headers that pass the first
//! checks, and has LZ4 and Zstandard of the C libraries. It never judges a result.

#![forbid(unsafe_code)]

use overlaybd_format::units::Bytes;
use overlaybd_format::zfile::{self, HeaderOutcome, Layout};
use overlaybd_image::{crc32c, fix_digest};

/// An input, consumed from its front. Bytes after its end are zero.
#[derive(Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let there = self.take(N);
        array[..there.len()].copy_from_slice(there);
        array
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// The next `len` bytes, or fewer if the input ends.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (now, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        now
    }

    /// The rest.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Cuts bytes into pieces of 0 to 15 bytes, rarely of hundreds, by the bits of `pattern`.
pub fn pieces(bytes: &[u8], pattern: u64) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    let mut turn = 0u32;
    while !rest.is_empty() {
        let nibble = (pattern.rotate_right(4 * turn) & 15) as usize;
        let len = if nibble == 15 { 300 } else { nibble };
        // A pattern of zeros must end too.
        let len = if turn % 16 == 15 { len + 1 } else { len };
        let (now, behind) = rest.split_at(len.min(rest.len()));
        pieces.push(now);
        rest = behind;
        turn += 1;
    }
    pieces
}

/// The fields of a ZFile's header that targets choose.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub content_len: u64,
    pub blocks: u64,
    pub index_offset: u64,
    pub index_crc: Option<u32>,
    pub block_size: u32,
    pub algorithm: u8,
    pub verify: bool,
}

impl Header {
    /// An overwritten header with these fields.
    pub fn area(&self) -> [u8; 512] {
        let mut area = [0; 512];
        area[..24].copy_from_slice(b"ZFile\0\x01\0tuji.yyf@Alibaba");
        area[32] = 0x0b;
        area[40..48].copy_from_slice(&self.index_offset.to_le_bytes());
        area[48..56].copy_from_slice(&self.blocks.to_le_bytes());
        area[56..64].copy_from_slice(&self.content_len.to_le_bytes());
        area[72..76].copy_from_slice(&self.block_size.to_le_bytes());
        area[76] = self.algorithm;
        area[88] = self.verify.into();
        if let Some(crc) = self.index_crc {
            area[32] |= 0x10;
            area[64..68].copy_from_slice(&crc.to_le_bytes());
            fix_digest(&mut area);
        }
        area
    }

    /// The layout that a file with this header and of this length has.
    pub fn open(&self, zfile_len: u64) -> Result<Layout, zfile::OpenError> {
        match zfile::open(&self.area(), Bytes::new(zfile_len), crc32c)? {
            HeaderOutcome::Complete(layout) => Ok(layout),
            HeaderOutcome::NeedsTrailer(_) => panic!("the header is overwritten"),
        }
    }
}

/// LZ4 of the reference implementation: the content, at most `room` bytes.
pub fn reference_lz4(block: &[u8], room: usize) -> Option<Vec<u8>> {
    let size = i32::try_from(room).ok()?;
    let mut content = vec![0xc3; room];
    let len = lz4::block::decompress_to_buffer(block, Some(size), &mut content).ok()?;
    content.truncate(len);
    Some(content)
}

/// Zstandard of the reference implementation, in a new context.
pub fn reference_zstd(frame: &[u8], room: usize) -> Option<Vec<u8>> {
    zstd::bulk::decompress(frame, room).ok()
}
