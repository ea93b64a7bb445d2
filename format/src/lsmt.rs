// SPDX-License-Identifier: GPL-2.0

//! LSMT: which sectors of an image a layer holds, and how layers form an image.
//!
//! # Reading a stack
//!
//! 1. For each layer, [`Layer::open`] checks the first 4096 bytes and those at [`trailer_offset`].
//!    Then an [`IndexLoader`] with [`Layer::index_entries`] segments of memory takes the index, in
//!    pieces of any length.
//! 2. [`merge()`] runs twice: to count the segments of the image, and to collect them in a
//!    [`MapBuilder`].
//! 3. [`virtual_size`] is the size of the image. [`SegmentMap::lookup`] serves each read.
//!
//! # What is read leniently
//!
//! Like the format's own reader, this one ignores the uuids, the versions, the `size` field,
//! unknown flags, the header's sizes and offsets, and the tag of an entry: `tag` is 0 in most
//! layers and any number in those that were merged. Entries with the offset 2^50 - 1 are padding
//! and are dropped wherever they are. An entry may end after the virtual size of its layer or of
//! the image. It may even end after sector 2^50, where no entry can start: it is cut there.

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
