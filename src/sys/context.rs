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
use overlaybd_format::units::Bytes;

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

/// Whether the code runs in a hard interrupt.
pub(crate) fn in_hardirq() -> bool {
    // SAFETY: This looks at the context it is called in.
    unsafe { bindings::dm_overlaybd_in_hardirq() }
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

/// Adds to the number of completions that run inside each other on this CPU, and returns the sum.
/// For code on the stack of an interrupt, which does not move to another CPU.
pub(crate) fn nesting_add(levels: c_int) -> c_int {
    // SAFETY: This changes a per-CPU counter of ours, in any context.
    unsafe { bindings::dm_overlaybd_this_cpu_add_return_nesting(levels) }
}

/// The number of this CPU, as a hint: a task may move to another CPU at any time.
pub(crate) fn this_cpu() -> c_uint {
    // SAFETY: This looks at the context it is called in.
    unsafe { bindings::dm_overlaybd_raw_smp_processor_id() }
}

/// The online CPU after `cpu`, starting again after the last one.
pub(crate) fn next_online_cpu(cpu: c_uint) -> c_uint {
    let online = &raw const bindings::__cpu_online_mask;
    // SAFETY: The mask exists at all times, and reading it takes no lock.
    unsafe { bindings::dm_overlaybd_cpumask_next_wrap(cpu, online) }
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

/// The clock tick, in jiffies.
pub(crate) fn jiffies() -> u64 {
    let jiffies = &raw const bindings::jiffies;
    // SAFETY: `jiffies` exists at all times. The timer interrupt changes it, hence volatile.
    unsafe { jiffies.read_volatile() as u64 }
}

/// How many bytes the running task is still about to submit, at the least.
///
/// This is the length of the first bio that waits until `submit_bio` is done with the present one:
/// what is left of a bio that was split.
pub(crate) fn bytes_still_to_submit() -> Bytes {
    if !in_task() {
        return Bytes::new(0);
    }
    // SAFETY: This reads a field of the running task that only the task itself uses.
    let lists = unsafe { bindings::dm_overlaybd_current_bio_list() };
    if lists.is_null() {
        return Bytes::new(0);
    }
    // SAFETY: While it is not null, `bio_list` points to an array of two lists on the stack of
    // `submit_bio`, which is still running.
    let [new, old] = unsafe { &*lists.cast::<[bindings::bio_list; 2]>() };
    let first = if new.head.is_null() {
        old.head
    } else {
        new.head
    };
    if first.is_null() {
        return Bytes::new(0);
    }
    // SAFETY: The bios on the lists are live: they have not been submitted yet.
    Bytes::new(u64::from(unsafe { (*first).bi_iter.bi_size }))
}
