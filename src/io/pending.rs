// SPDX-License-Identifier: GPL-2.0

//! A target that is read through, and the state of one read of it.
//!
//! The state lies in device-mapper's per-bio data. This file neither submits nor ends anything.

use super::{
    block_cache::FillGuard,
    buffer::Buffer, //
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
            SoftirqQueue,
            ThreadQueue,
            Work, //
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
    /// Whether its [`Workspace`](ReadThrough::Workspace) may have to be waited for.
    pub(crate) may_wait: bool,
}

/// Whether a caller may wait for a workspace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Yes,
    No,
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

    /// What `complete_read` takes besides memory, of which there may be too few.
    type Workspace<'a>
    where
        Self: 'a;

    /// Counts a lower read that failed. May be called in an interrupt.
    fn lower_failed(&self);

    /// A workspace. With [`Wait::Yes`] it may sleep: not for I/O, but until another read of any
    /// target has finished. With [`Wait::No`] it never sleeps, and [`None`] means that all
    /// workspaces are in use. Called in an interrupt only if the cost of the read says that it does
    /// not wait.
    fn workspace(&self, wait: Wait) -> Option<Self::Workspace<'_>>;

    /// Writes the data of a bio.
    ///
    /// `read` is what the lower device held, `scratch` the rest of the buffer, with arbitrary
    /// content, and `out` the memory of the bio, all of which must be written. If there is a
    /// `block`, it is memory of the cache, all of which must be written too. Runs for several
    /// bios of one target at once, in threads and in softirqs. It must not sleep.
    fn complete_read(
        &self,
        workspace: Self::Workspace<'_>,
        request: &Self::Request,
        read: &[u8],
        scratch: &mut [u8],
        block: Option<&mut [u8]>,
        out: &mut BioWriter<'_>,
    ) -> Result<(), Corrupt>;
}

/// What all targets of a type share to complete reads.
///
/// Two workqueues serve all of them. Their work never waits for I/O or for other work, so targets
/// stacked on each other cannot block one another in them.
pub(crate) struct Completion {
    /// Its work runs in threads, on any CPU.
    pub(super) threads: ThreadQueue,
    /// Its work runs in a softirq of the CPU that queues it, and must not sleep.
    pub(super) softirq: SoftirqQueue,
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
            threads: ThreadQueue::new(c"dm-overlaybd")?,
            softirq: SoftirqQueue::new(c"dm-overlaybd-bh")?,
        })
    }
}

/// A read whose lower read is submitted or has ended.
pub(super) struct Read<T: ReadThrough> {
    pub(super) upper: TakenBio<T>,
    /// The task that waits for the bio, if any. A task that reads ahead, or whose bio says that it
    /// does not wait, has other things to do.
    pub(super) submitter: Option<TaskId>,
    pub(super) cost: Cost,
    pub(super) lower_result: Result<(), BlkError>,
    pub(super) buffer: Buffer,
    /// The bytes of the buffer that the lower device fills.
    pub(super) len: usize,
    pub(super) fill: Option<FillGuard>,
    pub(super) request: T::Request,
}
