// SPDX-License-Identifier: GPL-2.0

//! A few blocks of one device, kept because more of them will be wanted soon.
//!
//! Who reads less than a block has the whole of it made. The cache keeps it for whoever reads the
//! rest, and lets those wait who come while it is being made: a block is made once for all of them.
//! A slot is empty, being filled by the holder of its [`Claim`], or ready. Nothing in here sleeps,
//! and nobody who waits holds anything that the others need.

use super::{
    bindings,
    bio::{
        Bio,
        Mapped,
        Segments, //
    },
    buffer::{
        mark_unwritten,
        Memory, //
    },
    read_through::{
        Pending,
        ReadThrough, //
    },
};
use core::{
    cell::UnsafeCell,
    ptr::{
        null_mut,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// The most blocks to keep: all of them are looked at whenever one is looked for.
const MAX_SLOTS: usize = 64;

/// Blocks of one device, all of the same size.
///
/// # Invariants
///
/// `state` is only used with `lock` held, which is initialised and does not move. The memory of a
/// slot is written only by the holder of the claim on it, and read only while the slot is ready and
/// has readers.
pub(crate) struct BlockCache {
    lock: KBox<Opaque<bindings::spinlock_t>>,
    state: UnsafeCell<State>,
    block_size: usize,
}

// SAFETY: By the type invariant all that is shared is used under a lock, or by one user at a time.
unsafe impl Send for BlockCache {}
// SAFETY: As above.
unsafe impl Sync for BlockCache {}

struct State {
    slots: KVec<Slot>,
    /// Counts uses, to find out which one is the longest ago.
    clock: u64,
}

/// # Invariants
///
/// While the slot is being filled, there is one [`Claim`] on it, and `waiters` are the bios that
/// wait for it. Otherwise nobody waits.
struct Slot {
    block: u32,
    use_: Use,
    used: u64,
    memory: Option<Memory>,
    waiters: *mut Waiting,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Empty,
    Filling,
    /// Ready, and read by so many at the moment.
    Ready(u32),
}

/// A bio that waits for a block, in device-mapper's per-bio data.
///
/// # Invariants
///
/// `upper` is a read that we own and nobody else will end. What it asks for lies within the block,
/// from the byte `skip` of it on. `next` is null or the next of those who wait for the same block.
struct Waiting {
    next: *mut Waiting,
    upper: NonNull<bindings::bio>,
    skip: usize,
}

/// What became of a bio that was looked up in a cache.
pub(crate) enum Cached<B> {
    /// It has been answered, or will be.
    Answered(Mapped),
    /// The block is not there: whoever reads it is to hand it in, so that others need not.
    Missing(B, Claim),
    /// The block is not there, and there is no room for it.
    NoRoom(B),
}

/// What a look at the slots has found.
enum Found {
    Ready(usize, NonNull<u8>),
    Waiting,
    Claimed(usize, NonNull<u8>),
    NoRoom,
}

impl BlockCache {
    /// A cache for as many blocks of `block_size` bytes as `bytes` bytes have room for. The memory
    /// of a block is got when it is first needed.
    pub(crate) fn new(block_size: usize, bytes: usize) -> Result<Arc<Self>> {
        let count = bytes.checked_div(block_size).unwrap_or(0).min(MAX_SLOTS);
        let mut slots = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            // INVARIANT: Nobody waits for an empty slot.
            let slot = Slot {
                block: 0,
                use_: Use::Empty,
                used: 0,
                memory: None,
                waiters: null_mut(),
            };
            slots.push(slot, GFP_KERNEL)?;
        }
        let lock = KBox::new(Opaque::uninit(), GFP_KERNEL)?;
        // SAFETY: The lock is where it will stay, and nobody uses it yet.
        unsafe { bindings::dm_overlaybd_spin_lock_init(lock.get()) };
        // INVARIANT: The lock has just been initialised, and its box keeps it in its place.
        let cache = Self {
            lock,
            state: UnsafeCell::new(State { slots, clock: 0 }),
            block_size,
        };
        Ok(Arc::new(cache, GFP_KERNEL)?)
    }

    /// Calls `with` with the lock held. It must not end bios.
    fn locked<R>(&self, with: impl FnOnce(&mut State) -> R) -> R {
        // SAFETY: By the type invariant the lock is initialised; it is released below, in the same
        // context. With it held, nobody else has a reference to the state.
        unsafe {
            let flags = bindings::dm_overlaybd_spin_lock_irqsave(self.lock.get());
            let result = with(&mut *self.state.get());
            bindings::dm_overlaybd_spin_unlock_irqrestore(self.lock.get(), flags);
            result
        }
    }

    /// Looks for `block`, and pins it, waits for it with `waiting`, or claims a slot for it.
    fn find(&self, block: u32, waiting: NonNull<Waiting>) -> Found {
        self.locked(|State { slots, clock }| {
            *clock = clock.wrapping_add(1);
            let held = |slot: &Slot| slot.block == block && slot.use_ != Use::Empty;
            if let Some(at) = slots.iter().position(held) {
                let Some(slot) = slots.get_mut(at) else {
                    return Found::NoRoom;
                };
                slot.used = *clock;
                return match (slot.use_, &slot.memory) {
                    (Use::Ready(readers), Some(memory)) => {
                        slot.use_ = Use::Ready(readers.saturating_add(1));
                        Found::Ready(at, memory.start())
                    }
                    _ => {
                        // SAFETY: The waiting bio's per-bio data is ours until the bio is ended,
                        // which only happens after it has been taken off this list again.
                        // INVARIANT: The slot is being filled.
                        unsafe { (*waiting.as_ptr()).next = slot.waiters };
                        slot.waiters = waiting.as_ptr();
                        Found::Waiting
                    }
                };
            }
            // When a slot that is free was used last; those that are empty come first.
            let age = |slot: &Slot| match slot.use_ {
                Use::Empty => Some(0),
                Use::Ready(0) => Some(slot.used),
                _ => None,
            };
            let Some(oldest) = slots.iter().filter_map(age).min() else {
                return Found::NoRoom;
            };
            let Some(at) = slots.iter().position(|slot| age(slot) == Some(oldest)) else {
                return Found::NoRoom;
            };
            let Some(slot) = slots.get_mut(at) else {
                return Found::NoRoom;
            };
            if slot.memory.is_none() {
                slot.memory = Memory::alloc_nowait(self.block_size);
            }
            let Some(memory) = &slot.memory else {
                return Found::NoRoom;
            };
            // INVARIANT: The caller makes the one claim of this.
            slot.use_ = Use::Filling;
            slot.block = block;
            slot.used = *clock;
            Found::Claimed(at, memory.start())
        })
    }

    /// Lets go of a slot that was found ready.
    fn unpin(&self, at: usize) {
        self.locked(|state| {
            if let Some(slot) = state.slots.get_mut(at) {
                if let Use::Ready(readers) = slot.use_ {
                    slot.use_ = Use::Ready(readers.saturating_sub(1));
                }
            }
        });
    }

    /// Ends the filling of a slot; returns those who waited for it.
    fn filled(&self, at: usize, use_: Use) -> *mut Waiting {
        self.locked(|state| match state.slots.get_mut(at) {
            Some(slot) => {
                // INVARIANT: Nobody waits for the slot any more.
                slot.use_ = use_;
                core::mem::replace(&mut slot.waiters, null_mut())
            }
            None => null_mut(),
        })
    }
}

/// The duty to fill a slot of a cache. Dropping it unfilled fails the bios that wait for the block.
///
/// # Invariants
///
/// The slot is being filled, and this is the only claim on it. `memory` is its memory, `block_size`
/// bytes of the cache.
pub(crate) struct Claim {
    cache: Arc<BlockCache>,
    slot: usize,
    memory: NonNull<u8>,
    done: bool,
}

// SAFETY: A claim may be used from any thread: it is the only user of the memory.
unsafe impl Send for Claim {}

impl Claim {
    /// The memory to write the block to, as long as a block. What it holds at first is anything.
    pub(crate) fn memory(&mut self) -> &mut [u8] {
        // SAFETY: By the type invariant nobody else uses this memory; memory from the kernel's
        // allocators holds arbitrary, but some, byte values.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.cache.block_size) }
    }

    /// Hands in the block, all of which must have been written: answers those who wait for it, and
    /// keeps it for others.
    pub(crate) fn hand_in(mut self) {
        self.done = true;
        // INVARIANT: From now on the slot is ready, with ourselves as a reader.
        let waiters = self.cache.filled(self.slot, Use::Ready(1));
        // SAFETY: The slot is ready and has a reader, so the memory is only read.
        let block =
            unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), self.cache.block_size) };
        // SAFETY: These have just been taken off the slot.
        unsafe { end_all(waiters, Some(block)) };
        self.cache.unpin(self.slot);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.done {
            let waiters = self.cache.filled(self.slot, Use::Empty);
            // SAFETY: These have just been taken off the slot.
            unsafe { end_all(waiters, None) };
        }
    }
}

