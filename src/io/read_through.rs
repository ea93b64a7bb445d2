// SPDX-License-Identifier: GPL-2.0

//! Reads that are answered from other bytes of a lower device.
//!
//! The path of such a read: `map` calls [`Bio::read_through`], which submits one lower read and
//! returns. The end of the lower read ([`completion`](super::completion)) calls
//! [`ReadThrough::complete_read`] or queues work that does. This writes the data of the upper bio,
//! and the upper bio ends.
//!
//! All that a read needs is allocated before the lower read is submitted: its state in
//! device-mapper's per-bio data, its memory in a [`Buffer`] of the target. Everything is freed
//! before the upper bio ends, because from then on the device may go away.

use super::{
    block_cache::FillGuard,
    buffer::Buffer,
    completion::lower_end_io,
    pending::{
        Cost,
        Pending,
        Read,
        ReadThrough, //
    },
};
use crate::{
    block::lower_bio::LowerBio,
    dm::{
        bio::{
            submit_remap,
            Bio,
            MapResult, //
        },
        device::LowerDevice,
        target::PerBio,
    },
    sys::context::TaskId,
};
use kernel::prelude::*;
use overlaybd_format::units::Sector;

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
        let waits = !upper.bio().is_readahead() && !upper.bio().is_nowait();
        let submitter = waits.then(TaskId::current);
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
        let read = Read {
            upper,
            submitter,
            cost,
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
