// SPDX-License-Identifier: GPL-2.0

//! A bio in a target's `map`, and the memory its data goes to.
//!
//! A [`Bio`] must be disposed of in exactly one way, and each way returns the one [`Mapped`] that
//! tells device-mapper so: `map` cannot return what it did not do.

use super::{
    bindings,
    device::LowerDevice,
    target::Target, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::units::{
    Sector,
    Sectors, //
};

/// What became of a bio, in device-mapper's terms.
#[must_use]
pub(crate) struct Mapped(c_int);

impl Mapped {
    /// The bio was taken: it has been ended, or will be.
    pub(super) fn submitted() -> Self {
        Self(bindings::DM_OVERLAYBD_MAPIO_SUBMITTED)
    }

    /// The value `map` returns to device-mapper.
    pub(super) fn as_raw(&self) -> c_int {
        self.0
    }
}

/// A bio that device-mapper asks a target to map.
///
/// # Invariants
///
/// `bio` is a bio that device-mapper has passed to the `map` of the live target `ti`, whose
/// private data is a `T`; it belongs to this `Bio` until disposed of, and `map` has not returned.
pub(crate) struct Bio<'a, T: Target> {
    bio: NonNull<bindings::bio>,
    ti: NonNull<bindings::dm_target>,
    _target: PhantomData<&'a T>,
}

impl<T: Target> Bio<'_, T> {
    /// Wraps a bio passed to `map`.
    ///
    /// # Safety
    ///
    /// What the type invariant says must hold.
    pub(super) unsafe fn new(
        bio: NonNull<bindings::bio>,
        ti: NonNull<bindings::dm_target>,
    ) -> Self {
        // INVARIANT: By the caller's promise.
        Self {
            bio,
            ti,
            _target: PhantomData,
        }
    }

    /// The raw bio.
    pub(super) fn as_ptr(&self) -> NonNull<bindings::bio> {
        self.bio
    }

    /// The raw target.
    pub(super) fn target(&self) -> NonNull<bindings::dm_target> {
        self.ti
    }

    /// Whether the bio asks for data, and for nothing else.
    pub(crate) fn is_read(&self) -> bool {
        // SAFETY: The bio is live by the type invariant.
        unsafe { bindings::dm_overlaybd_bio_is_read(self.bio.as_ptr()) }
    }

    /// The first sector asked for, counted from the beginning of the target.
    pub(crate) fn sector(&self) -> Sector {
        // SAFETY: The bio and the target are live by the type invariant.
        Sector::new(unsafe {
            let sector = (*self.bio.as_ptr()).bi_iter.bi_sector;
            bindings::dm_overlaybd_target_offset(self.ti.as_ptr(), sector)
        })
    }

    /// How many sectors are asked for.
    pub(crate) fn sectors(&self) -> Sectors {
        // SAFETY: The bio is live by the type invariant.
        Sectors::new(u64::from(
            unsafe { (*self.bio.as_ptr()).bi_iter.bi_size } / 512,
        ))
    }

    /// Accepts only the first `sectors` of the bio; device-mapper sends the rest as another one.
    ///
    /// Does nothing when `sectors` is zero or not less than what the bio asks for. Only reads may
    /// be shortened.
    pub(crate) fn accept(&mut self, sectors: Sectors) {
        if sectors.get() == 0 || sectors.get() >= self.sectors().get() || !self.is_read() {
            return;
        }
        // SAFETY: The bio is in `map` by the type invariant; it is a read, so neither a duplicate
        // nor atomic, and `sectors` is less than its size, so it fits `unsigned int`.
        unsafe { bindings::dm_accept_partial_bio(self.bio.as_ptr(), sectors.get() as c_uint) }
    }

    /// Passes the bio on to `device`, from the sector `at` of it.
    pub(crate) fn remap(self, device: &LowerDevice, at: Sector) -> Mapped {
        // SAFETY: The bio is live by the type invariant, and `bdev` gives a live block device
        // that the target keeps open while bios are in flight.
        unsafe {
            bindings::dm_overlaybd_bio_set_dev(self.bio.as_ptr(), device.bdev());
            (*self.bio.as_ptr()).bi_iter.bi_sector = at.get();
        }
        Mapped(bindings::DM_OVERLAYBD_MAPIO_REMAPPED)
    }

    /// Answers the bio with zeros.
    pub(crate) fn zero(self) -> Mapped {
        // SAFETY: The bio belongs to us by the type invariant, and nobody touches it after it is
        // ended.
        unsafe {
            bindings::dm_overlaybd_zero_fill_bio(self.bio.as_ptr());
            bindings::bio_endio(self.bio.as_ptr());
        }
        Mapped::submitted()
    }

    /// Fails the bio with an I/O error.
    pub(crate) fn kill(self) -> Mapped {
        Mapped(bindings::DM_OVERLAYBD_MAPIO_KILL)
    }
}

