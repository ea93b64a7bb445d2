// SPDX-License-Identifier: GPL-2.0

//! Generated ZFiles: every block size, codec and option, and one damage: in a block, in the index,
//! in header or trailer, or in bytes that no reader uses.

use super::{errno, naive, Held, Refusal, SECTOR};
use crate::{crc32c, fix_digest, ZfileWriter};
use fastrand::Rng;
use overlaybd_format::zfile::Algorithm;
use std::ops::Range;

const AREA: usize = 512;

/// How a ZFile is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    block_size: usize,
    algorithm: Algorithm,
    verify: bool,
    digest: bool,
    overwritten: bool,
}

impl Shape {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            block_size: 512 << rng.u8(0..8),
            algorithm: if rng.bool() {
                Algorithm::Lz4
            } else {
                Algorithm::Zstd
            },
            verify: rng.u8(0..3) != 0,
            digest: rng.u8(0..3) != 0,
            overwritten: rng.bool(),
        }
    }

    /// A length of content: a few blocks, sometimes not of whole sectors.
    pub(super) fn content_len(&self, rng: &mut Rng) -> usize {
        let most = (self.block_size * 100).min(160_000);
        let len = match rng.u8(0..8) {
            0 => rng.usize(1..=self.block_size),
            1..=4 => rng.usize(1..most / 3),
            _ => rng.usize(1..most),
        };
        match rng.u8(0..4) {
            0 => len,
            1 => len.next_multiple_of(self.block_size),
            _ => len.next_multiple_of(SECTOR),
        }
    }
}

/// A ZFile, and the correct result of reading it.
pub(super) struct Made {
    pub(super) kind: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Its length in the table.
    pub(super) len: u64,
    pub(super) content_len: u64,
    pub(super) outcome: Result<Held, Refusal>,
}

/// The kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Any bytes: a damage that no checksum finds may change them.
    Any,
    /// A layer: a damage that no checksum finds may change its data, but nothing else.
    Layer,
}

/// The damage of a ZFile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Nothing,
    /// One thing, anywhere.
    Anything,
    /// Some blocks that have only data of a layer.
    Data,
}

/// Generates a ZFile of this content.
pub(super) fn make(
    rng: &mut Rng,
    shape: Shape,
    what: Content,
    content: Vec<u8>,
    damage: Damage,
) -> Made {
    let mut zfile = Zfile::write(shape, &content);
    zfile.leave_alone(rng);
    if damage != Damage::Nothing {
        let mut damaged = zfile.clone();
        let made = if damage == Damage::Anything {
            damaged.damage(rng, what)
        } else {
            Ok(damaged.damage_data(rng, &content))
        };
        let made = made.and_then(|kind| {
            let held = damaged.held()?;
            Ok((kind, held))
        });
        match made {
            Ok((kind, held)) => {
                if what == Content::Any || is_layer_still(&content, &held) {
                    return damaged.made(kind, Ok(held));
                }
            }
            Err(refusal) => return damaged.made(refusal.message, Err(refusal)),
        }
    }
    let held = zfile.held();
    debug_assert!(held.as_ref().is_ok_and(|held| held.bytes == content));
    zfile.made("undamaged", held)
}

/// Whether the damage changed only data of a layer, where no checksum finds it.
fn is_layer_still(layer: &[u8], held: &Held) -> bool {
    let index = index_of(layer);
    let changed = |at: usize| {
        let sector = at..at + SECTOR;
        !held.is_bad(sector.clone()) && layer.get(sector.clone()) != held.bytes.get(sector)
    };
    // The data is whole sectors, and so are the parts around it.
    held.bytes.len() == layer.len()
        && !(0..layer.len())
            .step_by(SECTOR)
            .any(|at| (at < 4096 || at + SECTOR > index) && changed(at))
}

/// The offset of a layer's index, which is the end of its data.
fn index_of(layer: &[u8]) -> usize {
    let word = layer[layer.len() - 4096 + 32..][..8].try_into();
    word.map_or(0, u64::from_le_bytes) as usize
}

/// A ZFile, and the current fields of its headers.
#[derive(Clone, Debug)]
struct Zfile {
    shape: Shape,
    bytes: Vec<u8>,
    len: usize,
    index_offset: usize,
    blocks: usize,
    content_len: usize,
    block_size: usize,
    algorithm: Algorithm,
    verify: bool,
    index_crc: Option<u32>,
}

