// SPDX-License-Identifier: GPL-2.0

//! The kernel's ZSTD decompressor.
//!
//! A decompression context needs a large workspace. There is one context for each CPU, shared by
//! all targets, and none before the first target that needs them. A read never allocates one. It
//! takes that of its CPU, or another one that is idle. A worker that finds no idle context sleeps
//! until another worker returns one, and that worker waits for nothing. A caller that must not
//! sleep uses [`ZstdContexts::try_take`].
//!
//! As long as each CPU uses its own context, CPUs share no memory that they write.
//!
//! C header: [`include/linux/zstd.h`](srctree/include/linux/zstd.h)

use super::{
    context::{
        online_cpus,
        possible_cpus,
        this_cpu, //
    },
    errno, //
};
use crate::bindings;
use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};
use kernel::{
    new_condvar, new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        CondVar,
        SpinLock, //
    },
};

/// Decompression contexts, with a place for each possible CPU.
#[pin_data]
pub(crate) struct ZstdContexts {
    slots: KVVec<Slot>,
    /// The number of callers that sleep, or are about to.
    waiting: Atomic<usize>,
    #[pin]
    sleepers: SpinLock<()>,
    #[pin]
    returned: CondVar,
}

/// The place of a context, on a cache line of its own.
///
/// # Invariants
///
/// The caller that changes `state` from [`IDLE`] or [`EMPTY`] to [`BUSY`] refers to `context`
/// alone, until it stores another state. There is a context in the state [`IDLE`], and none in
/// [`EMPTY`].
#[repr(align(64))]
struct Slot {
    state: Atomic<u32>,
    context: UnsafeCell<Option<Context>>,
}

/// No context.
const EMPTY: u32 = 0;
/// A context that nothing uses.
const IDLE: u32 = 1;
/// In use.
const BUSY: u32 = 2;

// SAFETY: By the type invariants one caller at a time refers to the context, which is `Send`.
unsafe impl Sync for Slot {}

impl Slot {
    /// Claims the context for the caller.
    fn claim(&self, state: u32) -> bool {
        // Reading first leaves the cache line to the CPU that uses the context.
        self.state.load(Relaxed) == state && self.state.cmpxchg(state, BUSY, Acquire).is_ok()
    }
}

impl ZstdContexts {
    /// Places without contexts.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let count = possible_cpus();
        let mut slots = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let slot = Slot {
                state: Atomic::new(EMPTY),
                context: UnsafeCell::new(None),
            };
            slots.push_within_capacity(slot).map_err(|_| ENOMEM)?;
        }
        Arc::pin_init(
            pin_init!(Self {
                slots,
                waiting: Atomic::new(0),
                sleepers <- new_spinlock!(()),
                returned <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Allocates contexts until there is one for each online CPU. For constructors.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the kernel has no ZSTD, `ENOMEM`.
    pub(crate) fn ensure_allocated(&self) -> Result {
        for slot in self.slots.iter().take(online_cpus()) {
            if slot.state.load(Relaxed) != EMPTY {
                continue;
            }
            let context = Context::new()?;
            // Another constructor may have been faster.
            if slot.claim(EMPTY) {
                // SAFETY: The slot is claimed, so this is the only reference.
                unsafe { *slot.context.get() = Some(context) };
                // INVARIANT: There is a context, to which nothing refers any more.
                slot.state.store(IDLE, Release);
            }
        }
        Ok(())
    }

    /// A context for the caller alone, until the guard is dropped. Sleeps until there is one.
    pub(crate) fn take(&self) -> ContextGuard<'_> {
        if let Some(context) = self.try_take() {
            return context;
        }
        let mut sleepers = self.sleepers.lock();
        // A guard that is dropped from here on sees the number, or `try_take` sees its context:
        // both sides order their write before their read.
        self.waiting.fetch_add(1, Full);
        let context = loop {
            match self.try_take() {
                Some(context) => break context,
                None => self.returned.wait(&mut sleepers),
            }
        };
        self.waiting.fetch_sub(1, Relaxed);
        context
    }

    /// As [`take`](Self::take), but [`None`] if no context is idle. Never sleeps.
    /// Neither this nor dropping the guard is for interrupts.
    pub(crate) fn try_take(&self) -> Option<ContextGuard<'_>> {
        let (before, from_here) = self.slots.split_at_checked(self.here())?;
        let idle = |slot: &&Slot| slot.claim(IDLE);
        let slot = from_here
            .iter()
            .find(idle)
            .or_else(|| before.iter().find(idle))?;
        // INVARIANT: The slot is claimed.
        Some(ContextGuard {
            contexts: self,
            slot,
        })
    }

    /// The place of this CPU.
    fn here(&self) -> usize {
        (this_cpu() as usize)
            .checked_rem(self.slots.len())
            .unwrap_or(0)
    }

    /// Wakes a caller that sleeps, if there is one. To be called after a context was returned.
    fn wake(&self) {
        if self.waiting.load(Relaxed) > 0 {
            // With the lock held, no caller is between its last attempt and its sleep.
            let _sleepers = self.sleepers.lock();
            self.returned.notify_one();
        }
    }
}

