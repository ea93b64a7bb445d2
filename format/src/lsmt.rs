// SPDX-License-Identifier: GPL-2.0

//! LSMT: which sectors of an image a layer holds, and how layers make an image.
//!
//! # Reading a stack
//!
//! 1. For each layer, [`Layer::open`] with its first 4096 bytes and those at [`trailer_offset`],
//!    then [`IndexLoader`] with [`Layer::index_entries`] segments of memory, and the index, in any
//!    pieces.
//! 2. [`merge`] twice: to count the segments of the image, and to collect them in a [`MapBuilder`].
//! 3. [`virtual_size`] for the size of the image, [`SegmentMap::lookup`] for each read.
//!
//! # What is read leniently
//!
//! As the format's own reader does, this one looks neither at the uuids nor at the versions, the
//! `size` field, unknown flags, the header's sizes and offsets, or the tag of an entry: `tag` is 0
//! in most layers and anything in those made by merging. Entries with the offset 2^50 - 1 are
//! padding and are dropped wherever they are. An entry may reach behind the virtual size of its
//! layer, or of the image, and behind sector 2^50, where no entry can start: it is cut there.

mod error;
mod extent;
mod fields;
mod header_trailer;
mod index;
mod layer;
mod map;
mod merge;
mod segment;
#[cfg(test)]
mod testing;

pub use error::OpenError;
pub use extent::Extent;
pub use fields::{
    EntryFields,
    HeaderTrailerFields, //
};
pub use header_trailer::HEADER_LEN;
pub use index::IndexLoader;
pub use layer::{
    trailer_offset,
    virtual_size,
    Layer, //
};
pub use map::{
    words_needed,
    MapBuilder,
    MapError,
    SegmentMap, //
};
pub use merge::{
    merge,
    Cursor,
    MergeError,
    MAX_LAYERS, //
};
pub use segment::Segment;
