// SPDX-License-Identifier: GPL-2.0

//! The end of a read: where it is decompressed, and the end of its bio.
//!
//! The lower read ends in some context, and [`Read::place`] decides where the read goes on: in that
//! context, in a softirq, or in a thread.

use super::{
    block_cache::FillGuard,
    pending::{
        Completion,
        Cost,
        Fields,
        Pending,
        Read,
        ReadThrough,
        Wait, //
    },
    stack::has_room, //
};
use crate::{
    bindings,
    block::{
        bio::OwnedBio,
        lower_bio::LowerBio,
        status::BlkError, //
    },
    dm::registration::shared_of,
    sys::{
        context::{
            in_task,
            irqs_disabled,
            TaskId, //
        },
        workqueue::Work,
    },
};
use core::ptr::NonNull;
use kernel::prelude::*;
use overlaybd_format::{
    units::Bytes,
    Output, //
};

/// The most bytes to decompress outside of the submitting task and of the threads of the workqueue.
/// LZ4 takes 5 us for them, less than waking a thread.
const MAX_INLINE_BYTES: Bytes = Bytes::new(16 << 10);

/// Where a read whose lower read has ended goes on.
#[derive(Clone, Copy)]
enum Place {
    /// In the present context, a task.
    Here,
    /// In a softirq of this CPU.
    Softirq,
    /// In a thread, on any CPU.
    Thread,
}

/// Ends a lower read. May run in an interrupt.
///
/// # Safety
///
/// `lower` must be the ended lower bio of a [`Pending`] of a `T`.
pub(super) unsafe extern "C" fn lower_end_io<T: ReadThrough>(lower: *mut bindings::bio) {
    // SAFETY: `lower` comes from `init_read`, and this function is its `end_io`.
    let pending: *mut Pending<T> = unsafe { LowerBio::private(lower) }.cast();
    // SAFETY: As above.
    let result = unsafe { LowerBio::finish(lower) };
    // SAFETY: `read_through` has passed the `Pending` of this lower bio to `set_end_io`.
    let fields = unsafe { Pending::fields(pending) };
    let (item, read) = (fields.work, fields.read);
    // SAFETY: `read` is initialised by the invariants of `Pending`, and nothing else refers to it
    // before the work is queued.
    let pending = unsafe { &mut *read };
    pending.lower_result = result;
    let shared = NonNull::from(&shared_of(pending.upper.target_ref()).io);
    // SAFETY: The registration outlives this function: a module whose code runs is not unloaded.
    let Completion { threads, softirq } = unsafe { shared.as_ref() };
    match pending.place() {
        // SAFETY: `read` is initialised, and the work is not queued.
        Place::Here => match unsafe { finish(read, Wait::No) } {
            Finished::Yes => {}
            // SAFETY: Per-bio data belongs to the target until the bio ends, which is after the
            // work has taken `read`.
            Finished::MustWait => unsafe { threads.queue(item, work::<T>) },
        },
        // SAFETY: As above.
        Place::Softirq => unsafe { softirq.queue(item, work::<T>) },
        // SAFETY: As above.
        Place::Thread => unsafe { threads.queue(item, work::<T>) },
    }
}

/// Goes on with a read whose lower read has ended, on a workqueue.
///
/// # Safety
///
/// `work` must be the work of a [`Pending`] of a `T` whose lower read has ended.
unsafe extern "C" fn work<T: ReadThrough>(work: *mut Work) {
    // SAFETY: `work` is the first field of the `Pending`.
    let Fields { read, .. } = unsafe { Pending::<T>::fields(work.cast()) };
    // With permission to wait the read always ends. A read in a softirq has nothing to wait for.
    // SAFETY: `read` is initialised, and taken once, because the work is queued once.
    unsafe { finish(read, Wait::Yes) };
}

