// SPDX-License-Identifier: GPL-2.0

//! What the constructors of both targets share.
//!
//! | file | what it is |
//! |---|---|
//! | [`layer_device`] | a lower device and the length of the image on it |
//! | [`index`] | the memory that indexes take, and its limits |
//! | [`refusal`] | why a table line is refused |

pub(crate) mod index;
pub(crate) mod layer_device;
pub(crate) mod refusal;