/// Ends the bios that wait for a block, with what is in it, or with an error.
///
/// # Safety
///
/// The list must have been taken off its slot.
unsafe fn end_all(mut waiters: *mut Waiting, block: Option<&[u8]>) {
    while let Some(waiting) = NonNull::new(waiters) {
        // SAFETY: By the invariant of `Waiting` the bio is ours to fill and end; until it is ended
        // its per-bio data is there.
        unsafe {
            let Waiting { next, upper, skip } = waiting.read();
            waiters = next;
            let mut out = Segments::new(upper);
            if let Some(wanted) = block.and_then(|block| block.get(skip..)) {
                out.write(wanted);
            }
            // What is asked for lies within the block: all of it has been written, or nothing.
            let status = if out.remaining() == 0 {
                0
            } else {
                bindings::DM_OVERLAYBD_BLK_STS_IOERR
            };
            (*upper.as_ptr()).bi_status = status;
            bindings::bio_endio(upper.as_ptr());
        }
    }
}

impl<T: ReadThrough> Bio<'_, T> {
    /// Answers the bio, which asks for a part of `block` from the byte `skip` of it on, with what
    /// is in the cache, now or when whoever is at it has made the block.
    ///
    /// A bio that asks for more than the block is failed.
    pub(crate) fn answer_from(
        self,
        cache: &Arc<BlockCache>,
        block: u32,
        skip: usize,
    ) -> Cached<Self> {
        const {
            assert!(size_of::<Waiting>() <= size_of::<Pending<T>>());
            assert!(align_of::<Waiting>() <= align_of::<*const ()>());
        }
        let bytes = self
            .sectors()
            .to_bytes()
            .map_or(u64::MAX, |bytes| bytes.get());
        if bytes > cache.block_size.saturating_sub(skip) as u64 {
            return Cached::Answered(self.kill());
        }
        let upper = self.as_ptr();
        // SAFETY: The bio is in `map`, of a target whose per-bio data is as large as a `Pending`,
        // and larger than a `Waiting`; it is ours to write.
        // INVARIANT: The bio is owned; that it asks for a part of the block has been checked.
        let waiting = unsafe {
            let waiting: *mut Waiting =
                bindings::dm_per_bio_data(upper.as_ptr(), size_of::<Pending<T>>()).cast();
            waiting.write(Waiting {
                next: null_mut(),
                upper,
                skip,
            });
            NonNull::new_unchecked(waiting)
        };
        match cache.find(block, waiting) {
            Found::Ready(slot, memory) => {
                // SAFETY: The slot is ready and pinned, so the memory of it is only read.
                unsafe {
                    let block = core::slice::from_raw_parts(memory.as_ptr(), cache.block_size);
                    let mut out = Segments::new(upper);
                    // The length was compared above, so all of it is written.
                    out.write(block.get(skip..).unwrap_or_default());
                }
                cache.unpin(slot);
                // SAFETY: The bio is ours to end.
                unsafe { bindings::bio_endio(upper.as_ptr()) };
                Cached::Answered(Mapped::submitted())
            }
            Found::Waiting => Cached::Answered(Mapped::submitted()),
            Found::Claimed(slot, memory) => {
                // SAFETY: The memory of a slot is as long as a block, and nobody else uses it.
                unsafe { mark_unwritten(memory.as_ptr().cast(), cache.block_size) };
                // INVARIANT: `find` has just claimed the slot, for one claim.
                let claim = Claim {
                    cache: cache.clone(),
                    slot,
                    memory,
                    done: false,
                };
                Cached::Missing(self, claim)
            }
            Found::NoRoom => Cached::NoRoom(self),
        }
    }
}
