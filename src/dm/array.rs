// SPDX-License-Identifier: GPL-2.0

//! Arrays whose length an image has chosen, charged to the cgroup of the task that makes them.
//!
//! The kernel crate's vectors can only be allocated with flags that let the kernel kill processes
//! to find the memory. That must not be the image's to decide: these fail instead.

use super::bindings;
use core::{
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};

/// An array of fixed, but late known, length.
///
/// # Invariants
///
/// `first` points to memory from kvmalloc with at least `len` elements, all of them initialised,
/// that only this array refers to.
pub(crate) struct Array<T: Copy> {
    first: NonNull<T>,
    len: usize,
    _elements: PhantomData<T>,
}

// SAFETY: An array owns its elements.
unsafe impl<T: Copy + Send> Send for Array<T> {}
// SAFETY: As above; a shared reference to it gives shared references to them.
unsafe impl<T: Copy + Sync> Sync for Array<T> {}

impl<T: Copy> Array<T> {
    /// An array of `len` elements of the same value. May sleep.
    pub(crate) fn new(value: T, len: usize) -> Result<Self, AllocError> {
        // kvmalloc aligns to this at the least.
        const { assert!(align_of::<T>() <= align_of::<u64>()) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(AllocError)?;
        // SAFETY: kvmalloc has no preconditions but process context, which constructors run in.
        let memory = unsafe { bindings::dm_overlaybd_kvmalloc(bytes.max(1)) };
        let first = NonNull::new(memory.cast::<T>()).ok_or(AllocError)?;
        for i in 0..len {
            // SAFETY: The memory has room for `len` elements, and nobody else refers to it.
            unsafe { first.add(i).write(value) };
        }
        // INVARIANT: All `len` elements have just been initialised.
        Ok(Self {
            first,
            len,
            _elements: PhantomData,
        })
    }

    /// Forgets the elements from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        // INVARIANT: The elements before a lesser length are initialised too.
        self.len = self.len.min(len);
    }
}

impl<T: Copy> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: By the type invariant.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: By the type invariant; the mutable borrow makes this the only reference.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

/// The machine's memory in bytes.
pub(crate) fn total_memory() -> u64 {
    // SAFETY: This reads a counter.
    unsafe { bindings::dm_overlaybd_total_memory() }
}

impl<T: Copy> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the memory is from kvmalloc and ours.
        unsafe { bindings::dm_overlaybd_kvfree(self.first.as_ptr().cast()) }
    }
}
