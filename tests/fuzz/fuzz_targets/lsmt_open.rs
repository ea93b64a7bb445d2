// SPDX-License-Identifier: GPL-2.0

//! Any layer, its index in any pieces: it is refused for the first wrong entry that a simple loop
//! finds, or its segments are in order, do not overlap, and are inside the layer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlaybd_format::lsmt::{trailer_offset, IndexLoader, Layer, OpenError, Segment};
use overlaybd_format::units::{Bytes, Sector, Sectors};
use overlaybd_format::{FormatError, StructureError};
use overlaybd_fuzz::{pieces, Input};

const MAGIC: [u8; 24] =
    *b"LSMT\0\x01\x02\0\x65\x7e\x63\xd2\x94\x44\x08\x4c\xa2\xd2\xc8\xec\x4f\xcf\xae\x8a";

/// The live segments as (start, sectors, source, zeroed), or the first error.
fn naive(layer: &Layer, index: &[u8]) -> Result<Vec<(u64, u64, u64, bool)>, OpenError> {
    let expected = layer.index_entries();
    let limit = layer.index_offset().get() / 512;
    let mut live = Vec::new();
    let mut previous_end = 0;
    let mut entries = 0;
    for raw in index.chunks_exact(16) {
        if entries == expected {
            return Err(StructureError::IndexSurplus { expected }.into());
        }
        let entry = entries;
        entries += 1;
        let place = u64::from_le_bytes(raw[..8].try_into().unwrap());
        let content = u64::from_le_bytes(raw[8..].try_into().unwrap());
        let (start, len) = (place % (1 << 50), place >> 50);
        let (source, zeroed) = (content % (1 << 55), content >> 55 & 1 == 1);
        if start == (1 << 50) - 1 {
            continue;
        }
        if start < previous_end {
            return Err(OpenError::EntryOrder {
                entry,
                start: Sector::new(start),
                previous_end: Sector::new(previous_end),
            });
        }
        previous_end = start + len;
        let inside = match (zeroed, len) {
            (true, _) => (8..=limit).contains(&source),
            (false, 0) => source > 8 && source < limit,
            (false, _) => source >= 8 && source + len <= limit,
        };
        if !inside {
            return Err(OpenError::EntrySource {
                entry,
                source: Sector::new(source),
                len: Sectors::new(len),
                limit: Sector::new(limit),
            });
        }
        if len > 0 {
            live.push((start, len.min((1 << 50) - start), source, zeroed));
        }
    }
    if entries != expected {
        return Err(StructureError::IndexIncomplete { entries, expected }.into());
    }
    if index.len() > 16 * expected as usize {
        return Err(StructureError::IndexSurplus { expected }.into());
    }
    Ok(live)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.u8();
    let len = match how >> 6 {
        0 => input.u64(),
        _ => 8192 + u64::from(input.u16()) * 16,
    };
    let pattern = input.u64();
    let mut areas = [[0u8; 4096]; 2];
    for (number, area) in areas.iter_mut().enumerate() {
        let fields: [u8; 32] = input.array();
        area[..24].copy_from_slice(&MAGIC);
        area[24..56].copy_from_slice(&fields);
        if how & 1 == 0 {
            area[28] = area[28] & !7 | [3, 6][number];
        }
        if how & 2 == 0 {
            area[48] = 0;
            area[49] &= !1;
        }
        if how & 4 != 0 {
            area[usize::from(fields[0]) % 24] ^= fields[1];
        }
    }
    let index = input.rest();
    if how & 8 == 0 {
        // A valid offset and length of the index.
        let entries = (index.len() / 16) as u64;
        areas[1][40..48].copy_from_slice(&entries.to_le_bytes());
        let offset = len.saturating_sub(4096 + 16 * entries);
        areas[1][32..40].copy_from_slice(&offset.to_le_bytes());
    }

    let blob_len = Bytes::new(len);
    let trailer = trailer_offset(blob_len);
    let layer = match Layer::open(&areas[0], &areas[1], blob_len) {
        Ok(layer) => layer,
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with(error.message().to_str().unwrap()));
            let _ = error.kind();
            return;
        }
    };
    let limit = trailer.unwrap().get();
    assert_eq!(limit, len - 4096);
    assert!(layer.index_offset().get() >= 4096);
    assert!(layer.index_offset().get() + layer.index_len().get() <= limit);
    assert!(layer.index_entries() <= 1_000_000 && layer.virtual_size().is_whole_sectors());
    if layer.index_entries() > 10_000 {
        return;
    }

    let memory = vec![Segment::EMPTY; layer.index_entries() as usize];
    let mut loader = IndexLoader::new(&layer, memory).unwrap();
    let loaded = pieces(index, pattern)
        .into_iter()
        .try_for_each(|piece| loader.push(piece))
        .and_then(|()| loader.finish());
    match (loaded, naive(&layer, index)) {
        (Ok((segments, live)), Ok(wanted)) => {
            let found = segments[..live].iter().map(|segment| {
                let (start, len) = (segment.start().get(), segment.len().get());
                assert_eq!(segment.end().get(), start + len);
                assert_eq!(segment.layer(), 0);
                (start, len, segment.source().get(), segment.zeroed())
            });
            assert!(found.eq(wanted));
        }
        (Err(found), Err(wanted)) => {
            assert_eq!(found, wanted);
            let _ = found.to_string();
        }
        (found, wanted) => panic!("{found:?}, but {wanted:?}"),
    }
});
