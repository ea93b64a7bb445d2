// SPDX-License-Identifier: GPL-2.0

//! OverlayBD's on-disk formats: ZFile and LSMT.
//!
//! An OverlayBD image is a stack of layers, lowest first. Each layer is an LSMT blob (which sectors
//! of the image it holds, and their content), usually compressed as a ZFile. This crate decodes the
//! structures of both. It reads no file or device: the caller brings the bytes, the memory and the
//! CRC, so the kernel module and the host use the same sources. It never allocates, never recurses,
//! never panics, and contains no `unsafe`.
//!
//! Every field of an image is checked before it is used. Every check has an error of its own, which
//! carries the offending value.
//!
//! # ZFile
//!
//! ```text
//!  0          512                            index_offset          zfile_len-512   zfile_len
//!  +----------+---------+---------+-----+----+---------------------+---------------+
//!  | header   | block 0 | block 1 | ... |    | index: n x u32      | trailer       |
//!  +----------+---------+---------+-----+----+---------------------+---------------+
//!             |         `- stored length = index[1]
//!             `- compressed bytes [+ CRC-32C of them, if `verify`]
//! ```
//!
//! Block *i* decompresses to content bytes `[i * block_size, (i + 1) * block_size)`, the last block
//! to the rest. The header and the trailer have the same fields. The header has the offset of the
//! index if its "overwritten" flag is set, else the trailer has it. See [`zfile`].
//!
//! # LSMT
//!
//! ```text
//!  0          4096                   index_offset            blob_len-4096   blob_len
//!  +----------+----------------------+-----------------------+---------------+
//!  | header   | data, whole sectors  | index: n x 16 bytes   | trailer       |
//!  +----------+----------------------+-----------------------+---------------+
//!
//!  an index entry, two little-endian u64:
//!  63        50 49                                0   63  56 55 54                        0
//!  +-----------+----------------------------------+   +-----+-+---------------------------+
//!  | sectors   | first sector of the image        |   | tag |z| first sector in the blob  |
//!  +-----------+----------------------------------+   +-----+-+---------------------------+
//! ```
//!
//! The sectors of an entry with `z` set are zero. Of all layers that have an entry for a sector the
//! topmost wins. A sector that no layer has is zero. See [`lsmt`].
//!
//! # Example
//!
//! Two layers that are loaded already, merged into one map. The caller runs the merge twice, first
//! to learn how much memory the map needs.
//!
//! ```
//! use overlaybd_format::lsmt::{
//!     merge, words_needed, Cursor, Extent, MapBuilder, MapError, Segment,
//! };
//! use overlaybd_format::units::{Sector, Sectors};
//!
//! let data = |start, len, source| {
//!     Segment::data(Sector::new(start), Sectors::new(len), Sector::new(source)).unwrap()
//! };
//! let lower = [data(0, 100, 8)];
//! let upper = [data(40, 10, 8)];
//! let layers: [&[Segment]; 2] = [&lower, &upper];
//!
//! let mut scratch = [Cursor::EMPTY; 2];
//! let (mut count, mut last) = (0, Sector::new(0));
//! merge(&layers, &mut scratch, |segment| {
//!     count += 1;
//!     last = segment.start();
//!     Ok::<(), MapError>(())
//! })
//! .unwrap();
//! assert_eq!(count, 3);
//!
//! let memory = vec![0; words_needed(count).unwrap()];
//! let mut builder = MapBuilder::new(count, last, memory).unwrap();
//! merge(&layers, &mut scratch, |segment| builder.push(segment)).unwrap();
//! let map = builder.finish().unwrap();
//! assert_eq!(
//!     map.lookup(Sector::new(45)),
//!     Extent::Data { layer: 1, source: Sector::new(13), len: Sectors::new(5) }
//! );
//! ```
//!
//! # Errors
//!
//! [`zfile::OpenError`] and [`lsmt::OpenError`] have one variant per check; the checks that both
//! formats make are in [`StructureError`]. A [`FormatError`] has a short text that names the check,
//! a C string for `dm_target::error`, and an [`ErrorKind`] to choose an errno by. Its
//! [`Display`](core::fmt::Display) form adds the value. [`zfile::BlockError`] is the error of a
//! read.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used,
    clippy::use_self
)]
// A test fails by a panic.
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

#[cfg(test)]
extern crate std;

mod arith;
mod convert;
mod error;
mod fields;
mod header_trailer;
mod output;
mod records;
#[cfg(test)]
mod testing;

pub mod lsmt;
pub mod units;
pub mod zfile;

pub use error::{
    ErrorKind,
    FormatError,
    StructureError, //
};
pub use output::Output;

/// CRC-32C (Castagnoli, reflected polynomial `0x82f63b78`) without initial or final inversion.
///
/// It continues from `seed`: `crc(crc(s, a), b)` is the CRC of `a` followed by `b`. This is the
/// kernel's `crc32c()`. The caller passes it, because each platform has a fast implementation.
pub type Crc32c = fn(seed: u32, bytes: &[u8]) -> u32;
