// SPDX-License-Identifier: GPL-2.0

//! The index of a ZFile in memory: where each block is, in 2.25 bytes a block.
//!
//! The index on disk holds lengths, and a reader needs offsets. The table has one 64-bit offset for
//! each group of 64 blocks, and all lengths: the offset of a block is that of its group and the sum
//! of the lengths before it. A stored length fits 17 bits (at most 65536 + 516): 16 of them are in
//! an array, the seventeenth in a bitmap.

mod builder;
mod group;
mod table;
#[cfg(test)]
mod tests;

pub use builder::JumpTableBuilder;
pub use group::{
    groups_needed,
    Group, //
};
pub use table::{
    Blocks,
    JumpTable,
    StoredBlock, //
};