impl Zfile {
    fn write(shape: Shape, content: &[u8]) -> Self {
        let bytes = ZfileWriter::new()
            .block_size(shape.block_size as u32)
            .algorithm(shape.algorithm)
            .verify(shape.verify)
            .digest(shape.digest)
            .overwrite_header(shape.overwritten)
            .write(content);
        let blocks = content.len().div_ceil(shape.block_size);
        let index_offset = bytes.len() - AREA - 4 * blocks;
        let index_crc = crc32c(0, &bytes[index_offset..][..4 * blocks]);
        Self {
            shape,
            len: bytes.len(),
            bytes,
            index_offset,
            blocks,
            content_len: content.len(),
            block_size: shape.block_size,
            algorithm: shape.algorithm,
            verify: shape.verify,
            index_crc: shape.digest.then_some(index_crc),
        }
    }

    fn made(self, kind: &'static str, outcome: Result<Held, Refusal>) -> Made {
        Made {
            kind,
            bytes: self.bytes,
            len: self.len as u64,
            content_len: self.content_len as u64,
            outcome,
        }
    }

    /// The part of it that can be read.
    fn held(&self) -> Result<Held, Refusal> {
        let blocks = naive::Zfile {
            bytes: &self.bytes,
            index_offset: self.index_offset,
            index_crc: self.index_crc,
            blocks: self.blocks,
            block_size: self.block_size,
            content_len: self.content_len,
            algorithm: self.algorithm,
            verify: self.verify,
        }
        .blocks()?;
        let mut held = Held::good(Vec::with_capacity(self.content_len));
        for block in blocks {
            let start = held.bytes.len();
            let end = self.content_len.min(start + self.block_size);
            match &block {
                Some(content) => held.bytes.extend(content),
                None => held.bytes.resize(end, 0),
            }
            held.bad.resize(end.div_ceil(SECTOR), block.is_none());
        }
        Ok(held)
    }

    fn trailer(&self) -> usize {
        self.bytes.len() - AREA
    }

    /// The offset of the header or trailer in use.
    fn area(&self) -> usize {
        if self.shape.overwritten {
            0
        } else {
            self.trailer()
        }
    }

    /// Changes a header or trailer and, if it has one, its digest.
    fn put(&mut self, area: usize, at: usize, bytes: &[u8]) {
        self.bytes[area + at..area + at + bytes.len()].copy_from_slice(bytes);
        self.fix(area);
    }

    fn fix(&mut self, area: usize) {
        if self.shape.digest {
            fix_digest(&mut self.bytes[area..area + AREA]);
        }
    }

    fn entry(&self, block: usize) -> u32 {
        let bytes = self.bytes[self.index_offset + 4 * block..][..4].try_into();
        bytes.map_or(0, u32::from_le_bytes)
    }

    fn put_entry(&mut self, block: usize, len: u32) {
        self.bytes[self.index_offset + 4 * block..][..4].copy_from_slice(&len.to_le_bytes());
    }

    /// Writes the valid CRC of the index.
    fn fix_index(&mut self) {
        if self.index_crc.is_some() {
            let crc = crc32c(0, &self.bytes[self.index_offset..][..4 * self.blocks]);
            self.index_crc = Some(crc);
            self.put(self.area(), 64, &crc.to_le_bytes());
        }
    }

