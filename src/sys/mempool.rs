// SPDX-License-Identifier: GPL-2.0

//! A mempool: memory of one size with a reserve, so that an allocation succeeds in the end.
//!
//! C header: [`include/linux/mempool.h`](srctree/include/linux/mempool.h)

use super::memory::mark_unwritten;
use crate::bindings;
use core::{
    ffi::c_void,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::{
        without_provenance_mut,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A mempool of elements of one size.
///
/// Elements larger than a page are whole pages. kmalloc would round them up to a power of two, and
/// a reserve is kept for as long as its pool.
///
/// # Invariants
///
/// `pool` is a live mempool of elements of `size` bytes.
pub(crate) struct Mempool {
    pool: NonNull<bindings::mempool_t>,
    size: usize,
}

// SAFETY: A mempool may be used and destroyed from any thread.
unsafe impl Send for Mempool {}
// SAFETY: All operations of a mempool are internally synchronised.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// A pool with `reserve` elements of `size` bytes. May sleep.
    pub(crate) fn new(reserve: c_int, size: usize) -> Result<Arc<Self>> {
        let pool = if size > bindings::DM_OVERLAYBD_PAGE_SIZE {
            let size = without_provenance_mut(size);
            // SAFETY: Process context, which constructors run in. Both functions may be called with
            // this size as the pool's data, and `free_pages` frees what `alloc_pages` returns.
            unsafe {
                bindings::dm_overlaybd_mempool_create(
                    reserve,
                    Some(alloc_pages),
                    Some(free_pages),
                    size,
                )
            }
        } else {
            // SAFETY: Process context, which constructors run in.
            unsafe { bindings::dm_overlaybd_mempool_create_kmalloc_pool(reserve, size) }
        };
        let pool = NonNull::new(pool).ok_or(ENOMEM)?;
        // INVARIANT: The pool was created with elements of `size` bytes.
        Ok(Arc::new(Self { pool, size }, GFP_KERNEL)?)
    }

    /// An element with any content. Waits, if need be, until another element is freed, so the
    /// caller must be able to sleep.
    pub(crate) fn alloc(self: &Arc<Self>) -> Option<Element> {
        let flags = bindings::DM_OVERLAYBD_GFP_NOIO;
        // SAFETY: The pool is live by the type invariants.
        let element = unsafe { bindings::dm_overlaybd_mempool_alloc(self.pool.as_ptr(), flags) };
        // INVARIANT: `element` is an element of the pool.
        let mut element = Element {
            start: NonNull::new(element.cast())?,
            pool: self.clone(),
        };
        mark_unwritten(&mut element);
        Some(element)
    }
}

impl Drop for Mempool {
    fn drop(&mut self) {
        // SAFETY: The pool is live by the type invariants. Each element holds a reference to
        // `self`, so all are freed.
        unsafe { bindings::mempool_destroy(self.pool.as_ptr()) }
    }
}

/// `mempool_alloc_t` of a pool of whole pages, whose data is the size of its elements.
///
/// # Safety
///
/// Only a mempool calls this, in a context that `flags` allow.
unsafe extern "C" fn alloc_pages(flags: bindings::gfp_t, size: *mut c_void) -> *mut c_void {
    // SAFETY: alloc_pages_exact has no preconditions but a context that `flags` allow.
    unsafe { bindings::dm_overlaybd_alloc_pages_exact(size.addr(), flags) }
}

/// `mempool_free_t` of such a pool.
///
/// # Safety
///
/// `element` must be from [`alloc_pages`] with the same `size`.
unsafe extern "C" fn free_pages(element: *mut c_void, size: *mut c_void) {
    // SAFETY: As this function's own requirement.
    unsafe { bindings::free_pages_exact(element, size.addr()) }
}

/// An element of a mempool, which is freed on drop. Freeing it never sleeps.
///
/// # Invariants
///
/// `start` points to an element of `pool` that only this value refers to.
pub(crate) struct Element {
    start: NonNull<u8>,
    pool: Arc<Mempool>,
}

// SAFETY: This is plain memory that only its owner refers to.
unsafe impl Send for Element {}

impl Deref for Element {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariants. Fresh memory holds arbitrary, but fixed, bytes.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.pool.size) }
    }
}

impl DerefMut for Element {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, and the mutable borrow makes this the only reference.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.pool.size) }
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        // SAFETY: By the type invariants `start` is an element of this live pool.
        unsafe { bindings::mempool_free(self.start.as_ptr().cast(), self.pool.pool.as_ptr()) }
    }
}
