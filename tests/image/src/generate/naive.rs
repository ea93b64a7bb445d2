// SPDX-License-Identifier: GPL-2.0

//! Reads ZFiles and layers whose headers are known, by the simplest means: it sums the offsets one
//! by one, and decodes each block on its own.

use super::{errno, Refusal};
use crate::oracle::lz4;
use crate::{crc32c, Zstd};
use overlaybd_format::zfile::{Algorithm, Decompress};

/// The fields of the headers of a ZFile.
pub(super) struct Zfile<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) index_offset: usize,
    /// The CRC that the index must have, [`None`] if it has none.
    pub(super) index_crc: Option<u32>,
    pub(super) blocks: usize,
    pub(super) block_size: usize,
    pub(super) content_len: usize,
    pub(super) algorithm: Algorithm,
    pub(super) verify: bool,
}

impl Zfile<'_> {
    /// The content of each block, [`None`] for a block that cannot be read.
    ///
    /// # Errors
    ///
    /// The refusal of the whole file, if the index is wrong.
    pub(super) fn blocks(&self) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        let refused = |message| Refusal {
            zfile: None,
            message,
            errno: errno::EINVAL,
        };
        let index = &self.bytes[self.index_offset..][..4 * self.blocks];
        let crc_len = if self.verify { 4 } else { 0 };
        let mut lens = Vec::new();
        let mut end = 512;
        for entry in index.chunks_exact(4) {
            let len = u32::from_le_bytes(entry.try_into().expect("four bytes")) as usize;
            if len <= crc_len || len > self.block_size + 516 {
                return Err(refused("ZFile index: invalid block length"));
            }
            end += len;
            if end > self.index_offset {
                return Err(refused("ZFile index: blocks overlap the index"));
            }
            lens.push(len);
        }
        if self.index_crc.is_some_and(|crc| crc != crc32c(0, index)) {
            return Err(refused("ZFile index: wrong CRC"));
        }
        let mut at = 512;
        let mut zstd = None;
        let mut blocks = Vec::new();
        for (number, len) in lens.into_iter().enumerate() {
            let stored = &self.bytes[at..at + len];
            at += len;
            let (stored, crc) = stored.split_at(len - crc_len);
            let expected = self
                .block_size
                .min(self.content_len - number * self.block_size);
            let right = !self.verify || crc32c(100_007, stored).to_le_bytes() == crc;
            let content = match self.algorithm {
                _ if !right => None,
                Algorithm::Lz4 => lz4::decode(stored, expected)
                    .ok()
                    .map(|decoded| decoded.content),
                Algorithm::Zstd => {
                    let mut content = vec![0; expected];
                    let zstd = zstd.get_or_insert_with(Zstd::new);
                    zstd.decompress(stored, &mut content).map(|len| {
                        content.truncate(len);
                        content
                    })
                }
            };
            blocks.push(content.filter(|content| content.len() == expected));
        }
        Ok(blocks)
    }
}

/// An entry of the index of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) source: u64,
    pub(super) zeroed: bool,
}

/// The index of a valid layer, without padding.
pub(super) fn entries(blob: &[u8]) -> Vec<Entry> {
    let word = |at: usize| u64::from_le_bytes(blob[at..at + 8].try_into().expect("eight bytes"));
    let trailer = blob.len() - 4096;
    let (offset, count) = (word(trailer + 32) as usize, word(trailer + 40) as usize);
    (0..count)
        .map(|number| {
            let (place, content) = (word(offset + 16 * number), word(offset + 16 * number + 8));
            Entry {
                start: place & ((1 << 50) - 1),
                len: place >> 50,
                source: content & ((1 << 55) - 1),
                zeroed: content >> 55 & 1 != 0,
            }
        })
        .filter(|entry| entry.start != (1 << 50) - 1)
        .collect()
}
