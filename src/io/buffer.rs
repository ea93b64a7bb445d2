// SPDX-License-Identifier: GPL-2.0

//! Contiguous buffers for reads in flight, with a reserve that guarantees progress.
//!
//! [`BufferPool::try_alloc`] allocates a buffer of any size without waiting, and may fail.
//! [`BufferPool::alloc_unit`] allocates one of the pool's unit, if need be from a reserve, and
//! waits only for another buffer of the same pool to be freed. A caller that falls back from the
//! first to the second makes progress however short memory is. The first shares nothing with other
//! reads of the device; the second counts a reference to the pool.

use crate::sys::{
    memory::Memory,
    mempool::{
        Element,
        Mempool, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Units in reserve: one, with which one read of the device proceeds when nothing else can be
/// allocated. Each device of a host with thousands keeps its reserve.
const RESERVE: c_int = 1;

/// Where the buffers of one device come from.
pub(crate) struct BufferPool {
    reserve: Arc<Mempool>,
}

impl BufferPool {
    /// A pool with a reserve of buffers of `unit` bytes. May sleep.
    pub(crate) fn new(unit: usize) -> Result<Self> {
        Ok(Self {
            reserve: Mempool::new(RESERVE, unit)?,
        })
    }

    /// A buffer of `bytes`. Never waits, and may fail.
    pub(crate) fn try_alloc(&self, bytes: usize) -> Option<Buffer> {
        Memory::try_new(bytes).map(Buffer::Fresh)
    }

    /// A buffer of the pool's unit. May wait until another one of this pool is freed, so the caller
    /// must be able to sleep.
    pub(crate) fn alloc_unit(&self) -> Option<Buffer> {
        self.reserve.alloc().map(Buffer::Unit)
    }
}

/// Contiguous kernel memory for one read. Dropping it never sleeps.
pub(crate) enum Buffer {
    /// From kmalloc.
    Fresh(Memory),
    /// From the reserve.
    Unit(Element),
}

impl Buffer {
    /// All of the buffer. Bytes that neither a device nor a decoder has written are arbitrary.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Fresh(memory) => memory,
            Self::Unit(element) => element,
        }
    }
}
