// SPDX-License-Identifier: GPL-2.0

//! Memory for indexes, which an image asks for and a target keeps as long as it lives.
//!
//! It cannot be reclaimed, so it is bounded twice before it is allocated: for one target, and for
//! all targets together. Both count what a constructor needs for a while as well, the indexes of
//! the layers that are being merged. This knows nothing of what an index holds.

use crate::dm::{
    total_memory,
    Array,
    CtrError,
    Setup, //
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

/// The bytes of all indexes there are.
static IN_USE: Atomic<u64> = Atomic::new(0);

/// The share of the machine's memory that all indexes may take when no parameter says how much.
const DEFAULT_SHARE: u64 = 4;

/// Memory of an index.
pub(crate) struct Index<T: Copy> {
    elements: Array<T>,
    // Given back after the memory.
    _charge: Charge,
}

impl<T: Copy> Index<T> {
    /// Memory for `len` elements, if targets may use that much and the kernel has it. An image may
    /// ask for more than there is: no process is killed for it. The memory is charged to the cgroup
    /// of the task that loads the table.
    pub(crate) fn new(setup: &Setup<'_>, value: T, len: usize) -> Result<Self, CtrError> {
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        check_target(setup, bytes)?;
        let charge = Charge::take(setup, bytes)?;
        let elements = Array::new(value, len).map_err(|error| {
            setup.refuse(
                c"Cannot allocate the index",
                error.into(),
                format_args!("no memory for an index of {bytes} bytes"),
            )
        })?;
        Ok(Self {
            elements,
            _charge: charge,
        })
    }

    /// Forgets the elements from `len` on. The memory stays.
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

/// A part of [`IN_USE`], given back when it is dropped.
struct Charge(u64);

impl Charge {
    /// Takes `bytes` of what the indexes of all targets may take.
    fn take(setup: &Setup<'_>, bytes: u64) -> Result<Self, CtrError> {
        let others = IN_USE.fetch_add(bytes, Relaxed);
        let charge = Self(bytes);
        let limit = match mib(&crate::module_parameters::max_total_index_mib.value()) {
            0 => total_memory() / DEFAULT_SHARE,
            mib => u64::from(mib) << 20,
        };
        if others.saturating_add(bytes) > limit {
            return Err(setup.refuse(
                c"Indexes are larger than max_total_index_mib",
                ENOMEM,
                format_args!(
                    "the index takes {bytes} bytes, other indexes {others}, \
                     together they may take {limit}"
                ),
            ));
        }
        Ok(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        IN_USE.fetch_sub(self.0, Relaxed);
    }
}

/// Refuses an index that would take more memory than one target may use.
pub(crate) fn check_target(setup: &Setup<'_>, bytes: u64) -> Result<(), CtrError> {
    let mib = mib(&crate::module_parameters::max_index_mib.value());
    if bytes > u64::from(mib) << 20 {
        return Err(setup.refuse(
            c"Index is larger than max_index_mib",
            EFBIG,
            format_args!("the index takes {bytes} bytes, max_index_mib is {mib}"),
        ));
    }
    Ok(())
}

/// The value of a parameter: a value or, before kernel 7.3, a reference to it.
fn mib(value: &impl Borrow<u32>) -> u32 {
    *value.borrow()
}
