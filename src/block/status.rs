// SPDX-License-Identifier: GPL-2.0

//! The status a bio ends with.
//!
//! C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)

use crate::bindings;
use core::num::NonZero;

/// Why a bio fails: a `blk_status_t` other than `BLK_STS_OK`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlkError(NonZero<bindings::blk_status_t>);

impl BlkError {
    /// `BLK_STS_IOERR`: the data is not available, or not right.
    pub(crate) const IOERR: Self = match NonZero::new(bindings::DM_OVERLAYBD_BLK_STS_IOERR) {
        Some(status) => Self(status),
        None => panic!("BLK_STS_IOERR is an error"),
    };

    /// `BLK_STS_AGAIN`: the read would have to wait, and its sender asked it not to
    /// (`REQ_NOWAIT`). The sender repeats it where it may wait.
    pub(crate) const AGAIN: Self = match NonZero::new(bindings::DM_OVERLAYBD_BLK_STS_AGAIN) {
        Some(status) => Self(status),
        None => panic!("BLK_STS_AGAIN is an error"),
    };

    /// `BLK_STS_NOTSUPP`: the device does not know such a bio.
    pub(super) const NOTSUPP: Self = match NonZero::new(bindings::DM_OVERLAYBD_BLK_STS_NOTSUPP) {
        Some(status) => Self(status),
        None => panic!("BLK_STS_NOTSUPP is an error"),
    };

    /// The result that a `blk_status_t` stands for.
    pub(super) fn check(status: bindings::blk_status_t) -> Result<(), Self> {
        NonZero::new(status).map_or(Ok(()), |status| Err(Self(status)))
    }

    /// The `blk_status_t`.
    pub(super) fn as_raw(self) -> bindings::blk_status_t {
        self.0.get()
    }
}
