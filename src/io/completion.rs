// SPDX-License-Identifier: GPL-2.0

//! The end of a read: where it is decompressed, and the end of its bio.
//!
//! Small reads, and reads whose submitter is waiting, complete in the lower bio's `end_io`, as long
//! as there is a [`Level`] for it on the stack. All others are queued.

use super::{
    block_cache::FillGuard,
    pending::{
        Completion,
        Cost,
        Fields,
        Pending,
        Read,
        ReadThrough, //
    },
    stack::Level, //
};
use crate::{
    bindings,
    block::{
        bio::OwnedBio,
        lower_bio::LowerBio,
        status::BlkError, //
    },
    dm::{
        bio::TakenBio,
        registration::shared_of, //
    },
    sys::{
        context::{
            in_hardirq,
            in_task,
            irqs_disabled,
            TaskId, //
        },
        workqueue::Work,
    },
};
use core::ptr::NonNull;
use kernel::prelude::*;
use overlaybd_format::units::Bytes;

/// The most bytes to decompress in the lower bio's `end_io` when its context is not the submitting
/// task. That context must have interrupts enabled.
const MAX_INLINE_BYTES: Bytes = Bytes::new(16 << 10);

/// Where a read whose lower read has ended goes on.
enum Place {
    /// In the present context.
    Here,
    /// On the workqueue, on any CPU.
    Queue,
    /// On the workqueue, preferably on the CPU with this number.
    QueueOn(c_uint),
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
    let Fields { work, read, .. } = unsafe { Pending::fields(pending) };
    // SAFETY: `read` is initialised by the invariants of `Pending`, and nothing else refers to it
    // before the work is queued.
    let pending = unsafe { &mut *read };
    pending.lower_result = result;
    let shared = NonNull::from(&shared_of(pending.upper.target_ref()).io);
    // SAFETY: The registration outlives this function: a module whose code runs is not unloaded.
    let Completion { queue, .. } = unsafe { shared.as_ref() };
    let level = Level::enter();
    let place = match level {
        Some(_) => pending.place(),
        None => Place::Queue,
    };
    match place {
        // SAFETY: `read` is initialised, and taken once, because the work is not queued.
        Place::Here => unsafe { finish(read) },
        // SAFETY: `read_through` has initialised the work, and it is valid until it takes `read`.
        Place::Queue => unsafe { queue.queue(work) },
        // SAFETY: As above.
        Place::QueueOn(cpu) => unsafe { queue.queue_on(cpu, work) },
    }
}

/// Goes on with a read whose lower read has ended, on the workqueue.
///
/// # Safety
///
/// `work` must be the work of a [`Pending`] of a `T` whose lower read has ended.
pub(super) unsafe extern "C" fn work<T: ReadThrough>(work: *mut Work) {
    // SAFETY: `work` is the first field of the `Pending`.
    let Fields { read, .. } = unsafe { Pending::<T>::fields(work.cast()) };
    // SAFETY: `read` is initialised, and taken once, because the work is queued once.
    unsafe { finish(read) };
}

/// Takes a read out of its per-bio data, has the target write its data, and ends its bio.
///
/// # Safety
///
/// `read` must be initialised, and nothing may refer to it afterwards.
unsafe fn finish<T: ReadThrough>(read: *mut Read<T>) {
    // SAFETY: By the safety requirements of this function.
    let answered = unsafe { take_and_answer(read) };
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
}

/// What is left of a read whose data is written, or not.
struct Answered {
    upper: OwnedBio,
    result: Result<(), BlkError>,
    fill: Option<FillGuard>,
}

/// Takes a read out of its per-bio data, has the target write its data, and frees the rest.
///
/// It is not inlined, so that the read is off the stack when a bio ends.
///
/// # Safety
///
/// As for [`finish`].
#[inline(never)]
unsafe fn take_and_answer<T: ReadThrough>(read: *mut Read<T>) -> Answered {
    // SAFETY: By the safety requirements of this function.
    let read = unsafe { read.read() };
    let Read {
        mut upper,
        cost,
        offloaded,
        lower_result,
        mut buffer,
        len,
        mut fill,
        request,
        ..
    } = read;
    let result = match lower_result {
        Ok(()) => {
            let block = fill.as_mut().map(FillGuard::memory);
            write_data(&mut upper, buffer.as_mut_slice(), len, block, request)
        }
        Err(error) => {
            upper.target().lower_failed();
            Err(error)
        }
    };
    drop(buffer);
    if offloaded {
        shared_of(upper.target_ref()).io.offload.done(cost.bytes);
    }
    Answered {
        upper: upper.into_bio(),
        result,
        fill,
    }
}

impl<T: ReadThrough> Read<T> {
    /// Decides where the read goes on, in the context in which the lower read has ended.
    ///
    /// Some devices end a read in the task that submitted it. The task has nothing better to do
    /// than to decompress, and its CPU has the compressed bytes in its cache. In another context
    /// only little is decompressed, and only where interrupts are enabled.
    fn place(&mut self) -> Place {
        if self.lower_result.is_err() {
            return Place::Here;
        }
        let Cost { bytes, may_sleep } = self.cost;
        let in_submitter =
            in_task() && !irqs_disabled() && self.submitter == Some(TaskId::current());
        if in_submitter {
            let offload = &shared_of(self.upper.target_ref()).io.offload;
            if let Some(cpu) = offload.try_start(bytes) {
                self.offloaded = true;
                return Place::QueueOn(cpu);
            }
        }
        let here = if may_sleep {
            in_submitter && self.upper.target().try_acquire(&mut self.request)
        } else {
            in_submitter || bytes <= MAX_INLINE_BYTES && !in_hardirq() && !irqs_disabled()
        };
        if here {
            Place::Here
        } else {
            Place::Queue
        }
    }
}

/// Has the target write the data of a bio. Only a bio that is written to its end is good.
fn write_data<T: ReadThrough>(
    upper: &mut TakenBio<T>,
    buffer: &mut [u8],
    len: usize,
    block: Option<&mut [u8]>,
    request: T::Request,
) -> Result<(), BlkError> {
    let (target, mut out) = upper.target_and_writer().ok_or(BlkError::IOERR)?;
    let (read, scratch) = buffer.split_at_mut_checked(len).ok_or(BlkError::IOERR)?;
    match target.complete_read(request, read, scratch, block, &mut out) {
        Ok(()) if out.remaining() == 0 => Ok(()),
        _ => Err(BlkError::IOERR),
    }
}
