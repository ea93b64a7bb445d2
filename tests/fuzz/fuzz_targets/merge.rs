// SPDX-License-Identifier: GPL-2.0

//! Merges any layers that load: the segments are in order, do not overlap, have the expected
//! number, and agree at every sector with a search of the layers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlaybd_format::lsmt::{merge, Cursor, Extent, IndexLoader, Layer, Segment};
use overlaybd_format::units::{Bytes, Sector};
use overlaybd_fuzz::Input;
use overlaybd_image::{map_of, oracle};

/// The sectors of a small image.
const SMALL: u64 = 256;

fn area(flags: u8, entries: u64) -> [u8; 4096] {
    let mut area = [0; 4096];
    area[..24].copy_from_slice(
        b"LSMT\0\x01\x02\0\x65\x7e\x63\xd2\x94\x44\x08\x4c\xa2\xd2\xc8\xec\x4f\xcf\xae\x8a",
    );
    area[28] = flags;
    area[32..40].copy_from_slice(&(1u64 << 40).to_le_bytes());
    area[40..48].copy_from_slice(&entries.to_le_bytes());
    area
}

/// The segments of a loader for these entries. Where an entry is wrong, those before it.
fn load(entries: &[[u8; 16]]) -> Vec<Segment> {
    let count = entries.len() as u64;
    let len = Bytes::new((1 << 40) + 16 * count + 4096);
    let layer = Layer::open(&area(3, 0), &area(6, count), len).unwrap();
    let memory = vec![Segment::EMPTY; entries.len()];
    let mut loader = IndexLoader::new(&layer, memory).unwrap();
    match loader
        .push(entries.as_flattened())
        .and_then(|()| loader.finish())
    {
        Ok((mut segments, live)) => {
            segments.truncate(live);
            segments
        }
        // Those before the wrong one.
        Err(_) if entries.is_empty() => Vec::new(),
        Err(_) => load(&entries[..entries.len() - 1]),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.u8();
    let count = usize::from(input.u8()) % 40;
    let small = how & 1 == 0;
    let mut layers = Vec::new();
    for _ in 0..count {
        let mut entries = Vec::new();
        let mut at = 0;
        for _ in 0..input.u8() % 24 {
            let entry = if small {
                // A gap, a length, whether it is zeroed: always in order.
                let [gap, len]: [u8; 2] = input.array();
                at += u64::from(gap % 16);
                let sectors = u64::from(len % 32);
                let place = at | sectors << 50;
                let source = (9 + at * 3) | (u64::from(len >> 7) << 55) | (u64::from(gap) << 56);
                at += sectors;
                if gap == 255 {
                    u64::MAX.to_le_bytes().into_iter().chain([0; 8]).collect()
                } else {
                    let words = [place, source].map(u64::to_le_bytes);
                    words.into_iter().flatten().collect::<Vec<u8>>()
                }
            } else {
                input.array::<16>().to_vec()
            };
            entries.push(<[u8; 16]>::try_from(entry).unwrap());
        }
        layers.push(load(&entries));
    }

    let mut merged = Vec::new();
    let mut scratch = vec![Cursor::EMPTY; layers.len()];
    merge(&layers, &mut scratch, |segment| {
        merged.push(segment);
        Ok::<(), ()>(())
    })
    .unwrap();
    assert!(merged.iter().all(|segment| !segment.is_empty()));
    assert!(merged
        .windows(2)
        .all(|pair| pair[0].end() <= pair[1].start()));

    // At every sector of a small image; in a large one, around all starts and ends.
    let mut places: Vec<u64> = if small {
        (0..SMALL).collect()
    } else {
        let borders = layers.iter().flatten().chain(&merged);
        let borders = borders.flat_map(|segment| [segment.start().get(), segment.end().get()]);
        borders
            .flat_map(|at| [at.saturating_sub(1), at, at + 1])
            .collect()
    };
    places.sort_unstable();
    places.dedup();
    let owners: Vec<_> = places
        .iter()
        .map(|place| oracle::owner(&layers, *place))
        .collect();
    if small
        && layers
            .iter()
            .flatten()
            .all(|segment| segment.end().get() <= SMALL)
    {
        assert_eq!(merged.len(), oracle::runs(&owners));
    }
    let map = map_of(&merged).unwrap();
    for (number, (place, owner)) in places.iter().zip(&owners).enumerate() {
        let run = map.lookup(Sector::new(*place));
        assert!(run.len().get() > 0);
        let source = owner.and_then(|owner| owner.source.map(|source| (owner.layer, source)));
        match run {
            Extent::Data {
                layer,
                source: found,
                ..
            } => {
                assert_eq!(source, Some((usize::from(layer), found.get())));
            }
            Extent::Zero { .. } => assert_eq!(source, None),
        }
        // A lookup of a later sector of the extent agrees with it.
        let behind = places[number + 1..].iter().zip(&owners[number + 1..]);
        for (later, owner) in behind.take(40) {
            let distance = later - place;
            if distance >= run.len().get() {
                break;
            }
            match (run, owner.and_then(|owner| owner.source)) {
                (Extent::Data { source, .. }, found) => {
                    assert_eq!(found, Some(source.get() + distance));
                }
                (Extent::Zero { .. }, found) => assert_eq!(found, None),
            }
        }
    }
});
