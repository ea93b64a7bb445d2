// SPDX-License-Identifier: GPL-2.0

//! Jump tables of all sizes, and indexes with one thing wrong.

use super::*;
use super::{
    builder::ENTRY,
    group::GROUP_LEN, //
};
use crate::{
    testing::crc32c,
    units::{
        BlockIndex,
        Bytes,
        CompressedOffset, //
    },
    zfile::{
        testing::layout,
        Layout,
        OpenError, //
    },
    FormatError,
    StructureError, //
};
use std::{
    vec,
    vec::Vec, //
};

/// Stored lengths of every kind, for blocks of 64 KiB.
fn lens(count: u32) -> Vec<u32> {
    let kinds = [1, 65_535, 65_536, 66_052, 26, 4096, 65_537];
    (0..count as usize)
        .map(|i| kinds[i % kinds.len()])
        .collect()
}

fn bytes(lens: &[u32]) -> Vec<u8> {
    lens.iter().flat_map(|len| len.to_le_bytes()).collect()
}

/// A layout of 64 KiB blocks with these lengths, whose index follows the last.
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
fn a_group_far_into_a_long_table() {
    // Groups beyond the 4096th, in which a wrong number of a group would be that of another one.
    let lens = lens(300_000);
    let table = build(layout_of(&lens, None), &bytes(&lens)).unwrap();
    let mut offset = 512;
    for (block, len) in (0..).zip(&lens) {
        let stored = table.stored(BlockIndex::new(block)).unwrap();
        assert_eq!((stored.offset.get(), stored.len), (offset, *len), "{block}");
        offset += u64::from(*len);
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
            // More than one length of 2^31 has a sum that wraps to a valid one.
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
                // The error is that of the first wrong entry.
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
            let error = OpenError::Structure(StructureError::IndexSurplus { expected: count });
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
        OpenError::Structure(StructureError::IndexIncomplete {
            entries: 69,
            expected: 70
        })
    );
    for surplus in 1..9 {
        let mut longer = index.clone();
        longer.resize(index.len() + surplus, 1);
        assert_eq!(
            build(layout, &longer).unwrap_err(),
            OpenError::Structure(StructureError::IndexSurplus { expected: 70 })
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
