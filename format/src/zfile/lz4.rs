// SPDX-License-Identifier: GPL-2.0

//! LZ4, by the safe decoder of `lz4_flex`. The only place that calls it.

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

/// `lz4_flex`'s decoder is `#[inline]`: its code is generated where it is called, with the flags of
/// that crate. This function keeps it in this one, which is always compiled for speed, whatever the
/// kernel's configuration asks for; `Kbuild` says what that is worth.
#[inline(never)]
fn decompress(compressed: &[u8], out: &mut [u8]) -> Option<usize> {
    lz4_flex::block::decompress_into(compressed, out).ok()
}