    /// Changes some bytes that no reader uses.
    fn leave_alone(&mut self, rng: &mut Rng) {
        if rng.u8(0..8) == 0 {
            // Bytes between the blocks and the index.
            let gap = rng.usize(1..1500);
            let garbage: Vec<u8> = (0..gap).map(|_| rng.u8(..)).collect();
            self.bytes
                .splice(self.index_offset..self.index_offset, garbage);
            self.index_offset += gap;
            self.len += gap;
            let offset = (self.index_offset as u64).to_le_bytes();
            let trailer = self.trailer();
            self.put(trailer, 40, &offset);
            if self.shape.overwritten {
                self.put(0, 40, &offset);
            }
        }
        let trailer = self.trailer();
        for area in [0, trailer] {
            // The size of the structure, reserved fields, level, dictionary flag, padding.
            for (from, to) in [(24, 28), (68, 72), (77, 80), (80, 84), (89, 96), (96, AREA)] {
                if rng.u8(0..8) == 0 {
                    rng.fill(&mut self.bytes[area + from..area + to]);
                }
            }
            if rng.u8(0..8) == 0 {
                // "Index compressed" and the bits after it.
                self.bytes[area + 32] ^= rng.u8(..) & 0xe0;
                rng.fill(&mut self.bytes[area + 33..area + 40]);
            }
            self.fix(area);
        }
        if rng.u8(0..8) == 0 {
            if self.shape.overwritten {
                let flags = self.bytes[32] & !2;
                self.put(0, 32, &[flags]);
                rng.fill(&mut self.bytes[trailer..]);
            } else {
                rng.fill(&mut self.bytes[40..AREA]);
                self.fix(0);
            }
        }
        if self.verify && rng.u8(0..8) == 0 {
            self.put(self.area(), 88, &[rng.u8(2..)]);
        }
    }

