// SPDX-License-Identifier: GPL-2.0

//! Writes ZFiles of every kind that a reader must read, and of some that no other writer writes.

use crate::crc32c;
use overlaybd_format::zfile::Algorithm;
use zstd::bulk::Compressor;

const AREA: usize = 512;

const HEADER: u64 = 1 << 0;
const DATA: u64 = 1 << 1;
const SEALED: u64 = 1 << 2;
const OVERWRITTEN: u64 = 1 << 3;
const DIGEST: u64 = 1 << 4;

/// The seed of the CRC after a block.
const BLOCK_SEED: u32 = 100_007;

/// Writes ZFiles. [`ZfileWriter::new`] has the defaults of the reference tool: LZ4, 4096 bytes a
/// block, CRCs and digests, a trailer.
#[derive(Clone, Copy, Debug)]
pub struct ZfileWriter {
    block_size: u32,
    algorithm: Algorithm,
    verify: bool,
    digest: bool,
    overwrite_header: bool,
}

impl Default for ZfileWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ZfileWriter {
    /// A writer with the reference tool's defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            block_size: 4096,
            algorithm: Algorithm::Lz4,
            verify: true,
            digest: true,
            overwrite_header: false,
        }
    }

    /// The bytes of content in a block.
    #[must_use]
    pub const fn block_size(mut self, bytes: u32) -> Self {
        self.block_size = bytes;
        self
    }

    /// How blocks are compressed.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Whether a CRC follows each block.
    #[must_use]
    pub const fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Whether header, trailer and index have CRCs. Files written before 2023 have garbage instead,
    /// which this writes too.
    #[must_use]
    pub const fn digest(mut self, digest: bool) -> Self {
        self.digest = digest;
        self
    }

    /// Whether the header has all fields of the trailer.
    #[must_use]
    pub const fn overwrite_header(mut self, overwrite: bool) -> Self {
        self.overwrite_header = overwrite;
        self
    }

    /// The ZFile of this content.
    #[must_use]
    pub fn write(&self, content: &[u8]) -> Vec<u8> {
        let mut file = vec![0; AREA];
        let mut index = Vec::new();
        let mut blocks = 0u64;
        // One for all blocks: to create one takes longer than to compress a small block.
        let mut zstd = None;
        for block in content.chunks(self.block_size.max(1) as usize) {
            let mut stored = self.compress(block, &mut zstd);
            if self.verify {
                stored.extend(crc32c(BLOCK_SEED, &stored).to_le_bytes());
            }
            let len = u32::try_from(stored.len()).unwrap_or(u32::MAX);
            index.extend(len.to_le_bytes());
            file.extend(stored);
            blocks += 1;
        }
        let index_offset = file.len() as u64;
        let index_crc = crc32c(0, &index);
        let (len, place) = (content.len() as u64, (index_offset, blocks, index_crc));

        let header = if self.overwrite_header {
            self.area(HEADER | DATA | OVERWRITTEN, len, place)
        } else {
            self.area(HEADER | DATA, 0, (0, 0, 0))
        };
        file[..AREA].copy_from_slice(&header);
        file.extend(index);
        file.extend(self.area(DATA | SEALED, len, place));
        file
    }

    /// The header and the trailer of a file that claims this number of blocks, and its length. The
    /// bytes between them may be zeros: a reader finds that when it reads the index, and allocates
    /// memory for the index before.
    #[must_use]
    pub fn claim(&self, blocks: u64) -> ([u8; AREA], [u8; AREA], u64) {
        let len = blocks.saturating_mul(u64::from(self.block_size));
        let header = self.area(HEADER | DATA, 0, (0, 0, 0));
        let trailer = self.area(DATA | SEALED, len, (AREA as u64, blocks, 0));
        let file = blocks.saturating_mul(4).saturating_add(2 * AREA as u64);
        (header, trailer, file)
    }

    fn compress(&self, block: &[u8], zstd: &mut Option<Compressor<'static>>) -> Vec<u8> {
        match self.algorithm {
            Algorithm::Lz4 => {
                let mut out = vec![0; lz4_flex::block::get_maximum_output_size(block.len())];
                let len = lz4_flex::block::compress_into(block, &mut out)
                    .expect("the buffer holds the worst case");
                out.truncate(len);
                out
            }
            Algorithm::Zstd => zstd
                .get_or_insert_with(|| Compressor::new(3).expect("memory for Zstandard"))
                .compress(block)
                .expect("memory for Zstandard"),
        }
    }

    fn area(&self, flags: u64, content_len: u64, place: (u64, u64, u32)) -> [u8; AREA] {
        let (index_offset, index_size, index_crc) = place;
        let flags = flags
            | if self.digest {
                DIGEST
            } else {
                0x7ffe_a464_0b40
            };
        let mut area = [0; AREA];
        area[..24].copy_from_slice(b"ZFile\0\x01\0tuji.yyf@Alibaba");
        area[24..28].copy_from_slice(&96u32.to_le_bytes());
        area[32..40].copy_from_slice(&flags.to_le_bytes());
        area[40..48].copy_from_slice(&index_offset.to_le_bytes());
        area[48..56].copy_from_slice(&index_size.to_le_bytes());
        area[56..64].copy_from_slice(&content_len.to_le_bytes());
        area[64..68].copy_from_slice(&index_crc.to_le_bytes());
        area[72..76].copy_from_slice(&self.block_size.to_le_bytes());
        area[76] = match self.algorithm {
            Algorithm::Lz4 => 1,
            Algorithm::Zstd => 2,
        };
        area[88] = self.verify.into();
        if self.digest {
            fix_digest(&mut area);
        } else {
            for garbage in [28..32, 64..72, 89..96] {
                area[garbage].fill(0xa5);
            }
        }
        area
    }
}

/// Writes the valid digest into a header or trailer, the first 512 bytes of `area`, for tests that
/// change a field and must not fail for the digest.
///
/// # Panics
///
/// If there are not 512 bytes.
pub fn fix_digest(area: &mut [u8]) {
    area[28..32].fill(0);
    let digest = crc32c(0, &area[..AREA]);
    area[28..32].copy_from_slice(&digest.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_vector_of_the_format() {
        let file = ZfileWriter::new().write(&[0; 4096]);
        assert_eq!(file[28..32], [0xfc, 0x12, 0xa2, 0xc7]);
        assert_eq!(file[32], 0x13);
        assert_eq!(file[file.len() - 512 + 32], 0x16);
    }

    #[test]
    fn an_old_file_has_flags_as_the_first_writer_left_them() {
        let file = ZfileWriter::new().digest(false).write(&[0; 4096]);
        assert_eq!(file[32..40], 0x7ffe_a464_0b43_u64.to_le_bytes());
    }
}
