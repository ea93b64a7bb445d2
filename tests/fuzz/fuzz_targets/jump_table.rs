// SPDX-License-Identifier: GPL-2.0

//! Any index, in any pieces: it is refused for the first wrong entry that a simple loop finds, or
//! the table has the offsets of the sums, in all its methods.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlaybd_format::units::{BlockIndex, Bytes, CompressedOffset};
use overlaybd_format::zfile::{
    groups_needed, Group, JumpTableBuilder, Layout, OpenError, StoredBlock,
};
use overlaybd_format::StructureError;
use overlaybd_fuzz::{pieces, Header, Input};
use overlaybd_image::crc32c;

/// The place of each block, or the first error of the index.
fn naive(layout: &Layout, index: &[u8]) -> Result<Vec<StoredBlock>, OpenError> {
    let expected = layout.block_count();
    let (min, max) = (layout.min_stored_len(), layout.max_stored_len());
    let mut table = Vec::new();
    let mut end = 512;
    for entry in index.chunks_exact(4) {
        let len = u32::from_le_bytes(entry.try_into().unwrap());
        let block = BlockIndex::new(table.len() as u32);
        if block.get() == expected {
            return Err(StructureError::IndexSurplus { expected }.into());
        }
        if !(min..=max).contains(&len) {
            return Err(OpenError::IndexEntry {
                block,
                len,
                min,
                max,
            });
        }
        let offset = CompressedOffset::new(end);
        table.push(StoredBlock { offset, len });
        end += u64::from(len);
        let index_offset = layout.index_offset().get();
        if end > index_offset {
            return Err(OpenError::BlocksPastIndex {
                block,
                end,
                index_offset,
            });
        }
    }
    if index.len() > 4 * expected as usize {
        return Err(StructureError::IndexSurplus { expected }.into());
    }
    if table.len() as u32 != expected {
        let entries = table.len() as u32;
        return Err(StructureError::IndexIncomplete { entries, expected }.into());
    }
    let computed = crc32c(0, index);
    match layout.index_crc() {
        Some(stored) if stored != computed => Err(OpenError::IndexCrc { stored, computed }),
        _ => Ok(table),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.u8();
    let block_size = 512u32 << (how & 7);
    let pattern = input.u64();
    let slack = u64::from(input.u8());
    let repeat = usize::from(input.u8()) % 40 + 1;
    let difference = i64::from(input.u8() as i8);
    // Lengths have one byte each, or four. They are repeated, so that there are many.
    let given: Vec<u8> = if how & 8 == 0 {
        let lens = input.rest().iter();
        let len = |byte: &u8| {
            let least = if how & 16 == 0 { 5 } else { 1 };
            (u32::from(*byte) * (block_size + 516) / 255).max(least)
        };
        lens.flat_map(|byte| len(byte).to_le_bytes()).collect()
    } else {
        input.rest().to_vec()
    };
    let mut index = given.repeat(repeat);
    index.truncate(4096);
    let entries = (index.len() / 4) as u64;
    let sum: u64 = index
        .chunks_exact(4)
        .map(|entry| u64::from(u32::from_le_bytes(entry.try_into().unwrap())))
        .fold(0, u64::wrapping_add);
    let crc = crc32c(0, &index);
    // Mostly as many blocks as there are entries.
    let blocks = match how >> 6 {
        0 => entries.wrapping_add_signed(difference),
        _ => entries,
    };
    let header = Header {
        content_len: blocks.wrapping_mul(u64::from(block_size)),
        blocks,
        index_offset: sum.wrapping_add(384 + slack),
        index_crc: (how & 32 != 0).then_some(crc ^ u32::from(slack == 255)),
        block_size,
        algorithm: 1,
        verify: how & 16 == 0,
    };
    let Ok(layout) = header.open(1 << 48) else {
        return;
    };

    let mut memory = vec![Group::EMPTY; groups_needed(layout.block_count())];
    if let Some(short) = memory.len().checked_sub(1) {
        assert!(JumpTableBuilder::new(layout, &mut memory[..short], crc32c).is_err());
    }
    let mut builder = JumpTableBuilder::new(layout, memory, crc32c).unwrap();
    let table = pieces(&index, pattern)
        .into_iter()
        .try_for_each(|piece| builder.push(piece))
        .and_then(|()| builder.finish());
    let wanted = naive(&layout, &index);
    let (table, wanted) = match (table, wanted) {
        (Ok(table), Ok(wanted)) => (table, wanted),
        (Err(found), Err(wanted)) => {
            assert_eq!(found, wanted);
            let _ = found.to_string();
            return;
        }
        (Ok(_), Err(wanted)) => panic!("accepted, should be {wanted:?}"),
        (Err(found), Ok(_)) => panic!("refused: {found:?}"),
    };

    let last = wanted.len() - 1;
    let number = |at: usize| BlockIndex::new(at as u32);
    for (at, wanted) in wanted.iter().enumerate() {
        assert_eq!(table.stored(number(at)), Some(*wanted));
    }
    assert_eq!(table.stored(number(last + 1)), None);
    // Every range of a short table, some ranges of a long one.
    let step = (last / 6).max(1);
    for first in (0..=last).step_by(step) {
        for to in (first..=last).step_by(step).chain([last, last + 1]) {
            let span = table.span(number(first), number(to));
            let blocks: Vec<_> = table.blocks(number(first), number(to)).collect();
            let part = &wanted[first..wanted.len().min(to + 1)];
            assert_eq!(blocks.len(), part.len());
            for (at, (block, stored)) in blocks.iter().enumerate() {
                assert_eq!((block.get() as usize, *stored), (first + at, part[at]));
            }
            let len = part.iter().map(|stored| u64::from(stored.len)).sum();
            let whole = Some((part[0].offset, Bytes::new(len)));
            assert_eq!(span, if to <= last { whole } else { None });
        }
        if first > 0 {
            assert_eq!(table.span(number(first), number(first - 1)), None);
            assert_eq!(table.blocks(number(first), number(first - 1)).count(), 0);
        }
    }
});
