// SPDX-License-Identifier: GPL-2.0

//! How long merging takes: 64 layers, 1,000,000 segments in all, in shapes that differ in how much
//! of the lower layers shows.

use overlaybd_format::lsmt::{merge, Cursor, Segment, SegmentMap};
use overlaybd_format::units::{Sector, Sectors};
use std::hint::black_box;
use std::time::{Duration, Instant};

const LAYERS: u64 = 64;
const SEGMENTS: u64 = 1_000_000;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Layers whose segments have lengths below `len` and gaps below `gap`.
fn layers(len: u64, gap: u64) -> Vec<Vec<Segment>> {
    let mut random = Random(88_172_645_463_325_252);
    (0..LAYERS)
        .map(|_| {
            let mut at = random.below(gap);
            (0..SEGMENTS / LAYERS)
                .map(|number| {
                    let sectors = 1 + random.below(len);
                    let start = Sector::new(at);
                    at += sectors + random.below(gap);
                    Segment::data(start, Sectors::new(sectors), Sector::new(8 + number))
                        .expect("small numbers")
                })
                .collect()
        })
        .collect()
}

/// The shortest of several runs.
fn best(mut run: impl FnMut()) -> Duration {
    (0..25)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn main() {
    println!("{LAYERS} layers, {SEGMENTS} segments, best of 25");
    for (name, len, gap) in [("dense", 64, 64), ("sparse", 8, 4096), ("full", 64, 1)] {
        let layers = layers(len, gap);
        let mut scratch = [Cursor::EMPTY; LAYERS as usize];
        let mut count = 0;
        let counting = best(|| {
            count = 0;
            let _ = merge(&layers, &mut scratch, |segment| {
                black_box(segment);
                count += 1;
                Ok::<(), ()>(())
            });
        });
        let mut merged = vec![Segment::EMPTY; count];
        let filling = best(|| {
            let mut at = 0;
            let _ = merge(&layers, &mut scratch, |segment| {
                *merged.get_mut(at).ok_or(())? = segment;
                at += 1;
                Ok::<(), ()>(())
            });
        });
        let end = merged.last().map_or(1, |last| last.end().get());
        let map = SegmentMap::new(merged);
        let mut random = Random(362_436_069);
        let lookups = best(|| {
            for _ in 0..1_000_000 {
                black_box(map.lookup(Sector::new(random.below(end))));
            }
        });
        println!(
            "{name:>7}: {count:>8} merged, counting {:.1} ms, filling {:.1} ms, lookup {} ns",
            counting.as_secs_f64() * 1e3,
            filling.as_secs_f64() * 1e3,
            lookups.as_nanos() / 1_000_000,
        );
    }
}
