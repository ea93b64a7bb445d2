// SPDX-License-Identifier: GPL-2.0

//! A mempool: memory of one size with a reserve, so that an allocation succeeds in the end.
//!
//! C header: [`include/linux/mempool.h`](srctree/include/linux/mempool.h)

use super::memory::mark_unwritten;
use crate::bindings;
use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A mempool of kmalloc elements.
///
/// # Invariants
///
/// `pool` is a live mempool of kmalloc elements of `size` bytes.
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
        // SAFETY: Creating a mempool has no preconditions but process context, which constructors
        // run in.
        let pool = unsafe { bindings::dm_overlaybd_mempool_create_kmalloc_pool(reserve, size) };
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
        // SAFETY: By the type invariants. Memory from kmalloc holds arbitrary, but fixed, bytes.
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
