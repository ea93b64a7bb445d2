// SPDX-License-Identifier: GPL-2.0

//! The counters of a ZFile's status line.
//!
//! A good read adds to counters that have a part for each CPU. Errors are rare: each of their
//! counters is one number.

use crate::sys::percpu_counter::PercpuCounter;
use core::fmt;
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// A number of errors.
pub(super) struct Counter(Atomic<u64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Adds `n`, in any context.
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.load(Relaxed).fmt(f)
    }
}

/// What happened since the target was constructed.
pub(super) struct Stats {
    /// Lower reads that failed.
    pub(super) read_errors: Counter,
    /// Blocks with a wrong CRC.
    pub(super) crc_errors: Counter,
    /// Blocks that do not decompress to their content.
    pub(super) decompress_errors: Counter,
    /// Blocks decompressed.
    pub(super) blocks_decompressed: PercpuCounter,
    /// Bios answered with a block from the cache.
    pub(super) cache_hits: PercpuCounter,
}

impl Stats {
    /// Counters that are 0. May sleep.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            read_errors: Counter::new(),
            crc_errors: Counter::new(),
            decompress_errors: Counter::new(),
            blocks_decompressed: PercpuCounter::new()?,
            cache_hits: PercpuCounter::new()?,
        })
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "read_errors {} crc_errors {} decompress_errors {} blocks_decompressed {} \
             cache_hits {}",
            self.read_errors,
            self.crc_errors,
            self.decompress_errors,
            self.blocks_decompressed.sum(),
            self.cache_hits.sum(),
        )
    }
}
