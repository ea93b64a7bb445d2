// SPDX-License-Identifier: GPL-2.0

//! A read that a driver submits to a lower device, as one piece of kernel memory.
//!
//! The bio and its one segment lie in memory that the driver provides, so submitting it allocates
//! nothing.
//!
//! C header: [`include/linux/bio.h`](srctree/include/linux/bio.h)

use super::{
    bio::OwnedBio,
    status::BlkError, //
};
use crate::bindings;
use kernel::prelude::*;
use overlaybd_format::units::Sector;

/// The hints of an upper read that hold for the lower read as well.
///
/// `REQ_RAHEAD` is not among them: with it the device may fail a read that it would otherwise
/// retry, and other reads, which did not read ahead, may wait for the same block.
///
/// `REQ_NOWAIT` is: the device then declines a read (`BLK_STS_AGAIN`) instead of having the task
/// that submits it wait for a free request.
const INHERITED: bindings::blk_opf_t = bindings::DM_OVERLAYBD_REQ_SYNC
    | bindings::DM_OVERLAYBD_REQ_META
    | bindings::DM_OVERLAYBD_REQ_PRIO
    | bindings::DM_OVERLAYBD_REQ_IDLE
    | bindings::DM_OVERLAYBD_REQ_NOWAIT;

/// A bio with room for one segment.
#[repr(C)]
pub(crate) struct LowerBio {
    bio: bindings::bio,
    segment: bindings::bio_vec,
}

impl LowerBio {
    /// Prepares a read on behalf of `upper`, of `len` bytes from the sector `at` of `device`, into
    /// `memory`. Returns the bio, which the caller may submit once.
    ///
    /// # Safety
    ///
    /// * `this` is valid for writes and does not move before `end_io` runs.
    /// * `device` is a live block device until then.
    /// * `memory` points to `len` bytes of the direct map that only this read uses until then.
    pub(crate) unsafe fn init_read(
        this: *mut Self,
        upper: &OwnedBio,
        device: *mut bindings::block_device,
        at: Sector,
        memory: *mut u8,
        len: c_uint,
    ) -> *mut bindings::bio {
        let opf = bindings::req_op_REQ_OP_READ | upper.opf() & INHERITED;
        // SAFETY: `this` is valid by the safety requirements of this function.
        let bio = unsafe { &raw mut (*this).bio };
        // SAFETY: As above.
        let segment = unsafe { &raw mut (*this).segment };
        // SAFETY: By the safety requirements of this function; `bio_init` reads neither field.
        unsafe { bindings::bio_init(bio, device, segment, 1, opf) };
        // SAFETY: The bio has room for one segment. The memory is in the direct map by the safety
        // requirements of this function.
        unsafe { bindings::bio_add_virt_nofail(bio, memory.cast(), len) };
        // SAFETY: `bio_init` has initialised the bio.
        let lower = unsafe { &mut *bio };
        lower.bi_ioprio = upper.ioprio();
        lower.bi_iter.bi_sector = at.get();
        bio
    }

    /// Sets the function that runs when the read has ended, and what it is called for.
    ///
    /// # Safety
    ///
    /// `bio` must come from [`init_read`](Self::init_read), and not be submitted yet.
    pub(crate) unsafe fn set_end_io(
        bio: *mut bindings::bio,
        end_io: unsafe extern "C" fn(*mut bindings::bio),
        private: *mut c_void,
    ) {
        // SAFETY: By the safety requirements of this function the bio belongs to the caller.
        let bio = unsafe { &mut *bio };
        bio.bi_end_io = Some(end_io);
        bio.bi_private = private;
    }

    /// What [`set_end_io`](Self::set_end_io) was given.
    ///
    /// # Safety
    ///
    /// `bio` must come from `init_read`, and its `end_io` must be running.
    pub(crate) unsafe fn private(bio: *mut bindings::bio) -> *mut c_void {
        // SAFETY: By the safety requirements of this function the bio is live.
        unsafe { (*bio).bi_private }
    }

    /// Takes the result of a read that has ended.
    ///
    /// A device can lose the support of reads that do not wait, when it has a new table. It then
    /// declines them, too: its status for such a read becomes `BLK_STS_AGAIN`.
    ///
    /// # Safety
    ///
    /// `bio` must come from [`init_read`](Self::init_read), and its `end_io` must be running.
    pub(crate) unsafe fn finish(bio: *mut bindings::bio) -> Result<(), BlkError> {
        // SAFETY: By the safety requirements of this function the bio belongs to the caller again.
        unsafe { bindings::bio_uninit(bio) };
        // SAFETY: As above.
        let bio = unsafe { &*bio };
        let nowait = bio.bi_opf & bindings::DM_OVERLAYBD_REQ_NOWAIT != 0;
        BlkError::check(bio.bi_status).map_err(|error| {
            if nowait && error == BlkError::NOTSUPP {
                BlkError::AGAIN
            } else {
                error
            }
        })
    }
}
