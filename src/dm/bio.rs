// SPDX-License-Identifier: GPL-2.0

//! A bio in a target's `map`, and one that the target has taken there.
//!
//! A [`Bio`] is consumed by the one call that disposes of it. Only that call makes the
//! [`MapResult`] that `map` returns, so `map` cannot report what it did not do.
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use super::{
    device::LowerDevice,
    target_ref::TargetRef, //
};
use crate::{
    bindings,
    block::{
        bio::{
            has_one_segment,
            is_read,
            BioWriter,
            OwnedBio, //
        },
        status::BlkError, //
    },
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::{
    units::{
        Sector,
        Sectors,
        SECTOR_SIZE, //
    },
    Output, //
};

/// What `map` returns to device-mapper.
#[must_use]
pub(crate) struct MapResult(c_int);

impl MapResult {
    /// The target has failed the bio by returning this; device-mapper ends it.
    pub(super) const KILL: Self = Self(bindings::DM_OVERLAYBD_DM_MAPIO_KILL);
    /// The bio goes on to the device that it now names.
    const REMAPPED: Self = Self(bindings::DM_OVERLAYBD_DM_MAPIO_REMAPPED);
    /// The target has taken the bio.
    const SUBMITTED: Self = Self(bindings::DM_OVERLAYBD_DM_MAPIO_SUBMITTED);

    /// The number that device-mapper expects.
    pub(super) fn as_raw(&self) -> c_int {
        self.0
    }
}

/// A bio that device-mapper asks a target of type `T` to map.
///
/// # Invariants
///
/// Device-mapper has passed `bio` to the `map` of `target`, and `map` has not returned. `bio`
/// belongs to this value until a method disposes of it.
pub(crate) struct Bio<'a, T> {
    bio: NonNull<bindings::bio>,
    target: TargetRef<T>,
    _map: PhantomData<&'a T>,
}

impl<T> Bio<'_, T> {
    /// Wraps a bio passed to `map`.
    ///
    /// # Safety
    ///
    /// The arguments must fulfil the type invariants.
    pub(super) unsafe fn new(bio: NonNull<bindings::bio>, target: TargetRef<T>) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            bio,
            target,
            _map: PhantomData,
        }
    }

    /// Whether the bio reads data, and does nothing else.
    pub(crate) fn is_read(&self) -> bool {
        // SAFETY: The bio is live by the type invariants.
        unsafe { is_read(self.bio) }
    }

    /// Whether the sender of the bio does not wait: `map` must not, and [`decline`](Self::decline)s
    /// the bio where it would have to.
    pub(crate) fn is_nowait(&self) -> bool {
        // SAFETY: The bio is live by the type invariants.
        unsafe { (*self.bio.as_ptr()).bi_opf & bindings::DM_OVERLAYBD_REQ_NOWAIT != 0 }
    }

    /// The first sector of the bio, counted from the beginning of the target.
    pub(crate) fn sector(&self) -> Sector {
        // SAFETY: The bio is live by the type invariants.
        let sector = unsafe { (*self.bio.as_ptr()).bi_iter.bi_sector };
        let ti = self.target.as_ptr().as_ptr();
        // SAFETY: The target is live by the type invariants.
        Sector::new(unsafe { bindings::dm_overlaybd_dm_target_offset(ti, sector) })
    }

    /// The length of the bio in sectors.
    pub(crate) fn sectors(&self) -> Sectors {
        // SAFETY: The bio is live by the type invariants.
        let bytes = unsafe { (*self.bio.as_ptr()).bi_iter.bi_size };
        Sectors::new(u64::from(bytes) / SECTOR_SIZE)
    }

    /// Whether the memory of the bio is one segment.
    pub(crate) fn has_one_segment(&self) -> bool {
        // SAFETY: The bio is live by the type invariants.
        unsafe { has_one_segment(self.bio) }
    }

    /// Accepts only the first `sectors` of the bio. Device-mapper sends the rest as another bio.
    ///
    /// Does nothing when `sectors` is zero, or not less than the length of the bio, or when the bio
    /// is not a read.
    pub(crate) fn accept_partial(&mut self, sectors: Sectors) {
        if sectors.get() == 0 || sectors >= self.sectors() || !self.is_read() {
            return;
        }
        // SAFETY: The bio is in `map` by the type invariants. It is a read, so neither a duplicate
        // nor atomic, and `sectors` is less than its length, so it fits `unsigned int`.
        unsafe { bindings::dm_accept_partial_bio(self.bio.as_ptr(), sectors.get() as c_uint) }
    }

    /// Passes the bio on to `device`, starting at the sector `at` of it.
    pub(crate) fn remap(self, device: &LowerDevice, at: Sector) -> MapResult {
        // SAFETY: The bio is live by the type invariants. The target keeps its lower device open
        // while bios are in flight.
        unsafe { bindings::dm_overlaybd_bio_set_dev(self.bio.as_ptr(), device.bdev()) };
        // SAFETY: The bio is live by the type invariants.
        unsafe { (*self.bio.as_ptr()).bi_iter.bi_sector = at.get() };
        MapResult::REMAPPED
    }

    /// Fails the bio with an I/O error.
    pub(crate) fn kill(self) -> MapResult {
        MapResult::KILL
    }

    /// Declines a bio whose sender does not wait, and then repeats it where it may.
    pub(crate) fn decline(self) -> MapResult {
        let (taken, result) = self.take();
        taken.end(Err(BlkError::AGAIN));
        result
    }

    /// Answers the bio with zeros.
    pub(crate) fn zero(self) -> MapResult {
        let (mut taken, result) = self.take();
        match taken.bio.writer() {
            Some(mut data) => data.zero_rest(),
            None => return result,
        }
        taken.end(Ok(()));
        result
    }

    /// Takes the bio: the target ends it, now or later. Its [`sector`](OwnedBio::sector) is then
    /// counted from the beginning of the target.
    pub(crate) fn take(self) -> (TakenBio<T>, MapResult) {
        let sector = self.sector();
        // SAFETY: The bio belongs to `self` by the type invariants, and device-mapper does not use
        // it between `map` and its end.
        let mut bio = unsafe { OwnedBio::from_raw(self.bio) };
        bio.set_sector(sector);
        // INVARIANT: A target is live until all its bios have ended.
        let taken = TakenBio {
            bio,
            target: self.target,
        };
        (taken, MapResult::SUBMITTED)
    }
}

