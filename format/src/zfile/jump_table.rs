// SPDX-License-Identifier: GPL-2.0

//! The index of a ZFile in memory: where each block is, in 2.25 bytes a block.
//!
//! The index on disk holds lengths, and a reader needs offsets. The table has one 64-bit offset for
//! each 64 blocks, and the lengths themselves, of which the sum is taken from the start of the
//! group. A stored length fits 17 bits (at most 65536 + 516): 16 of them are in an array, the
//! seventeenth in a bitmap.
//!
//! The code that does the work is not generic over the memory, so that it is compiled here, with
//! the flags of this crate.

use super::error::OpenError;
use super::layout::{Layout, ENTRY_LEN};
use crate::arith::{add_u32, add_u64, shl_u64, shr_u64, sub_u64};
use crate::convert::{low_u16, usize_from};
use crate::records::Records;
use crate::units::{BlockIndex, Bytes, CompressedOffset};
use crate::Crc32c;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::{Deref, DerefMut};

/// The blocks of a group, as a mask and as a shift.
const GROUP_SHIFT: u32 = 6;
const GROUP_LEN: usize = 1 << GROUP_SHIFT;
const SLOT_MASK: u32 = 63;

/// Where the first block is: right behind the header.
const FIRST_BLOCK: u64 = 512;

const _: () = assert!(size_of::<Group>() == 144);

/// 64 blocks of a jump table, in 144 bytes. Memory for [`JumpTableBuilder`]; of no use by itself.
#[derive(Clone, Copy)]
pub struct Group {
    /// Where the first block of the group is.
    base: u64,
    /// Bit 16 of the stored length of each block.
    long: u64,
    /// Bits 0 to 15 of the stored length of each block.
    lens: [u16; GROUP_LEN],
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
    fn len(&self, slot: u32) -> u32 {
        let low = self.lens.get(usize_from(slot)).copied().unwrap_or(0);
        let high = u32::from(shr_u64(self.long, slot) & 1 != 0);
        u32::from(low) | high << 16
    }

    /// The sum of the stored lengths before `slot`: at most 63 * 0x1ffff.
    #[inline]
    fn before(&self, slot: u32) -> u32 {
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

/// How many [`Group`]s the jump table of so many blocks takes.
#[inline]
#[must_use]
pub const fn groups_needed(block_count: u32) -> usize {
    usize_from(block_count.div_ceil(1 << GROUP_SHIFT))
}

/// Where a block is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its first byte.
    pub offset: CompressedOffset,
    /// Its length in bytes, including its CRC.
    pub len: u32,
}

/// Takes the index of a ZFile and makes a [`JumpTable`] of it.
pub struct JumpTableBuilder<S> {
    groups: S,
    progress: Progress,
}

impl<S> fmt::Debug for JumpTableBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JumpTableBuilder")
            .field("layout", &self.progress.layout)
            .field("blocks", &self.progress.blocks)
            .finish_non_exhaustive()
    }
}

impl<S: DerefMut<Target = [Group]>> JumpTableBuilder<S> {
    /// Starts with at least [`groups_needed`] groups of memory, of any content.
    ///
    /// # Errors
    ///
    /// [`OpenError::Memory`] if they are fewer.
    pub fn new(layout: Layout, groups: S, crc: Crc32c) -> Result<Self, OpenError> {
        let needed = groups_needed(layout.block_count());
        if groups.len() < needed {
            return Err(OpenError::Memory {
                groups: groups.len(),
                needed,
            });
        }
        Ok(Self {
            groups,
            progress: Progress {
                layout,
                crc,
                index_crc: 0,
                records: Records::new(),
                blocks: 0,
                end: FIRST_BLOCK,
            },
        })
    }

    /// Takes the next bytes of the index, however many.
    ///
    /// # Errors
    ///
    /// [`OpenError::IndexEntry`], [`OpenError::BlocksPastIndex`], [`OpenError::IndexSurplus`]. The
    /// builder is of no use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        self.progress.push(&mut self.groups, bytes)
    }

    /// Ends the index.
    ///
    /// # Errors
    ///
    /// [`OpenError::IndexIncomplete`], [`OpenError::IndexCrc`].
    pub fn finish(self) -> Result<JumpTable<S>, OpenError> {
        self.progress.finish()?;
        Ok(JumpTable {
            layout: self.progress.layout,
            groups: self.groups,
        })
    }
}

