// SPDX-License-Identifier: GPL-2.0

//! Memory for indexes, whose size an image chooses and which a target keeps as long as it exists.
//!
//! It cannot be reclaimed, so it has two limits, which are checked before it is allocated: one for
//! each target, one for all targets together. Both include what a constructor needs only for a
//! while, the indexes of the layers to merge. This file does not know what an index holds.

use super::refusal::Refusal;
use crate::sys::array::{
    total_memory,
    Array, //
};
use core::{
    borrow::Borrow,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// The bytes of all indexes.
static IN_USE: Atomic<u64> = Atomic::new(0);

/// The fraction of the machine's memory that all indexes may take when no parameter sets a limit.
const DEFAULT_SHARE: u64 = 4;

/// Memory of an index.
pub(crate) struct Index<T: Copy> {
    elements: Array<T>,
    // Dropped after the memory.
    _charge: Charge,
}

impl<T: Copy> Index<T> {
    /// Allocates `len` elements within `max_index_mib` and `max_total_index_mib`. Fails rather than
    /// invoking the OOM killer. The memory is charged to the cgroup of the task that loads the
    /// table.
    pub(crate) fn new<'a>(value: T, len: usize) -> Result<Self, Refusal<'a>> {
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        check_target(bytes)?;
        let charge = Charge::take(bytes)?;
        let elements = Array::new(value, len).map_err(|_| Refusal::IndexMemory { bytes })?;
        Ok(Self {
            elements,
            _charge: charge,
        })
    }

    /// Drops the elements from `len` on. The memory stays allocated.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.elements.truncate(len);
    }
}

impl<T: Copy> Deref for Index<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T: Copy> DerefMut for Index<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements
    }
}

/// A part of [`IN_USE`], subtracted on drop.
struct Charge(u64);

impl Charge {
    /// Adds `bytes` to what the indexes of all targets take.
    fn take<'a>(bytes: u64) -> Result<Self, Refusal<'a>> {
        let others = IN_USE.fetch_add(bytes, Relaxed);
        let charge = Self(bytes);
        let limit = match mib(&crate::module_parameters::max_total_index_mib.value()) {
            0 => total_memory() / DEFAULT_SHARE,
            mib => u64::from(mib) << 20,
        };
        if others.saturating_add(bytes) > limit {
            return Err(Refusal::MaxTotalIndex {
                bytes,
                others,
                limit,
            });
        }
        Ok(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        IN_USE.fetch_sub(self.0, Relaxed);
    }
}

/// Refuses an index that takes more memory than one target may use.
pub(crate) fn check_target<'a>(bytes: u64) -> Result<(), Refusal<'a>> {
    let mib = mib(&crate::module_parameters::max_index_mib.value());
    if bytes > u64::from(mib) << 20 {
        return Err(Refusal::MaxIndex { bytes, mib });
    }
    Ok(())
}

/// The value of a parameter: a value or, before kernel 7.3, a reference to it.
fn mib(value: &impl Borrow<u32>) -> u32 {
    *value.borrow()
}
