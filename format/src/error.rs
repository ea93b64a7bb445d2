// SPDX-License-Identifier: GPL-2.0

//! What the errors of both formats have in common. The errors themselves are in the formats'
//! modules.

use core::convert::Infallible;
use core::ffi::CStr;
use core::fmt;

/// What to do about an error, for a caller that has to choose an error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The image breaks the format: it is damaged, cut, or not of this format at all (`EINVAL`).
    Malformed,
    /// The image may well be right, but it uses what this reader does not know (`EOPNOTSUPP`).
    Unsupported,
    /// The image is larger than the format's readers accept (`EFBIG`).
    TooLarge,
}

/// A check of the format that an image fails. Its [`Display`](fmt::Display) form is the message and
/// the offending value.
pub trait FormatError: fmt::Display {
    /// A short text that names the check.
    fn message(&self) -> &'static CStr;

    /// The kind of error, by which a caller chooses an error number.
    fn kind(&self) -> ErrorKind;
}

/// The error type of a read that checks nothing, so that only I/O can fail.
impl FormatError for Infallible {
    fn message(&self) -> &'static CStr {
        match *self {}
    }

    fn kind(&self) -> ErrorKind {
        match *self {}
    }
}
