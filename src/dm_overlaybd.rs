// SPDX-License-Identifier: GPL-2.0

//! Device-mapper targets that read OverlayBD images.
//!
//! | file | what it is |
//! |---|---|
//! | [`zfile`] | `zfile_target`: a ZFile as the block device of its decompressed content |
//! | [`lsmt`] | `lsmt_target`: a stack of layers as one block device |
//! | [`image`] | what both have in common: refusing a table, reading an image's structures |
//! | [`index`] | the memory that indexes take, and how much they may |
//! | [`dm`] | the wall: safe types over device-mapper and the block layer |
//!
//! What the bytes of an image mean is the crate `overlaybd_format`'s affair, which knows nothing
//! of kernels. This file registers the targets and does nothing else.

use kernel::prelude::*;

mod dm;
mod image;
mod index;
mod lsmt;
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

/// The module: its registrations, ended in the opposite order should one of them fail.
struct Overlaybd {
    _zfile: dm::Registration<zfile::Zfile>,
    _lsmt: dm::Registration<lsmt::Lsmt>,
}

impl kernel::Module for Overlaybd {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _zfile: dm::Registration::new(module, zfile::Context::new()?)?,
            _lsmt: dm::Registration::new(module, ())?,
        })
    }
}
