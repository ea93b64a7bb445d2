// SPDX-License-Identifier: GPL-2.0

//! The finished jump table: where each block of a ZFile is. It never changes, and never reads a
//! block.

use super::group::{
    Group,
    GROUP_SHIFT,
    SLOT_MASK, //
};
use crate::{
    arith::{
        add_u32,
        add_u64, //
    },
    convert::usize_from,
    units::{
        BlockIndex,
        Bytes,
        CompressedOffset, //
    },
    zfile::layout::Layout, //
};
use core::{
    fmt,
    ops::Deref, //
};

/// Where a block is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// The offset of its first byte.
    pub offset: CompressedOffset,
    /// Its length in bytes, including its CRC.
    pub len: u32,
}

/// Where each block of a ZFile is.
///
/// # Invariants
///
/// The blocks lie between the header and the index, back to back, and none is longer than
/// [`Layout::max_stored_len`].
pub struct JumpTable<S> {
    layout: Layout,
    groups: S,
}

impl<S> JumpTable<S> {
    /// The table in groups that are filled already.
    pub(super) const fn new(layout: Layout, groups: S) -> Self {
        Self { layout, groups }
    }
}

impl<S> fmt::Debug for JumpTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JumpTable")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl<S: Deref<Target = [Group]>> JumpTable<S> {
    /// The layout of the file.
    #[inline]
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where a block is, [`None`] if there is no such block.
    #[inline]
    #[must_use]
    pub fn stored(&self, block: BlockIndex) -> Option<StoredBlock> {
        stored(&self.layout, &self.groups, block)
    }

    /// Where the blocks from `first` to `last`, both included, are: their first byte, and the
    /// length of all. [`None`] if there is no such block, or `last` is before `first`.
    #[inline]
    #[must_use]
    pub fn span(&self, first: BlockIndex, last: BlockIndex) -> Option<(CompressedOffset, Bytes)> {
        span(&self.layout, &self.groups, first, last)
    }

    /// The blocks from `first` to `last`, both included, and where each is. Blocks the file does
    /// not have are left out.
    ///
    /// This takes one sum for the first block, and none for the others.
    #[inline]
    #[must_use]
    pub fn blocks(&self, first: BlockIndex, last: BlockIndex) -> Blocks<'_> {
        let at = self
            .stored(first)
            .map_or(CompressedOffset::new(0), |first| first.offset);
        self.blocks_at(at, first, last)
    }

    /// As [`blocks`](Self::blocks), for a caller that knows where `first` is: it takes no sum.
    #[inline]
    pub(crate) fn blocks_at(
        &self,
        at: CompressedOffset,
        first: BlockIndex,
        last: BlockIndex,
    ) -> Blocks<'_> {
        let end = last.get().saturating_add(1).min(self.layout.block_count());
        Blocks {
            groups: &self.groups,
            next: first.get(),
            end,
            offset: at.get(),
        }
    }

    /// The memory of the table in bytes, without the layout.
    #[inline]
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val::<[Group]>(&self.groups)
    }
}

// The functions below are not generic over the memory, so they are compiled once, with this crate.

fn stored(layout: &Layout, groups: &[Group], block: BlockIndex) -> Option<StoredBlock> {
    if block.get() >= layout.block_count() {
        return None;
    }
    let group = groups.get(usize_from(block.get() >> GROUP_SHIFT))?;
    let slot = block.get() & SLOT_MASK;
    Some(StoredBlock {
        offset: CompressedOffset::new(add_u64(group.base, u64::from(group.before(slot)))),
        len: group.len(slot),
    })
}

fn span(
    layout: &Layout,
    groups: &[Group],
    first: BlockIndex,
    last: BlockIndex,
) -> Option<(CompressedOffset, Bytes)> {
    if last < first {
        return None;
    }
    let start = stored(layout, groups, first)?;
    // Many reads are of one block, which takes one sum.
    let end = if last == first {
        start
    } else {
        stored(layout, groups, last)?
    };
    let len = end
        .offset
        .checked_sub(start.offset)?
        .checked_add(Bytes::new(u64::from(end.len)))?;
    Some((start.offset, len))
}

/// Consecutive blocks of a ZFile, see [`JumpTable::blocks`].
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    groups: &'a [Group],
    next: u32,
    end: u32,
    offset: u64,
}

impl Iterator for Blocks<'_> {
    type Item = (BlockIndex, StoredBlock);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let block = BlockIndex::new(self.next);
        let group = self.groups.get(usize_from(self.next >> GROUP_SHIFT))?;
        let stored = StoredBlock {
            offset: CompressedOffset::new(self.offset),
            len: group.len(self.next & SLOT_MASK),
        };
        self.next = add_u32(self.next, 1);
        self.offset = add_u64(self.offset, u64::from(stored.len));
        Some((block, stored))
    }
}
