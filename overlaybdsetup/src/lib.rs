// SPDX-License-Identifier: GPL-2.0

//! overlaybdsetup: from an OverlayBD image to a block device, and back.

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations, unreachable_pub)]

pub mod cli;
pub mod content;
pub mod error;
pub mod layer;
pub mod tar;