/// A context in use, which is idle again on drop.
///
/// # Invariants
///
/// The slot is claimed by this value.
pub(crate) struct ContextGuard<'a> {
    contexts: &'a ZstdContexts,
    slot: &'a Slot,
}

impl ContextGuard<'_> {
    /// Decompresses one frame into `out` and returns the length of its content, [`None`] if the
    /// frame is corrupt or has more content than `out` has room.
    pub(crate) fn decompress(&mut self, frame: &[u8], out: &mut [u8]) -> Option<usize> {
        // SAFETY: The slot is claimed by the type invariants, and the mutable borrow makes this the
        // only reference.
        let context = unsafe { &mut *self.slot.context.get() };
        context.as_mut()?.decompress(frame, out)
    }
}

impl Drop for ContextGuard<'_> {
    fn drop(&mut self) {
        // The full barrier is that of `take`.
        // INVARIANT: This value no longer refers to the context, which is still there.
        self.slot.state.xchg(IDLE, Full);
        self.contexts.wake();
    }
}

/// A decompression context in a workspace of its own.
///
/// # Invariants
///
/// `context` is an initialised context within `_workspace`.
struct Context {
    context: NonNull<c_void>,
    _workspace: KVVec<u64>,
}

// SAFETY: Any thread may use a context, one at a time.
unsafe impl Send for Context {}

impl Context {
    fn new() -> Result<Self> {
        // SAFETY: Asking for the size has no preconditions.
        let bytes = unsafe { bindings::dm_overlaybd_zstd_dctx_workspace_bound() };
        if bytes == 0 {
            return Err(errno::unsupported());
        }
        // Whole words, because the context must be aligned.
        let mut workspace = KVVec::from_elem(0u64, bytes.div_ceil(size_of::<u64>()), GFP_KERNEL)?;
        let len = workspace.len() * size_of::<u64>();
        let start = workspace.as_mut_ptr();
        // SAFETY: The workspace is aligned and `len` bytes long. It lives as long as the context,
        // on the heap, where it stays when the vector moves.
        let context = unsafe { bindings::dm_overlaybd_zstd_init_dctx(start.cast(), len) };
        // INVARIANT: The context was initialised within the workspace.
        Ok(Self {
            context: NonNull::new(context).ok_or(EINVAL)?,
            _workspace: workspace,
        })
    }

    fn decompress(&mut self, frame: &[u8], out: &mut [u8]) -> Option<usize> {
        // SAFETY: The context is initialised by the type invariants, and `&mut self` makes this its
        // only user. The pointers and lengths are those of live slices.
        let code = unsafe {
            bindings::dm_overlaybd_zstd_decompress_dctx(
                self.context.as_ptr(),
                out.as_mut_ptr().cast(),
                out.len(),
                frame.as_ptr().cast(),
                frame.len(),
            )
        };
        // SAFETY: This looks at a number.
        (!unsafe { bindings::dm_overlaybd_zstd_is_error(code) }).then_some(code)
    }
}
