// SPDX-License-Identifier: GPL-2.0

//! The registration of a target type, and what all targets of the type share.
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use super::{
    target::{
        PerBio,
        Target, //
    },
    target_ref::TargetRef, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// What all targets of the type `T` share.
pub(crate) struct Shared<T: Target> {
    /// For their bios.
    pub(crate) io: <T::Io as PerBio>::Shared,
    /// For their constructors.
    pub(super) context: T::Context,
}

/// A `struct target_type` and what all targets of the type share.
///
/// `target_type` is the first field, so that the `type` of a target leads here.
#[repr(C)]
struct Registered<T: Target> {
    target_type: bindings::target_type,
    shared: Shared<T>,
}

/// What all targets of the type of `ti` share.
///
/// # Safety
///
/// `ti` must be a live target of a type registered as `T`, and live for `'a`.
pub(super) unsafe fn shared<'a, T: Target>(ti: NonNull<bindings::dm_target>) -> &'a Shared<T> {
    // SAFETY: `ti` is live by the safety requirements of this function.
    let target_type = unsafe { (*ti.as_ptr()).type_ };
    let registered: *const Registered<T> = target_type.cast_const().cast();
    // SAFETY: The `target_type` is the first field of a `Registered<T>`, which outlives the target.
    // Only `shared` is borrowed: device-mapper goes on using `target_type`.
    unsafe { &(*registered).shared }
}

/// What all targets of the type of `target` share.
pub(crate) fn shared_of<T: Target>(target: &TargetRef<T>) -> &Shared<T> {
    // SAFETY: By the invariants of `TargetRef` the target is live. Its `private` is a `T`, so its
    // type is the one registered as `T`.
    unsafe { shared::<T>(target.as_ptr()) }
}

/// The registration of a target type. Dropping it unregisters the type.
///
/// # Invariants
///
/// The pointer comes from a `KBox`, and its `target_type` is registered. When it is dropped, no
/// target of the type exists: each holds a reference to the module that owns the registration.
pub(crate) struct Registration<T: Target>(NonNull<Registered<T>>);

// SAFETY: Any thread may drop a registration; what the targets share is `Send`.
unsafe impl<T: Target> Send for Registration<T> {}
// SAFETY: A shared reference to a registration gives access to nothing.
unsafe impl<T: Target> Sync for Registration<T> {}

impl<T: Target> Registration<T> {
    /// Registers the target type `T` as one of `module`, which must own the registration.
    pub(super) fn register(
        module: &'static ThisModule,
        context: T::Context,
        callbacks: bindings::target_type,
    ) -> Result<Self> {
        let target_type = bindings::target_type {
            features: T::FEATURES.as_raw(),
            name: T::NAME.as_char_ptr(),
            module: module.as_ptr(),
            version: T::VERSION,
            ..callbacks
        };
        let io = T::Io::new_shared()?;
        let registered = KBox::new(
            Registered::<T> {
                target_type,
                shared: Shared { io, context },
            },
            GFP_KERNEL,
        )?;
        let registered = KBox::into_raw(registered);
        // SAFETY: The pointer comes from a `KBox`, so there is such a field.
        let target_type = unsafe { &raw mut (*registered).target_type };
        // SAFETY: The structure is filled, and stays where it is until it is unregistered.
        let result = unsafe { bindings::dm_register_target(target_type) };
        if let Err(error) = kernel::error::to_result(result) {
            // SAFETY: The pointer comes from `KBox::into_raw` above, and nothing refers to it.
            drop(unsafe { KBox::from_raw(registered) });
            return Err(error);
        }
        // INVARIANT: The type is registered.
        // SAFETY: Pointers from a `KBox` are not null.
        Ok(Self(unsafe { NonNull::new_unchecked(registered) }))
    }
}

impl<T: Target> Drop for Registration<T> {
    fn drop(&mut self) {
        let registered = self.0.as_ptr();
        // SAFETY: The pointer comes from a `KBox` by the type invariants, so there is such a field.
        let target_type = unsafe { &raw mut (*registered).target_type };
        // SAFETY: The type is registered, and has no targets, by the type invariants.
        unsafe { bindings::dm_unregister_target(target_type) };
        // SAFETY: The pointer comes from a `KBox` by the type invariants, and nothing refers to it
        // once the type is unregistered.
        drop(unsafe { KBox::from_raw(registered) });
    }
}
