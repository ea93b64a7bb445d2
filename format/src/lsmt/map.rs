// SPDX-License-Identifier: GPL-2.0

//! The merged segments of an image in memory: built once, then searched for each read.
//!
//! # Layout
//!
//! The map is an array of 32-bit words, four for each segment, in three parts:
//!
//! ```text
//!  +-----------+-------------------------+--------------------------------+
//!  | directory | groups, of 4 segments   | segments that are in no group  |
//!  | 1 word a  | in 14 words each        | 4 words each                   |
//!  | bucket    |                         |                                |
//!  +-----------+-------------------------+--------------------------------+
//! ```
//!
//! A group has 56 bytes and is read as a whole, so the processor waits for memory once. The two
//! words that it saves are the memory of the directory. That cuts the image into buckets of equal
//! length, up to two for each group, and has for each bucket the last group to start before it.
//! Where the segments are spread evenly, a lookup reads two words of the directory and then one or
//! two groups. Where they are crowded, it searches the groups between the two by halves.
//!
//! The last segments are in no group if they do not fill one. If the last segment starts at 8 TiB
//! or later, none is in a group, because a group has no room for all bits of its sectors. Lookups
//! search the segments that are in no group by halves.

mod builder;
mod group;
mod layout;
mod segment_map;
#[cfg(test)]
mod tests;

pub use builder::{
    words_needed,
    MapBuilder,
    MapError, //
};
pub use segment_map::SegmentMap;
