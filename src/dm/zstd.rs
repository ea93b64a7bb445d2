// SPDX-License-Identifier: GPL-2.0

//! The kernel's ZSTD decompressor.
//!
//! Its workspaces are large, so there is one for each CPU, shared by all targets, and none at all
//! before the first target that needs them is made. They are never allocated for a read: a worker
//! that finds none idle waits for another one to be done, which waits for nothing. Whoever may not
//! wait can try.

use super::{
    bindings,
    errno, //
};
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
use overlaybd_format::zfile::Decompress;

/// Decompression contexts for as many blocks at once as there are CPUs.
#[pin_data]
pub(crate) struct ZstdContexts {
    /// A spinlock, so that a task that may not sleep can try for a context. Interrupts never do.
    #[pin]
    pool: SpinLock<Pool>,
    #[pin]
    returned: CondVar,
}

/// The contexts that exist, and those of them that nobody uses.
struct Pool {
    existing: usize,
    /// Has room for one for each CPU there can be, so that giving one back never allocates.
    idle: KVVec<Workspace>,
}

impl ZstdContexts {
    /// No contexts yet.
    pub(crate) fn new() -> Result<Arc<Self>> {
        // SAFETY: Reading the number of CPUs has no preconditions.
        let most = unsafe { bindings::dm_overlaybd_possible_cpus() } as usize;
        let idle = KVVec::with_capacity(most, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                pool <- new_spinlock!(Pool { existing: 0, idle }),
                returned <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Makes sure that there is a context for each CPU that is online. For constructors.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the kernel has no ZSTD, `ENOMEM`.
    pub(crate) fn provide(&self) -> Result {
        // SAFETY: Reading the number of CPUs has no preconditions.
        let wanted = unsafe { bindings::dm_overlaybd_online_cpus() } as usize;
        while self.pool.lock().existing < wanted {
            let workspace = Workspace::new()?;
            let mut pool = self.pool.lock();
            // Another constructor may have been faster. The lock goes first, then what is too much.
            if pool.existing >= wanted {
                break;
            }
            pool.existing += 1;
            let full = pool.idle.push_within_capacity(workspace);
            drop(pool);
            drop(full);
        }
        Ok(())
    }

    /// A context for the caller alone, until the result is dropped. Waits for one if need be.
    pub(crate) fn take(self: &Arc<Self>) -> Taken {
        let mut pool = self.pool.lock();
        loop {
            match pool.idle.pop() {
                Some(workspace) => return self.taken(workspace),
                None => self.returned.wait(&mut pool),
            }
        }
    }

    /// The same, but if there is none at the moment it is [`None`]. Never sleeps; not for
    /// interrupts.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Taken> {
        let workspace = self.pool.lock().idle.pop()?;
        Some(self.taken(workspace))
    }

    fn taken(self: &Arc<Self>, workspace: Workspace) -> Taken {
        Taken {
            contexts: self.clone(),
            workspace: Some(workspace),
        }
    }
}

/// A context in use.
pub(crate) struct Taken {
    contexts: Arc<ZstdContexts>,
    workspace: Option<Workspace>,
}

impl Decompress for Taken {
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        self.workspace.as_mut()?.decompress(compressed, out)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut pool = self.contexts.pool.lock();
        let left = self.workspace.take().and_then(|workspace| {
            // There is room for every context that exists.
            pool.idle.push_within_capacity(workspace).err()
        });
        drop(pool);
        drop(left);
        self.contexts.returned.notify_one();
    }
}

/// A decompression context in memory of its own.
///
/// # Invariants
///
/// `context` is an initialised context within `memory`.
struct Workspace {
    context: NonNull<c_void>,
    _memory: KVVec<u64>,
}

// SAFETY: A context may be used by any thread, by one at a time.
unsafe impl Send for Workspace {}

impl Workspace {
    fn new() -> Result<Self> {
        // SAFETY: Asking for the size has no preconditions.
        let bytes = unsafe { bindings::dm_overlaybd_zstd_workspace_bound() };
        if bytes == 0 {
            return Err(errno::unsupported());
        }
        // Whole words, as the context wants to be aligned.
        let mut memory = KVVec::from_elem(0u64, bytes.div_ceil(size_of::<u64>()), GFP_KERNEL)?;
        // SAFETY: `memory` is that large, aligned, and lives as long as the context, on the heap,
        // where it stays when the vector is moved.
        let context = unsafe {
            bindings::dm_overlaybd_zstd_init(
                memory.as_mut_ptr().cast(),
                memory.len() * size_of::<u64>(),
            )
        };
        // INVARIANT: The context has just been initialised within `memory`.
        Ok(Self {
            context: NonNull::new(context).ok_or(EINVAL)?,
            _memory: memory,
        })
    }

    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        // SAFETY: By the type invariant the context is initialised, and `&mut self` makes us its
        // only user. The pointers and lengths are those of live slices.
        unsafe {
            let code = bindings::dm_overlaybd_zstd_decompress(
                self.context.as_ptr(),
                out.as_mut_ptr().cast(),
                out.len(),
                compressed.as_ptr().cast(),
                compressed.len(),
            );
            (!bindings::dm_overlaybd_zstd_is_error(code)).then_some(code)
        }
    }
}
