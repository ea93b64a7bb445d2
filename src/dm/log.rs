// SPDX-License-Identifier: GPL-2.0

//! Lines in the kernel log, in device-mapper's form: prefix, device, target, text.
//!
//! Only errors are logged. Lines about reads are rate limited, because any user can provoke them.
//! Lines about tables are not, because a table takes an administrator.
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use crate::bindings;
use core::{
    fmt,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// The longest text of a line in bytes. A longer text is cut.
const MAX_TEXT: usize = 160;

/// A function of `helpers.c` that logs a line.
type Print = unsafe extern "C" fn(*const c_char, *const c_char, *const c_char, c_int);

/// The log of one target.
///
/// # Invariants
///
/// `ti` is a target that lives as long as the log: a log is only given to the constructor of a
/// target and kept in that target.
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
    /// `ti` must be a live target, and outlive the log.
    pub(super) unsafe fn new(ti: NonNull<bindings::dm_target>, name: &'static CStr) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self { ti, name }
    }

    /// Logs why a table is refused.
    pub(super) fn error(&self, text: fmt::Arguments<'_>) {
        self.line(text, bindings::dm_overlaybd_DMERR);
    }

    /// Logs why a read failed, at a limited rate.
    pub(crate) fn error_ratelimited(&self, text: fmt::Arguments<'_>) {
        self.line(text, bindings::dm_overlaybd_DMERR_LIMIT);
    }

    fn line(&self, text: fmt::Arguments<'_>, print: Print) {
        let mut line = Line::new();
        // Writing to a `Line` does not fail: it cuts.
        let _ = fmt::write(&mut line, text);
        // SAFETY: `ti` is live by the type invariants.
        let table = unsafe { (*self.ti.as_ptr()).table };
        // SAFETY: A live target belongs to a live table.
        let md = unsafe { bindings::dm_table_get_md(table) };
        // SAFETY: A live table belongs to a live mapped device.
        let device = unsafe { bindings::dm_device_name(md) };
        // SAFETY: The name of a mapped device is a C string that never changes. `print` reads the
        // first `len` bytes of the line.
        unsafe {
            print(
                device,
                self.name.as_char_ptr(),
                line.text.as_ptr().cast(),
                line.len as c_int,
            )
        };
    }
}

/// Text for one line, on the stack.
///
/// `kernel::str::Formatter` would do, but it computes its length with an overflow check, which is a
/// panic on the read path (`tests/check-panics`).
struct Line {
    text: [u8; MAX_TEXT],
    len: usize,
}

impl Line {
    fn new() -> Self {
        Self {
            text: [0; MAX_TEXT],
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
