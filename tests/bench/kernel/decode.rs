// SPDX-License-Identifier: GPL-2.0

//! The project's LZ4 decoder, for `decompress.c` to call beside the kernel's. It only passes on what it
//! is given: the decoder is `overlaybd_format`'s own, called as `zfile_target` calls it.

#![allow(missing_docs)]

use core::slice;
use overlaybd_format::zfile::{
    Decompress,
    Lz4, //
};

/// Decompresses one LZ4 block; -1 if it is damaged.
///
/// # Safety
///
/// `src` must be readable for `src_len` bytes and `dst` writable for `dst_len`, apart from each
/// other, and no one else may touch them meanwhile.
#[no_mangle]
pub unsafe extern "C" fn overlaybd_bench_decode(
    src: *const u8,
    src_len: usize,
    dst: *mut u8,
    dst_len: usize,
) -> isize {
    // SAFETY: By the function's contract.
    let (src, dst) = unsafe {
        (
            slice::from_raw_parts(src, src_len),
            slice::from_raw_parts_mut(dst, dst_len),
        )
    };
    match Lz4.decompress(src, dst) {
        Some(len) => len as isize,
        None => -1,
    }
}
