// SPDX-License-Identifier: GPL-2.0

//! Decompresses one stored block. It never reads past the block, and never accepts a block that
//! does not decompress to its exact length.

use super::layout::{
    Layout,
    CRC_LEN, //
};
use crate::{
    convert::{
        u64_from,
        usize_from, //
    },
    units::{
        BlockIndex,
        Bytes, //
    },
    Crc32c, //
};
use core::{
    ffi::CStr,
    fmt, //
};

/// The seed of the CRC of a block.
const CRC_SEED: u32 = 100_007;

/// A decompressor of whole blocks, together with its memory.
pub trait Decompress {
    /// Decompresses one block into the start of `out` and returns how many bytes it has.
    ///
    /// [`None`] if `compressed` is damaged, or has more content than `out` has room. The content of
    /// `out` is undefined then.
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize>;
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockError {
    /// The file has no such block.
    NoSuchBlock {
        /// The block.
        block: BlockIndex,
        /// The number of blocks of the file.
        blocks: u32,
    },
    /// The caller's buffer does not have the length of the block's content.
    OutputLen {
        /// The block.
        block: BlockIndex,
        /// The length of the buffer.
        len: Bytes,
        /// The length of the content.
        expected: Bytes,
    },
    /// The stored block has no room for more than a CRC, or no block can be that long.
    StoredLen {
        /// The block.
        block: BlockIndex,
        /// The stored length.
        len: Bytes,
    },
    /// The CRC of the block is wrong: a byte of it has changed.
    Crc {
        /// The block.
        block: BlockIndex,
        /// The CRC stored after the block.
        stored: u32,
        /// The CRC that the block has.
        computed: u32,
    },
    /// The block does not decompress, or decompresses to more than its content.
    Damaged {
        /// The block.
        block: BlockIndex,
    },
    /// The block decompresses to less than its content.
    Short {
        /// The block.
        block: BlockIndex,
        /// The decompressed length.
        len: Bytes,
        /// The length of the content.
        expected: Bytes,
    },
}

impl BlockError {
    /// A short text that names the check.
    #[must_use]
    pub const fn message(&self) -> &'static CStr {
        match self {
            Self::NoSuchBlock { .. } => c"ZFile block: no such block",
            Self::OutputLen { .. } => c"ZFile block: buffer of the wrong length",
            Self::StoredLen { .. } => c"ZFile block: invalid stored length",
            Self::Crc { .. } => c"ZFile block: wrong CRC",
            Self::Damaged { .. } => c"ZFile block: does not decompress",
            Self::Short { .. } => c"ZFile block: decompresses to too little",
        }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().to_str().unwrap_or_default())?;
        match self {
            Self::NoSuchBlock { block, blocks } => write!(f, " (block {block} of {blocks})"),
            Self::OutputLen {
                block,
                len,
                expected,
            }
            | Self::Short {
                block,
                len,
                expected,
            } => write!(f, " (block {block}: {len} bytes of {expected})"),
            Self::StoredLen { block, len } => write!(f, " (block {block}: {len} bytes)"),
            Self::Crc {
                block,
                stored,
                computed,
            } => write!(
                f,
                " (block {block}: stored {stored:#010x}, computed {computed:#010x})"
            ),
            Self::Damaged { block } => write!(f, " (block {block})"),
        }
    }
}

impl core::error::Error for BlockError {}

/// Decompresses one block: `stored` has all its bytes in the file, `out` has exactly
/// [`Layout::block_len`] bytes.
///
/// # Errors
///
/// Any [`BlockError`]. The content of `out` is undefined then: the caller must not let a reader see
/// it.
#[inline]
pub fn decode(
    layout: &Layout,
    block: BlockIndex,
    stored: &[u8],
    out: &mut [u8],
    crc: Crc32c,
    codec: &mut impl Decompress,
) -> Result<(), BlockError> {
    let compressed = check(layout, block, stored, out.len(), crc)?;
    match codec.decompress(compressed, out) {
        Some(len) if len == out.len() => Ok(()),
        Some(len) => Err(BlockError::Short {
            block,
            len: Bytes::of_memory(len),
            expected: Bytes::of_memory(out.len()),
        }),
        None => Err(BlockError::Damaged { block }),
    }
}

