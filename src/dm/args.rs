// SPDX-License-Identifier: GPL-2.0

//! The words of a table line after the target's name, as `ctr` receives them.
//!
//! What the words mean, and how many there must be, is for the target to decide.

use core::marker::PhantomData;
use kernel::prelude::*;

/// The arguments of a table line, read from left to right.
///
/// # Invariants
///
/// `argv` points to `count` pointers to C strings, all live and unchanged for `'a`.
pub(crate) struct Args<'a> {
    argv: *mut *mut c_char,
    count: usize,
    next: usize,
    _strings: PhantomData<&'a CStr>,
}

impl<'a> Args<'a> {
    /// Wraps what device-mapper passes to a constructor.
    ///
    /// # Safety
    ///
    /// `argv` must point to `argc` pointers to C strings that live unchanged for `'a`.
    pub(super) unsafe fn new(argc: c_uint, argv: *mut *mut c_char) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            argv,
            count: usize::try_from(argc).unwrap_or(0),
            next: 0,
            _strings: PhantomData,
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
        // SAFETY: `next` is less than `count`, so `argv` has this element by the type invariants.
        let word = unsafe { self.argv.add(self.next) };
        // SAFETY: As above.
        let word = unsafe { word.read() };
        self.next += 1;
        // SAFETY: The element points to a C string that lives for `'a` by the type invariants.
        Some(unsafe { CStr::from_char_ptr(word) })
    }

    /// The next word as a decimal number, [`None`] if there is no such word or no such 64-bit
    /// number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        self.word()?.to_str().ok()?.parse().ok()
    }
}
