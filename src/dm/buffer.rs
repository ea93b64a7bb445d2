// SPDX-License-Identifier: GPL-2.0

//! Physically contiguous buffers for reads in flight, with a reserve that makes progress certain.
//!
//! A buffer is ordinary kernel memory. [`BufferPool::try_alloc`] gives one of any size if memory
//! is at hand and never waits; [`BufferPool::alloc_unit`] gives one of the pool's unit, from a
//! reserve if it must, and waits only for another buffer of the same pool to come back. A caller
//! that falls back from the first to the second therefore goes on however short memory is.

use super::bindings;
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Units kept in reserve: two, so that two reads of one device go on even when nothing else can
/// be allocated.
const RESERVE: c_int = 2;

/// What fresh memory holds on a kernel with debug assertions. A byte that is handed out though
/// neither a device nor a decoder has written it then differs from what any test expects; without
/// the pattern it is often zero, or right from an earlier read.
const UNWRITTEN: u8 = 0xa5;

/// Fills fresh memory with a pattern on a kernel with debug assertions.
///
/// # Safety
///
/// `memory` must be null or point to `bytes` writable bytes.
pub(super) unsafe fn mark_unwritten(memory: *mut c_void, bytes: usize) {
    if cfg!(debug_assertions) && !memory.is_null() {
        // SAFETY: By the caller's promise.
        unsafe { memory.cast::<u8>().write_bytes(UNWRITTEN, bytes) };
    }
}

/// Where the buffers of one device come from.
///
/// # Invariants
///
/// `reserve` is a live mempool of kmalloc elements of `unit` bytes.
pub(crate) struct BufferPool {
    reserve: NonNull<bindings::mempool_t>,
    unit: usize,
}

// SAFETY: A mempool may be used and destroyed from any thread.
unsafe impl Send for BufferPool {}
// SAFETY: All operations of a mempool are internally synchronised.
unsafe impl Sync for BufferPool {}

impl BufferPool {
    /// A pool with a reserve of buffers of `unit` bytes.
    pub(crate) fn new(unit: usize) -> Result<Arc<Self>> {
        // SAFETY: Creating a mempool has no preconditions beyond process context, which is where
        // all constructors run.
        let reserve = unsafe { bindings::dm_overlaybd_mempool_create(RESERVE, unit) };
        let reserve = NonNull::new(reserve).ok_or(ENOMEM)?;
        // INVARIANT: `reserve` has just been created with elements of `unit` bytes.
        Ok(Arc::new(Self { reserve, unit }, GFP_KERNEL)?)
    }

    /// A buffer of `bytes`, if memory is at hand. Never waits.
    pub(crate) fn try_alloc(&self, bytes: usize) -> Option<Buffer> {
        // SAFETY: kmalloc without waiting may be called from any context a target runs in.
        let memory = unsafe { bindings::dm_overlaybd_kmalloc_nowait(bytes) };
        // SAFETY: kmalloc gave this many bytes, or null.
        unsafe { mark_unwritten(memory, bytes) };
        // INVARIANT: `memory` is a fresh kmalloc allocation of `bytes`.
        Some(Buffer {
            memory: NonNull::new(memory.cast())?,
            bytes,
            pool: None,
        })
    }

    /// A buffer of the pool's unit. May wait for another one of this pool to be dropped, so it
    /// must not be called in atomic context.
    pub(crate) fn alloc_unit(self: &Arc<Self>) -> Option<Buffer> {
        // SAFETY: By the type invariant, `reserve` is a live mempool.
        let memory = unsafe { bindings::dm_overlaybd_mempool_alloc(self.reserve.as_ptr()) };
        // SAFETY: An element of the mempool has this many bytes.
        unsafe { mark_unwritten(memory, self.unit) };
        // INVARIANT: `memory` is an element of the mempool, hence of `unit` bytes.
        Some(Buffer {
            memory: NonNull::new(memory.cast())?,
            bytes: self.unit,
            pool: Some(self.clone()),
        })
    }
}

impl Drop for BufferPool {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the mempool is live; every buffer from it holds a
        // reference to `self`, so none is out.
        unsafe { bindings::mempool_destroy(self.reserve.as_ptr()) }
    }
}

/// Memory that is kept until it is dropped, which never sleeps.
///
/// # Invariants
///
/// The pointer is to a kmalloc allocation that only this refers to.
pub(super) struct Memory(NonNull<u8>);

// SAFETY: It is plain memory that only its owner refers to.
unsafe impl Send for Memory {}

impl Memory {
    /// Contiguous memory of `bytes`, of any content, if it is at hand. Never waits.
    pub(super) fn alloc_nowait(bytes: usize) -> Option<Self> {
        // SAFETY: kmalloc without waiting may be called from any context a target runs in.
        let memory = unsafe { bindings::dm_overlaybd_kmalloc_nowait(bytes) };
        // SAFETY: kmalloc gave this many bytes, or null.
        unsafe { mark_unwritten(memory, bytes) };
        // INVARIANT: `memory` is a fresh kmalloc allocation of `bytes`.
        NonNull::new(memory.cast()).map(Self)
    }

    /// Where it begins.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this is a kmalloc allocation.
        unsafe { bindings::dm_overlaybd_kfree(self.0.as_ptr().cast()) }
    }
}

/// Contiguous kernel memory for one read. Dropping it never sleeps.
///
/// # Invariants
///
/// `memory` points to `bytes` bytes that only this buffer refers to: an element of `pool`'s
/// mempool if there is one, a kmalloc allocation otherwise.
pub(crate) struct Buffer {
    memory: NonNull<u8>,
    bytes: usize,
    pool: Option<Arc<BufferPool>>,
}

// SAFETY: A buffer is plain memory that only it refers to.
unsafe impl Send for Buffer {}

impl Buffer {
    /// The size of the buffer in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Where the buffer begins, for the device that is to fill it.
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_ptr()
    }

    /// The first `at` bytes, and the rest. The content is whatever was written last, by a device
    /// or through an earlier slice; what nobody has written is arbitrary.
    pub(super) fn split_at_mut(&mut self, at: usize) -> (&mut [u8], &mut [u8]) {
        // SAFETY: By the type invariant these bytes exist and nobody else refers to them; the
        // mutable borrow of `self` keeps it so. Memory from the kernel's allocators holds
        // arbitrary, but some, byte values.
        let all = unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.bytes) };
        all.split_at_mut(at.min(self.bytes))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = self.memory.as_ptr().cast();
        match &self.pool {
            // SAFETY: By the type invariant, `memory` is an element of this live mempool.
            Some(pool) => unsafe { bindings::mempool_free(memory, pool.reserve.as_ptr()) },
            // SAFETY: By the type invariant, `memory` is a kmalloc allocation.
            None => unsafe { bindings::dm_overlaybd_kfree(memory) },
        }
    }
}
