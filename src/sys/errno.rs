// SPDX-License-Identifier: GPL-2.0

//! Error numbers that the `kernel` crate of some supported kernels does not name.

use crate::bindings;
use kernel::{
    error::Error,
    prelude::*, //
};

/// `EOPNOTSUPP`: the image may be right, but this kernel cannot read it.
pub(crate) fn unsupported() -> Error {
    Error::from_errno(-(bindings::EOPNOTSUPP as c_int))
}
