// SPDX-License-Identifier: GPL-2.0

//! Reads that are answered from other bytes of a lower device.
//!
//! The way of such a read: `map` calls [`Bio::read_through`], which submits one bio of our own to
//! the lower device and returns; that bio's end queues work; the work hands what was read to
//! [`ReadThrough::transform`], which writes the data of the upper bio; the upper bio is ended.
//! Where handing over to another thread would take longer than the work, or the task that asked has
//! nothing else to do, the end of the lower bio does it at once, as long as there is a [`Level`]
//! for it on the stack. All it needs is allocated before the lower read is submitted: the state in
//! device-mapper's per-bio data, the memory in a [`Buffer`] the target brings. Everything is given
//! back before the upper bio is ended, since from then on the device may go away.

use super::{
    bindings,
    bio::{
        Bio,
        Mapped,
        Segments, //
    },
    buffer::Buffer,
    device::LowerDevice,
    stack::Level,
    target::{
        PerBio,
        Registered,
        Target, //
    },
    workqueue::WorkQueue, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::units::{
    Bytes,
    Sector, //
};

/// The most bytes to make wherever a lower read ends, if interrupts may come in there.
const MAX_ANYWHERE: Bytes = Bytes::new(16 << 10);

/// The fewest bytes that are worth waking another CPU for.
const MIN_HANDED_OVER: Bytes = Bytes::new(128 << 10);

/// What answering a bio takes.
pub(crate) struct Effort {
    /// How many bytes `transform` will make.
    pub(crate) bytes: Bytes,
    /// Whether it may have to wait for something: not for I/O, but for its turn.
    pub(crate) waits: bool,
}

/// What was read does not yield the data asked for; the bio is to fail with an I/O error.
///
/// Whoever makes one has counted and logged what is wrong.
pub(crate) struct Damaged;

/// A target whose bios can be answered through [`Bio::read_through`].
pub(crate) trait ReadThrough: Target<Io = Pending<Self>> {
    /// What `map` has to tell `transform` about a bio. It is dropped if the lower device fails.
    type Request: Send;

    /// Takes note that the lower device failed a read. May be called in interrupt context.
    fn lower_failed(&self);

    /// What `transform` will do for this bio. May be called in interrupt context.
    fn effort(&self, request: &Self::Request) -> Effort;

    /// Gets what `transform` would wait for, if it can be had at once; says whether it did. Called
    /// in process context, where it must not sleep.
    fn prepare(&self, request: &mut Self::Request) -> bool;

    /// Writes the data of a bio.
    ///
    /// `read` is what the lower device held, `scratch` the rest of the buffer, with arbitrary
    /// content, and `out` the memory of the bio, all of which must be written. Runs for several
    /// bios of one target at once; on a workqueue, where it must not wait for I/O, or where the
    /// lower read has ended, if it does not wait or is prepared.
    fn transform(
        &self,
        request: Self::Request,
        read: &[u8],
        scratch: &mut [u8],
        out: &mut Segments<'_>,
    ) -> Result<(), Damaged>;
}

/// The state of one bio between `map` and its end, in device-mapper's per-bio data.
///
/// # Invariants
///
/// From the submission of `lower` to the end of `upper`: `upper` is a read we own; `ti` is live
/// and its private data is a `T` of a registered type; `vec` describes the first `read` bytes of
/// `buffer`; `request` is there until `transform` has taken it. `work` is the first field.
#[repr(C)]
pub(crate) struct Pending<T: ReadThrough> {
    work: bindings::work_struct,
    lower: bindings::bio,
    vec: bindings::bio_vec,
    upper: NonNull<bindings::bio>,
    ti: NonNull<bindings::dm_target>,
    /// The task that asked. Only compared, never followed.
    asked_by: *const c_void,
    /// The bytes to make, if this piece was handed over to another CPU, else 0.
    handed_over: Bytes,
    buffer: ManuallyDrop<Buffer>,
    read: usize,
    request: T::Request,
}

impl<T: ReadThrough> PerBio for Pending<T> {
    type Shared = WorkQueue;
    const SIZE: usize = {
        // Per-bio data ends where a structure of pointers begins and is a multiple of its own
        // alignment long, so this is what makes it aligned.
        assert!(align_of::<Self>() <= align_of::<*const ()>());
        size_of::<Self>()
    };

    fn new_shared() -> Result<WorkQueue> {
        WorkQueue::new()
    }

    fn drain(queue: &WorkQueue) {
        // All bios of the target have been ended, but the work that ended the last ones may not
        // have returned yet.
        queue.flush();
    }
}

impl<T: ReadThrough> Bio<'_, T> {
    /// Reads the first `bytes` bytes of `buffer` from the sector `at` of `device`, then has
    /// [`ReadThrough::transform`] make the data of the bio of them.
    ///
    /// `bytes` must be a positive whole number of the device's logical blocks and no more than
    /// the buffer holds; otherwise the bio is failed.
    pub(crate) fn read_through(
        self,
        device: &LowerDevice,
        at: Sector,
        mut buffer: Buffer,
        bytes: usize,
        request: T::Request,
    ) -> Mapped {
        let Ok(len) = c_uint::try_from(bytes) else {
            return self.kill();
        };
        if len == 0 || !device.unit().divides(u64::from(len)) || bytes > buffer.len() {
            return self.kill();
        }
        let upper = self.as_ptr();
        let data = buffer.as_mut_ptr();
        // SAFETY: The bio is in `map`, of a target whose per-bio data has been made this large.
        let pending: *mut Pending<T> =
            unsafe { bindings::dm_per_bio_data(upper.as_ptr(), Pending::<T>::SIZE) }.cast();
        // SAFETY: Per-bio data is ours to write until the bio is ended, and large and aligned
        // enough (see `SIZE`). The fields are written without reading what was there. The lower
        // bio is initialised before it is used, gets one segment, the `bytes` bytes of `buffer`,
        // which is kernel memory in the direct map, and is submitted once; from then on `pending`
        // belongs to `lower_end_io`.
        // INVARIANT: `upper` and `ti` come from a `Bio`, which owns the one and is given to the
        // `map` of the other.
        unsafe {
            (&raw mut (*pending).upper).write(upper);
            (&raw mut (*pending).ti).write(self.target());
            (&raw mut (*pending).asked_by).write(bindings::dm_overlaybd_reader(upper.as_ptr()));
            (&raw mut (*pending).handed_over).write(Bytes::new(0));
            (&raw mut (*pending).buffer).write(ManuallyDrop::new(buffer));
            (&raw mut (*pending).read).write(bytes);
            (&raw mut (*pending).request).write(request);
            bindings::dm_overlaybd_init_work(&raw mut (*pending).work, Some(work::<T>));

            let lower = &raw mut (*pending).lower;
            bindings::bio_init(
                lower,
                device.bdev(),
                &raw mut (*pending).vec,
                1,
                bindings::dm_overlaybd_lower_read_opf(upper.as_ptr()),
            );
            bindings::bio_add_virt_nofail(lower, data.cast(), len);
            (*lower).bi_ioprio = (*upper.as_ptr()).bi_ioprio;
            (*lower).bi_iter.bi_sector = at.get();
            (*lower).bi_end_io = Some(lower_end_io::<T>);
            (*lower).bi_private = pending.cast();
            // Charges the read to the cgroup of the task that asked, whichever task maps the bio.
            // The target does not say `accounts_remapped_io`: device-mapper would then count the
            // bios that wait for a block as under way only when they end.
            bindings::dm_submit_bio_remap(upper.as_ptr(), lower);
        }
        Mapped::submitted()
    }
}

