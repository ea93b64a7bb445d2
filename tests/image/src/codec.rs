// SPDX-License-Identifier: GPL-2.0

//! Zstandard on the host, by the C library. The kernel module uses the kernel's.

use overlaybd_format::zfile::Decompress;
use std::fmt;
use zstd::bulk::Decompressor;

/// A decompressor of Zstandard frames, with a context.
pub struct Zstd(Decompressor<'static>);

impl Zstd {
    /// A decompressor.
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    #[must_use]
    pub fn new() -> Self {
        Self(Decompressor::new().expect("memory for a Zstandard context"))
    }
}

impl Default for Zstd {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zstd")
    }
}

impl Decompress for Zstd {
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0.decompress_to_buffer(compressed, out).ok()
    }
}