/// A bio that a target of type `T` has taken, and its target.
///
/// # Invariants
///
/// `target` has taken `bio` in its `map`. A target is live as long as one of its bios has not
/// ended, so the invariants of `target` hold.
pub(crate) struct TakenBio<T> {
    bio: OwnedBio,
    target: TargetRef<T>,
}

impl<T> TakenBio<T> {
    /// The target.
    pub(crate) fn target(&self) -> &T {
        self.target.get()
    }

    /// The target, as device-mapper knows it.
    pub(crate) fn target_ref(&self) -> &TargetRef<T> {
        &self.target
    }

    /// The bio.
    pub(crate) fn bio(&self) -> &OwnedBio {
        &self.bio
    }

    /// The target, and a writer at the first byte of the bio's data. [`None`] if the bio is not a
    /// read.
    pub(crate) fn target_and_writer(&mut self) -> Option<(&T, BioWriter<'_>)> {
        Some((self.target.get(), self.bio.writer()?))
    }

    /// The bio alone.
    pub(crate) fn into_bio(self) -> OwnedBio {
        self.bio
    }

    /// Ends the bio. From then on the target may go away.
    pub(crate) fn end(self, result: Result<(), BlkError>) {
        self.bio.end(result);
    }

    /// Device-mapper's per-bio data of the bio: `size` bytes, aligned as a pointer.
    ///
    /// # Safety
    ///
    /// `size` must be the `per_io_data_size` of the target.
    pub(crate) unsafe fn per_bio_data(&self, size: usize) -> *mut c_void {
        // SAFETY: Device-mapper has passed the bio to `map` by the type invariants. The size is
        // right by the safety requirements of this function.
        unsafe { bindings::dm_per_bio_data(self.bio.as_ptr(), size) }
    }
}

/// Submits `lower` on behalf of `upper`, a bio that its target has taken.
///
/// Charges the read to the cgroup of the task that submitted the upper bio, whichever task maps it.
/// The targets do not declare `accounts_remapped_io`: with it, device-mapper would count bios that
/// wait for a block of the cache as in flight only at their end.
///
/// # Safety
///
/// `upper` must be live when the function is called, taken by its target, and `lower` initialised
/// and not yet submitted.
pub(crate) unsafe fn submit_remap(upper: *mut bindings::bio, lower: *mut bindings::bio) {
    // SAFETY: By the safety requirements of this function.
    unsafe { bindings::dm_submit_bio_remap(upper, lower) };
}
