// SPDX-License-Identifier: GPL-2.0

//! The unit in which a block device is read.

use core::num::NonZero;

/// The logical block size of a device: a power of two of 512 bytes or more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogicalBlockSize(NonZero<u64>);

impl LogicalBlockSize {
    /// One sector, the smallest logical block.
    pub(crate) const SECTOR: Self =
        Self(NonZero::new(overlaybd_format::units::SECTOR_SIZE).unwrap());

    /// A logical block of `bytes` bytes; 0 counts as a sector.
    pub(crate) fn new(bytes: u32) -> Self {
        NonZero::new(u64::from(bytes)).map_or(Self::SECTOR, Self)
    }

    /// The size in bytes.
    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }

    /// Rounds the byte offset `at` down to a whole block.
    pub(crate) fn floor(self, at: u64) -> u64 {
        at - at % self.0
    }

    /// Rounds the byte offset `at` up to a whole block, [`None`] if that is no 64-bit number.
    pub(crate) fn ceil(self, at: u64) -> Option<u64> {
        match at % self.0 {
            0 => Some(at),
            beyond => at.checked_add(self.0.get() - beyond),
        }
    }

    /// Whether the byte offset `at` is a whole number of blocks.
    pub(crate) fn divides(self, at: u64) -> bool {
        at % self.0 == 0
    }
}
