// SPDX-License-Identifier: GPL-2.0

//! A read, from its plan to its data: of any range, into memory in any pieces, from a device with
//! any logical blocks. The data is that of the content. If the file is damaged, the read fails, or
//! its data depends on the file alone, never on what the memory held before.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlaybd_format::units::{Bytes, ContentOffset, LogicalBlockSize, Sectors, SECTOR_SIZE};
use overlaybd_format::zfile::{
    Algorithm, Decompress, Destination, Group, Lz4, Plan, Planner, ReadError,
};
use overlaybd_format::Output;
use overlaybd_fuzz::{load_table, Input, Segments};
use overlaybd_image::{crc32c, ZfileWriter, Zstd};
use std::cell::RefCell;
use std::ops::Range;

thread_local! {
    static ZSTD: RefCell<Zstd> = RefCell::new(Zstd::new());
}

type AnyPlanner = Planner<Vec<Group>>;

/// The bytes of the device that a plan reads. What follows the file is 0xee.
fn lower(file: &[u8], plan: &Plan) -> Vec<u8> {
    let start = (plan.sector.get() * SECTOR_SIZE) as usize;
    let byte = |at| file.get(at).copied().unwrap_or(0xee);
    (start..start + plan.len).map(byte).collect()
}

/// The data that the plan's blocks give for `len` bytes, in memory that held `poison`.
fn read_with(
    planner: &AnyPlanner,
    (plan, to): (&Plan, Destination),
    file: &[u8],
    (len, pattern, poison): (usize, u64, u8),
    decoder: &mut impl Decompress,
) -> Result<Vec<u8>, ReadError> {
    let lower = lower(file, plan);
    let mut scratch = vec![poison; plan.buffer - plan.len];
    let blocks = &plan.blocks;
    let mut out = Segments::new(&vec![poison; len], pattern);
    match to {
        Destination::Block => {
            let mut block = vec![poison; planner.layout().block_size().to_usize()];
            planner.read_part(blocks, &lower, &mut block, &mut out, crc32c, decoder)?;
        }
        Destination::Segment => {
            let mut found = vec![poison; len];
            let mut out = &mut found[..];
            planner.read_all(blocks, &lower, &mut scratch, &mut out, crc32c, decoder)?;
            assert!(out.is_empty(), "not all was written");
            return Ok(found);
        }
        Destination::Segments => {
            planner.read_all(blocks, &lower, &mut scratch, &mut out, crc32c, decoder)?;
        }
    }
    assert_eq!(out.remaining(), 0, "not all was written");
    Ok(out.bytes())
}

/// The same with the decoder of the file.
fn read(
    planner: &AnyPlanner,
    plan: (&Plan, Destination),
    file: &[u8],
    out: (usize, u64, u8),
) -> Result<Vec<u8>, ReadError> {
    match planner.layout().algorithm() {
        Algorithm::Lz4 => read_with(planner, plan, file, out, &mut Lz4),
        Algorithm::Zstd => ZSTD.with_borrow_mut(|zstd| read_with(planner, plan, file, out, zstd)),
    }
}

/// What a plan must be, whatever the jump table says.
fn check_plan(
    planner: &AnyPlanner,
    (plan, to): (&Plan, Destination),
    range: &Range<u64>,
    logical: LogicalBlockSize,
) {
    let size = u64::from(planner.layout().block_size().get());
    let end = range.end.min(planner.layout().content_len().get());
    let count = (end - 1) / size - range.start / size + 1;
    assert_eq!(u64::from(plan.blocks.count()), count);
    assert_eq!(plan.content, Bytes::new(count * size));
    assert_eq!(plan.single, count == 1);
    assert!(logical.divides(plan.sector.get() * SECTOR_SIZE) && logical.divides(plan.len as u64));
    let scratch = (plan.buffer - plan.len) as u64;
    match to {
        Destination::Block => assert_eq!(scratch, 0),
        Destination::Segment => assert!(scratch == 0 || scratch == size),
        Destination::Segments => assert_eq!(scratch, size),
    }
    if plan.single {
        assert!(plan.buffer <= planner.max_block_buffer());
    }
}

