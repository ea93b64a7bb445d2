// SPDX-License-Identifier: GPL-2.0

//! The read engine: answers a bio from other bytes of a lower device.
//!
//! Policy over the safe types of [`block`](crate::block), [`dm`](crate::dm) and
//! [`sys`](crate::sys). Nothing here knows what a ZFile or a layer is.
//!
//! | file | what it decides |
//! |---|---|
//! | [`read_through`] | the lower read of a bio |
//! | [`completion`] | where a read is decompressed, and the end of its bio |
//! | [`pending`] | a target that is read through, and the state of one read |
//! | [`block_cache`] | which decompressed blocks of a device stay in memory |
//! | [`buffer`] | the memory of a read in flight, with a reserve |
//! | [`stack`] | whether there is room on the stack for a nested completion |

pub(crate) mod block_cache;
pub(crate) mod buffer;
mod completion;
pub(crate) mod pending;
pub(crate) mod read_through;
mod stack;
