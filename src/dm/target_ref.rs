// SPDX-License-Identifier: GPL-2.0

//! A constructed target, from `ctr` to `dtr`.
//!
//! The only file that reads and writes `private` of a `struct dm_target`.

use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// A target whose `private` is a `T`.
///
/// # Invariants
///
/// While the value is used, the target is live, `ctr` has constructed it, and its `private` is the
/// `T` that `ctr` made, to which only shared references exist.
pub(crate) struct TargetRef<T> {
    ti: NonNull<bindings::dm_target>,
    _target: PhantomData<*const T>,
}

// SAFETY: The value only gives shared references to a `T`.
unsafe impl<T: Sync> Send for TargetRef<T> {}

impl<T> TargetRef<T> {
    /// Wraps a constructed target.
    ///
    /// # Safety
    ///
    /// `ti` must fulfil the type invariants.
    pub(super) unsafe fn new(ti: NonNull<bindings::dm_target>) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            ti,
            _target: PhantomData,
        }
    }

    /// The raw target.
    pub(super) fn as_ptr(&self) -> NonNull<bindings::dm_target> {
        self.ti
    }

    /// The target.
    pub(super) fn get(&self) -> &T {
        // SAFETY: `ti` is live and constructed by the type invariants.
        let private = unsafe { private::<T>(self.ti) };
        // SAFETY: `private` is a live `T` by the type invariants, only shared references to it
        // exist, and none outlives `self`.
        unsafe { private.as_ref() }
    }
}

/// Hands what `ctr` has constructed to device-mapper.
///
/// # Safety
///
/// `ti` must be live and under construction.
pub(super) unsafe fn set_private<T>(ti: NonNull<bindings::dm_target>, target: KBox<T>) {
    // SAFETY: By the safety requirements of this function, device-mapper does not use `ti` now.
    unsafe { (*ti.as_ptr()).private = KBox::into_raw(target).cast() };
}

/// Takes back what [`set_private`] handed over.
///
/// # Safety
///
/// `ti` must be live, its `private` must come from `set_private` for a `T`, and nothing may refer
/// to it any more.
pub(super) unsafe fn take_private<T>(ti: NonNull<bindings::dm_target>) -> KBox<T> {
    // SAFETY: By the safety requirements of this function.
    let private = unsafe { private::<T>(ti) };
    // SAFETY: As above; the pointer comes from `KBox::into_raw`.
    unsafe { KBox::from_raw(private.as_ptr()) }
}

/// The `private` of a target.
///
/// # Safety
///
/// `ti` must be live, and its `private` must come from [`set_private`] for a `T`.
unsafe fn private<T>(ti: NonNull<bindings::dm_target>) -> NonNull<T> {
    // SAFETY: By the safety requirements of this function.
    let private = unsafe { (*ti.as_ptr()).private };
    // SAFETY: `private` comes from a `KBox`, which is never null.
    unsafe { NonNull::new_unchecked(private.cast()) }
}