/// Halving a read ends with a read of one block, and cuts at blocks.
fn check_halves(planner: &AnyPlanner, range: &Range<u64>) {
    let size = u64::from(planner.layout().block_size().get());
    let start = ContentOffset::new(range.start);
    let mut sectors = Bytes::new(range.end - range.start).whole_sectors();
    let to = Destination::Segments;
    while let Some(plan) = planner.plan(start, sectors.to_bytes().unwrap(), to) {
        if plan.single {
            return;
        }
        let fewer = planner.halve_to_block(start, sectors).unwrap();
        assert!(fewer < sectors && fewer > Sectors::new(0));
        assert_eq!((range.start + fewer.to_bytes().unwrap().get()) % size, 0);
        sectors = fewer;
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.u8();
    let block_size = 512u32 << (how & 7);
    let algorithm = if how & 8 == 0 {
        Algorithm::Lz4
    } else {
        Algorithm::Zstd
    };
    let writer = ZfileWriter::new()
        .block_size(block_size)
        .algorithm(algorithm)
        .verify(how & 16 == 0);
    let logical = LogicalBlockSize::new(512 << (input.u8() % 8)).unwrap();
    let (pattern, damages) = (input.u64(), input.u8() % 4);
    let damages: Vec<_> = (0..damages).map(|_| (input.u16(), input.u8())).collect();
    let reads: Vec<_> = (0..4).map(|_| (input.u16(), input.u16())).collect();
    let repeat = usize::from(input.u8()) + 1;
    let mut content = input.rest().repeat(repeat);
    content.truncate(40_000);
    if content.is_empty() {
        return;
    }
    let mut file = writer.write(&content);
    let table = load_table(&file).unwrap();
    let end = table.layout().index_offset().get() as usize;
    let mut damaged = false;
    for (at, change) in damages {
        let at = 512 + usize::from(at) % (end - 512);
        file[at] ^= change;
        damaged |= change != 0;
    }
    let verified = table.layout().verify();
    let planner = Planner::new(table, logical);

    let len = content.len() as u64;
    let sectors = len.div_ceil(SECTOR_SIZE);
    for (start, most) in reads {
        // Whole sectors, as of a block device; the last may be beyond the content in part.
        let start = u64::from(start) % sectors;
        let count = u64::from(most) % (sectors - start) + 1;
        let range = start * SECTOR_SIZE..(start + count) * SECTOR_SIZE;
        check_halves(&planner, &range);
        let size = (range.end - range.start) as usize;
        let there = range.start as usize..(range.end as usize).min(content.len());
        let mut wanted = content[there].to_vec();
        wanted.resize(size, 0);
        for to in [
            Destination::Block,
            Destination::Segment,
            Destination::Segments,
        ] {
            let start = ContentOffset::new(range.start);
            let plan = planner.plan(start, Bytes::of_memory(size), to).unwrap();
            let plan = (&plan, to);
            check_plan(&planner, plan, &range, logical);
            if to == Destination::Block && !plan.0.single {
                continue;
            }
            let found = read(&planner, plan, &file, (size, pattern, 0xa5));
            assert_eq!(found, read(&planner, plan, &file, (size, !pattern, 0x5a)));
            match found {
                Ok(found) if verified || !damaged => assert_eq!(found, wanted),
                Ok(_) => {}
                Err(ReadError::Block(_)) => assert!(damaged),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    let beyond = ContentOffset::new(sectors * SECTOR_SIZE);
    let plan = |start, len| planner.plan(start, Bytes::new(len), Destination::Segments);
    assert_eq!(plan(beyond, 512), None);
    assert_eq!(plan(ContentOffset::new(u64::MAX), 512), None);
    assert_eq!(plan(ContentOffset::new(0), 0), None);
});