/// Has the target write the data of a read, takes the read out of its per-bio data, and ends its
/// bio. Leaves the read as it is if it would have to wait and must not.
///
/// # Safety
///
/// `read` must be initialised, and nothing else may refer to it. After [`Finished::Yes`] nothing
/// may refer to it.
unsafe fn finish<T: ReadThrough>(read: *mut Read<T>, wait: Wait) -> Finished {
    // SAFETY: By the safety requirements of this function.
    let Some(answered) = (unsafe { answer_and_take(read, wait) }) else {
        return Finished::MustWait;
    };
    let Answered {
        upper,
        result,
        fill,
    } = answered;
    // Both calls end bios. A target above may end its own bio inside of them, so the stack is short
    // here, and this read holds nothing that another read waits for.
    if let (Some(fill), Ok(())) = (fill, result) {
        fill.publish();
    }
    upper.end(result);
    Finished::Yes
}

/// Whether a read has ended.
enum Finished {
    Yes,
    /// It needs something that other reads use, and was not allowed to wait for it.
    MustWait,
}

/// What is left of a read whose data is written, or not.
struct Answered {
    upper: OwnedBio,
    result: Result<(), BlkError>,
    fill: Option<FillGuard>,
}

/// Has the target write the data of a read, takes the read out of its per-bio data, and frees what
/// is no longer needed. [`None`] if the read would have to wait and must not.
///
/// It is not inlined, so that the decoder's part of the stack is free when a bio ends.
///
/// # Safety
///
/// As for [`finish`].
#[inline(never)]
unsafe fn answer_and_take<T: ReadThrough>(read: *mut Read<T>, wait: Wait) -> Option<Answered> {
    // SAFETY: `read` is initialised, and nothing else refers to it, by the safety requirements of
    // this function.
    let result = unsafe { &mut *read }.answer(wait)?;
    // SAFETY: As above, and nothing refers to it afterwards.
    let Read { upper, fill, .. } = unsafe { read.read() };
    Some(Answered {
        upper: upper.into_bio(),
        result,
        fill,
    })
}

impl<T: ReadThrough> Read<T> {
    /// Decides where the read goes on, in the context in which the lower read has ended.
    ///
    /// Some devices end a read in the task that submitted it. The task has nothing better to do
    /// than to decompress, and its CPU has the compressed bytes in its cache. In another task only
    /// little is decompressed. What is as little goes from an interrupt to a softirq, which starts
    /// when the interrupt ends: no thread is woken, and the kernel limits how long such work keeps
    /// tasks from the CPU. All else wakes a thread.
    fn place(&self) -> Place {
        let Cost { bytes, may_wait } = self.cost;
        let little = self.lower_result.is_err() || !may_wait && bytes <= MAX_INLINE_BYTES;
        if !in_task() || irqs_disabled() {
            return if little {
                Place::Softirq
            } else {
                Place::Thread
            };
        }
        let in_submitter = self.submitter == Some(TaskId::current());
        if (in_submitter || little) && has_room() {
            Place::Here
        } else {
            Place::Thread
        }
    }

    /// Has the target write the data of the bio, if the lower read has succeeded. Only a bio that
    /// is written to its end is good. [`None`] if this would have to wait and must not.
    fn answer(&mut self, wait: Wait) -> Option<Result<(), BlkError>> {
        if let Err(error) = self.lower_result {
            // A device that declines a read has not failed.
            if error != BlkError::AGAIN {
                self.upper.target().lower_failed();
            }
            return Some(Err(error));
        }
        let Some((target, mut out)) = self.upper.target_and_writer() else {
            return Some(Err(BlkError::IOERR));
        };
        let workspace = target.workspace(wait)?;
        let Some((read, scratch)) = self.buffer.as_mut_slice().split_at_mut_checked(self.len)
        else {
            return Some(Err(BlkError::IOERR));
        };
        let block = self.fill.as_mut().map(FillGuard::memory);
        let written =
            target.complete_read(workspace, &self.request, read, scratch, block, &mut out);
        Some(match written {
            Ok(()) if out.remaining() == 0 => Ok(()),
            _ => Err(BlkError::IOERR),
        })
    }
}
