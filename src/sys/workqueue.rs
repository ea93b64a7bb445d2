// SPDX-License-Identifier: GPL-2.0

//! A workqueue, and work items in memory that the caller provides.
//!
//! The kernel crate's `Work` needs an `Arc` or a box for each item. Here the item lies in state
//! that exists already, so queueing work allocates nothing. Where work runs is not decided here.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A work item.
pub(crate) type Work = bindings::work_struct;

/// The function of a work item, which is called with that item.
pub(crate) type WorkFn = unsafe extern "C" fn(*mut Work);

/// Initialises a work item.
///
/// # Safety
///
/// `work` must be valid for writes, and not queued.
pub(crate) unsafe fn init_work(work: *mut Work, function: WorkFn) {
    // SAFETY: By the safety requirements of this function.
    unsafe { bindings::dm_overlaybd_INIT_WORK(work, Some(function)) };
}

/// An unbound workqueue with a rescuer.
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
    /// Allocates a queue. May sleep.
    ///
    /// It is unbound, so that all CPUs work on it, and has a rescuer (`WQ_MEM_RECLAIM`), so that it
    /// makes progress when no worker can be created.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let flags = bindings::wq_flags_WQ_MEM_RECLAIM
            | bindings::wq_flags_WQ_HIGHPRI
            | bindings::wq_flags_WQ_UNBOUND
            | bindings::wq_flags_WQ_SYSFS;
        // SAFETY: `name` is a C string. The caller is in process context: it initialises a module.
        let queue = unsafe {
            bindings::dm_overlaybd_alloc_workqueue(name.as_char_ptr(), flags as c_uint, 0)
        };
        // INVARIANT: The queue was allocated just now.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }

    /// Queues `work`, in any context.
    ///
    /// # Safety
    ///
    /// `work` must be initialised, not queued, and valid until its function is called.
    pub(crate) unsafe fn queue(&self, work: *mut Work) {
        // SAFETY: The queue is live by the type invariants, and `work` is as required.
        unsafe { bindings::dm_overlaybd_queue_work(self.0.as_ptr(), work) };
    }

    /// Queues `work`, preferably for `cpu`. The CPU may be offline: for an unbound queue it is a
    /// hint.
    ///
    /// # Safety
    ///
    /// As for [`WorkQueue::queue`].
    pub(crate) unsafe fn queue_on(&self, cpu: c_uint, work: *mut Work) {
        // SAFETY: The queue is live by the type invariants, and `work` is as required.
        unsafe { bindings::queue_work_on(cpu as c_int, self.0.as_ptr(), work) };
    }

    /// Waits until all work queued so far has returned.
    pub(crate) fn flush(&self) {
        // SAFETY: The queue is live by the type invariants.
        unsafe { bindings::dm_overlaybd_flush_workqueue(self.0.as_ptr()) }
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: The queue is live by the type invariants, and nothing refers to it afterwards.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) }
    }
}
