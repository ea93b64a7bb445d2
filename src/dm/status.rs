// SPDX-License-Identifier: GPL-2.0

//! The text a target answers `dmsetup status`, `dmsetup table` and IMA with.
//!
//! Only carries text into device-mapper's buffer; what it says is the target's affair.

use super::{
    bindings,
    target::Target, //
};
use core::{
    fmt,
    ptr::NonNull, //
};

/// What device-mapper asks a target to describe.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusKind {
    /// The state of the target, for `dmsetup status`.
    Info,
    /// The arguments that make such a target again, for `dmsetup table`.
    Table,
    /// What integrity measurement records: `key=value` pairs.
    Ima,
}

impl StatusKind {
    /// The kind behind device-mapper's number; [`None`] for one this module does not know.
    pub(super) fn from_raw(raw: bindings::status_type_t) -> Option<Self> {
        match raw {
            bindings::status_type_t_STATUSTYPE_INFO => Some(Self::Info),
            bindings::status_type_t_STATUSTYPE_TABLE => Some(Self::Table),
            bindings::status_type_t_STATUSTYPE_IMA => Some(Self::Ima),
            _ => None,
        }
    }
}

/// Text being written into device-mapper's buffer.
///
/// Text that does not fit is cut at the buffer's last byte: device-mapper takes a full buffer as
/// the sign to call again with a larger one.
///
/// # Invariants
///
/// `buffer` points to `capacity` writable bytes for `'a`, `len < capacity` unless both are zero,
/// and the byte at `len` is NUL.
pub(crate) struct StatusText<'a> {
    buffer: NonNull<u8>,
    capacity: usize,
    len: usize,
    _buffer: core::marker::PhantomData<&'a mut [u8]>,
}

impl StatusText<'_> {
    /// Starts an empty text in `buffer`.
    ///
    /// # Safety
    ///
    /// `buffer` must point to `capacity` bytes that nobody else touches for the text's life.
    pub(super) unsafe fn new(buffer: NonNull<u8>, capacity: usize) -> Self {
        if capacity > 0 {
            // SAFETY: The caller promises `capacity` writable bytes, and there is at least one.
            unsafe { buffer.write(0) };
        }
        // INVARIANT: The text is empty, and the byte at 0, if any, has just been made NUL.
        Self {
            buffer,
            capacity,
            len: 0,
            _buffer: core::marker::PhantomData,
        }
    }
}

impl StatusText<'_> {
    /// Writes what the IMA text of every target begins with.
    pub(crate) fn target_name<T: Target>(&mut self) -> fmt::Result {
        let [major, minor, patch] = T::VERSION;
        let name = T::NAME.to_str().map_err(|_| fmt::Error)?;
        fmt::write(
            self,
            format_args!("target_name={name},target_version={major}.{minor}.{patch}"),
        )
    }
}

impl fmt::Write for StatusText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.capacity.saturating_sub(self.len).saturating_sub(1);
        let n = room.min(text.len());
        if n == 0 {
            return Ok(());
        }
        // SAFETY: `len + n + 1 <= capacity`, so by the type invariant the bytes written are in
        // the buffer; `text` is a Rust string and cannot overlap a buffer nobody else touches.
        // INVARIANT: The byte at the new `len` is made NUL.
        unsafe {
            let end = self.buffer.add(self.len);
            core::ptr::copy_nonoverlapping(text.as_ptr(), end.as_ptr(), n);
            end.add(n).write(0);
        }
        self.len += n;
        Ok(())
    }
}
