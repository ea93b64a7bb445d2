// SPDX-License-Identifier: GPL-2.0

//! A target while its constructor runs.
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use super::{
    device::LowerDevice,
    log::Log, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::units::Sectors;

/// A target under construction.
///
/// # Invariants
///
/// `ti` is a target under construction, of the type `name`. It outlives what its constructor
/// returns.
pub(crate) struct Setup<'a> {
    ti: NonNull<bindings::dm_target>,
    name: &'static CStr,
    _ti: PhantomData<&'a mut bindings::dm_target>,
}

impl Setup<'_> {
    /// Wraps a target under construction.
    ///
    /// # Safety
    ///
    /// The arguments must fulfil the type invariants.
    pub(super) unsafe fn new(ti: NonNull<bindings::dm_target>, name: &'static CStr) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            ti,
            name,
            _ti: PhantomData,
        }
    }

    /// The length of the target, from the table.
    pub(crate) fn len(&self) -> Sectors {
        // SAFETY: `ti` is live by the type invariants.
        Sectors::new(unsafe { (*self.ti.as_ptr()).len })
    }

    /// The log of the target, for its constructor and afterwards.
    pub(crate) fn log(&self) -> Log {
        // SAFETY: `ti` outlives what the constructor returns by the type invariants.
        unsafe { Log::new(self.ti, self.name) }
    }

    /// Opens a lower device for reading. `path` is the word of the table.
    pub(crate) fn open(&mut self, path: &CStr) -> Result<LowerDevice> {
        // SAFETY: `ti` is under construction and outlives what the constructor returns, by the type
        // invariants.
        unsafe { LowerDevice::open(self.ti, path) }
    }

    /// Has device-mapper split bios at multiples of `sectors`, a positive number.
    pub(crate) fn set_max_io_len(&mut self, sectors: u32) {
        let ti = self.ti.as_ptr();
        // SAFETY: `ti` is under construction by the type invariants. Any 32-bit length is accepted.
        let _ = unsafe { bindings::dm_set_target_max_io_len(ti, u64::from(sectors)) };
    }
}
