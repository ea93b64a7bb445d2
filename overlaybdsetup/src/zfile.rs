// SPDX-License-Identifier: GPL-2.0

//! A ZFile: opens it with the checks of the format, and reads it by blocks.
//!
//! It caches no block, and does not know what the content means.

use crate::error::{Error, Result, Status};
use crate::payload::{in_pieces, Payload};
use overlaybd_format::units::{BlockIndex, Bytes, ContentOffset};
use overlaybd_format::zfile::{
    self, decode, groups_needed, Algorithm, Decompress, Group, HeaderOutcome, JumpTable,
    JumpTableBuilder, Layout, Lz4, StoredBlock,
};
use std::fmt;
use std::mem;
use zstd::bulk::Decompressor;

/// CRC-32C without inversions, as the formats use it. The library inverts before and after.
#[must_use]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// The decompressors and their buffers. Each thread has its own.
#[derive(Default)]
pub struct Codec {
    zstd: Option<Decompressor<'static>>,
    /// Stored blocks.
    stored: Vec<u8>,
    /// The content of one block.
    content: Vec<u8>,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}

/// Zstandard for [`decode`].
struct Zstd<'a>(&'a mut Decompressor<'static>);

impl Decompress for Zstd<'_> {
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0.decompress_to_buffer(compressed, out).ok()
    }
}

/// A ZFile whose header, trailer and index are valid.
#[derive(Debug)]
pub struct Zfile {
    payload: Payload,
    table: JumpTable<Vec<Group>>,
    needs_trailer: bool,
}

impl Zfile {
    pub(crate) fn open(payload: Payload) -> Result<Self> {
        let refused = |error: zfile::OpenError| Error::refused(error.to_string());
        let mut area = [0; zfile::HEADER_LEN];
        let there = payload.len().min(area.len() as u64);
        payload.read(0, &mut area[..usize::try_from(there).unwrap_or_default()])?;
        let opening = zfile::open(&area, Bytes::new(payload.len()), crc32c).map_err(refused)?;
        let (layout, needs_trailer) = match opening {
            HeaderOutcome::Complete(layout) => (layout, false),
            HeaderOutcome::NeedsTrailer(pending) => {
                payload.read(pending.offset().get(), &mut area)?;
                (pending.finish(&area, crc32c).map_err(refused)?, true)
            }
        };
        let mut groups = Vec::new();
        let needed = groups_needed(layout.block_count());
        groups.try_reserve_exact(needed).map_err(|_| {
            Error::new(
                Status::Memory,
                format!("no memory for the index of {} blocks", layout.block_count()),
            )
        })?;
        groups.resize(needed, Group::EMPTY);
        let mut builder = JumpTableBuilder::new(layout, groups, crc32c).map_err(refused)?;
        in_pieces(layout.index_len().get(), |at, piece| {
            payload.read(layout.index_offset().get() + at, piece)?;
            builder.push(piece).map_err(refused)
        })?;
        let table = builder.finish().map_err(refused)?;
        Ok(Self {
            payload,
            table,
            needs_trailer,
        })
    }

