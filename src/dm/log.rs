// SPDX-License-Identifier: GPL-2.0

//! Lines in the kernel log, in device-mapper's form: prefix, device, target, text.
//!
//! Only errors are logged. What any user can provoke again and again, a read, is rate limited;
//! what takes an administrator, a table, is not.

use super::bindings;
use core::{
    fmt,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// Longest text of one line in bytes; what is beyond is cut.
const LINE: usize = 160;

/// The log of one target instance.
///
/// # Invariants
///
/// `ti` points to a target that lives as long as the log is used: a log is only handed to a
/// target's constructor and kept in the target made by it.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    ti: NonNull<bindings::dm_target>,
    name: &'static CStr,
}

// SAFETY: The fields of the target that are read here do not change while it lives.
unsafe impl Send for Log {}
// SAFETY: As above.
unsafe impl Sync for Log {}

impl Log {
    /// The log of the target `ti`, of the type `name`.
    ///
    /// # Safety
    ///
    /// `ti` must be a live target and outlive the log.
    pub(super) unsafe fn new(ti: NonNull<bindings::dm_target>, name: &'static CStr) -> Self {
        // INVARIANT: By the caller's promise.
        Self { ti, name }
    }

    /// Says why a table is refused.
    pub(crate) fn error(&self, text: fmt::Arguments<'_>) {
        self.line(text, bindings::dm_overlaybd_log_error);
    }

    /// Says why a read failed, unless too much of that kind was said just before.
    pub(crate) fn error_limited(&self, text: fmt::Arguments<'_>) {
        self.line(text, bindings::dm_overlaybd_log_error_limited);
    }

    fn line(
        &self,
        text: fmt::Arguments<'_>,
        print: unsafe extern "C" fn(*const c_char, *const c_char, *const c_char, c_int),
    ) {
        let mut line = Line::new();
        // Writing to a `Line` does not fail: it cuts.
        let _ = fmt::write(&mut line, text);
        // SAFETY: By the type invariant `ti` is live, and with it its table and mapped device,
        // whose name is a NUL-terminated string that never changes. `line` holds `len` bytes of
        // text, and `len` is at most `LINE`.
        unsafe {
            let md = bindings::dm_table_get_md((*self.ti.as_ptr()).table);
            let device = bindings::dm_device_name(md);
            print(
                device,
                self.name.as_char_ptr(),
                line.text.as_ptr().cast(),
                line.len as c_int,
            );
        }
    }
}

/// Text for one line, on the stack.
struct Line {
    text: [u8; LINE],
    len: usize,
}

impl Line {
    fn new() -> Self {
        Self {
            text: [0; LINE],
            len: 0,
        }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.text.get_mut(self.len..).unwrap_or_default();
        let n = room.len().min(text.len());
        if let (Some(place), Some(text)) = (room.get_mut(..n), text.as_bytes().get(..n)) {
            place.copy_from_slice(text);
            self.len = self.len.saturating_add(n);
        }
        Ok(())
    }
}
