// SPDX-License-Identifier: GPL-2.0

//! Network block devices: the [protocol] as far as reading needs it, a [client] for a server such
//! as nbdkit, and the kernel's [driver] through netlink.
//!
//! It does not know what the bytes are, starts no process, and never writes to an export.

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations, unreachable_pub)]

pub mod client;
pub mod driver;
pub mod protocol;
