// SPDX-License-Identifier: GPL-2.0

//! A spinlock for data that interrupts use as well.
//!
//! The kernel crate has `SpinLock`, which leaves interrupts on. This one disables them while the
//! lock is held. It can go when all supported kernels have `SpinLockIrq`.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::bindings;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A lock on a cache line of its own, so that CPUs that take different locks share no line.
#[repr(align(64))]
struct Line(Opaque<bindings::spinlock_t>);

/// Data under a spinlock.
///
/// # Invariants
///
/// `lock` is initialised and stays where it is. Only the holder of the lock refers to `data`.
pub(crate) struct IrqSpinLock<T> {
    lock: KBox<Line>,
    data: UnsafeCell<T>,
}

// SAFETY: A spinlock may be used from any thread.
unsafe impl<T: Send> Send for IrqSpinLock<T> {}
// SAFETY: One thread at a time has a reference to the data.
unsafe impl<T: Send> Sync for IrqSpinLock<T> {}

impl<T> IrqSpinLock<T> {
    /// Puts `data` under a lock. May sleep.
    pub(crate) fn new(data: T) -> Result<Self> {
        let lock = KBox::new(Line(Opaque::uninit()), GFP_KERNEL)?;
        // SAFETY: The box keeps the lock in its place, and nothing uses the lock yet.
        unsafe { bindings::dm_overlaybd_spin_lock_init(lock.0.get()) };
        // INVARIANT: The lock is initialised, in a box of its own.
        Ok(Self {
            lock,
            data: UnsafeCell::new(data),
        })
    }

    /// Takes the lock and disables interrupts until the guard is dropped.
    pub(crate) fn lock(&self) -> IrqGuard<'_, T> {
        // SAFETY: The lock is initialised by the type invariants.
        let flags = unsafe { bindings::dm_overlaybd_spin_lock_irqsave(self.lock.0.get()) };
        // INVARIANT: The lock is held.
        IrqGuard {
            lock: self,
            flags,
            _not_send: PhantomData,
        }
    }
}

/// Access to the data of a held lock.
///
/// # Invariants
///
/// The lock is held, by this value alone. It is dropped on the CPU that took the lock, because it
/// is not `Send`.
pub(crate) struct IrqGuard<'a, T> {
    lock: &'a IrqSpinLock<T>,
    flags: c_ulong,
    _not_send: PhantomData<*mut ()>,
}

impl<T> Deref for IrqGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held by the type invariants.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for IrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The lock is held by the type invariants, and the mutable borrow makes this the
        // only reference.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for IrqGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The lock is held by the type invariants, and `flags` comes from taking it.
        unsafe {
            bindings::dm_overlaybd_spin_unlock_irqrestore(self.lock.lock.0.get(), self.flags)
        };
    }
}
