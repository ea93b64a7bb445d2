// SPDX-License-Identifier: GPL-2.0

//! The text that a target answers `dmsetup status`, `dmsetup table` and IMA with.
//!
//! Carries text into device-mapper's buffer. What the text says is for the target to decide.
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use crate::bindings;
use core::{
    fmt,
    marker::PhantomData,
    ptr::NonNull, //
};

/// What device-mapper asks a target to describe.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusKind {
    /// The state of the target, for `dmsetup status`.
    Info,
    /// The arguments that construct the same target again, for `dmsetup table`.
    Table,
    /// What integrity measurement records: `key=value` pairs.
    Ima,
}

impl StatusKind {
    /// The kind of a `status_type_t`, [`None`] for one that this module does not know.
    pub(super) fn from_raw(raw: bindings::status_type_t) -> Option<Self> {
        match raw {
            bindings::status_type_t_STATUSTYPE_INFO => Some(Self::Info),
            bindings::status_type_t_STATUSTYPE_TABLE => Some(Self::Table),
            bindings::status_type_t_STATUSTYPE_IMA => Some(Self::Ima),
            _ => None,
        }
    }
}

/// A text in device-mapper's buffer.
///
/// A text that does not fit is cut at the last byte of the buffer: device-mapper takes a full
/// buffer as the sign to call again with a larger one.
///
/// # Invariants
///
/// `buffer` points to `capacity` bytes, which only this value uses for `'a`. `len < capacity`
/// unless both are zero, and the byte at `len` is NUL.
pub(crate) struct StatusText<'a> {
    buffer: NonNull<u8>,
    capacity: usize,
    len: usize,
    _buffer: PhantomData<&'a mut [u8]>,
}

impl StatusText<'_> {
    /// Starts an empty text in `buffer`.
    ///
    /// # Safety
    ///
    /// `buffer` must point to `capacity` bytes that nothing else uses while the text exists.
    pub(super) unsafe fn new(buffer: NonNull<u8>, capacity: usize) -> Self {
        if capacity > 0 {
            // SAFETY: By the safety requirements of this function there is a first byte.
            unsafe { buffer.write(0) };
        }
        // INVARIANT: The text is empty, and the first byte, if any, is NUL.
        Self {
            buffer,
            capacity,
            len: 0,
            _buffer: PhantomData,
        }
    }
}

impl fmt::Write for StatusText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.capacity.saturating_sub(self.len).saturating_sub(1);
        let n = room.min(text.len());
        if n == 0 {
            return Ok(());
        }
        // SAFETY: `len` is less than `capacity` by the type invariants.
        let end = unsafe { self.buffer.add(self.len) };
        // SAFETY: `len + n` is less than `capacity`, so these bytes are in the buffer. `text` is
        // not in it: nothing else refers to the buffer.
        unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), end.as_ptr(), n) };
        // SAFETY: As above.
        let end = unsafe { end.add(n) };
        // SAFETY: As above.
        // INVARIANT: The byte at the new `len` is NUL.
        unsafe { end.write(0) };
        self.len += n;
        Ok(())
    }
}
