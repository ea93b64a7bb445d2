// SPDX-License-Identifier: GPL-2.0

//! The queue limits a target may adjust in `io_hints`.

use super::bindings;

/// The limits of the device being made, stacked so far from the target's lower devices.
pub(crate) struct QueueLimits<'a>(&'a mut bindings::queue_limits);

impl<'a> QueueLimits<'a> {
    pub(super) fn new(raw: &'a mut bindings::queue_limits) -> Self {
        Self(raw)
    }

    /// Sets the smallest unit a bio may address, in bytes.
    pub(crate) fn set_logical_block_size(&mut self, bytes: u32) {
        self.0.logical_block_size = bytes;
    }

    /// Sets the unit the device really works in, in bytes, and with it the smallest read that
    /// costs no more than it brings.
    pub(crate) fn set_physical_block_size(&mut self, bytes: u32) {
        self.0.physical_block_size = bytes;
        self.0.io_min = bytes;
    }

    /// Takes bios of any length, whatever the lower device takes at once: for targets whose bios
    /// are not handed down as they are.
    pub(crate) fn set_any_length(&mut self) {
        self.0.max_hw_sectors = u32::MAX;
        self.0.max_sectors = u32::MAX;
    }

    /// Forgets where the lower devices' physical blocks and chunks begin: for targets whose sectors
    /// are not in the order of a lower device's.
    pub(crate) fn clear_geometry(&mut self) {
        self.0.alignment_offset = 0;
        self.0.chunk_sectors = 0;
        self.0.flags &= !bindings::DM_OVERLAYBD_FLAG_MISALIGNED;
    }

    /// Sets the length of reads that are answered best, in bytes. Twice that is read ahead.
    pub(crate) fn set_io_opt(&mut self, bytes: u32) {
        self.0.io_opt = bytes;
    }
}
