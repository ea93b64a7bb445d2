// SPDX-License-Identifier: GPL-2.0

//! Other services of the kernel: memory, locks, work, checksums, decompression.
//!
//! Safe types over single kernel facilities. They hold no policy and know neither bios, nor
//! device-mapper, nor images.
//!
//! | file | what it wraps |
//! |---|---|
//! | [`array`] | kvmalloc, for arrays whose length an image chooses |
//! | [`memory`] | kmalloc that never waits |
//! | [`mempool`] | a mempool |
//! | [`lock`] | a spinlock that interrupts take as well |
//! | [`workqueue`] | a workqueue, a work item |
//! | [`percpu_counter`] | a number that CPUs add to without sharing memory |
//! | [`context`] | the running task, its stack and its CPU |
//! | [`crc32c`] | CRC-32C |
//! | [`zstd`] | the ZSTD decompressor |
//! | [`errno`] | error numbers that not every supported kernel names |

pub(crate) mod array;
pub(crate) mod context;
pub(crate) mod crc32c;
pub(crate) mod errno;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod mempool;
pub(crate) mod percpu_counter;
pub(crate) mod workqueue;
pub(crate) mod zstd;
