// SPDX-License-Identifier: GPL-2.0

//! Workqueues, and work items in memory that the caller provides.
//!
//! The kernel crate's `Work` needs an `Arc` or a box for each item. Here the item lies in state
//! that exists already, so queueing work allocates nothing. Where work runs is not decided here.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A work item. It need not be initialised before it is queued.
pub(crate) type Work = bindings::work_struct;

/// The function of a work item, which is called with that item.
pub(crate) type WorkFn = unsafe extern "C" fn(*mut Work);

/// A workqueue whose work runs in threads.
///
/// It is unbound, so that all CPUs work on it, and has a rescuer (`WQ_MEM_RECLAIM`), so that it
/// makes progress when no worker can be created.
pub(crate) struct ThreadQueue(Queue);

impl ThreadQueue {
    /// Allocates a queue. May sleep.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let flags = bindings::wq_flags_WQ_MEM_RECLAIM
            | bindings::wq_flags_WQ_HIGHPRI
            | bindings::wq_flags_WQ_UNBOUND
            | bindings::wq_flags_WQ_SYSFS;
        Ok(Self(Queue::new(name, flags)?))
    }

    /// Queues `work`, in any context.
    ///
    /// # Safety
    ///
    /// `work` must be valid for writes, not queued, and stay valid until `function` is called.
    pub(crate) unsafe fn queue(&self, work: *mut Work, function: WorkFn) {
        // SAFETY: By the safety requirements of this function.
        unsafe { bindings::dm_overlaybd_INIT_WORK(work, Some(function)) };
        // SAFETY: The item is initialised. The rest as required of this function.
        unsafe { self.0.queue(work) };
    }
}

/// A workqueue whose work runs in a softirq of the CPU that queues it (`WQ_BH`), where it must not
/// sleep.
///
/// The kernel limits how long such work keeps a task from its CPU: after two milliseconds, or when
/// the scheduler wants the CPU, the rest runs in ksoftirqd.
pub(crate) struct SoftirqQueue(Queue);

impl SoftirqQueue {
    /// Allocates a queue. May sleep.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let flags = bindings::wq_flags_WQ_BH | bindings::wq_flags_WQ_PERCPU;
        Ok(Self(Queue::new(name, flags)?))
    }

    /// Queues `work`, in any context.
    ///
    /// # Safety
    ///
    /// As for [`ThreadQueue::queue`].
    pub(crate) unsafe fn queue(&self, work: *mut Work, function: WorkFn) {
        // SAFETY: By the safety requirements of this function.
        unsafe { bindings::dm_overlaybd_INIT_WORK_softirq(work, Some(function)) };
        // SAFETY: The item is initialised. The rest as required of this function.
        unsafe { self.0.queue(work) };
    }
}

/// A workqueue.
///
/// # Invariants
///
/// The pointer is to a live workqueue.
struct Queue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue may be used and destroyed from any thread.
unsafe impl Send for Queue {}
// SAFETY: All operations of a workqueue are internally synchronised.
unsafe impl Sync for Queue {}

impl Queue {
    fn new(name: &'static CStr, flags: bindings::wq_flags) -> Result<Self> {
        // SAFETY: `name` is a C string. The caller is in process context: it initialises a module.
        let queue = unsafe {
            bindings::dm_overlaybd_alloc_workqueue(name.as_char_ptr(), flags as c_uint, 0)
        };
        // INVARIANT: The queue was allocated just now.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }

    /// Queues `work`.
    ///
    /// # Safety
    ///
    /// `work` must be initialised, not queued, and valid until its function is called.
    unsafe fn queue(&self, work: *mut Work) {
        // SAFETY: The queue is live by the type invariants, and `work` is as required.
        unsafe { bindings::dm_overlaybd_queue_work(self.0.as_ptr(), work) };
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: The queue is live by the type invariants, and nothing refers to it afterwards.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) }
    }
}
