// SPDX-License-Identifier: GPL-2.0

//! The kernel's CRC-32C, which uses the CPU's instruction where there is one.
//!
//! C header: [`include/linux/crc32.h`](srctree/include/linux/crc32.h)

use crate::bindings;

/// CRC-32C (Castagnoli) of `bytes` continued from `seed`, without initial or final inversion.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    // SAFETY: The pointer and the length are those of a live slice, which `crc32c` only reads.
    unsafe { bindings::dm_overlaybd_crc32c(seed, bytes.as_ptr().cast(), bytes.len()) }
}
