// SPDX-License-Identifier: GPL-2.0

//! The block layer: bios and queue limits.
//!
//! Safe types over what `include/linux/bio.h` and `include/linux/blkdev.h` declare. Nothing here
//! knows device-mapper or images.
//!
//! | file | what it wraps |
//! |---|---|
//! | [`bio`] | a bio that a driver has taken: its data, its end |
//! | [`bio_list`] | a list of such bios |
//! | [`lower_bio`] | a bio that a driver submits, in memory of its own |
//! | [`status`] | `blk_status_t` |
//! | [`limits`] | `struct queue_limits` |

pub(crate) mod bio;
pub(crate) mod bio_list;
pub(crate) mod limits;
pub(crate) mod lower_bio;
pub(crate) mod status;
