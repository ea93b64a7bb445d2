// SPDX-License-Identifier: GPL-2.0

//! Maps of all sizes, against a plain search of the same segments.

use super::*;
use super::{
    group::GROUPS_END,
    layout::MapLayout, //
};
use crate::{
    lsmt::{
        testing::{
            data,
            zeros, //
        },
        Extent,
        Segment, //
    },
    units::{
        Sector,
        Sectors, //
    },
};
use std::{
    string::ToString,
    vec,
    vec::Vec, //
};

fn map_of(segments: &[Segment]) -> SegmentMap<Vec<u32>> {
    let last = segments.last().map_or(Sector::new(0), |last| last.start());
    let words = vec![0xdead_beef; words_needed(segments.len()).unwrap()];
    let mut builder = MapBuilder::new(segments.len(), last, words).unwrap();
    for segment in segments {
        builder.push(*segment).unwrap();
    }
    builder.finish().unwrap()
}

fn zero(len: u64) -> Extent {
    Extent::Zero {
        len: Sectors::new(len),
    }
}

#[test]
fn crowded_segments() {
    // All but the last are in one bucket of the image, as far as the directory is concerned.
    let base = (1 << 33) - 9000;
    let mut segments: Vec<Segment> = (0..2000)
        .map(|n| data(base + 4 * n, 2, 8 + 8 * n))
        .collect();
    segments.push(data(GROUPS_END - 1, 1, 8));
    let map = map_of(&segments);
    assert_eq!(map.layout().groups, 500);
    assert_eq!(
        map.layout().bucket(segments[0].start()),
        map.layout().bucket(segments[1999].start())
    );
    assert!(map.segments().eq(segments.iter().copied()));
    for at in base - 3..base + 8003 {
        let at = Sector::new(at);
        assert_eq!(map.lookup(at), naive(&segments, at));
    }
}

#[test]
fn the_directory_is_within_the_segments_memory() {
    for (len, last, groups, directory) in [
        (3, 1000, 0, 0),
        (4, 0, 1, 2),
        (4, 1000, 1, 2),
        // A bucket is a sector at the least.
        (103, 9, 25, 11),
        (103, 48, 25, 50),
        (103, 49, 25, 26),
        (103, 1 << 20, 25, 34),
        (103, GROUPS_END - 1, 25, 33),
        (103, GROUPS_END, 0, 0),
    ] {
        let layout = MapLayout::new(len, Sector::new(last));
        assert_eq!(
            (layout.groups, layout.directory),
            (groups, directory),
            "{len} {last}"
        );
        let ungrouped = len - layout.grouped();
        assert!(layout.ungrouped_word(ungrouped) <= words_needed(len).unwrap());
        // Every sector has a bucket, and that has a word, and there is a word after it.
        assert!(groups == 0 || layout.bucket(Sector::new(last)) + 2 == directory);
    }
}

#[test]
fn lookups() {
    let segments = [
        data(10, 5, 100).with_layer(2),
        zeros(15, 5),
        data(30, 1, 8),
        zeros(31, 4),
    ];
    let map = map_of(&segments);
    assert_eq!(map.len(), 4);
    assert_eq!(map.memory_bytes(), 64);
    assert!(!map.is_empty());
    assert!(map.segments().eq(segments));
    let at = |sector| map.lookup(Sector::new(sector));
    assert_eq!(at(0), zero(10));
    assert_eq!(at(9), zero(1));
    for within in 0..5 {
        assert_eq!(
            at(10 + within),
            Extent::Data {
                layer: 2,
                source: Sector::new(100 + within),
                len: Sectors::new(5 - within)
            }
        );
    }
    // A zeroed segment and the hole after it are one extent.
    assert_eq!(at(15), zero(15));
    assert_eq!(at(20), zero(10));
    assert_eq!(at(30).len(), Sectors::new(1));
    assert_eq!(at(31), zero(u64::MAX));
    assert_eq!(at(35), zero(u64::MAX));
    assert_eq!(at(u64::MAX), zero(u64::MAX));
}

#[test]
fn memory_behind_the_segments_is_no_segment() {
    for len in 0..40u64 {
        let segments: Vec<Segment> = (0..len).map(|n| data(10 * n, 5, 8)).collect();
        let last = segments.last().map_or(Sector::new(0), |last| last.start());
        // Words that would be segments, in a vector that is longer than needed.
        let words = vec![0x0004_0004; words_needed(segments.len()).unwrap() + 8];
        let mut builder = MapBuilder::new(segments.len(), last, words).unwrap();
        for segment in &segments {
            builder.push(*segment).unwrap();
        }
        let map = builder.finish().unwrap();
        assert!(map.segments().eq(segments.iter().copied()));
        for at in 0..10 * len + 10 {
            let at = Sector::new(at);
            assert_eq!(map.lookup(at), naive(&segments, at), "{len}");
        }
    }
}

