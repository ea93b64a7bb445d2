// SPDX-License-Identifier: GPL-2.0

//! Device-mapper targets that read OverlayBD images.
//!
//! | folder | what it is |
//! |---|---|
//! | [`zfile`] | `zfile_target`: a ZFile as the block device of its decompressed content |
//! | [`lsmt`] | `lsmt_target`: a stack of layers as one block device |
//! | [`image`] | what both targets share: lower devices, index memory, refusals |
//! | [`io`] | the read engine: lower read, completion, block cache, buffers |
//! | [`dm`] | safe types over device-mapper |
//! | [`block`] | safe types over the block layer |
//! | [`sys`] | safe types over other services of the kernel |
//! | [`bindings`] | raw bindings, and C functions for macros and static inlines |
//!
//! A file uses only files of the same folder and of folders below it in this table. What the bytes
//! of an image mean is in the crate `overlaybd_format`, which knows nothing of kernels. This file
//! registers the targets and does nothing else.

// A safety comment covers one operation.
#![deny(clippy::multiple_unsafe_ops_per_block)]

use kernel::prelude::*;

mod bindings;
mod block;
mod dm;
mod image;
mod io;
mod lsmt;
mod sys;
mod zfile;

module! {
    type: Overlaybd,
    name: "dm_overlaybd",
    authors: ["The dm-overlaybd authors"],
    description: "Device-mapper targets for OverlayBD images",
    license: "GPL",
    alias: ["dm-zfile_target", "dm-lsmt_target"],
    params: {
        block_cache_kib: u32 {
            default: 512,
            description: "Most memory in KiB for decompressed blocks of one target, 0 for none",
        },
        max_index_mib: u32 {
            default: 256,
            description: "Most memory in MiB that the indexes of one target may take",
        },
        max_total_index_mib: u32 {
            default: 0,
            description: "Most memory in MiB for the indexes of all targets, 0: a quarter of all",
        },
    },
}

/// The module: its registrations, which end in the opposite order if one of them fails.
struct Overlaybd {
    _zfile: dm::registration::Registration<zfile::Zfile>,
    _lsmt: dm::registration::Registration<lsmt::Lsmt>,
}

impl kernel::Module for Overlaybd {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _zfile: dm::registration::Registration::new(module, zfile::Context::new()?)?,
            _lsmt: dm::registration::Registration::new(module, ())?,
        })
    }
}