/// The lower read has ended; may run in interrupt context.
///
/// # Safety
///
/// `lower` must be the lower bio of a submitted [`Pending`] of a `T`.
unsafe extern "C" fn lower_end_io<T: ReadThrough>(lower: *mut bindings::bio) {
    // SAFETY: `bi_private` is the `Pending`, and its invariant holds until the upper bio is ended.
    unsafe {
        let pending: *mut Pending<T> = (*lower).bi_private.cast();
        bindings::bio_uninit(lower);
        let queue = Registered::<T>::shared((*pending).ti);
        let work = &raw mut (*pending).work;
        let Some(_level) = Level::enter() else {
            queue.queue(work);
            return;
        };
        if (*lower).bi_status != 0 {
            fail(pending);
            return;
        }
        let target = &*(*(*pending).ti.as_ptr()).private.cast::<T>();
        let effort = target.effort(&(*pending).request);
        let by_asker = bindings::dm_overlaybd_is_task((*pending).asked_by);
        if by_asker && effort.bytes >= MIN_HANDED_OVER {
            // Written before others may see it.
            (*pending).handed_over = effort.bytes;
            if queue.hand_over(work, effort.bytes) {
                return;
            }
            (*pending).handed_over = Bytes::new(0);
        }
        if may_work_here(&effort, by_asker, || {
            target.prepare(&mut (*pending).request)
        }) {
            transform(pending);
        } else {
            queue.queue(work);
        }
    }
}

