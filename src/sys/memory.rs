// SPDX-License-Identifier: GPL-2.0

//! Physically contiguous memory that is allocated without waiting.
//!
//! The allocation is an attempt: the caller needs an alternative for when it fails.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::bindings;
use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};

/// Neither waits, nor uses the emergency reserves, nor warns.
const FLAGS: bindings::gfp_t = bindings::DM_OVERLAYBD_GFP_NOWAIT
    | bindings::DM_OVERLAYBD___GFP_NOWARN
    | bindings::DM_OVERLAYBD___GFP_NORETRY
    | bindings::DM_OVERLAYBD___GFP_NOMEMALLOC;

/// What fresh memory holds on a kernel with debug assertions.
///
/// A byte that reaches a reader although neither a device nor a decoder has written it then differs
/// from what any test expects. Without the pattern it is often zero, or right from an earlier read.
const UNWRITTEN: u8 = 0xa5;

/// Fills memory whose content no longer counts with a pattern, on a kernel with debug assertions.
pub(super) fn mark_unwritten(memory: &mut [u8]) {
    if cfg!(debug_assertions) {
        memory.fill(UNWRITTEN);
    }
}

/// Memory from kmalloc, which is freed on drop. Freeing it never sleeps.
///
/// # Invariants
///
/// `start` points to `len` bytes from kmalloc that only this value refers to.
pub(crate) struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: This is plain memory that only its owner refers to.
unsafe impl Send for Memory {}
// SAFETY: A shared reference only reads the memory.
unsafe impl Sync for Memory {}

impl Memory {
    /// Allocates `len` bytes of any content, in any context. Never waits.
    pub(crate) fn try_new(len: usize) -> Option<Self> {
        // SAFETY: kmalloc has no preconditions with these flags.
        let memory = unsafe { bindings::dm_overlaybd_kmalloc(len, FLAGS) };
        // INVARIANT: `memory` is a fresh allocation of `len` bytes.
        let mut memory = Self {
            start: NonNull::new(memory.cast())?,
            len,
        };
        memory.mark_unwritten();
        Some(memory)
    }

    /// Fills the memory with a pattern on a kernel with debug assertions: its content no longer
    /// counts.
    pub(crate) fn mark_unwritten(&mut self) {
        mark_unwritten(self);
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariants. Memory from kmalloc holds arbitrary, but fixed, bytes.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, and the mutable borrow makes this the only reference.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the memory is from kmalloc, and nothing else refers to it.
        unsafe { bindings::kfree(self.start.as_ptr().cast()) }
    }
}
