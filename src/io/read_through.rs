// SPDX-License-Identifier: GPL-2.0

//! Reads that are answered from other bytes of a lower device.
//!
//! The path of such a read: `map` calls [`Bio::read_through`], which submits one lower read and
//! returns. The end of the lower read queues work, the work calls
//! [`ReadThrough::complete_read`], which writes the data of the upper bio, and the upper bio ends.
//! Small reads, and reads whose submitter is waiting, complete in the lower bio's `end_io`, as long
//! as there is a [`Level`] for it on the stack.
//!
//! All that a read needs is allocated before the lower read is submitted: its state in
//! device-mapper's per-bio data, its memory in a [`Buffer`] of the target. Everything is freed
//! before the upper bio ends, because from then on the device may go away.

use super::{
    block_cache::FillGuard,
    buffer::Buffer,
    offload::Offload,
    stack::Level, //
};
use crate::{
    bindings,
    block::{
        bio::{
            BioWriter,
            OwnedBio, //
        },
        lower_bio::LowerBio,
        status::BlkError, //
    },
    dm::{
        bio::{
            submit_remap,
            Bio,
            MapResult,
            TakenBio, //
        },
        device::LowerDevice,
        registration::shared_of,
        target::{
            PerBio,
            Target, //
        },
    },
    sys::{
        context::{
            in_hardirq,
            in_task,
            irqs_disabled,
            TaskId, //
        },
        workqueue::{
            init_work,
            Work,
            WorkQueue, //
        },
    },
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::units::{
    Bytes,
    Sector, //
};

/// The most bytes to decompress in the lower bio's `end_io` when its context is not the submitting
/// task. That context must have interrupts enabled.
const MAX_INLINE_BYTES: Bytes = Bytes::new(16 << 10);

/// What answering a bio takes.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// How many bytes [`ReadThrough::complete_read`] decompresses.
    pub(crate) bytes: Bytes,
    /// Whether it may sleep: not for I/O, but until another read has finished.
    pub(crate) may_sleep: bool,
}

/// What was read does not yield the data of the bio, which fails with an I/O error.
///
/// The error has already been counted and logged.
pub(crate) struct Corrupt;

/// A target whose bios can be answered through [`Bio::read_through`].
pub(crate) trait ReadThrough: Target<Io = Pending<Self>> {
    /// What `map` passes to `complete_read` about a bio. It is dropped if the lower read fails.
    type Request: Send;

    /// Counts a lower read that failed. May be called in an interrupt.
    fn lower_failed(&self);

    /// Tries to acquire, without sleeping, what `complete_read` would sleep for. Returns whether it
    /// succeeded. Called in a task.
    fn try_acquire(&self, request: &mut Self::Request) -> bool;

    /// Writes the data of a bio.
    ///
    /// `read` is what the lower device held, `scratch` the rest of the buffer, with arbitrary
    /// content, and `out` the memory of the bio, all of which must be written. If there is a
    /// `block`, it is memory of the cache, all of which must be written too. Runs for several
    /// bios of one target at once, on a workqueue, where it must not wait for I/O, or in the lower
    /// bio's `end_io`, where it must not sleep: its cost says that it does not, or `try_acquire`
    /// has succeeded.
    fn complete_read(
        &self,
        request: Self::Request,
        read: &[u8],
        scratch: &mut [u8],
        block: Option<&mut [u8]>,
        out: &mut BioWriter<'_>,
    ) -> Result<(), Corrupt>;
}

/// What all targets of a type share to complete reads.
///
/// One workqueue serves all of them. Its work never waits for I/O or for other work, so targets
/// stacked on each other cannot block one another in it.
pub(crate) struct Completion {
    queue: WorkQueue,
    offload: Offload,
}

/// The state of one read, in device-mapper's per-bio data.
///
/// # Invariants
///
/// From the submission of `lower` until `read` is taken: `read` is initialised, and `lower` reads
/// into its buffer. `work` is the first field.
#[repr(C)]
pub(crate) struct Pending<T: ReadThrough> {
    work: Work,
    lower: LowerBio,
    read: MaybeUninit<Read<T>>,
}

/// The addresses of the fields of a [`Pending`].
struct Fields<T: ReadThrough> {
    work: *mut Work,
    lower: *mut LowerBio,
    read: *mut Read<T>,
}

impl<T: ReadThrough> Pending<T> {
    /// The addresses of the fields, which need not be initialised.
    ///
    /// # Safety
    ///
    /// `this` must point to memory for a `Pending`.
    unsafe fn fields(this: *mut Self) -> Fields<T> {
        // SAFETY: By the safety requirements of this function.
        let work = unsafe { &raw mut (*this).work };
        // SAFETY: As above.
        let lower = unsafe { &raw mut (*this).lower };
        // SAFETY: As above.
        let read = unsafe { &raw mut (*this).read };
        Fields {
            work,
            lower,
            read: read.cast(),
        }
    }
}

impl<T: ReadThrough> PerBio for Pending<T> {
    type Shared = Completion;
    const SIZE: usize = {
        // Per-bio data ends where a structure of pointers begins, and its size is a multiple of its
        // own alignment: so it is aligned.
        assert!(align_of::<Self>() <= align_of::<*const ()>());
        size_of::<Self>()
    };

