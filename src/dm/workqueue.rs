// SPDX-License-Identifier: GPL-2.0

//! The workqueue that turns data read from lower devices into the data of bios.
//!
//! One queue serves all devices of a target type. Work on it never waits for I/O or for other
//! work, so targets stacked on each other cannot block one another here. It is unbound, so the
//! reads of one device are worked on by all CPUs, and has a rescuer, so it goes on when no worker
//! can be created.

use super::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// An owned workqueue.
///
/// # Invariants
///
/// The pointer is to a live workqueue.
pub(crate) struct WorkQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue may be used and destroyed from any thread.
unsafe impl Send for WorkQueue {}
// SAFETY: All operations of a workqueue are internally synchronised.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// Makes a queue.
    pub(super) fn new() -> Result<Self> {
        // SAFETY: Called in process context, when the module is initialised.
        let queue = unsafe { bindings::dm_overlaybd_workqueue_create() };
        // INVARIANT: The queue has just been made.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }

    /// Queues `work`; may be called in any context.
    ///
    /// # Safety
    ///
    /// `work` must be initialised, not queued, and stay valid until its function is called.
    pub(super) unsafe fn queue(&self, work: *mut bindings::work_struct) {
        // SAFETY: The queue is live by the type invariant, `work` is fit by the caller's promise.
        unsafe { bindings::dm_overlaybd_queue_work(self.0.as_ptr(), work) };
    }

    /// Waits until all work queued so far has returned.
    pub(super) fn flush(&self) {
        // SAFETY: The queue is live by the type invariant.
        unsafe { bindings::dm_overlaybd_flush_workqueue(self.0.as_ptr()) }
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: The queue is live by the type invariant, and nobody can use it afterwards.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) }
    }
}
