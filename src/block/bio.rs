// SPDX-License-Identifier: GPL-2.0

//! A bio that a driver has taken, and the memory of its data.
//!
//! [`OwnedBio`] is the only place where the module ends a bio. It never submits one.
//!
//! C headers: [`include/linux/bio.h`](srctree/include/linux/bio.h),
//! [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)

use super::status::BlkError;
use crate::bindings;
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::{
    units::Sector,
    Output, //
};

/// A bio whose owner must end it, exactly once.
///
/// [`end`](Self::end) consumes the bio. A bio that is dropped instead fails with an I/O error, so
/// no path through a driver can lose one.
///
/// # Invariants
///
/// The pointer is to a live bio that has not ended. Only this value refers to it, and its iterator
/// is at the first byte of the data.
#[must_use]
pub(crate) struct OwnedBio(NonNull<bindings::bio>);

// SAFETY: Any thread may use and end a bio that it owns.
unsafe impl Send for OwnedBio {}

impl OwnedBio {
    /// Takes ownership of a bio.
    ///
    /// # Safety
    ///
    /// `bio` must fulfil the type invariants.
    pub(crate) unsafe fn from_raw(bio: NonNull<bindings::bio>) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self(bio)
    }

    /// Returns the bio. The caller must then end it.
    pub(super) fn into_raw(self) -> NonNull<bindings::bio> {
        ManuallyDrop::new(self).0
    }

    /// The raw bio.
    pub(crate) fn as_ptr(&self) -> *mut bindings::bio {
        self.0.as_ptr()
    }

    /// The first sector of the bio.
    pub(crate) fn sector(&self) -> Sector {
        // SAFETY: The bio is live by the type invariants.
        Sector::new(unsafe { (*self.as_ptr()).bi_iter.bi_sector })
    }

    /// Sets the first sector of the bio, which from then on only its owner reads.
    pub(crate) fn set_sector(&mut self, sector: Sector) {
        // SAFETY: The bio is live by the type invariants, and only `self` refers to it.
        unsafe { (*self.as_ptr()).bi_iter.bi_sector = sector.get() };
    }

    /// Whether the operation is `REQ_OP_READ`.
    pub(crate) fn is_read(&self) -> bool {
        // SAFETY: The bio is live by the type invariants.
        unsafe { is_read(self.0) }
    }

    /// The operation and its flags.
    pub(super) fn opf(&self) -> bindings::blk_opf_t {
        // SAFETY: The bio is live by the type invariants.
        unsafe { (*self.as_ptr()).bi_opf }
    }

    /// The I/O priority.
    pub(super) fn ioprio(&self) -> c_ushort {
        // SAFETY: The bio is live by the type invariants.
        unsafe { (*self.as_ptr()).bi_ioprio }
    }

    /// Whether the bio reads ahead (`REQ_RAHEAD`): no task waits for it.
    pub(crate) fn is_readahead(&self) -> bool {
        self.opf() & bindings::DM_OVERLAYBD_REQ_RAHEAD != 0
    }

    /// Whether the sender of the bio does not wait (`REQ_NOWAIT`).
    pub(crate) fn is_nowait(&self) -> bool {
        self.opf() & bindings::DM_OVERLAYBD_REQ_NOWAIT != 0
    }

    /// A writer at the first byte of the data.
    ///
    /// [`None`] if the bio is not a read: the pages of a write belong to its sender.
    pub(crate) fn writer(&mut self) -> Option<BioWriter<'_>> {
        if !self.is_read() {
            return None;
        }
        // SAFETY: The bio is live by the type invariants.
        let iter = unsafe { (*self.as_ptr()).bi_iter };
        // INVARIANT: The bio is a read, and its iterator is at the first byte of the data.
        Some(BioWriter { bio: self, iter })
    }

    /// Ends the bio.
    ///
    /// A read that fails is filled with zeros first: a reader that ignores the error finds neither
    /// half of the data nor what its pages held before. A read that is declined stays as it is: its
    /// sender repeats it.
    pub(crate) fn end(self, result: Result<(), BlkError>) {
        ManuallyDrop::new(self).complete(result);
    }

    /// Ends the bio. The caller must not use `self` afterwards, nor drop it.
    fn complete(&mut self, result: Result<(), BlkError>) {
        if let Err(error) = result {
            if error != BlkError::AGAIN && self.is_read() {
                // SAFETY: The bio is a live read by the type invariants; its pages are ours to
                // fill until it ends.
                unsafe { bindings::dm_overlaybd_zero_fill_bio(self.as_ptr()) };
            }
            // SAFETY: The bio is live by the type invariants.
            unsafe { (*self.as_ptr()).bi_status = error.as_raw() };
        }
        // SAFETY: The bio has not ended by the type invariants. This function is called once,
        // because its callers consume the value.
        unsafe { bindings::bio_endio(self.as_ptr()) };
    }
}

