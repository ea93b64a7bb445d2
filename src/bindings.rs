// SPDX-License-Identifier: GPL-2.0

//! Raw bindings to device-mapper and to `helpers.c`, for the safe wrappers alone.
//!
//! bindgen writes them while the module is built, from the headers of the kernel it is built
//! against (see `Kbuild`). Types that the `kernel` crate binds are that crate's. This file declares
//! nothing itself.

#![allow(
    clippy::all,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::multiple_unsafe_ops_per_block,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

pub(crate) use kernel::bindings::*;

include!(concat!(
    env!("DM_OVERLAYBD_OBJ"),
    "/src/bindings/bindings_generated.rs"
));