/// The memory of a bio under way, filled from its beginning to its end.
///
/// A segment is a run of contiguous memory; it may begin and end anywhere in a page and be several
/// pages long.
///
/// # Invariants
///
/// `bio` is a read that we own and have not ended, and `iter` is a position within it: the bytes
/// before it have been written, those from it on, `iter.bi_size` of them, have not.
pub(crate) struct Segments<'a> {
    bio: NonNull<bindings::bio>,
    iter: bindings::bvec_iter,
    _bio: PhantomData<&'a mut bindings::bio>,
}

impl Segments<'_> {
    /// The memory of `bio`.
    ///
    /// # Safety
    ///
    /// `bio` must be a read with data pages that the caller owns and does not end before the
    /// result is gone.
    pub(super) unsafe fn new(bio: NonNull<bindings::bio>) -> Self {
        // SAFETY: The bio is live by the caller's promise.
        let iter = unsafe { (*bio.as_ptr()).bi_iter };
        // INVARIANT: A bio's own iterator stands at the beginning of it.
        Self {
            bio,
            iter,
            _bio: PhantomData,
        }
    }

    /// How many bytes have not been written yet.
    pub(crate) fn remaining(&self) -> usize {
        self.iter.bi_size as usize
    }

    /// What is left of the current segment. Empty if nothing is left at all.
    fn current(&mut self) -> &mut [u8] {
        if self.iter.bi_size == 0 {
            return &mut [];
        }
        let mut len = 0;
        // SAFETY: By the type invariant `iter` is within the bio, so there is a segment, and its
        // `len` bytes are contiguous in the direct map (there is no high memory, see
        // `helpers.c`). The pages of a read are the block layer's to fill until the bio is ended,
        // and the mutable borrow of `self` keeps us from writing them twice at once. User space
        // may see or change them meanwhile if it asked for direct I/O into its own memory; then
        // it changes what it gets, and nothing here is decided by what these pages hold.
        unsafe {
            let start = bindings::dm_overlaybd_bio_segment(self.bio.as_ptr(), &self.iter, &mut len);
            core::slice::from_raw_parts_mut(start.cast(), len as usize)
        }
    }

    /// Moves past `bytes` bytes that have been written.
    fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.remaining()) as c_uint;
        // SAFETY: The bio is live and `bytes` are left in it.
        // INVARIANT: The callers have written these bytes.
        unsafe { bindings::dm_overlaybd_bio_advance_iter(self.bio.as_ptr(), &mut self.iter, bytes) }
    }

    /// Lets `fill` write the next `bytes` bytes in place, if they lie in one segment; [`None`]
    /// if they do not. When `fill` fails they count as not written.
    pub(crate) fn fill<E>(
        &mut self,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let filled = fill(self.current().get_mut(..bytes)?);
        if filled.is_ok() {
            self.advance(bytes);
        }
        Some(filled)
    }

    /// Writes `data` next, over as many segments as it takes. What does not fit is left out.
    pub(crate) fn write(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let segment = self.current();
            let n = segment.len().min(data.len());
            let (Some(place), Some((now, later))) =
                (segment.get_mut(..n), data.split_at_checked(n))
            else {
                return;
            };
            if n == 0 {
                return;
            }
            place.copy_from_slice(now);
            self.advance(n);
            data = later;
        }
    }

    /// Writes zeros to all that is left.
    pub(crate) fn zero_rest(&mut self) {
        while self.remaining() > 0 {
            let segment = self.current();
            let n = segment.len();
            segment.fill(0);
            self.advance(n);
        }
    }
}