/// All checks before decompression. Returns the compressed bytes without their CRC.
fn check<'a>(
    layout: &Layout,
    block: BlockIndex,
    stored: &'a [u8],
    out_len: usize,
    crc: Crc32c,
) -> Result<&'a [u8], BlockError> {
    let Some(expected) = layout.block_len(block) else {
        return Err(BlockError::NoSuchBlock {
            block,
            blocks: layout.block_count(),
        });
    };
    if out_len != expected {
        return Err(BlockError::OutputLen {
            block,
            len: Bytes::of_memory(out_len),
            expected: Bytes::of_memory(expected),
        });
    }
    let bad_len = BlockError::StoredLen {
        block,
        len: Bytes::new(u64_from(stored.len())),
    };
    if stored.len() < usize_from(layout.min_stored_len())
        || stored.len() > usize_from(layout.max_stored_len())
    {
        return Err(bad_len);
    }
    if !layout.verify() {
        return Ok(stored);
    }
    let Some((compressed, tail)) = stored.split_last_chunk::<{ usize_from(CRC_LEN) }>() else {
        return Err(bad_len);
    };
    let expected = u32::from_le_bytes(*tail);
    let computed = crc(CRC_SEED, compressed);
    if expected != computed {
        return Err(BlockError::Crc {
            block,
            stored: expected,
            computed,
        });
    }
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::crc32c,
        zfile::{
            testing::layout,
            Lz4, //
        },
    };
    use std::{
        string::ToString,
        vec,
        vec::Vec, //
    };

    /// One block of 4096 zeros as LZ4, and the CRC that follows it.
    const ZEROS: &[u8] =
        b"\x1f\x00\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
        \xf6\x50\x00\x00\x00\x00\x00\x24\x17\x91\xb4";

    const BLOCK: BlockIndex = BlockIndex::new(0);

    fn decode_lz4(layout: &Layout, stored: &[u8], len: usize) -> Result<Vec<u8>, BlockError> {
        let mut out = vec![0x55; len];
        decode(layout, BLOCK, stored, &mut out, crc32c, &mut Lz4)?;
        Ok(out)
    }

    fn two_blocks(verify: bool) -> Layout {
        layout(8192, 4096, verify, 1 << 20, None)
    }

    #[test]
    fn a_block_with_and_without_crc() {
        let zeros = vec![0; 4096];
        let (compressed, _) = ZEROS.split_at(26);
        assert_eq!(decode_lz4(&two_blocks(true), ZEROS, 4096).unwrap(), zeros);
        assert_eq!(
            decode_lz4(&two_blocks(false), compressed, 4096).unwrap(),
            zeros
        );
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        for bit in 0..ZEROS.len() * 8 {
            let mut stored = ZEROS.to_vec();
            stored[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(
                decode_lz4(&two_blocks(true), &stored, 4096),
                Err(BlockError::Crc { stored, computed, .. }) if stored != computed
            ));
        }
    }

    #[test]
    fn no_such_block() {
        let result = decode(
            &two_blocks(true),
            BlockIndex::new(2),
            ZEROS,
            &mut [0; 4096],
            crc32c,
            &mut Lz4,
        );
        assert_eq!(
            result,
            Err(BlockError::NoSuchBlock {
                block: BlockIndex::new(2),
                blocks: 2
            })
        );
    }

    #[test]
    fn output_len() {
        for len in [0, 4095, 4097] {
            assert_eq!(
                decode_lz4(&two_blocks(true), ZEROS, len),
                Err(BlockError::OutputLen {
                    block: BLOCK,
                    len: Bytes::of_memory(len),
                    expected: Bytes::new(4096)
                })
            );
        }
    }

    #[test]
    fn stored_len() {
        for (verify, min) in [(false, 1), (true, 5)] {
            for len in (0..min).chain([4613]) {
                assert_eq!(
                    decode_lz4(&two_blocks(verify), &vec![0; len], 4096),
                    Err(BlockError::StoredLen {
                        block: BLOCK,
                        len: Bytes::of_memory(len)
                    })
                );
            }
        }
    }

    #[test]
    fn the_shortest_and_the_longest_stored_len_are_tried() {
        for (verify, min) in [(false, 1), (true, 5)] {
            for len in [min, 4612] {
                assert!(!matches!(
                    decode_lz4(&two_blocks(verify), &vec![0; len], 4096),
                    Err(BlockError::StoredLen { .. })
                ));
            }
        }
    }

    #[test]
    fn damaged() {
        let (compressed, _) = ZEROS.split_at(26);
        // Cut, and with more content than there is room for.
        let smaller = layout(4095, 4096, false, 1 << 20, None);
        let cut = decode_lz4(&two_blocks(false), &compressed[..10], 4096);
        let long = decode_lz4(&smaller, compressed, 4095);
        for result in [cut, long] {
            assert_eq!(result, Err(BlockError::Damaged { block: BLOCK }));
        }
    }

    #[test]
    fn short() {
        // Five literals and no more.
        let stored = b"\x50hello";
        let result = decode_lz4(&two_blocks(false), stored, 4096);
        assert_eq!(
            result,
            Err(BlockError::Short {
                block: BLOCK,
                len: Bytes::new(5),
                expected: Bytes::new(4096)
            })
        );
        let error = result.unwrap_err();
        assert_eq!(error.message(), c"ZFile block: decompresses to too little");
        assert_eq!(
            error.to_string(),
            "ZFile block: decompresses to too little (block 0: 5 bytes of 4096)"
        );
    }

    #[test]
    fn a_codec_that_claims_too_much_is_not_believed() {
        struct Liar;
        impl Decompress for Liar {
            fn decompress(&mut self, _: &[u8], out: &mut [u8]) -> Option<usize> {
                Some(out.len() + 1)
            }
        }
        let result = decode(
            &two_blocks(true),
            BLOCK,
            ZEROS,
            &mut [0; 4096],
            crc32c,
            &mut Liar,
        );
        assert!(matches!(result, Err(BlockError::Short { .. })));
    }
}