impl Drop for OwnedBio {
    fn drop(&mut self) {
        self.complete(Err(BlkError::IOERR));
    }
}

/// Whether the operation of a bio is `REQ_OP_READ`.
///
/// # Safety
///
/// `bio` must be a live bio.
pub(crate) unsafe fn is_read(bio: NonNull<bindings::bio>) -> bool {
    // SAFETY: By the safety requirements of this function.
    unsafe { bindings::dm_overlaybd_bio_op(bio.as_ptr()) == bindings::req_op_REQ_OP_READ }
}

/// Whether the memory of a bio is one segment, as a [`BioWriter`] finds it.
///
/// # Safety
///
/// `bio` must be a live bio.
pub(crate) unsafe fn has_one_segment(bio: NonNull<bindings::bio>) -> bool {
    // SAFETY: By the safety requirements of this function.
    let iter = unsafe { (*bio.as_ptr()).bi_iter };
    if iter.bi_size == 0 {
        return true;
    }
    // SAFETY: As above.
    let table = unsafe { (*bio.as_ptr()).bi_io_vec };
    // SAFETY: `iter` is at the first byte of the data of the bio, which has some.
    let segment = unsafe { bindings::dm_overlaybd_mp_bvec_iter_bvec(table, iter) };
    segment.bv_len == iter.bi_size
}

/// The memory of a read, written from its first byte to its last.
///
/// A segment is a run of contiguous memory. It may begin and end anywhere in a page and be several
/// pages long.
///
/// # Invariants
///
/// `bio` is a read, and `iter` is a position within its data: the bytes before it have been
/// written, the `iter.bi_size` bytes from it on have not.
pub(crate) struct BioWriter<'a> {
    bio: &'a mut OwnedBio,
    iter: bindings::bvec_iter,
}

impl Output for BioWriter<'_> {
    fn remaining(&self) -> usize {
        self.iter.bi_size as usize
    }

    fn current(&mut self) -> &mut [u8] {
        if self.iter.bi_size == 0 {
            return &mut [];
        }
        // SAFETY: The bio is live by the invariants of `OwnedBio`.
        let table = unsafe { (*self.bio.as_ptr()).bi_io_vec };
        // SAFETY: `iter` is within the data by the type invariants, and not at its end.
        let mut segment = unsafe { bindings::dm_overlaybd_mp_bvec_iter_bvec(table, self.iter) };
        // SAFETY: The segment is in the direct map: there is no high memory, see `helpers.c`.
        let start = unsafe { bindings::dm_overlaybd_bvec_virt(&mut segment) };
        // The address has the KASAN tag of the first page, and the segment may have several pages.
        // SAFETY: This computes an address.
        let start = unsafe { bindings::dm_overlaybd_kasan_reset_tag(start) };
        // SAFETY: The `bv_len` bytes of a segment are contiguous. The pages of a read belong to the
        // owner of the bio until it ends, and the mutable borrow makes this the only slice of
        // them. With direct I/O a process may map and change these pages meanwhile: it then changes
        // what it reads, and nothing here is decided by what the pages hold.
        unsafe { core::slice::from_raw_parts_mut(start.cast(), segment.bv_len as usize) }
    }

    fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.iter.bi_size as usize) as c_uint;
        // SAFETY: The bio is live by the invariants of `OwnedBio`, and `bytes` are left in it.
        // INVARIANT: The callers have written these bytes.
        unsafe { bindings::dm_overlaybd_bio_advance_iter(self.bio.as_ptr(), &mut self.iter, bytes) }
    }
}
