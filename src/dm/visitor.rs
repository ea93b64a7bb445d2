// SPDX-License-Identifier: GPL-2.0

//! The function that device-mapper passes to `iterate_devices`.
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use super::device::LowerDevice;
use crate::bindings;
use core::{
    marker::PhantomData,
    ops::ControlFlow,
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::units::{
    Sector,
    Sectors, //
};

/// An `iterate_devices_callout_fn`.
pub(super) type Visit = unsafe extern "C" fn(
    *mut bindings::dm_target,
    *mut bindings::dm_dev,
    bindings::sector_t,
    bindings::sector_t,
    *mut c_void,
) -> c_int;

/// Takes the parts of lower devices that a target uses, on behalf of device-mapper.
///
/// # Invariants
///
/// `visit` and `data` are the function and argument that device-mapper passed for the live target
/// `ti`.
pub(crate) struct DeviceVisitor<'a> {
    ti: NonNull<bindings::dm_target>,
    visit: Visit,
    data: *mut c_void,
    result: c_int,
    _call: PhantomData<&'a ()>,
}

impl DeviceVisitor<'_> {
    /// Wraps what device-mapper passes.
    ///
    /// # Safety
    ///
    /// The arguments must fulfil the type invariants.
    pub(super) unsafe fn new(
        ti: NonNull<bindings::dm_target>,
        visit: Visit,
        data: *mut c_void,
    ) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            ti,
            visit,
            data,
            result: 0,
            _call: PhantomData,
        }
    }

    /// Visits `len` sectors of `device` from `start` on. Breaks when device-mapper wants no more.
    pub(crate) fn visit(
        &mut self,
        device: &LowerDevice,
        start: Sector,
        len: Sectors,
    ) -> ControlFlow<()> {
        let (ti, dev) = (self.ti.as_ptr(), device.as_ptr());
        // SAFETY: By the type invariants this is the call that device-mapper asks for, and `device`
        // is open.
        self.result = unsafe { (self.visit)(ti, dev, start.get(), len.get(), self.data) };
        match self.result {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    /// What the last call returned.
    pub(super) fn result(&self) -> c_int {
        self.result
    }
}