/// What a builder knows beside its memory.
struct Progress {
    layout: Layout,
    crc: Crc32c,
    index_crc: u32,
    records: Records<ENTRY>,
    /// The number of blocks so far.
    blocks: u32,
    /// Where the last of them ends.
    end: u64,
}

/// The bytes of an index entry.
const ENTRY: usize = 4;

const _: () = assert!(ENTRY_LEN == 4);

impl Progress {
    fn push(&mut self, groups: &mut [Group], bytes: &[u8]) -> Result<(), OpenError> {
        if self.layout.index_crc().is_some() {
            self.index_crc = (self.crc)(self.index_crc, bytes);
        }
        let mut records = self.records;
        let result = records.push_runs(bytes, |mut run| loop {
            if let Some((entries, tail)) = run.split_first_chunk() {
                if self.push_group(groups, entries) {
                    run = tail;
                    continue;
                }
            }
            let Some((entry, tail)) = run.split_first_chunk() else {
                return Ok(());
            };
            self.push_one(groups, u32::from_le_bytes(*entry))?;
            run = tail;
        });
        self.records = records;
        result
    }

    /// Takes a whole group at once, if it is one and all is right with it. If not, nothing is
    /// changed: taking them one by one tells what is wrong.
    #[inline]
    fn push_group(&mut self, groups: &mut [Group], entries: &[u8; ENTRY * GROUP_LEN]) -> bool {
        let (min, max) = (self.layout.min_stored_len(), self.layout.max_stored_len());
        let first = self.blocks;
        let behind = first.saturating_add(1 << GROUP_SHIFT);
        if first & SLOT_MASK != 0 || behind > self.layout.block_count() {
            return false;
        }
        let Some(group) = groups.get_mut(usize_from(first >> GROUP_SHIFT)) else {
            return false;
        };
        let mut sum = 0u32;
        let mut long = 0u64;
        let mut wrong = false;
        let lens = group.lens.iter_mut().zip(entries.chunks_exact(ENTRY));
        for (low, entry) in lens {
            let len = entry
                .first_chunk()
                .map_or(0, |entry| u32::from_le_bytes(*entry));
            wrong |= len < min || len > max;
            // Of right ones, 64 of at most 66052 bytes. The sum of others is not used.
            #[allow(clippy::disallowed_methods, reason = "wrong lengths may overflow")]
            {
                sum = sum.wrapping_add(len);
            }
            long = long >> 1 | u64::from(len >> 16) << SLOT_MASK;
            *low = low_u16(len);
        }
        let end = self.end.saturating_add(u64::from(sum));
        if wrong || end > self.layout.index_offset().get() {
            return false;
        }
        (group.base, group.long) = (self.end, long);
        (self.blocks, self.end) = (behind, end);
        true
    }

    fn push_one(&mut self, groups: &mut [Group], len: u32) -> Result<(), OpenError> {
        let expected = self.layout.block_count();
        let index_offset = self.layout.index_offset().get();
        let (min, max) = (self.layout.min_stored_len(), self.layout.max_stored_len());
        let block = BlockIndex::new(self.blocks);
        if block.get() >= expected {
            return Err(OpenError::IndexSurplus { expected });
        }
        if len < min || len > max {
            return Err(OpenError::IndexEntry {
                block,
                len,
                min,
                max,
            });
        }
        let slot = block.get() & SLOT_MASK;
        // Not reachable without: new() saw to it that there is a group for each block.
        let Some(group) = groups.get_mut(usize_from(block.get() >> GROUP_SHIFT)) else {
            return Err(OpenError::IndexSurplus { expected });
        };
        if slot == 0 {
            *group = Group {
                base: self.end,
                ..Group::EMPTY
            };
        }
        if let Some(low) = group.lens.get_mut(usize_from(slot)) {
            *low = low_u16(len);
        }
        group.long |= shl_u64(u64::from(len >> 16), slot);
        // 10^9 blocks of at most 66052 bytes do not overflow, and the index ends it before.
        let end = add_u64(self.end, u64::from(len));
        if end > index_offset {
            return Err(OpenError::BlocksPastIndex {
                block,
                end,
                index_offset,
            });
        }
        (self.blocks, self.end) = (add_u32(block.get(), 1), end);
        Ok(())
    }

