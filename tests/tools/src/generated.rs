// SPDX-License-Identifier: GPL-2.0

//! Images that `overlaybd_image::generate` makes, read through device-mapper and compared with what
//! they must hold.

pub mod compare;
pub mod guest;
pub mod refusal;
