// SPDX-License-Identifier: GPL-2.0

//! overlaybdsetup: from an OverlayBD image to a block device, and back.
//!
//! ```text
//! cli        the command line
//!  |
//! source     which files are the layers     config, oci
//!  |
//! image      layers, opened and checked     layer, content: zfile, payload, tar
//!  |
//! plan       which devices that takes: a pure function
//!  |
//! executor   makes them, or none            host: mapper, loop devices, store
//!  |
//! mounts     and mounts the file system     filesystem
//! ```
//!
//! [`open`], [`close`], [`status`], [`table`], [`dump`] and [`verify`] are the commands. What there is, is
//! always asked of the kernel: [`run_folder`] holds a lock and where devices were mounted, and nothing else.
//!
//! [`dump`] and [`verify`] say more of a layer than `image` does, which opens it or refuses it: both ask
//! `inspect`. What is printed goes through `output`, and what all processors do through `parallel`.

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations, unreachable_pub)]

pub mod cli;
pub mod close;
pub mod config;
pub mod content;
pub mod dump;
pub mod error;
pub mod executor;
pub mod filesystem;
#[cfg(test)]
mod fixture;
pub mod host;
pub mod image;
mod inspect;
pub mod layer;
pub mod mapper;
pub mod module;
pub mod mounts;
pub mod oci;
pub mod open;
mod output;
mod parallel;
pub mod payload;
pub mod plan;
pub mod run_folder;
pub mod signals;
pub mod source;
pub mod status;
pub mod store;
pub mod table;
pub mod tar;
pub mod verify;
pub mod zfile;
