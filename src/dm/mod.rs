// SPDX-License-Identifier: GPL-2.0

//! The wall between the targets and the kernel.
//!
//! Everything the targets need from device-mapper, bios, block I/O, memory pools and workqueues
//! stands here as safe types over thin wrappers; all `unsafe` of the module is in this folder.
//! Nothing here knows what a ZFile or a layer is.
//!
//! | file | what it wraps |
//! |---|---|
//! | [`target`] | `struct target_type`, `struct dm_target`: the trait [`Target`], registering it |
//! | [`args`] | the words of a table line |
//! | [`device`] | a lower device (`struct dm_dev`) and reading it while a target is constructed |
//! | [`bio`] | a bio in `map`, and the segments of its data |
//! | [`read_through`] | a read answered from other bytes of a lower device, by way of a workqueue |
//! | [`buffer`] | memory for those bytes, with a reserve |
//! | [`array`] | memory whose size an image has chosen |
//! | [`workqueue`] | the queue of that work |
//! | [`stack`] | how deep completions may stand on a stack |
//! | [`status`] | the text of `dmsetup status` and `dmsetup table` |
//! | [`limits`] | `struct queue_limits` in `io_hints` |
//! | [`errno`] | error numbers that not every supported kernel names |
//! | [`log`] | lines in the kernel log |
//! | [`crc32c`] | the kernel's CRC-32C |
//! | [`zstd`] | the kernel's ZSTD decompressor |

pub(crate) mod args;
pub(crate) mod array;
mod bindings;
pub(crate) mod bio;
pub(crate) mod block_cache;
pub(crate) mod buffer;
mod crc32c;
pub(crate) mod device;
pub(crate) mod errno;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod read_through;
mod stack;
pub(crate) mod status;
pub(crate) mod target;
mod workqueue;
pub(crate) mod zstd;

pub(crate) use self::{
    args::Args,
    array::{
        total_memory,
        Array, //
    },
    bio::{
        Bio,
        Mapped,
        Segments, //
    },
    block_cache::{
        BlockCache,
        Cached,
        Claim, //
    },
    buffer::BufferPool,
    crc32c::crc32c,
    device::{
        LowerDevice,
        ReadError,
        Unit, //
    },
    limits::QueueLimits,
    log::Log,
    read_through::{
        Damaged,
        Effort,
        Pending,
        ReadThrough, //
    },
    status::{
        StatusKind,
        StatusText, //
    },
    target::{
        CtrError,
        DeviceVisitor,
        Features,
        Registration,
        Setup,
        Target, //
    },
    zstd::{
        Taken as ZstdTaken,
        ZstdContexts, //
    },
};
