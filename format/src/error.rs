// SPDX-License-Identifier: GPL-2.0

//! What kind of trouble an error is. The errors themselves are with the formats.

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
