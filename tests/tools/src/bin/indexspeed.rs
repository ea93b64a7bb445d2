// SPDX-License-Identifier: GPL-2.0

//! Times the index of a stack: lookups of sectors, beside a plain binary search over the same
//! array, and the merge of the indexes of 64 layers.
//!
//! It times the code of `overlaybd_format`, the same source as in the kernel; `make bench` compiles
//! it with the kernel's optimisation. It prints samples as the measurements in the guest do, a line
//! of JSON each. It reads no image: it generates the segments, the same in each run.

use clap::Parser;
use overlaybd_format::lsmt::{
    merge, words_needed, Cursor, Extent, MapBuilder, Segment, SegmentMap,
};
use overlaybd_format::units::{Sector, Sectors};
use overlaybd_image::map_of;
use overlaybd_tools::{Context, Failure};
use std::{cmp::Ordering, hint::black_box, time::Instant};

/// Times lookups in the index of a stack, and merges
///
/// Prints a line of JSON for each figure, with its case, contender, round, value and unit.
#[derive(Parser)]
struct Args {
    /// How often each figure is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many segments to merge, and the most for lookups
    #[arg(long, default_value_t = 1_000_000)]
    segments: usize,
}

/// How many layers are merged.
const LAYERS: usize = 64;

/// How many lookups are timed at once.
const LOOKUPS: usize = 1 << 20;

/// Segments of 1 to `len` sectors with gaps below `gap` between them.
fn segments(rng: &mut fastrand::Rng, count: usize, len: u64, gap: u64) -> Vec<Segment> {
    let mut at = rng.u64(0..gap);
    (0..count as u64)
        .map(|number| {
            let sectors = rng.u64(1..=len);
            let start = Sector::new(at);
            at += sectors + rng.u64(0..gap);
            // No two segments are adjacent in the layer, so that they cannot be joined.
            let source = Sector::new(8 + (number ^ 1) * len);
            Segment::data(start, Sectors::new(sectors), source).expect("small numbers")
        })
        .collect()
}

/// The comparison: a plain binary search.
fn plain(segments: &[Segment], sector: Sector) -> Extent {
    let (mut low, mut high) = (0, segments.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let segment = &segments[middle];
        let place = if sector < segment.start() {
            Ordering::Greater
        } else if segment.end() <= sector {
            Ordering::Less
        } else {
            Ordering::Equal
        };
        match place {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => {
                return Extent::Data {
                    layer: segment.layer(),
                    source: Sector::new(
                        segment.source().get() + (sector.get() - segment.start().get()),
                    ),
                    len: Sectors::new(segment.end().get() - sector.get()),
                }
            }
        }
    }
    Extent::Zero {
        len: Sectors::new(
            segments
                .get(low)
                .map_or(u64::MAX, |next| next.start().get() - sector.get()),
        ),
    }
}

/// Nanoseconds a lookup. Each begins when the one before is done, as in a series of reads; with
/// `APART`, the processor may overlap several.
fn lookups<const APART: bool>(sectors: &[Sector], lookup: impl Fn(Sector) -> Extent) -> f64 {
    // The compiler does not know that it is zero: each sector depends on the result before.
    let zero = black_box(0);
    let (mut before, mut sum) = (0, 0);
    let start = Instant::now();
    for &sector in sectors {
        let link = if APART { 0 } else { before & zero };
        let run = lookup(Sector::new(sector.get() + link));
        before = run.len().get();
        sum ^= match run {
            Extent::Data { layer, source, len } => source.get() ^ len.get() ^ u64::from(layer),
            Extent::Zero { len } => len.get(),
        };
    }
    black_box(sum);
    start.elapsed().as_nanos() as f64 / sectors.len() as f64
}

fn sample(case: &str, contender: &str, round: usize, value: f64) {
    println!(
        "{{\"case\": \"{case}\", \"contender\": \"{contender}\", \"round\": {round}, \
         \"value\": {value:.3}, \"unit\": \"ns\"}}"
    );
}

