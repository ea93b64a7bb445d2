// SPDX-License-Identifier: GPL-2.0

//! The queue limits that a driver may adjust.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use crate::bindings;

/// The limits of a device under construction, stacked from those of its lower devices.
pub(crate) struct QueueLimits<'a>(&'a mut bindings::queue_limits);

impl<'a> QueueLimits<'a> {
    /// Wraps the limits.
    pub(crate) fn new(raw: &'a mut bindings::queue_limits) -> Self {
        Self(raw)
    }

    /// Sets the smallest unit that a bio may address, in bytes.
    pub(crate) fn set_logical_block_size(&mut self, bytes: u32) {
        self.0.logical_block_size = bytes;
    }

    /// Sets the physical block size and `io_min`, in bytes.
    pub(crate) fn set_physical_block_size(&mut self, bytes: u32) {
        self.0.physical_block_size = bytes;
        self.0.io_min = bytes;
    }

    /// Lifts the limit on the length of a bio: for targets that do not pass bios on as they are.
    pub(crate) fn lift_max_sectors(&mut self) {
        self.0.max_hw_sectors = u32::MAX;
        self.0.max_sectors = u32::MAX;
    }

    /// Clears where the physical blocks and chunks of the lower devices begin, and the length of
    /// read that suits them: for targets whose sectors are not in the order of a lower device's.
    /// Without such a length the kernel reads ahead its default, 128 KiB. Otherwise it reads ahead
    /// twice that length, also around each page fault of a mapped program.
    pub(crate) fn clear_geometry(&mut self) {
        self.0.alignment_offset = 0;
        self.0.io_opt = 0;
        self.0.chunk_sectors = 0;
        self.0.flags &= !bindings::DM_OVERLAYBD_BLK_FLAG_MISALIGNED;
    }

    /// Refuses bios whose sender polls for their end (`REQ_POLLED`): the block layer fails them
    /// with `EOPNOTSUPP`, as on a disk whose queues are not polled.
    pub(crate) fn refuse_polling(&mut self) {
        self.0.features &= !bindings::DM_OVERLAYBD_BLK_FEAT_POLL;
    }
}
