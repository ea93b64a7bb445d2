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

/// Fails to compile if Rust has a field of a structure in another place than C.
macro_rules! assert_layout {
    ($($type:ident($name:ident) { $($field:ident: $c_field:ident),* })*) => {
        kernel::macros::paste! {
            $(const _: () = {
                assert!(size_of::<$type>() == [<DM_OVERLAYBD_SIZEOF_ $name>] as usize);
                $(assert!(
                    core::mem::offset_of!($type, $field)
                        == [<DM_OVERLAYBD_OFFSET_ $name _ $c_field>] as usize
                );)*
            };)*
        }
    };
}

assert_layout! {
    bio(bio) {
        bi_next: bi_next, bi_opf: bi_opf, bi_ioprio: bi_ioprio, bi_status: bi_status,
        bi_iter: bi_iter, bi_end_io: bi_end_io, bi_private: bi_private, bi_io_vec: bi_io_vec
    }
    bio_vec(bio_vec) { bv_len: bv_len }
    bvec_iter(bvec_iter) { bi_sector: bi_sector, bi_size: bi_size }
    work_struct(work_struct) {}
    spinlock_t(spinlock) {}
    dm_target(dm_target) {
        table: table, type_: type, len: len, private: private, error: error,
        per_io_data_size: per_io_data_size
    }
    dm_dev(dm_dev) { bdev: bdev, name: name }
    target_type(target_type) {}
    queue_limits(queue_limits) {
        max_hw_sectors: max_hw_sectors, max_sectors: max_sectors,
        logical_block_size: logical_block_size, physical_block_size: physical_block_size,
        io_min: io_min, io_opt: io_opt, alignment_offset: alignment_offset,
        chunk_sectors: chunk_sectors, flags: flags
    }
}