    fn new_shared() -> Result<Completion> {
        Ok(Completion {
            queue: WorkQueue::new(c"dm-overlaybd")?,
            offload: Offload::new(),
        })
    }

    fn drain(shared: &Completion) {
        // All bios of the target have ended, but the work that ended the last ones may not have
        // returned yet.
        shared.queue.flush();
    }
}

/// A lower read for a bio.
pub(crate) struct LowerRead<'a> {
    /// The device.
    pub(crate) device: &'a LowerDevice,
    /// The first sector.
    pub(crate) at: Sector,
    /// The length in bytes: a positive whole number of the device's logical blocks.
    pub(crate) len: usize,
    /// The memory to read into, at least as long. The rest is scratch space.
    pub(crate) buffer: Buffer,
    /// The slot of the cache to fill, if the bio reads a part of one block.
    pub(crate) fill: Option<FillGuard>,
}

/// A read whose lower read is submitted or has ended.
struct Read<T: ReadThrough> {
    upper: TakenBio<T>,
    /// The task that waits for the bio. No task waits for a bio that reads ahead.
    submitter: Option<TaskId>,
    cost: Cost,
    /// Whether the read counts as outstanding in [`Offload`].
    offloaded: bool,
    lower_result: Result<(), BlkError>,
    buffer: Buffer,
    /// The bytes of the buffer that the lower device fills.
    len: usize,
    fill: Option<FillGuard>,
    request: T::Request,
}

/// Where a read whose lower read has ended goes on.
enum Place {
    /// In the present context.
    Here,
    /// On the workqueue, on any CPU.
    Queue,
    /// On the workqueue, preferably on the CPU with this number.
    QueueOn(c_uint),
}

impl<T: ReadThrough> Bio<'_, T> {
    /// Submits `lower`, then has [`ReadThrough::complete_read`] write the data of the bio.
    ///
    /// A bio whose lower read is not as [`LowerRead`] says fails.
    pub(crate) fn read_through(
        self,
        lower: LowerRead<'_>,
        cost: Cost,
        request: T::Request,
    ) -> MapResult {
        let LowerRead {
            device,
            at,
            len,
            mut buffer,
            fill,
        } = lower;
        let Ok(bytes) = c_uint::try_from(len) else {
            return self.kill();
        };
        let block = device.logical_block_size();
        let memory = buffer.as_mut_slice();
        if len == 0 || !block.divides(u64::from(bytes)) || len > memory.len() {
            return self.kill();
        }
        // The buffer may move, its memory does not.
        let memory = memory.as_mut_ptr();
        let (upper, result) = self.take();
        let raw = upper.bio().as_ptr();
        let submitter = (!upper.bio().is_readahead()).then(TaskId::current);
        // SAFETY: Device-mapper has reserved `Pending::SIZE` bytes for each bio of a `T`.
        let pending: *mut Pending<T> = unsafe { upper.per_bio_data(Pending::<T>::SIZE) }.cast();
        // SAFETY: Per-bio data belongs to the target until the bio ends, and is large and aligned
        // enough (see `SIZE`).
        let slot = unsafe { Pending::fields(pending) };
        // SAFETY: Per-bio data does not move. The device is open, and the buffer is kept in `read`.
        let lower = unsafe {
            LowerBio::init_read(slot.lower, upper.bio(), device.bdev(), at, memory, bytes)
        };
        // SAFETY: The lower bio is initialised and not submitted.
        unsafe { LowerBio::set_end_io(lower, lower_end_io::<T>, pending.cast()) };
        // SAFETY: Per-bio data belongs to the target; the work is not queued.
        unsafe { init_work(slot.work, work::<T>) };
        let read = Read {
            upper,
            submitter,
            cost,
            offloaded: false,
            lower_result: Ok(()),
            buffer,
            len,
            fill,
            request,
        };
        // SAFETY: Per-bio data belongs to the target.
        // INVARIANT: `read` is initialised, and `lower` reads into its buffer.
        unsafe { slot.read.write(read) };
        // SAFETY: The upper bio ends only after the lower bio. The lower bio is submitted once, and
        // from then on `pending` belongs to `lower_end_io`.
        unsafe { submit_remap(raw, lower) };
        result
    }
}

/// Ends a lower read. May run in an interrupt.
///
/// # Safety
///
/// `lower` must be the ended lower bio of a [`Pending`] of a `T`.
unsafe extern "C" fn lower_end_io<T: ReadThrough>(lower: *mut bindings::bio) {
    // SAFETY: `read_through` has set the `Pending`, which is never null.
    let pending: *mut Pending<T> = unsafe { LowerBio::private(lower) }.cast();
    // SAFETY: The lower bio has ended by the safety requirements of this function.
    let result = unsafe { LowerBio::finish(lower) };
    // SAFETY: `pending` is the `Pending` of a submitted read.
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
unsafe extern "C" fn work<T: ReadThrough>(work: *mut Work) {
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
    // Ends bios: their owners may end further bios in here, so only these values are on the stack,
    // and nothing is held that another read waits for.
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
