// SPDX-License-Identifier: GPL-2.0

//! Arrays whose length an image chooses, charged to the cgroup of the task that allocates them.
//!
//! The kernel crate's vectors can only be allocated with flags that invoke the OOM killer. An image
//! must not be able to do that: the allocation of an [`Array`] fails instead.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::bindings;
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

/// Reclaims memory, but neither invokes the OOM killer nor warns.
const FLAGS: bindings::gfp_t = bindings::DM_OVERLAYBD_GFP_KERNEL_ACCOUNT
    | bindings::DM_OVERLAYBD___GFP_RETRY_MAYFAIL
    | bindings::DM_OVERLAYBD___GFP_NOWARN;

/// An array whose length is fixed when it is allocated.
///
/// # Invariants
///
/// `first` points to memory from kvmalloc with at least `len` elements, all of them initialised.
/// Only this array refers to it.
pub(crate) struct Array<T: Copy> {
    first: NonNull<T>,
    len: usize,
    _elements: PhantomData<T>,
}

// SAFETY: An array owns its elements.
unsafe impl<T: Copy + Send> Send for Array<T> {}
// SAFETY: A shared reference to an array gives shared references to its elements.
unsafe impl<T: Copy + Sync> Sync for Array<T> {}

impl<T: Copy> Array<T> {
    /// An array of `len` elements of the same value. May sleep.
    pub(crate) fn new(value: T, len: usize) -> Result<Self, AllocError> {
        // kvmalloc aligns to this at the least.
        const { assert!(align_of::<T>() <= align_of::<u64>()) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(AllocError)?;
        // SAFETY: kvmalloc has no preconditions but process context, which constructors run in.
        let memory = unsafe { bindings::dm_overlaybd_kvmalloc(bytes.max(1), FLAGS) };
        let first = NonNull::new(memory.cast::<T>()).ok_or(AllocError)?;
        for i in 0..len {
            // SAFETY: The memory has room for `len` elements.
            let place = unsafe { first.add(i) };
            // SAFETY: As above, and only this function refers to the memory.
            unsafe { place.write(value) };
        }
        // INVARIANT: All `len` elements are initialised.
        Ok(Self {
            first,
            len,
            _elements: PhantomData,
        })
    }

    /// Drops the elements from `len` on. The memory stays allocated.
    pub(crate) fn truncate(&mut self, len: usize) {
        // INVARIANT: The elements below a smaller length are initialised too.
        self.len = self.len.min(len);
    }
}

impl<T: Copy> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: By the type invariants.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: By the type invariants; the mutable borrow makes this the only reference.
        unsafe { core::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl<T: Copy> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the memory is from kvmalloc, and nothing else refers to
        // it.
        unsafe { bindings::kvfree(self.first.as_ptr().cast()) }
    }
}

/// The memory of the machine in bytes.
pub(crate) fn total_memory() -> u64 {
    // SAFETY: This reads a counter.
    let pages = unsafe { bindings::dm_overlaybd_totalram_pages() } as u64;
    pages.saturating_mul(bindings::DM_OVERLAYBD_PAGE_SIZE as u64)
}