    /// Damages one thing, and returns its name, or the refusal of the file. The naive reader finds
    /// which blocks can be read.
    fn damage(&mut self, rng: &mut Rng, what: Content) -> Result<&'static str, Refusal> {
        match rng.u8(0..20) {
            0..=6 => Ok(self.damage_block(rng, 0..self.blocks)),
            7..=10 => Ok(self.damage_index(rng)),
            11 => self.change_len(rng),
            12 => Ok(self.change_codec(rng)),
            13 if what == Content::Any => self.change_content_len(rng),
            14 => self.damage_header(rng),
            15 if !self.shape.overwritten => self.damage_trailer(rng),
            _ => self.damage_fields(rng),
        }
    }

    /// Damages some of the blocks that have only data of this layer.
    fn damage_data(&mut self, rng: &mut Rng, layer: &[u8]) -> &'static str {
        let first = 4096_usize.div_ceil(self.block_size);
        let last = index_of(layer) / self.block_size;
        if first >= last {
            return "undamaged";
        }
        let mut kind = "";
        for _ in 0..rng.u8(1..6) {
            kind = self.damage_block(rng, first..last);
        }
        kind
    }

    fn damage_block(&mut self, rng: &mut Rng, blocks: Range<usize>) -> &'static str {
        let block = rng.usize(blocks);
        let start = AREA
            + (0..block)
                .map(|block| self.entry(block) as usize)
                .sum::<usize>();
        let end = start + self.entry(block) as usize;
        let stored = &mut self.bytes[start..end];
        match rng.u8(0..4) {
            0 | 1 => {
                let at = rng.usize(0..stored.len());
                stored[at] ^= 1 << rng.u8(0..8);
            }
            2 => {
                for _ in 0..rng.u8(2..9) {
                    let at = rng.usize(0..stored.len());
                    stored[at] = rng.u8(..);
                }
            }
            _ => {
                let from = rng.usize(0..stored.len());
                let any = rng.u8(..);
                let value = rng.choice([0, 0xff, any]).expect("there are some");
                stored[from..].fill(value);
            }
        }
        if self.verify {
            "damaged block with CRC"
        } else {
            "damaged block without CRC"
        }
    }

    fn damage_index(&mut self, rng: &mut Rng) -> &'static str {
        let block = rng.usize(0..self.blocks);
        let len = self.entry(block);
        let most = self.block_size as u32 + 516;
        match rng.u8(0..6) {
            0 => {
                let least = if self.verify { 4 } else { 0 };
                let wrong = [0, least, most + 1, 1 << 16, u32::MAX, 1 << 31];
                self.put_entry(block, *rng.choice(&wrong).expect("there are some"));
            }
            1 => self.put_entry(block, len ^ 1 << rng.u8(0..32)),
            2 => self.put_entry(block, len + 1),
            3 => self.put_entry(block, len - 1),
            4 => {
                // A byte moves from one block to another: all between them are shifted.
                let other = rng.usize(0..self.blocks);
                self.put_entry(block, len - 1);
                self.put_entry(other, self.entry(other) + 1);
            }
            _ => {
                let other = rng.usize(0..self.blocks);
                let (a, b) = (self.entry(block), self.entry(other));
                self.put_entry(block, b);
                self.put_entry(other, a);
            }
        }
        if rng.u8(0..3) != 0 {
            self.fix_index();
        }
        "wrong index entries"
    }

    /// Changes the length in the table to a wrong one.
    fn change_len(&mut self, rng: &mut Rng) -> Result<&'static str, Refusal> {
        if rng.bool() {
            let garbage: Vec<u8> = (0..rng.usize(1..1500)).map(|_| rng.u8(..)).collect();
            self.bytes.extend(&garbage);
            self.len = self.bytes.len();
            if !self.shape.overwritten {
                return refuse("ZFile trailer: wrong magic", errno::EINVAL);
            }
            return Ok("surplus behind the file");
        }
        let cut = match rng.u8(0..3) {
            0 => rng.usize(1..self.len),
            1 => 512,
            _ => rng.usize(1..1024),
        };
        self.len = self.len.saturating_sub(cut).max(1);
        if rng.bool() {
            self.bytes.truncate(self.len);
        }
        let least = if self.shape.overwritten { 512 } else { 1024 };
        if self.len < least {
            return refuse("ZFile: too short for header and trailer", errno::EINVAL);
        }
        if !self.shape.overwritten {
            return refuse("ZFile trailer: wrong magic", errno::EINVAL);
        }
        if self.index_offset + 4 * self.blocks > self.len {
            return refuse("ZFile index: outside of the file", errno::EINVAL);
        }
        Ok("cut without harm")
    }

    /// Changes the algorithm to one that does not fit the blocks.
    fn change_codec(&mut self, rng: &mut Rng) -> &'static str {
        if rng.bool() {
            self.verify = !self.verify;
            self.put(self.area(), 88, &[self.verify.into()]);
            "verify changed"
        } else {
            let (algorithm, number) = match self.algorithm {
                Algorithm::Lz4 => (Algorithm::Zstd, 2),
                Algorithm::Zstd => (Algorithm::Lz4, 1),
            };
            self.algorithm = algorithm;
            self.put(self.area(), 76, &[number]);
            "algorithm changed"
        }
    }

    /// Changes the length of the content, or the block size.
    fn change_content_len(&mut self, rng: &mut Rng) -> Result<&'static str, Refusal> {
        let area = self.area();
        if rng.u8(0..3) == 0 {
            self.block_size = 512 << rng.u8(0..8);
            self.put(area, 72, &(self.block_size as u32).to_le_bytes());
        } else {
            let end = self.blocks * self.block_size;
            let len = match rng.u8(0..4) {
                0 => self.content_len.saturating_sub(self.block_size),
                1 => end + rng.usize(1..100_000),
                _ => rng.usize(end - self.block_size + 1..=end),
            };
            self.put(area, 56, &(len as u64).to_le_bytes());
            if len == 0 {
                return refuse("ZFile: content is empty", errno::EOPNOTSUPP);
            }
            self.content_len = len;
        }
        if self.content_len.div_ceil(self.block_size) != self.blocks {
            return refuse(INDEX_SIZE, errno::EINVAL);
        }
        Ok("content length or block size changed")
    }

    fn damage_header(&mut self, rng: &mut Rng) -> Result<&'static str, Refusal> {
        match rng.u8(0..4) {
            0 => {
                self.bytes[rng.usize(0..24)] ^= 1 << rng.u8(0..8);
                refuse("ZFile header: wrong magic", errno::EINVAL)
            }
            1 => {
                self.put(0, 32, &[self.bytes[32] & !1]);
                refuse("ZFile header: not marked as header", errno::EINVAL)
            }
            2 if !self.shape.overwritten => {
                self.put(0, 32, &[self.bytes[32] & !2]);
                refuse("ZFile header: not marked as data file", errno::EINVAL)
            }
            _ if self.shape.digest => {
                self.bytes[damaged_byte(rng)] ^= 1 << rng.u8(0..8);
                refuse("ZFile header: wrong digest", errno::EINVAL)
            }
            _ => {
                rng.fill(&mut self.bytes[28..32]);
                Ok("header without digest")
            }
        }
    }

    fn damage_trailer(&mut self, rng: &mut Rng) -> Result<&'static str, Refusal> {
        let trailer = self.trailer();
        let flags = self.bytes[trailer + 32];
        match rng.u8(0..5) {
            0 => {
                self.bytes[trailer + rng.usize(0..24)] ^= 1 << rng.u8(0..8);
                refuse("ZFile trailer: wrong magic", errno::EINVAL)
            }
            1 => {
                self.put(trailer, 32, &[flags | 1]);
                refuse("ZFile trailer: marked as header", errno::EINVAL)
            }
            2 => {
                self.put(trailer, 32, &[flags & !2]);
                refuse("ZFile trailer: not marked as data file", errno::EINVAL)
            }
            3 => {
                self.put(trailer, 32, &[flags & !4]);
                refuse("ZFile trailer: not sealed", errno::EINVAL)
            }
            _ if self.shape.digest => {
                self.bytes[trailer + damaged_byte(rng)] ^= 1 << rng.u8(0..8);
                refuse("ZFile trailer: wrong digest", errno::EINVAL)
            }
            _ => {
                rng.fill(&mut self.bytes[trailer + 28..trailer + 32]);
                Ok("trailer without digest")
            }
        }
    }

    /// Writes a hostile value into a field, with a valid digest.
    fn damage_fields(&mut self, rng: &mut Rng) -> Result<&'static str, Refusal> {
        const LIMIT: u64 = 1_000_000_000;
        let area = self.area();
        let blocks = self.blocks as u64;
        match rng.u8(0..8) {
            0 => {
                let len = rng.u32(1..);
                self.put(area, 84, &len.to_le_bytes());
                refuse("ZFile: dictionaries are not supported", errno::EOPNOTSUPP)
            }
            1 => {
                let number = *rng.choice(&[0, 3, 9, 255]).expect("there are some");
                self.put(area, 76, &[number]);
                refuse("ZFile: unknown compression algorithm", errno::EOPNOTSUPP)
            }
            2 => {
                let wrong = [0, 1, 256, 511, 513, 12288, 1 << 17, 1 << 31, u32::MAX];
                let size: u32 = *rng.choice(&wrong).expect("there are some");
                self.put(area, 72, &size.to_le_bytes());
                refuse("ZFile: invalid block size", errno::EINVAL)
            }
            3 => {
                let count = *rng
                    .choice(&[LIMIT + 1, 1 << 32, (1 << 62) + blocks, u64::MAX])
                    .expect("there are some");
                self.put(area, 48, &count.to_le_bytes());
                refuse("ZFile index: too many entries", errno::EFBIG)
            }
            4 => {
                let count = *rng
                    .choice(&[blocks - 1, blocks + 1, blocks * 4, LIMIT])
                    .expect("there are some");
                self.put(area, 48, &count.to_le_bytes());
                refuse(INDEX_SIZE, errno::EINVAL)
            }
            5 => {
                let len = *rng
                    .choice(&[1 << 40, (1 << 63) - 1, 1 << 63, u64::MAX])
                    .expect("there are some");
                self.put(area, 56, &len.to_le_bytes());
                refuse(INDEX_SIZE, errno::EINVAL)
            }
            6 if self.shape.digest => {
                let crc = crc32c(0, &self.bytes[self.index_offset..][..4 * self.blocks]);
                let crc = crc ^ 1 << rng.u8(0..32);
                self.put(area, 64, &crc.to_le_bytes());
                refuse("ZFile index: wrong CRC", errno::EINVAL)
            }
            _ => {
                let limit = if self.shape.overwritten {
                    self.len as u64
                } else {
                    self.trailer() as u64
                };
                let wrong = [
                    0,
                    511,
                    limit - 4 * blocks + 1,
                    limit,
                    1 << 40,
                    u64::MAX - 3,
                    u64::MAX,
                ];
                let offset = *rng.choice(&wrong).expect("there are some");
                self.put(area, 40, &offset.to_le_bytes());
                refuse("ZFile index: outside of the file", errno::EINVAL)
            }
        }
    }
}

const INDEX_SIZE: &str = "ZFile index: size does not match content size";

/// The offset of a byte of a header or trailer that only the digest protects: not of the magic, and
/// not of the flags.
fn damaged_byte(rng: &mut Rng) -> usize {
    if rng.bool() {
        rng.usize(24..32)
    } else {
        rng.usize(40..AREA)
    }
}

fn refuse<T>(message: &'static str, errno: i32) -> Result<T, Refusal> {
    Err(Refusal {
        zfile: None,
        message,
        errno,
    })
}