    fn finish(&self) -> Result<(), OpenError> {
        let expected = self.layout.block_count();
        if !self.records.is_whole() && self.blocks == expected {
            return Err(OpenError::IndexSurplus { expected });
        }
        if self.blocks != expected {
            return Err(OpenError::IndexIncomplete {
                entries: self.blocks,
                expected,
            });
        }
        match self.layout.index_crc() {
            Some(stored) if stored != self.index_crc => Err(OpenError::IndexCrc {
                stored,
                computed: self.index_crc,
            }),
            _ => Ok(()),
        }
    }
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
        blocks(&self.layout, &self.groups, first, last)
    }

    /// The memory of the table in bytes, without the layout.
    #[inline]
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val::<[Group]>(&self.groups)
    }
}

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
    let start = stored(layout, groups, first)?.offset;
    let end = stored(layout, groups, last)?;
    let len = end
        .offset
        .checked_sub(start)?
        .checked_add(Bytes::new(u64::from(end.len)))?;
    Some((start, len))
}

fn blocks<'a>(
    layout: &Layout,
    groups: &'a [Group],
    first: BlockIndex,
    last: BlockIndex,
) -> Blocks<'a> {
    let end = last.get().saturating_add(1).min(layout.block_count());
    let offset = stored(layout, groups, first).map_or(0, |first| first.offset.get());
    Blocks {
        groups,
        next: first.get(),
        end,
        offset,
    }
}

/// Blocks of a ZFile in a row, see [`JumpTable::blocks`].
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

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize_from(self.end.saturating_sub(self.next));
        (left, Some(left))
    }
}

