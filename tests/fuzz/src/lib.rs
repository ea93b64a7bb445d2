// SPDX-License-Identifier: GPL-2.0

//! Code that the fuzz targets share: it parses an input, creates headers that pass the first
//! checks, and has LZ4 and Zstandard of the C libraries. It never judges a result.

#![forbid(unsafe_code)]

use overlaybd_format::units::Bytes;
use overlaybd_format::zfile::{
    self, Group, HeaderOutcome, JumpTable, JumpTableBuilder, Layout, OpenError,
};
use overlaybd_format::Output;
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

/// The jump table of a ZFile with a trailer.
pub fn load_table(file: &[u8]) -> Result<JumpTable<Vec<Group>>, OpenError> {
    let area = |at: usize| file[at..at + 512].try_into().unwrap();
    let layout = match zfile::open(&area(0), Bytes::of_memory(file.len()), crc32c)? {
        HeaderOutcome::Complete(layout) => layout,
        HeaderOutcome::NeedsTrailer(pending) => {
            pending.finish(&area(pending.offset().get() as usize), crc32c)?
        }
    };
    let memory = vec![Group::EMPTY; zfile::groups_needed(layout.block_count())];
    let mut builder = JumpTableBuilder::new(layout, memory, crc32c)?;
    let index = layout.index_offset().get() as usize;
    builder.push(&file[index..index + layout.index_len().get() as usize])?;
    builder.finish()
}

/// Memory in pieces, which is written in order.
#[derive(Debug)]
pub struct Segments {
    segments: Vec<Vec<u8>>,
    /// The segment that is being written, and how much of it is.
    at: (usize, usize),
}

impl Segments {
    /// The memory with these bytes, in pieces by the bits of `pattern`.
    pub fn new(bytes: &[u8], mut pattern: u64) -> Self {
        const LENS: [usize; 16] = [
            1, 3, 100, 511, 512, 513, 1024, 1500, 2048, 4095, 4096, 4097, 8192, 16384, 32768, 65536,
        ];
        let (mut segments, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let len = LENS[(pattern & 15) as usize];
            pattern = pattern.rotate_right(4);
            let (now, behind) = rest.split_at(len.min(rest.len()));
            segments.push(now.to_vec());
            rest = behind;
        }
        Self {
            segments,
            at: (0, 0),
        }
    }

    /// What the memory holds.
    pub fn bytes(self) -> Vec<u8> {
        self.segments.concat()
    }
}

impl Output for Segments {
    fn remaining(&self) -> usize {
        let segments = self.segments.iter().skip(self.at.0);
        segments.map(Vec::len).sum::<usize>() - self.at.1
    }

    fn current(&mut self) -> &mut [u8] {
        let (segment, at) = self.at;
        self.segments
            .get_mut(segment)
            .map_or(&mut [], |segment| &mut segment[at..])
    }

    fn advance(&mut self, bytes: usize) {
        self.at.1 += bytes;
        if self.at.1 == self.segments[self.at.0].len() {
            self.at = (self.at.0 + 1, 0);
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
