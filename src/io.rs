// SPDX-License-Identifier: GPL-2.0

//! The read engine: answers a bio from other bytes of a lower device.
//!
//! Policy over the safe types of [`block`](crate::block), [`dm`](crate::dm) and
//! [`sys`](crate::sys). Nothing here knows what a ZFile or a layer is.
//!
//! | file | what it decides |
//! |---|---|
//! | [`read_through`] | the path of a read: lower read, completion, end of the bio |
//! | [`block_cache`] | which decompressed blocks of a device stay in memory |
//! | [`buffer`] | the memory of a read in flight, with a reserve |
//! | [`offload`] | when a task passes decompression to another CPU |
//! | [`stack`] | how deep completions may nest on a stack |

pub(crate) mod block_cache;
pub(crate) mod buffer;
mod offload;
pub(crate) mod read_through;
mod stack;