impl ExactSizeIterator for Blocks<'_> {}
impl FusedIterator for Blocks<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::crc32c;
    use crate::zfile::testing::layout;
    use crate::FormatError;
    use std::vec;
    use std::vec::Vec;

    /// StoredBlock lengths of every kind, for blocks of 64 KiB.
    fn lens(count: u32) -> Vec<u32> {
        let kinds = [1, 65_535, 65_536, 66_052, 26, 4096, 65_537];
        (0..count as usize)
            .map(|i| kinds[i % kinds.len()])
            .collect()
    }

    fn bytes(lens: &[u32]) -> Vec<u8> {
        lens.iter().flat_map(|len| len.to_le_bytes()).collect()
    }

    /// A layout of 64 KiB blocks whose index is right behind these.
    fn layout_of(lens: &[u32], index_crc: Option<u32>) -> Layout {
        let end = 512 + lens.iter().map(|len| u64::from(*len)).sum::<u64>();
        layout(lens.len() as u64 * 65_536, 65_536, false, end, index_crc)
    }

    fn build(layout: Layout, index: &[u8]) -> Result<JumpTable<Vec<Group>>, OpenError> {
        // Memory of any content.
        let dirty = Group {
            base: 7,
            long: u64::MAX,
            lens: [9; GROUP_LEN],
        };
        let memory = vec![dirty; groups_needed(layout.block_count())];
        let mut builder = JumpTableBuilder::new(layout, memory, crc32c)?;
        builder.push(index)?;
        builder.finish()
    }

    #[test]
    fn every_block_is_where_the_sums_say() {
        for count in [1, 2, 63, 64, 65, 127, 128, 129, 1000] {
            let lens = lens(count);
            let table = build(layout_of(&lens, None), &bytes(&lens)).unwrap();
            let mut offset = 512;
            let mut expected = Vec::new();
            for (block, len) in (0..).zip(&lens) {
                let stored = StoredBlock {
                    offset: CompressedOffset::new(offset),
                    len: *len,
                };
                assert_eq!(table.stored(BlockIndex::new(block)), Some(stored));
                expected.push((BlockIndex::new(block), stored));
                offset += u64::from(*len);
            }
            assert_eq!(table.stored(BlockIndex::new(count)), None);
            for first in [0, 1, 62, 63, 64, 65, count - 1, count] {
                for last in [0, 63, 64, 100, count - 1, count, u32::MAX] {
                    let all: Vec<_> = table
                        .blocks(BlockIndex::new(first), BlockIndex::new(last))
                        .collect();
                    let end = last.saturating_add(1).min(count) as usize;
                    let wanted = expected.get(first as usize..end).unwrap_or(&[]);
                    assert_eq!(all, wanted);
                    let span = table.span(BlockIndex::new(first), BlockIndex::new(last));
                    if first > last || last >= count {
                        assert_eq!(span, None);
                    } else {
                        let sum = wanted.iter().map(|(_, stored)| u64::from(stored.len)).sum();
                        assert_eq!(span, Some((wanted[0].1.offset, Bytes::new(sum))));
                    }
                }
            }
        }
    }

    #[test]
    fn a_block_takes_two_and_a_quarter_bytes() {
        assert_eq!(groups_needed(0), 0);
        assert_eq!(groups_needed(1), 1);
        assert_eq!(groups_needed(64), 1);
        assert_eq!(groups_needed(65), 2);
        assert_eq!(groups_needed(u32::MAX), 1 << 26);
        let lens = lens(6400);
        let table = build(layout_of(&lens, None), &bytes(&lens)).unwrap();
        assert_eq!(table.memory_bytes(), 6400 * 9 / 4);
    }

    #[test]
    fn the_index_may_come_in_any_pieces() {
        let lens = lens(200);
        let index = bytes(&lens);
        let layout = layout_of(&lens, Some(crc32c(0, &index)));
        for piece in [1, 2, 3, 4, 5, 7, 64, 511, 512, 513] {
            let memory = vec![Group::EMPTY; groups_needed(200)];
            let mut builder = JumpTableBuilder::new(layout, memory, crc32c).unwrap();
            for chunk in index.chunks(piece) {
                builder.push(chunk).unwrap();
            }
            let table = builder.finish().unwrap();
            let last = table.stored(BlockIndex::new(199)).unwrap();
            assert_eq!(
                last.offset.get() + u64::from(last.len),
                layout.index_offset().get()
            );
        }
    }

    #[test]
    fn entry() {
        for (verify, bad, min) in [(false, 0, 1), (true, 4, 5), (true, 0, 5)] {
            let layout = layout(3 * 4096, 4096, verify, 1 << 20, None);
            for bad in [bad, 4613, 8000, 65_535, u32::MAX] {
                let index = bytes(&[26, bad, 26]);
                assert_eq!(
                    build(layout, &index).unwrap_err(),
                    OpenError::IndexEntry {
                        block: BlockIndex::new(1),
                        len: bad,
                        min,
                        max: 4612
                    }
                );
            }
            assert!(build(layout, &bytes(&[min, 4612, 26])).is_ok());
        }
    }

    #[test]
    fn blocks_past_index() {
        let layout = layout(3 * 4096, 4096, false, 512 + 299, None);
        assert_eq!(
            build(layout, &bytes(&[100, 100, 100])).unwrap_err(),
            OpenError::BlocksPastIndex {
                block: BlockIndex::new(2),
                end: 812,
                index_offset: 811
            }
        );
        // The index need not start where the blocks end.
        assert!(build(layout, &bytes(&[100, 100, 90])).is_ok());
    }

    /// As [`build`], with one entry at a time, so that no group is ever taken at once.
    fn build_one_by_one(layout: Layout, index: &[u8]) -> Result<JumpTable<Vec<Group>>, OpenError> {
        let memory = vec![Group::EMPTY; groups_needed(layout.block_count())];
        let mut builder = JumpTableBuilder::new(layout, memory, crc32c)?;
        for entry in index.chunks(ENTRY) {
            builder.push(entry)?;
        }
        builder.finish()
    }

    /// Every place in the first group, in the last whole one and in the rest of a table of 150.
    fn places() -> impl Iterator<Item = u32> {
        (0..150).filter(|place| *place < 64 || *place >= 126 || *place == 100)
    }

    #[test]
    fn one_wrong_entry_among_whole_groups() {
        for (verify, min) in [(false, 1), (true, 5)] {
            let layout = layout(150 * 4096, 4096, verify, 1 << 20, None);
            for place in places() {
                // Half of 2^32 more than once makes a sum that looks right.
                for bad in [0, min - 1, 4613, 65_536, 1 << 31, u32::MAX] {
                    let mut lens = [100; 150];
                    lens[place as usize] = bad;
                    let error = OpenError::IndexEntry {
                        block: BlockIndex::new(place),
                        len: bad,
                        min,
                        max: 4612,
                    };
                    let index = bytes(&lens);
                    assert_eq!(build(layout, &index).unwrap_err(), error);
                    assert_eq!(build_one_by_one(layout, &index).unwrap_err(), error);
                    // The first wrong entry is the one that is told, whatever follows.
                    lens[place as usize..].fill(bad);
                    assert_eq!(build(layout, &bytes(&lens)).unwrap_err(), error);
                }
                for good in [min, 4612] {
                    let mut lens = [100; 150];
                    lens[place as usize] = good;
                    let table = build(layout, &bytes(&lens)).unwrap();
                    assert_eq!(table.stored(BlockIndex::new(place)).unwrap().len, good);
                }
            }
        }
    }

    #[test]
    fn whole_groups_that_reach_past_the_index() {
        for place in places() {
            // The last byte of the block at `place` is one too far.
            let end = 512 + 100 * (u64::from(place) + 1);
            let index_offset = end - 1;
            let layout = layout(150 * 4096, 4096, false, index_offset, None);
            let error = OpenError::BlocksPastIndex {
                block: BlockIndex::new(place),
                end,
                index_offset,
            };
            let index = bytes(&[100; 150]);
            assert_eq!(build(layout, &index).unwrap_err(), error);
            assert_eq!(build_one_by_one(layout, &index).unwrap_err(), error);
            // One byte less, in the first block or in this one, and only what follows is too far.
            for short in [0, place as usize] {
                let mut lens = [100; 150];
                lens[short] = 99;
                let found = build(layout, &bytes(&lens));
                if place == 149 {
                    assert!(found.is_ok());
                } else {
                    assert_eq!(
                        found.unwrap_err(),
                        OpenError::BlocksPastIndex {
                            block: BlockIndex::new(place + 1),
                            end: end + 99,
                            index_offset
                        }
                    );
                }
            }
        }
    }

    #[test]
    fn whole_groups_of_surplus_entries() {
        for count in [1, 63, 64, 65, 127, 128, 129, 150] {
            let layout = layout(u64::from(count) * 4096, 4096, false, 1 << 20, None);
            for surplus in [1, 63, 64, 65, 128] {
                let index = bytes(&vec![100; (count + surplus) as usize]);
                let error = OpenError::IndexSurplus { expected: count };
                assert_eq!(build(layout, &index).unwrap_err(), error);
                assert_eq!(build_one_by_one(layout, &index).unwrap_err(), error);
            }
        }
    }

    #[test]
    fn a_group_that_begins_in_the_middle_of_a_piece() {
        let lens = lens(300);
        let index = bytes(&lens);
        let layout = layout_of(&lens, None);
        let wanted = build_one_by_one(layout, &index).unwrap();
        for cut in 0..=index.len() {
            let memory = vec![Group::EMPTY; groups_needed(300)];
            let mut builder = JumpTableBuilder::new(layout, memory, crc32c).unwrap();
            let (one, other) = index.split_at(cut);
            builder.push(one).unwrap();
            builder.push(other).unwrap();
            let table = builder.finish().unwrap();
            for block in (0..300).map(BlockIndex::new) {
                assert_eq!(table.stored(block), wanted.stored(block));
            }
        }
    }

    #[test]
    fn index_crc() {
        let lens = lens(70);
        let index = bytes(&lens);
        let computed = crc32c(0, &index);
        assert!(build(layout_of(&lens, Some(computed)), &index).is_ok());
        assert_eq!(
            build(layout_of(&lens, Some(!computed)), &index).unwrap_err(),
            OpenError::IndexCrc {
                stored: !computed,
                computed
            }
        );
    }

    #[test]
    fn incomplete_and_surplus() {
        let lens = lens(70);
        let index = bytes(&lens);
        let layout = layout_of(&lens, None);
        assert_eq!(
            build(layout, &index[..4 * 69 + 3]).unwrap_err(),
            OpenError::IndexIncomplete {
                entries: 69,
                expected: 70
            }
        );
        for surplus in 1..9 {
            let mut longer = index.clone();
            longer.resize(index.len() + surplus, 1);
            assert_eq!(
                build(layout, &longer).unwrap_err(),
                OpenError::IndexSurplus { expected: 70 }
            );
        }
    }

    #[test]
    fn memory() {
        let layout = layout_of(&lens(65), None);
        let mut memory = [Group::EMPTY; 1];
        let error = JumpTableBuilder::new(layout, &mut memory[..], crc32c).unwrap_err();
        assert_eq!(
            error,
            OpenError::Memory {
                groups: 1,
                needed: 2
            }
        );
        assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
    }
}
