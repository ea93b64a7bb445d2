// SPDX-License-Identifier: GPL-2.0

//! The context that code runs in: the task, its stack, its CPU.
//!
//! These functions only look. What may be done in which context is for their callers to decide.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/preempt.h`](srctree/include/linux/preempt.h),
//! [`include/linux/sched/task_stack.h`](srctree/include/linux/sched/task_stack.h)

use crate::bindings;
use kernel::{
    current,
    prelude::*, //
};

/// The identity of a task, only for comparison: when a task has exited, a new one may have the same
/// identity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskId(*const bindings::task_struct);

// SAFETY: The pointer is only compared.
unsafe impl Send for TaskId {}

impl TaskId {
    /// The running task. In an interrupt this is the task that was interrupted.
    pub(crate) fn current() -> Self {
        Self(current!().as_ptr())
    }
}

/// Whether the code runs in a task, not in an interrupt.
pub(crate) fn in_task() -> bool {
    // SAFETY: This looks at the context it is called in.
    unsafe { bindings::dm_overlaybd_in_task() }
}

/// Whether interrupts are disabled on this CPU.
pub(crate) fn irqs_disabled() -> bool {
    // SAFETY: This looks at the context it is called in.
    unsafe { bindings::dm_overlaybd_irqs_disabled() }
}

/// Whether the running task is being killed.
pub(crate) fn killed() -> bool {
    // SAFETY: The running task is live while it runs.
    unsafe { bindings::dm_overlaybd_fatal_signal_pending(current!().as_ptr()) }
}

/// How many bytes of the running task's stack are free, or [`None`] on the stack of an interrupt.
pub(crate) fn task_stack_left() -> Option<usize> {
    let mark = 0u8;
    let here: *const c_void = (&raw const mark).cast();
    // SAFETY: This compares addresses.
    if !unsafe { bindings::dm_overlaybd_object_is_on_stack(here) } {
        return None;
    }
    // SAFETY: The running task has a stack.
    let end = unsafe { bindings::dm_overlaybd_task_stack_page(current!().as_ptr()) };
    // SAFETY: This computes an address.
    let here = unsafe { bindings::dm_overlaybd_kasan_reset_tag(here) };
    Some((here as usize).saturating_sub(end as usize))
}

/// The size of a task's stack in bytes.
pub(crate) const TASK_STACK: usize = bindings::DM_OVERLAYBD_THREAD_SIZE;

/// The number of this CPU, as a hint: a task may move to another CPU at any time.
pub(crate) fn this_cpu() -> c_uint {
    // SAFETY: This looks at the context it is called in.
    unsafe { bindings::dm_overlaybd_raw_smp_processor_id() }
}

/// The number of CPUs that are online.
pub(crate) fn online_cpus() -> usize {
    // SAFETY: This reads a counter.
    unsafe { bindings::dm_overlaybd_num_online_cpus() as usize }
}

/// The number of CPUs that can ever be online.
pub(crate) fn possible_cpus() -> usize {
    // SAFETY: This reads a counter.
    unsafe { bindings::dm_overlaybd_num_possible_cpus() as usize }
}
