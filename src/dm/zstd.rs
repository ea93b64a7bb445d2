// SPDX-License-Identifier: GPL-2.0

//! The kernel's ZSTD decompressor.
//!
//! Its workspaces are large, so there is one for each CPU, shared by all targets, and none at all
//! before the first target that needs them is made. They are never allocated for a read: a worker
//! that finds none idle waits for another worker to be done, which waits for nothing.

use super::{
    bindings,
    errno, //
};
use core::ptr::NonNull;
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        Mutex, //
    },
};
use overlaybd_format::zfile::Decompress;

/// Decompression contexts for as many blocks at once as there are CPUs.
#[pin_data]
pub(crate) struct ZstdContexts {
    #[pin]
    pool: Mutex<Pool>,
    #[pin]
    returned: CondVar,
}

/// The contexts that exist, and those of them that nobody uses.
struct Pool {
    existing: usize,
    idle: KVec<Workspace>,
}

impl ZstdContexts {
    /// No contexts yet.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                pool <- new_mutex!(Pool {
                    existing: 0,
                    idle: KVec::new(),
                }),
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
        let mut pool = self.pool.lock();
        while pool.existing < wanted {
            let workspace = Workspace::new()?;
            // Room for all that exist, so that giving one back never allocates.
            let room = (pool.existing + 1).saturating_sub(pool.idle.len());
            pool.idle.reserve(room, GFP_KERNEL)?;
            pool.idle.push(workspace, GFP_KERNEL)?;
            pool.existing += 1;
        }
        Ok(())
    }

    /// A context for the caller alone, until the result is dropped. Waits for one if need be.
    pub(crate) fn take(&self) -> Taken<'_> {
        let mut pool = self.pool.lock();
        loop {
            match pool.idle.pop() {
                Some(workspace) => {
                    return Taken {
                        contexts: self,
                        workspace: Some(workspace),
                    }
                }
                None => self.returned.wait(&mut pool),
            }
        }
    }
}

/// A context in use.
pub(crate) struct Taken<'a> {
    contexts: &'a ZstdContexts,
    workspace: Option<Workspace>,
}

impl Decompress for Taken<'_> {
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        self.workspace.as_mut()?.decompress(compressed, out)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut pool = self.contexts.pool.lock();
        if let Some(workspace) = self.workspace.take() {
            // `provide` has made room for every context there is.
            if pool.idle.push_within_capacity(workspace).is_err() {
                pool.existing = pool.existing.saturating_sub(1);
            }
        }
        drop(pool);
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
