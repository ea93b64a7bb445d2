// SPDX-License-Identifier: GPL-2.0

//! A list of bios that a driver has taken.
//!
//! The list links the bios through `bi_next` and needs no memory of its own. It never ends a bio,
//! except that a list that is dropped fails the bios that are still on it.

use super::bio::OwnedBio;
use crate::bindings;
use core::ptr::{
    null_mut,
    NonNull, //
};

/// Bios that wait for the same event, the latest first.
///
/// # Invariants
///
/// `head` is null or a bio of a list that is linked through `bi_next` and ends with null. The list
/// owns all these bios, as an [`OwnedBio`] would.
pub(crate) struct BioList {
    head: *mut bindings::bio,
}

// SAFETY: The list owns its bios, and any thread may own a bio.
unsafe impl Send for BioList {}

impl BioList {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no bio.
        Self { head: null_mut() }
    }

    /// Puts a bio on the list.
    pub(crate) fn push(&mut self, bio: OwnedBio) {
        let bio = bio.into_raw().as_ptr();
        // SAFETY: The bio is live by the invariants of `OwnedBio`. The owner of a bio may use
        // `bi_next`.
        unsafe { (*bio).bi_next = self.head };
        // INVARIANT: The list now owns the bio, and the bios before it follow it.
        self.head = bio;
    }

    /// Takes a bio off the list.
    pub(crate) fn pop(&mut self) -> Option<OwnedBio> {
        let bio = NonNull::new(self.head)?;
        // SAFETY: The bio is live by the type invariants.
        let next = unsafe { core::mem::replace(&mut (*bio.as_ptr()).bi_next, null_mut()) };
        // INVARIANT: `next` is the rest of the list.
        self.head = next;
        // SAFETY: The list owned the bio as an `OwnedBio` does, and no longer refers to it.
        Some(unsafe { OwnedBio::from_raw(bio) })
    }
}

impl Drop for BioList {
    fn drop(&mut self) {
        while let Some(bio) = self.pop() {
            drop(bio);
        }
    }
}