/// Times our lookups, then those of the plain search.
fn compare<const APART: bool>(
    case: &str,
    round: usize,
    sectors: &[Sector],
    map: &SegmentMap<Vec<u32>>,
    array: &[Segment],
) {
    let ours = lookups::<APART>(sectors, |sector| map.lookup(sector));
    sample(case, "ours", round, ours);
    let other = lookups::<APART>(sectors, |sector| plain(black_box(array), sector));
    sample(case, "binary-search", round, other);
}

fn lookup_cases(rounds: usize, most: usize) -> Result<(), Failure> {
    let mut rng = fastrand::Rng::with_seed(1);
    for (name, count, crowded) in [
        ("1k", 1_000, false),
        ("100k", 100_000, false),
        ("1m", 1_000_000, false),
        ("crowded", 100_000, true),
    ] {
        if count > most {
            continue;
        }
        let mut array = segments(&mut rng, count, 64, 64);
        let end = array.last().map_or(1, |last| last.end().get());
        if crowded {
            // The worst case for the directory: one segment is so far from the others that these
            // share one entry.
            let far = Sector::new((1 << 34) - 1);
            array.pop();
            array.extend(Segment::data(far, Sectors::new(1), Sector::new(8)));
        }
        let sectors: Vec<Sector> = (0..LOOKUPS)
            .map(|_| Sector::new(rng.u64(0..end) & !1))
            .collect();
        let map = map_of(&array).context("map")?;
        for &sector in sectors.iter().take(10_000) {
            if map.lookup(sector) != plain(&array, sector) {
                return Err(format!("the two searches differ at {sector:?}"));
            }
        }
        for round in 0..rounds {
            compare::<false>(&format!("lookup-{name}"), round, &sectors, &map, &array);
            compare::<true>(
                &format!("lookup-apart-{name}"),
                round,
                &sectors,
                &map,
                &array,
            );
        }
    }
    Ok(())
}

fn merge_cases(rounds: usize, total: usize) -> Result<(), Failure> {
    let mut rng = fastrand::Rng::with_seed(2);
    // About half of the lower layers is visible, nearly all, nothing.
    for (name, len, gap) in [("dense", 64, 64), ("sparse", 8, 4096), ("full", 64, 1)] {
        let layers: Vec<Vec<Segment>> = (0..LAYERS)
            .map(|_| segments(&mut rng, total / LAYERS, len, gap))
            .collect();
        let mut scratch = [Cursor::EMPTY; LAYERS];
        let mut words: Vec<u32> = Vec::new();
        for round in 0..rounds {
            // As the constructor does: one pass counts the segments, the next keeps them.
            let (mut count, mut last) = (0, Sector::new(0));
            let start = Instant::now();
            let counted = merge(&layers, &mut scratch, |segment| {
                (count, last) = (count + 1, segment.start());
                Ok::<(), ()>(())
            });
            let counting = start.elapsed();
            words.resize(words_needed(count).unwrap_or(0), 0);
            let start = Instant::now();
            let mut builder = MapBuilder::new(count, last, &mut words[..]).context("map")?;
            let filled = merge(&layers, &mut scratch, |segment| builder.push(segment));
            let map = builder.finish().context("map")?;
            let filling = start.elapsed();
            if counted.is_err() || filled.is_err() || map.len() != count {
                return Err("the merge failed".into());
            }
            let unit = (total / LAYERS * LAYERS) as f64 * (LAYERS as f64).log2();
            let case = format!("merge-{name}");
            for (contender, time) in [
                ("ours", counting + filling),
                ("count", counting),
                ("fill", filling),
            ] {
                sample(&case, contender, round, time.as_nanos() as f64 / unit);
            }
            sample(&case, "allowed", round, 10.0);
        }
    }
    Ok(())
}

fn main() {
    let Args { rounds, segments } = Args::parse();
    overlaybd_tools::run(|| {
        lookup_cases(rounds, segments)?;
        merge_cases(rounds, segments)
    })
}
