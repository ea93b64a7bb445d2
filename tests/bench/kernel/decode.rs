// SPDX-License-Identifier: GPL-2.0

//! The project's LZ4 decoder, which `decompress.c` times in turns with the kernel's. It only
//! forwards its arguments to the decoder of `overlaybd_format`, as `zfile_target` does.

#![allow(missing_docs)]

use core::slice;
use overlaybd_format::zfile::{
    Decompress,
    Lz4, //
};

/// Decompresses one LZ4 block. Returns its length, or -1 if the block is corrupt.
///
/// # Safety
///
/// `src` must be readable for `src_len` bytes and `dst` writable for `dst_len`. They must not
/// overlap, and no other thread may access them during the call.
#[no_mangle]
pub unsafe extern "C" fn overlaybd_bench_decode(
    src: *const u8,
    src_len: usize,
    dst: *mut u8,
    dst_len: usize,
) -> isize {
    // SAFETY: By the safety requirements of this function.
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
