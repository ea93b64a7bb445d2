// SPDX-License-Identifier: GPL-2.0

//! A target that is read through, and the state of one read of it.
//!
//! The state lies in device-mapper's per-bio data. This file neither submits nor ends anything.

use super::{
    block_cache::FillGuard,
    buffer::Buffer,
    offload::Offload, //
};
use crate::{
    block::{
        bio::BioWriter,
        lower_bio::LowerBio,
        status::BlkError, //
    },
    dm::{
        bio::TakenBio,
        target::{
            PerBio,
            Target, //
        },
    },
    sys::{
        context::TaskId,
        workqueue::{
            Work,
            WorkQueue, //
        },
    },
};
use core::mem::MaybeUninit;
use kernel::prelude::*;
use overlaybd_format::units::Bytes;

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

/// A target whose bios can be answered through
/// [`Bio::read_through`](crate::dm::bio::Bio::read_through).
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
    pub(super) queue: WorkQueue,
    pub(super) offload: Offload,
}

/// The state of one read, in device-mapper's per-bio data.
///
/// # Invariants
///
/// From the submission of `lower` until `read` is taken: `read` is initialised, and `lower` reads
/// into its buffer. `work` is the first field.
#[repr(C)]
pub(crate) struct Pending<T: ReadThrough> {
    pub(super) work: Work,
    pub(super) lower: LowerBio,
    pub(super) read: MaybeUninit<Read<T>>,
}

/// The addresses of the fields of a [`Pending`].
pub(super) struct Fields<T: ReadThrough> {
    pub(super) work: *mut Work,
    pub(super) lower: *mut LowerBio,
    pub(super) read: *mut Read<T>,
}

impl<T: ReadThrough> Pending<T> {
    /// The addresses of the fields, which need not be initialised.
    ///
    /// # Safety
    ///
    /// `this` must point to memory for a `Pending`.
    pub(super) unsafe fn fields(this: *mut Self) -> Fields<T> {
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

/// A read whose lower read is submitted or has ended.
pub(super) struct Read<T: ReadThrough> {
    pub(super) upper: TakenBio<T>,
    /// The task that waits for the bio. No task waits for a bio that reads ahead.
    pub(super) submitter: Option<TaskId>,
    pub(super) cost: Cost,
    /// Whether the read counts as outstanding in [`Offload`].
    pub(super) offloaded: bool,
    pub(super) lower_result: Result<(), BlkError>,
    pub(super) buffer: Buffer,
    /// The bytes of the buffer that the lower device fills.
    pub(super) len: usize,
    pub(super) fill: Option<FillGuard>,
    pub(super) request: T::Request,
}
