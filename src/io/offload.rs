// SPDX-License-Identifier: GPL-2.0

//! When a task passes decompression to another CPU.
//!
//! The rule: on a device that completes reads in the submitting task (a ramdisk, pmem), the task
//! decompresses what it reads itself. While it still has more to submit than is queued elsewhere,
//! it queues pieces of [`MIN_BYTES`] or more for a CPU on which no task did so in the last tick.
//! So one reader of large pieces uses idle CPUs, and readers on all CPUs do not disturb each other.
//! On a device that completes reads later, from an interrupt or another task, the rule never
//! applies.
//!
//! This is a hint: it never waits, and the scheduler decides where the work runs.

use crate::sys::context::{
    bytes_still_to_submit,
    jiffies,
    next_online_cpu,
    this_cpu, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};
use overlaybd_format::units::Bytes;

/// The smallest piece that is worth waking another CPU for.
const MIN_BYTES: Bytes = Bytes::new(128 << 10);

/// Hash slots for the activity of CPUs. Two CPUs that share a slot only blur the hint.
const CPU_SLOTS: usize = 64;

/// How many CPUs to look at for an idle one.
const CANDIDATES: usize = 4;

/// The pieces that tasks have passed on, and the CPUs on which tasks decompress.
pub(super) struct Offload {
    /// The bytes of the pieces that are queued and not decompressed.
    outstanding: Atomic<u64>,
    /// When a task last decompressed or queued a piece on a CPU, in jiffies.
    last_busy: [Atomic<u64>; CPU_SLOTS],
}

impl Offload {
    /// No pieces.
    pub(super) const fn new() -> Self {
        Self {
            outstanding: Atomic::new(0),
            last_busy: [const { Atomic::new(0) }; CPU_SLOTS],
        }
    }

    /// Decides on a piece of `bytes` that the running task would decompress otherwise. Returns the
    /// CPU to queue it for, if any. The piece then counts as outstanding until
    /// [`done`](Self::done).
    pub(super) fn try_start(&self, bytes: Bytes) -> Option<c_uint> {
        if bytes < MIN_BYTES {
            return None;
        }
        let here = this_cpu();
        let now = jiffies();
        let slot = self.slot(here);
        // Stored once a tick, so that the caches of other CPUs may keep the line.
        if slot.load(Relaxed) != now {
            slot.store(now, Relaxed);
        }
        if self.outstanding.load(Relaxed) >= bytes_still_to_submit().get() {
            return None;
        }
        let mut cpu = here;
        for _ in 0..CANDIDATES {
            cpu = next_online_cpu(cpu);
            if cpu == here {
                return None;
            }
            if now.wrapping_sub(self.slot(cpu).load(Relaxed)) > 1 {
                self.outstanding.fetch_add(bytes.get(), Relaxed);
                return Some(cpu);
            }
        }
        None
    }

    /// A piece of `bytes` that was queued is decompressed.
    pub(super) fn done(&self, bytes: Bytes) {
        self.outstanding.fetch_sub(bytes.get(), Relaxed);
    }

    fn slot(&self, cpu: c_uint) -> &Atomic<u64> {
        &self.last_busy[cpu as usize % CPU_SLOTS]
    }
}
