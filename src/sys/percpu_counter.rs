// SPDX-License-Identifier: GPL-2.0

//! A number that all CPUs add to without sharing memory.
//!
//! Each CPU has a part of its own. Adding writes this CPU's part alone; reading adds all of them
//! up.
//!
//! C header: [`include/linux/percpu_counter.h`](srctree/include/linux/percpu_counter.h)

use crate::bindings;
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A counter that starts at 0.
///
/// # Invariants
///
/// The counter is initialised and stays where it is.
pub(crate) struct PercpuCounter(KBox<Opaque<bindings::percpu_counter>>);

// SAFETY: A counter may be used and destroyed from any thread.
unsafe impl Send for PercpuCounter {}
// SAFETY: All operations of a counter are internally synchronised.
unsafe impl Sync for PercpuCounter {}

impl PercpuCounter {
    /// Allocates a counter. May sleep.
    pub(crate) fn new() -> Result<Self> {
        let counter = KBox::new(Opaque::uninit(), GFP_KERNEL)?;
        // SAFETY: The box keeps the counter in its place, and nothing uses it yet.
        let result = unsafe {
            bindings::dm_overlaybd_percpu_counter_init(
                counter.get(),
                0,
                bindings::DM_OVERLAYBD_GFP_KERNEL,
            )
        };
        kernel::error::to_result(result)?;
        // INVARIANT: The counter is initialised, in a box of its own.
        Ok(Self(counter))
    }

    /// Adds `n`, in any context.
    pub(crate) fn add(&self, n: u32) {
        // SAFETY: The counter is initialised by the type invariants.
        unsafe { bindings::dm_overlaybd_percpu_counter_add_local(self.0.get(), i64::from(n)) };
    }

    /// The sum. What is added meanwhile may be missing.
    pub(crate) fn sum(&self) -> i64 {
        // SAFETY: The counter is initialised by the type invariants.
        unsafe { bindings::dm_overlaybd_percpu_counter_sum(self.0.get()) }
    }
}

impl Drop for PercpuCounter {
    fn drop(&mut self) {
        // SAFETY: The counter is initialised by the type invariants, and nothing uses it
        // afterwards.
        unsafe { bindings::dm_overlaybd_percpu_counter_destroy(self.0.get()) };
    }
}
