// SPDX-License-Identifier: GPL-2.0

//! The workqueue that turns data read from lower devices into the data of bios.
//!
//! One queue serves all devices of a target type. Work on it never waits for I/O or for other
//! work, so targets stacked on each other cannot block one another here. It is unbound, so the
//! reads of one device are worked on by all CPUs, and has a rescuer, so it goes on when no worker
//! can be created.
//!
//! Tasks do the work themselves where they may. One that has much more to do than a single piece
//! can [hand a piece over](WorkQueue::hand_over) to a CPU that seems to have nothing to do. It
//! never waits for that, and never decides where work is done in the end: the scheduler does.

use super::bindings;
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use overlaybd_format::units::Bytes;

/// How many places there are for what is known of CPUs.
const PLACES: usize = 64;

/// How many CPUs to look at for one that seems idle.
const CANDIDATES: usize = 4;

/// An owned workqueue.
///
/// # Invariants
///
/// The pointer is to a live workqueue.
pub(crate) struct WorkQueue {
    queue: NonNull<bindings::workqueue_struct>,
    /// The bytes of the pieces that were handed over and are not done.
    handed_over: Atomic<u64>,
    /// When a task last had such work to do on a CPU, for itself or to hand over, in jiffies. CPUs
    /// whose numbers are [`PLACES`] apart share a place: what is known is a guess anyway.
    own_work: [Atomic<u64>; PLACES],
}

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
        Ok(Self {
            queue: NonNull::new(queue).ok_or(ENOMEM)?,
            handed_over: Atomic::new(0),
            own_work: [const { Atomic::new(0) }; PLACES],
        })
    }

    /// Queues `work`; may be called in any context.
    ///
    /// # Safety
    ///
    /// `work` must be initialised, not queued, and stay valid until its function is called.
    pub(super) unsafe fn queue(&self, work: *mut bindings::work_struct) {
        // SAFETY: The queue is live by the type invariant, `work` is fit by the caller's promise.
        unsafe { bindings::dm_overlaybd_queue_work(self.queue.as_ptr(), work) };
    }

    /// Queues `work`, a piece of so many bytes, for another CPU, if the task that runs has more to
    /// submit than has been handed over, and there is a CPU where no task did such work lately.
    /// Says whether it did; the piece is then to be reported as [done](Self::done).
    ///
    /// To be called by a task that would otherwise do the work itself.
    ///
    /// # Safety
    ///
    /// As for [`WorkQueue::queue`].
    pub(super) unsafe fn hand_over(&self, work: *mut bindings::work_struct, bytes: Bytes) -> bool {
        // SAFETY: These read what is known of the context they are called in.
        let (here, now, waiting) = unsafe {
            (
                bindings::dm_overlaybd_this_cpu(),
                bindings::dm_overlaybd_jiffies() as u64,
                bindings::dm_overlaybd_waiting_bytes(),
            )
        };
        let place = self.place(here);
        // Written once a tick, so that other CPUs may keep it in their caches.
        if place.load(Relaxed) != now {
            place.store(now, Relaxed);
        }
        if self.handed_over.load(Relaxed) >= u64::from(waiting) {
            return false;
        }
        let mut cpu = here;
        for _ in 0..CANDIDATES {
            // SAFETY: Looking at the CPUs that are online has no preconditions.
            cpu = unsafe { bindings::dm_overlaybd_next_cpu(cpu) };
            if cpu == here {
                return false;
            }
            if now.wrapping_sub(self.place(cpu).load(Relaxed)) > 1 {
                self.handed_over.fetch_add(bytes.get(), Relaxed);
                // SAFETY: As in `queue`. For an unbound queue a CPU is a hint; it may go away.
                unsafe { bindings::queue_work_on(cpu as c_int, self.queue.as_ptr(), work) };
                return true;
            }
        }
        false
    }

    /// Takes note that a piece of so many bytes that was handed over is done.
    pub(super) fn done(&self, bytes: Bytes) {
        self.handed_over.fetch_sub(bytes.get(), Relaxed);
    }

    /// What is known of a CPU.
    fn place(&self, cpu: c_uint) -> &Atomic<u64> {
        &self.own_work[cpu as usize % PLACES]
    }

    /// Waits until all work queued so far has returned.
    pub(super) fn flush(&self) {
        // SAFETY: The queue is live by the type invariant.
        unsafe { bindings::dm_overlaybd_flush_workqueue(self.queue.as_ptr()) }
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: The queue is live by the type invariant, and nobody can use it afterwards.
        unsafe { bindings::destroy_workqueue(self.queue.as_ptr()) }
    }
}
