// SPDX-License-Identifier: GPL-2.0

//! The functions of a `struct target_type`, which device-mapper calls.
//!
//! Device-mapper calls them for targets of the type that they are instantiated for. Each wraps what
//! it receives and calls the method of [`Target`] of the same name.
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use super::{
    args::Args,
    bio::{
        Bio,
        MapResult, //
    },
    constructor::Setup,
    registration::{
        shared,
        Registration, //
    },
    status::{
        StatusKind,
        StatusText, //
    },
    target::{
        PerBio,
        Refuse,
        Target, //
    },
    target_ref::{
        set_private,
        take_private,
        TargetRef, //
    },
    visitor::DeviceVisitor,
};
use crate::{
    bindings,
    block::limits::QueueLimits, //
};
use core::ptr::NonNull;
use kernel::prelude::*;

impl<T: Target> Registration<T> {
    /// Registers the target type `T` as one of `module`, which must own the registration.
    pub(crate) fn new(module: &'static ThisModule, context: T::Context) -> Result<Self> {
        let mut callbacks = bindings::target_type {
            ctr: Some(ctr_callback::<T>),
            dtr: Some(dtr_callback::<T>),
            map: Some(map_callback::<T>),
            ..Default::default()
        };
        if T::HAS_STATUS {
            callbacks.status = Some(status_callback::<T>);
        }
        if T::HAS_ITERATE_DEVICES {
            callbacks.iterate_devices = Some(iterate_devices_callback::<T>);
        }
        if T::HAS_IO_HINTS {
            callbacks.io_hints = Some(io_hints_callback::<T>);
        }
        Self::register(module, context, callbacks)
    }
}

/// # Safety
///
/// Device-mapper calls this to construct `ti` from `argc` words at `argv`.
unsafe extern "C" fn ctr_callback<T: Target>(
    ti: *mut bindings::dm_target,
    argc: c_uint,
    argv: *mut *mut c_char,
) -> c_int {
    let Some(target) = NonNull::new(ti) else {
        return EINVAL.to_errno();
    };
    // SAFETY: `ti` is under construction. `dtr_callback` drops what is constructed, before
    // device-mapper frees `ti`.
    let mut setup = unsafe { Setup::new(target, T::NAME) };
    // SAFETY: Device-mapper passes `argc` C strings, which live until this function returns.
    let args = unsafe { Args::new(argc, argv) };
    // SAFETY: `ti` is a target of this type, live while it is constructed.
    let context = unsafe { &shared::<T>(target).context };
    let made = T::ctr(context, &mut setup, args)
        .and_then(|made| KBox::new(made, GFP_KERNEL).map_err(T::Refusal::from));
    match made {
        Ok(made) => {
            // SAFETY: `ti` is under construction, so device-mapper does not use it.
            unsafe { set_private(target, made) };
            // SAFETY: As above.
            unsafe { (*ti).per_io_data_size = T::Io::SIZE as c_uint };
            0
        }
        Err(refusal) => {
            setup.log().error(format_args!("{refusal}"));
            // SAFETY: As above. Device-mapper only reads the message.
            unsafe { (*ti).error = refusal.message().as_char_ptr().cast_mut() };
            refusal.errno().to_errno()
        }
    }
}

/// # Safety
///
/// Device-mapper calls this once, for a target that `ctr_callback` has constructed and whose bios
/// have all ended.
unsafe extern "C" fn dtr_callback<T: Target>(ti: *mut bindings::dm_target) {
    let Some(target) = NonNull::new(ti) else {
        return;
    };
    // SAFETY: `ctr_callback` has constructed `ti`. All its bios have ended, and a bio that has
    // ended refers to nothing, so nothing refers to the target.
    drop(unsafe { take_private::<T>(target) });
}

/// # Safety
///
/// Device-mapper calls this with a constructed target and a bio for it.
unsafe extern "C" fn map_callback<T: Target>(
    ti: *mut bindings::dm_target,
    bio: *mut bindings::bio,
) -> c_int {
    let (Some(ti), Some(bio)) = (NonNull::new(ti), NonNull::new(bio)) else {
        return MapResult::KILL.as_raw();
    };
    // SAFETY: `ti` is constructed, and lives until `map` has returned.
    let target = unsafe { TargetRef::<T>::new(ti) };
    // SAFETY: As above; and until the bio has ended.
    let bio_target = unsafe { TargetRef::new(ti) };
    // SAFETY: Device-mapper passes the bio to this `map`.
    let bio = unsafe { Bio::new(bio, bio_target) };
    target.get().map(bio).as_raw()
}

/// # Safety
///
/// Device-mapper calls this with a constructed target and `maxlen` writable bytes at `result`.
unsafe extern "C" fn status_callback<T: Target>(
    ti: *mut bindings::dm_target,
    kind: bindings::status_type_t,
    _flags: c_uint,
    result: *mut c_char,
    maxlen: c_uint,
) {
    let (Some(ti), Some(result)) = (NonNull::new(ti), NonNull::new(result.cast::<u8>())) else {
        return;
    };
    // SAFETY: The buffer is for this call alone.
    let mut text = unsafe { StatusText::new(result, maxlen as usize) };
    // SAFETY: `ti` is constructed, and lives until this function has returned.
    let target = unsafe { TargetRef::<T>::new(ti) };
    if let Some(kind) = StatusKind::from_raw(kind) {
        // Writing to a `StatusText` does not fail: it cuts.
        let _ = target.get().status(kind, &mut text);
    }
}

/// # Safety
///
/// Device-mapper calls this with a constructed target and a function to call with `data`.
unsafe extern "C" fn iterate_devices_callback<T: Target>(
    ti: *mut bindings::dm_target,
    visit: bindings::iterate_devices_callout_fn,
    data: *mut c_void,
) -> c_int {
    let (Some(ti), Some(visit)) = (NonNull::new(ti), visit) else {
        return 0;
    };
    // SAFETY: These are what device-mapper passed.
    let mut visitor = unsafe { DeviceVisitor::new(ti, visit, data) };
    // SAFETY: `ti` is constructed, and lives until this function has returned.
    let target = unsafe { TargetRef::<T>::new(ti) };
    let _ = target.get().iterate_devices(&mut visitor);
    visitor.result()
}

/// # Safety
///
/// Device-mapper calls this with a constructed target and limits that it alone uses.
unsafe extern "C" fn io_hints_callback<T: Target>(
    ti: *mut bindings::dm_target,
    limits: *mut bindings::queue_limits,
) {
    let Some(ti) = NonNull::new(ti) else {
        return;
    };
    // SAFETY: The limits are for this call alone.
    let limits = unsafe { &mut *limits };
    // SAFETY: `ti` is constructed, and lives until this function has returned.
    let target = unsafe { TargetRef::<T>::new(ti) };
    target.get().io_hints(&mut QueueLimits::new(limits));
}
