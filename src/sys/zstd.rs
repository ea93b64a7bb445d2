// SPDX-License-Identifier: GPL-2.0

//! The kernel's ZSTD decompressor.
//!
//! A decompression context needs a large workspace. There is one context for each CPU, shared by
//! all targets, and none before the first target that needs them. A read never allocates one: a
//! worker that finds no idle context sleeps until another worker returns one, and that worker waits
//! for nothing. A caller that must not sleep uses [`ZstdContexts::try_take`].
//!
//! C header: [`include/linux/zstd.h`](srctree/include/linux/zstd.h)

use super::{
    context::{
        online_cpus,
        possible_cpus, //
    },
    errno, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    new_condvar, new_spinlock,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        SpinLock, //
    },
};

/// As many decompression contexts as there are CPUs.
#[pin_data]
pub(crate) struct ZstdContexts {
    /// A spinlock, so that a task that must not sleep can try for a context. Interrupts never do.
    #[pin]
    pool: SpinLock<Pool>,
    #[pin]
    returned: CondVar,
}

/// The number of contexts that exist, and those that are idle.
struct Pool {
    existing: usize,
    /// Has room for one for each possible CPU, so that returning a context never allocates.
    idle: KVVec<Context>,
}

impl ZstdContexts {
    /// A pool without contexts.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let idle = KVVec::with_capacity(possible_cpus(), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                pool <- new_spinlock!(Pool { existing: 0, idle }),
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
        let wanted = online_cpus();
        while self.pool.lock().existing < wanted {
            let context = Context::new()?;
            let mut pool = self.pool.lock();
            // Another constructor may have been faster. The lock is dropped before the surplus
            // context.
            if pool.existing >= wanted {
                break;
            }
            pool.existing += 1;
            let surplus = pool.idle.push_within_capacity(context);
            drop(pool);
            drop(surplus);
        }
        Ok(())
    }

    /// A context for the caller alone, until the guard is dropped. Sleeps until there is one.
    pub(crate) fn take(self: &Arc<Self>) -> ContextGuard {
        let mut pool = self.pool.lock();
        loop {
            match pool.idle.pop() {
                Some(context) => return self.guard(context),
                None => self.returned.wait(&mut pool),
            }
        }
    }

    /// As [`take`](Self::take), but [`None`] if no context is idle. Never sleeps; not for
    /// interrupts.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<ContextGuard> {
        let context = self.pool.lock().idle.pop()?;
        Some(self.guard(context))
    }

    fn guard(self: &Arc<Self>, context: Context) -> ContextGuard {
        ContextGuard {
            contexts: self.clone(),
            context: Some(context),
        }
    }
}

/// A context in use, which returns to its pool on drop.
pub(crate) struct ContextGuard {
    contexts: Arc<ZstdContexts>,
    context: Option<Context>,
}

impl ContextGuard {
    /// Decompresses one frame into `out` and returns the length of its content, [`None`] if the
    /// frame is corrupt or has more content than `out` has room.
    pub(crate) fn decompress(&mut self, frame: &[u8], out: &mut [u8]) -> Option<usize> {
        self.context.as_mut()?.decompress(frame, out)
    }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        let mut pool = self.contexts.pool.lock();
        let surplus = self.context.take().and_then(|context| {
            // There is room for every context that exists.
            pool.idle.push_within_capacity(context).err()
        });
        drop(pool);
        drop(surplus);
        self.contexts.returned.notify_one();
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
