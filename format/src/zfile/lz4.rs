// SPDX-License-Identifier: GPL-2.0

//! LZ4, by the safe decoder of `lz4_flex`. No other file calls it.

use super::block::Decompress;

/// Raw LZ4 blocks. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lz4;

impl Decompress for Lz4 {
    #[inline]
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        decompress(compressed, out)
    }
}

/// `lz4_flex`'s decoder is `#[inline]`: its code is generated in the crate that calls it, with the
/// flags of that crate. This function keeps it in this crate, which Kbuild compiles for speed even
/// in a kernel configured for size.
#[inline(never)]
fn decompress(compressed: &[u8], out: &mut [u8]) -> Option<usize> {
    lz4_flex::block::decompress_into(compressed, out).ok()
}
