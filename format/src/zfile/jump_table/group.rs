// SPDX-License-Identifier: GPL-2.0

//! 64 blocks of a jump table, and the sum of the lengths before one of them.

use crate::{
    arith::{
        add_u32,
        shl_u64,
        shr_u64,
        sub_u64, //
    },
    convert::usize_from, //
};
use core::fmt;

/// log2 of the blocks of a group.
pub(super) const GROUP_SHIFT: u32 = 6;

/// The blocks of a group.
pub(super) const GROUP_LEN: usize = 1 << GROUP_SHIFT;

/// The bits of a block's number that are its slot in the group.
pub(super) const SLOT_MASK: u32 = (1 << GROUP_SHIFT) - 1;

const _: () = assert!(size_of::<Group>() == 144);

/// 64 blocks of a jump table, in 144 bytes: memory for a
/// [`JumpTableBuilder`](super::JumpTableBuilder).
#[derive(Clone, Copy)]
pub struct Group {
    /// Where the first block of the group is.
    pub(super) base: u64,
    /// Bit 16 of the stored length of each block.
    pub(super) long: u64,
    /// Bits 0 to 15 of the stored length of each block.
    pub(super) lens: [u16; GROUP_LEN],
}

impl Group {
    /// A group to fill memory with.
    pub const EMPTY: Self = Self {
        base: 0,
        long: 0,
        lens: [0; GROUP_LEN],
    };

    /// The stored length of the block in `slot`.
    #[inline]
    pub(super) fn len(&self, slot: u32) -> u32 {
        let low = self.lens.get(usize_from(slot)).copied().unwrap_or(0);
        let high = u32::from(shr_u64(self.long, slot) & 1 != 0);
        u32::from(low) | high << 16
    }

    /// The sum of the stored lengths before `slot`: at most 63 * 0x1ffff.
    #[inline]
    pub(super) fn before(&self, slot: u32) -> u32 {
        let low = self
            .lens
            .iter()
            .take(usize_from(slot))
            .fold(0u32, |sum, len| add_u32(sum, u32::from(*len)));
        let mask = sub_u64(shl_u64(1, slot), 1);
        add_u32(low, (self.long & mask).count_ones() << 16)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// The number of [`Group`]s in the jump table of `block_count` blocks.
#[inline]
#[must_use]
pub const fn groups_needed(block_count: u32) -> usize {
    usize_from(block_count.div_ceil(1 << GROUP_SHIFT))
}
