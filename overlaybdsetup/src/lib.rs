// SPDX-License-Identifier: GPL-2.0

//! overlaybdsetup: opens OverlayBD images as block devices, and closes them.
//!
//! ```text
//! cli        the command line
//!  |
//! source     finds the layers                  config, oci, registry: json, digest
//!  |
//! image      opens and checks the layers       layer, content: zfile, payload, tar, blob
//!  |
//! plan       computes the devices: a pure function
//!  |
//! executor   creates them, all or none         host: mapper, loop and nbd devices, store
//!  |
//! mounts     mounts the file system            filesystem
//! ```
//!
//! [`open`], [`close`], [`status`], [`record`], [`cache`], [`table`], [`dump`] and [`verify`] are
//! the commands. A [`fetcher`] is the process behind a layer that stays in a registry. The kernel
//! has the state of all devices. [`run_folder`] only has a lock, and the mount points of devices.
//!
//! [`dump`] and [`verify`] report more of a layer than `image`, which opens it or refuses it: both
//! use `inspect`. Commands print through `output`, use all processors through `parallel`, and read
//! the attributes of block devices through [`sysfs`].
//!
//! [`registry`] finds the layers of an image in a registry by the rules of [`oci`], and what gives
//! access to them. It reads no layer.

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations, unreachable_pub)]

mod blob;
pub mod cache;
pub mod cli;
pub mod close;
pub mod config;
pub mod content;
mod digest;
pub mod dump;
pub mod error;
pub mod executor;
pub mod fetcher;
pub mod filesystem;
#[cfg(test)]
mod fixture;
pub mod host;
pub mod image;
mod inspect;
mod json;
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
pub mod record;
pub mod registry;
pub mod run_folder;
pub mod signals;
pub mod source;
pub mod status;
pub mod store;
pub mod sysfs;
pub mod table;
pub mod tar;
pub mod verify;
pub mod zfile;
