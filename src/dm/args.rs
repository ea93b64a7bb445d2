// SPDX-License-Identifier: GPL-2.0

//! The words of a table line after the target's name, as `ctr` gets them.
//!
//! Hands out words one by one; what they mean, and how many there must be, is the target's affair.

use kernel::prelude::*;

/// The arguments of a table line, read from left to right.
///
/// # Invariants
///
/// `argv` points to `count` pointers to NUL-terminated strings, all alive and unchanged for `'a`.
pub(crate) struct Args<'a> {
    argv: *mut *mut c_char,
    count: usize,
    next: usize,
    _strings: core::marker::PhantomData<&'a CStr>,
}

impl<'a> Args<'a> {
    /// Wraps what device-mapper hands a constructor.
    ///
    /// # Safety
    ///
    /// `argv` must point to `argc` pointers to NUL-terminated strings that live unchanged for
    /// `'a`.
    pub(super) unsafe fn new(argc: c_uint, argv: *mut *mut c_char) -> Self {
        // INVARIANT: The caller's promise is the invariant.
        Self {
            argv,
            count: usize::try_from(argc).unwrap_or(0),
            next: 0,
            _strings: core::marker::PhantomData,
        }
    }

    /// How many words are left.
    pub(crate) fn remaining(&self) -> usize {
        self.count.saturating_sub(self.next)
    }

    /// The next word.
    pub(crate) fn word(&mut self) -> Option<&'a CStr> {
        if self.next >= self.count {
            return None;
        }
        // SAFETY: `next < count`, so by the type invariant this element of `argv` exists and
        // points to a string that lives for `'a`.
        let word = unsafe { CStr::from_char_ptr(*self.argv.add(self.next)) };
        self.next += 1;
        Some(word)
    }

    /// The next word as a decimal number; [`None`] if it is missing or is no number that fits.
    pub(crate) fn number(&mut self) -> Option<u64> {
        self.word()?.to_str().ok()?.parse().ok()
    }
}
