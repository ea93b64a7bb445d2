// SPDX-License-Identifier: GPL-2.0

//! ZFile: a compressed file with random access.
//!
//! The content is cut into blocks of one size. Each is compressed on its own, and they are stored
//! back to back, without padding. The index holds the stored length of each block as a `u32`. The
//! sums of these are the blocks' offsets; a [`JumpTable`] has them in 2.25 bytes a block.
//!
//! # Reading one
//!
//! 1. [`open`] checks the first 512 bytes. They are enough if the writer rewrote the header after
//!    compression. Otherwise [`PendingTrailer`] has the offset of the trailer.
//! 2. A [`JumpTableBuilder`] with [`groups_needed`] groups of memory takes the index, in pieces of
//!    any length.
//! 3. For each read, [`Planner::plan`] says what to read, and [`Planner::read_all`] decompresses
//!    that into an [`Output`](crate::Output).
//!
//! ```
//! use overlaybd_format::units::{Bytes, CompressedOffset, ContentOffset, LogicalBlockSize};
//! use overlaybd_format::zfile::{
//!     groups_needed, open, Destination, Group, HeaderOutcome, JumpTableBuilder, Lz4, Planner,
//! };
//!
//! // Any implementation is good; the kernel has crc32c().
//! fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
//!     bytes.iter().fold(seed, |crc, byte| {
//!         (0..8).fold(crc ^ u32::from(*byte), |c, _| {
//!             (c >> 1) ^ (0x82f6_3b78 * (c & 1))
//!         })
//!     })
//! }
//!
//! // One block of 4096 zeros, compressed to 26 bytes: header, block, index, trailer.
//! let block = b"\x1f\x00\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
//!               \xf6\x50\x00\x00\x00\x00\x00";
//! let mut area = [0u8; 512];
//! area[..24].copy_from_slice(b"ZFile\x00\x01\x00tuji.yyf@Alibaba");
//! area[76] = 1; // LZ4
//! area[72..76].copy_from_slice(&4096u32.to_le_bytes()); // bytes in a block
//! let mut trailer = area;
//! area[32] = 0x03; // a header, of data
//! trailer[32] = 0x06; // of data, sealed
//! trailer[40..48].copy_from_slice(&538u64.to_le_bytes()); // where the index is
//! trailer[48..56].copy_from_slice(&1u64.to_le_bytes()); // how many blocks
//! trailer[56..64].copy_from_slice(&4096u64.to_le_bytes()); // bytes of content
//!
//! let layout = match open(&area, Bytes::new(512 + 26 + 4 + 512), crc32c).unwrap() {
//!     HeaderOutcome::Complete(layout) => layout,
//!     HeaderOutcome::NeedsTrailer(pending) => {
//!         assert_eq!(pending.offset(), CompressedOffset::new(542));
//!         pending.finish(&trailer, crc32c).unwrap()
//!     }
//! };
//! let mut memory = [Group::EMPTY; 1];
//! assert_eq!(groups_needed(layout.block_count()), 1);
//! let mut builder = JumpTableBuilder::new(layout, &mut memory[..], crc32c).unwrap();
//! builder.push(&26u32.to_le_bytes()).unwrap();
//! let table = builder.finish().unwrap();
//!
//! let planner = Planner::new(table, LogicalBlockSize::SECTOR);
//! let to = Destination::Segment;
//! let plan = planner.plan(ContentOffset::new(1000), Bytes::new(2000), to).unwrap();
//! assert_eq!((plan.sector.get(), plan.len), (1, 512));
//! // The caller reads this. The index follows the block.
//! let mut read = [0; 512];
//! read[..26].copy_from_slice(block);
//! let (mut scratch, mut content) = ([0; 4096], [0xaa; 2000]);
//! let mut out = &mut content[..];
//! planner.read_all(&plan.blocks, &read, &mut scratch, &mut out, crc32c, &mut Lz4).unwrap();
//! assert!(content.iter().all(|byte| *byte == 0));
//! ```
//!
//! # What is read leniently
//!
//! The first writers (2021) did not clear their structures, so flag bits above 5, reserved fields
//! and padding hold garbage in files that are still served today. They are ignored. Also ignored
//! are the index fields of a header that is not overwritten, the digests where the digest flag is
//! clear, the `size` field, the compression level, `use_dict`, and the "index is compressed" flag,
//! which no writer sets and no reader honours.

mod block;
mod error;
mod fields;
mod header_trailer;
mod jump_table;
mod layout;
mod lz4;
mod plan;
mod read;
#[cfg(test)]
mod testing;

pub use block::{
    decode,
    BlockError,
    Decompress, //
};
pub use error::OpenError;
pub use fields::HeaderTrailerFields;
pub use header_trailer::HEADER_LEN;
pub use jump_table::{
    groups_needed,
    Blocks,
    Group,
    JumpTable,
    JumpTableBuilder,
    StoredBlock, //
};
pub use layout::{
    open,
    Algorithm,
    HeaderOutcome,
    Layout,
    PendingTrailer, //
};
pub use lz4::Lz4;
pub use plan::{
    BlockRange,
    Destination,
    Plan,
    Planner, //
};
pub use read::ReadError;
