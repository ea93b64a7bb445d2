// SPDX-License-Identifier: GPL-2.0

//! A number that all CPUs add to without sharing memory.
//!
//! Each CPU has a part of its own. Adding writes this CPU's part alone; reading adds all of them
//! up.
//!
//! C headers: [`include/linux/percpu.h`](srctree/include/linux/percpu.h),
//! [`include/asm-generic/local.h`](srctree/include/asm-generic/local.h)

use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A counter that starts at 0.
///
/// # Invariants
///
/// `parts` is per-CPU memory of a `local_t` for each possible CPU, which only this counter refers
/// to. A `local_t` may be added to by its own CPU, in any context, and read by all.
pub(crate) struct PercpuCounter {
    parts: NonNull<bindings::local_t>,
}

// SAFETY: A counter may be used and freed from any thread.
unsafe impl Send for PercpuCounter {}
// SAFETY: CPUs add to parts of their own, and interrupts do not tear an addition, by the type
// invariants.
unsafe impl Sync for PercpuCounter {}

impl PercpuCounter {
    /// Allocates a counter. May sleep.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Process context, which constructors run in.
        let parts = unsafe { bindings::dm_overlaybd_alloc_percpu_local() };
        // INVARIANT: This is fresh per-CPU memory, which is zeroed.
        Ok(Self {
            parts: NonNull::new(parts).ok_or(ENOMEM)?,
        })
    }

    /// Adds `n`, in any context.
    pub(crate) fn add(&self, n: u32) {
        // SAFETY: The counter is live by the type invariants. The function adds to the part of the
        // CPU that it runs on, and keeps the task on it meanwhile.
        unsafe { bindings::dm_overlaybd_local_add(n as c_long, self.parts.as_ptr()) };
    }

    /// The sum. What is added meanwhile may be missing.
    pub(crate) fn sum(&self) -> u64 {
        // SAFETY: This reads a constant of the machine.
        let cpus = unsafe { bindings::dm_overlaybd_nr_cpu_ids() };
        (0..cpus)
            // SAFETY: `cpu` is less than `nr_cpu_ids`.
            .filter(|cpu| unsafe { bindings::dm_overlaybd_cpu_possible(*cpu) })
            // SAFETY: The counter is live by the type invariants, and the CPU has a part.
            .map(|cpu| unsafe { bindings::dm_overlaybd_local_read(self.parts.as_ptr(), cpu) })
            .fold(0, |sum: u64, part| sum.wrapping_add(part as u64))
    }
}

impl Drop for PercpuCounter {
    fn drop(&mut self) {
        // SAFETY: By the type invariants nothing else refers to this memory.
        unsafe { bindings::free_percpu(self.parts.as_ptr().cast()) };
    }
}
