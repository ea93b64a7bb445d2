// SPDX-License-Identifier: GPL-2.0

//! Device-mapper: target types, and what device-mapper hands to a target.
//!
//! Safe types over what `include/linux/device-mapper.h` declares. Nothing here knows images.
//!
//! | file | what it wraps |
//! |---|---|
//! | [`target`] | `struct target_type`: the trait [`target::Target`] |
//! | [`registration`] | registering a target type, and what all its targets share |
//! | [`callbacks`] | the functions that device-mapper calls |
//! | [`constructor`] | `struct dm_target` in `ctr` |
//! | [`args`] | the words of a table line |
//! | [`device`] | `struct dm_dev`: a lower device, reading it in a constructor |
//! | [`target_ref`] | `struct dm_target` after `ctr` |
//! | [`bio`] | a bio in `map`, and after `map` |
//! | [`visitor`] | `iterate_devices` |
//! | [`status`] | the text of `dmsetup status` and `dmsetup table` |
//! | [`log`] | lines in the kernel log |

pub(crate) mod args;
pub(crate) mod bio;
mod callbacks;
pub(crate) mod constructor;
pub(crate) mod device;
pub(crate) mod log;
pub(crate) mod registration;
pub(crate) mod status;
pub(crate) mod target;
mod target_ref;
pub(crate) mod visitor;