    /// The payload that it is.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The positions of its parts.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        self.table.layout()
    }

    /// The positions of its blocks.
    #[must_use]
    pub const fn table(&self) -> &JumpTable<Vec<Group>> {
        &self.table
    }

    /// Whether a reader needs the trailer, and so the last byte: the header is incomplete.
    #[must_use]
    pub const fn needs_trailer(&self) -> bool {
        self.needs_trailer
    }

    /// Decompresses the blocks from `first` to `last`, both included, and calls `each` with each.
    ///
    /// # Errors
    ///
    /// The first block that cannot be read or has something wrong, with its number and its place in
    /// the file; an error of `each`; blocks that do not exist.
    pub fn blocks(
        &self,
        first: BlockIndex,
        last: BlockIndex,
        codec: &mut Codec,
        mut each: impl FnMut(BlockIndex, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.all_blocks(first, last, codec, |block, _, content| {
            each(block, content?)
        })
    }

    /// Decompresses the blocks from `first` to `last`, both included, and calls `each` with the
    /// place of each in the ZFile and its content, or the error of a bad block. A bad block does
    /// not stop the others.
    ///
    /// # Errors
    ///
    /// The first error of `each`; blocks that do not exist.
    pub fn all_blocks(
        &self,
        first: BlockIndex,
        last: BlockIndex,
        codec: &mut Codec,
        mut each: impl FnMut(BlockIndex, StoredBlock, Result<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        let layout = *self.layout();
        let no_block = || Error::refused(format!("there are no blocks {first} to {last}"));
        let (start, len) = self.table.span(first, last).ok_or_else(no_block)?;
        let len = usize::try_from(len.get()).map_err(|_| no_block())?;
        let Codec {
            zstd,
            stored,
            content,
        } = codec;
        // Buffers never shrink, so that a reused one is not cleared each time.
        stored.resize(stored.len().max(len), 0);
        content.resize(content.len().max(layout.block_size().to_usize()), 0);
        let whole = self.payload.read(start.get(), &mut stored[..len]);
        let mut rest = &mut stored[..len];
        for (block, place) in self.table.blocks(first, last) {
            let len = usize::try_from(place.len).map_err(|_| no_block())?;
            let (bytes, after) = mem::take(&mut rest)
                .split_at_mut_checked(len)
                .ok_or_else(no_block)?;
            rest = after;
            let out = layout
                .block_len(block)
                .and_then(|len| content.get_mut(..len))
                .ok_or_else(no_block)?;
            let read = match &whole {
                Ok(()) => Ok(()),
                Err(error) if first == last => Err(error.clone()),
                // One of several blocks failed: reads each by itself.
                Err(_) => self.payload.read(place.offset.get(), bytes),
            };
            let decoded = read.and_then(|()| self.decode(block, place, bytes, out, zstd));
            each(block, place, decoded.map(|()| &*out))?;
        }
        Ok(())
    }

    fn decode(
        &self,
        block: BlockIndex,
        place: StoredBlock,
        bytes: &[u8],
        out: &mut [u8],
        zstd: &mut Option<Decompressor<'static>>,
    ) -> Result<()> {
        let layout = self.layout();
        let decoded = match layout.algorithm() {
            Algorithm::Lz4 => decode(layout, block, bytes, out, crc32c, &mut Lz4),
            Algorithm::Zstd => {
                let zstd = match zstd {
                    Some(zstd) => zstd,
                    None => zstd.insert(
                        Decompressor::new()
                            .map_err(|error| Error::io("no memory to decompress with", &error))?,
                    ),
                };
                decode(layout, block, bytes, out, crc32c, &mut Zstd(zstd))
            }
        };
        decoded.map_err(|error| {
            Error::refused(format!(
                "{error} (its {} bytes are at {} of the file)",
                place.len,
                self.payload.offset() + place.offset.get()
            ))
        })
    }

    pub(crate) fn read(&self, at: u64, buf: &mut [u8], codec: &mut Codec) -> Result<()> {
        let layout = self.layout();
        let size = layout.block_size();
        let past_end = || Error::refused(format!("the content ends before byte {at}"));
        let Some(more) = (buf.len() as u64).checked_sub(1) else {
            return Ok(());
        };
        let last = at.checked_add(more).ok_or_else(past_end)?;
        if last >= layout.content_len().get() {
            return Err(past_end());
        }
        let (first_block, mut skip) = size.locate(ContentOffset::new(at)).ok_or_else(past_end)?;
        let (last_block, _) = size.locate(ContentOffset::new(last)).ok_or_else(past_end)?;
        let mut filled = 0;
        self.blocks(first_block, last_block, codec, |_, content| {
            let wanted = content.get(skip..).unwrap_or_default();
            let wanted = &wanted[..wanted.len().min(buf.len() - filled)];
            buf[filled..filled + wanted.len()].copy_from_slice(wanted);
            filled += wanted.len();
            skip = 0;
            Ok(())
        })
    }
}