/// Whether the data is to be made in this context: little of it where interrupts may come in, any
/// amount in the task that asked. Some devices answer the task at once; it has nothing better to do
/// then, and what was read is in its CPU's cache. The task prepares what may have to wait.
fn may_work_here(effort: &Effort, by_asker: bool, prepare: impl FnOnce() -> bool) -> bool {
    if effort.waits {
        return by_asker && prepare();
    }
    // SAFETY: This looks at the context it is called in.
    by_asker || effort.bytes <= MAX_ANYWHERE && unsafe { bindings::dm_overlaybd_may_work_here() }
}

/// The work on a lower read that has ended, well or not.
///
/// # Safety
///
/// `work` must be the work of a [`Pending`] of a `T` whose lower bio has ended.
unsafe extern "C" fn work<T: ReadThrough>(work: *mut bindings::work_struct) {
    // SAFETY: `work` is the first field, so this is the `Pending`; the rest is the caller's
    // promise. The queue is there for as long as work of it runs.
    unsafe {
        let pending: *mut Pending<T> = work.cast();
        if (*pending).lower.bi_status != 0 {
            fail(pending);
            return;
        }
        let queue = Registered::<T>::shared((*pending).ti);
        let handed_over = (*pending).handed_over;
        transform(pending);
        if handed_over != Bytes::new(0) {
            queue.done(handed_over);
        }
    }
}

/// Ends the upper bio with the error of the lower one.
///
/// # Safety
///
/// `pending` must be a [`Pending`] whose lower bio has ended with an error; it must not be used
/// afterwards.
unsafe fn fail<T: ReadThrough>(pending: *mut Pending<T>) {
    // SAFETY: By the invariant of `Pending`, `ti` is live and its private data is a `T`, of which
    // only shared references exist; the request is still there, and is taken once.
    unsafe {
        let status = (*pending).lower.bi_status;
        (*(*(*pending).ti.as_ptr()).private.cast::<T>()).lower_failed();
        drop((&raw const (*pending).request).read());
        end(pending, status);
    }
}

/// Makes the data of the upper bio and ends it.
///
/// # Safety
///
/// `pending` must be a [`Pending`] whose lower bio has ended well; it must not be used afterwards.
unsafe fn transform<T: ReadThrough>(pending: *mut Pending<T>) {
    // SAFETY: By the invariant of `Pending`, `ti` is live and its private data is a `T`, of which
    // only shared references exist; `upper` is ours, and ended only below; nobody else refers to
    // the buffer, whose first `read` bytes the lower read has written.
    unsafe {
        let target = &*(*(*pending).ti.as_ptr()).private.cast::<T>();
        let mut out = Segments::new((*pending).upper);
        let buffer = &mut (*pending).buffer;
        let (read, scratch) = buffer.split_at_mut((*pending).read);
        let request = (&raw const (*pending).request).read();
        let done = target.transform(request, read, scratch, &mut out);
        let complete = done.is_ok() && out.remaining() == 0;
        if complete {
            end(pending, 0);
        } else {
            // Whoever ignores the error must not find half of the data, or what was in the pages
            // before.
            bindings::dm_overlaybd_zero_fill_bio((*pending).upper.as_ptr());
            end(pending, bindings::DM_OVERLAYBD_BLK_STS_IOERR);
        }
    }
}

/// Gives back what a read held, then ends its bio with `status`.
///
/// # Safety
///
/// The invariant of `pending` must hold; it must not be used afterwards.
unsafe fn end<T: ReadThrough>(pending: *mut Pending<T>, status: bindings::blk_status_t) {
    // SAFETY: By the caller's promise the buffer is still there and `upper` is ours. Nothing of
    // `pending`, nor of the target, is used once the bio is ended.
    unsafe {
        ManuallyDrop::drop(&mut (*pending).buffer);
        let upper = (*pending).upper.as_ptr();
        (*upper).bi_status = status;
        bindings::bio_endio(upper);
    }
}