#[test]
fn errors_say_what() {
    let said = |error: MapError| error.to_string();
    let memory = MapError::Memory {
        words: 3,
        needed: 8,
    };
    assert_eq!(said(memory), "3 words of memory for a map of 8");
    assert_eq!(
        said(MapError::Unexpected),
        "a segment that was not expected"
    );
    assert_eq!(said(MapError::Incomplete), "fewer segments than expected");
}

#[test]
fn an_empty_map_is_zero() {
    let map = map_of(&[]);
    assert!(map.is_empty());
    assert_eq!(map.lookup(Sector::new(7)), zero(u64::MAX));
}

/// A lookup by a search of all segments.
fn naive(segments: &[Segment], sector: Sector) -> Extent {
    let after = segments.partition_point(|segment| segment.start() <= sector);
    let next = segments
        .get(after)
        .map_or(u64::MAX, |next| next.start().get() - sector.get());
    match after.checked_sub(1).map(|at| segments[at]) {
        Some(segment) if !segment.zeroed() && segment.end() > sector => Extent::Data {
            layer: segment.layer(),
            source: Sector::new(segment.source().get() + sector.get() - segment.start().get()),
            len: Sectors::new(segment.end().get() - sector.get()),
        },
        _ => zero(next),
    }
}

#[test]
fn images_of_every_size() {
    // The distance between segments, and where the first one is: up to the last sector.
    let limit = Segment::LIMIT.get();
    for (count, distance, first) in [
        (1, 1, 0),
        (16, 3, 5),
        (300, 17, 0),
        (300, 1 << 20, 7),
        (300, 1 << 30, 0),
        (300, (1 << 41) + 12_345, 99),
        (40, 3, (1 << 32) - 60),
        (43, 3, GROUPS_END - 126),
        (43, 3, GROUPS_END - 127),
        (43, 3, GROUPS_END - 60),
        (5000, 5, (1 << 49) + 3),
        (290, 2, limit - 580),
    ] {
        let segments: Vec<_> = (0..count)
            .map(|i| {
                let start = first + i * distance;
                let len = (1 + i * 7 % distance).min(16_383).min(limit - start);
                match i % 5 {
                    0 => zeros(start, len),
                    _ => data(start, len, 8 + i * 1000).with_layer((i % 250) as u8),
                }
            })
            .collect();
        let map = map_of(&segments);
        assert!(map.segments().eq(segments.iter().copied()));
        for segment in &segments {
            let (start, end) = (segment.start().get(), segment.end().get());
            for at in [
                start.saturating_sub(1),
                start,
                start + 1,
                end - 1,
                end,
                end + 1,
            ] {
                let at = Sector::new(at);
                assert_eq!(map.lookup(at), naive(&segments, at), "{at} of {segments:?}");
            }
        }
        for at in [0, first + 1, limit - 1, limit, u64::MAX - 1, u64::MAX] {
            let at = Sector::new(at);
            assert_eq!(map.lookup(at), naive(&segments, at));
        }
    }
}

#[test]
fn memory() {
    let last = Sector::new(9);
    assert_eq!(
        MapBuilder::new(3, last, vec![0; 11]).unwrap_err(),
        MapError::Memory {
            words: 11,
            needed: 12
        }
    );
    assert!(MapBuilder::new(usize::MAX, last, vec![0; 11]).is_err());
    // The last sector that the type can hold.
    assert!(MapBuilder::new(3, Sector::new(u64::MAX), vec![0; 12]).is_ok());
}

#[test]
fn unexpected() {
    let mut builder = MapBuilder::new(1, Sector::new(9), vec![0; 4]).unwrap();
    builder.push(data(9, 1, 8)).unwrap();
    assert_eq!(builder.push(data(10, 1, 8)), Err(MapError::Unexpected));
    let mut builder = MapBuilder::new(1, Sector::new(9), vec![0; 4]).unwrap();
    assert_eq!(builder.push(data(1 << 40, 1, 8)), Err(MapError::Unexpected));
}

#[test]
fn incomplete() {
    let builder = MapBuilder::new(1, Sector::new(9), vec![0; 4]).unwrap();
    assert_eq!(builder.finish().unwrap_err(), MapError::Incomplete);
}
