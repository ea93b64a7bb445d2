// SPDX-License-Identifier: GPL-2.0

//! The merged segments of an image, and what is at a sector of it.

use super::segment::Segment;
use crate::convert::{low_u32, usize_from};
use crate::units::{Sector, Sectors};
use core::fmt;
use core::ops::{Deref, DerefMut};

/// What is at a sector of the image, and for how many sectors on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The sectors are in the blob of a layer.
    Data {
        /// The layer, 0 for the lowest.
        layer: u8,
        /// The first of them in the blob.
        source: Sector,
        /// How many follow each other, that one included.
        len: Sectors,
    },
    /// The sectors are zero.
    Zero {
        /// How many, at the least: up to the next segment. More than there are sectors if there is
        /// none.
        len: Sectors,
    },
}

impl Run {
    /// How many sectors: never 0.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> Sectors {
        match self {
            Self::Data { len, .. } | Self::Zero { len } => *len,
        }
    }

    /// Never: a run has at least the sector that was asked for.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }
}

/// The number of low bits of a segment's first sector that a record has room for.
const LOW_BITS: u32 = 18;

/// The segments of a leaf.
const LEAF: usize = 16;

/// The keys in a leaf: its first one is in the row ahead of the leaves instead.
const LEAF_KEYS: usize = LEAF.wrapping_sub(1);

/// The words of a record.
const RECORD: usize = 3;

/// The words of a segment: a key, and a record.
const WORDS: usize = RECORD.wrapping_add(1);

/// The words of a leaf.
const LEAF_WORDS: usize = LEAF.wrapping_mul(WORDS).wrapping_sub(1);

/// Why a map cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The memory given is not enough for the segments.
    Memory {
        /// The words of memory.
        words: usize,
        /// The words that the segments take.
        needed: usize,
    },
    /// A segment more than was said, or one that starts behind the last one that was said.
    Unexpected,
    /// Fewer segments than was said.
    Incomplete,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { words, needed } => {
                write!(f, "{words} words of memory for a map of {needed}")
            }
            Self::Unexpected => f.write_str("a segment that was not expected"),
            Self::Incomplete => f.write_str("fewer segments than expected"),
        }
    }
}

impl core::error::Error for MapError {}

/// Takes the merged segments of an image, in order, and makes a map of them.
pub struct MapBuilder<S> {
    words: S,
    shape: Shape,
    /// The number of segments so far.
    count: usize,
}

impl<S> fmt::Debug for MapBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapBuilder")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl<S: DerefMut<Target = [u32]>> MapBuilder<S> {
    /// Starts a map of `len` segments, of which the last starts at `last`, in at least
    /// [`words_needed`] words of memory, of any content. Memory that begins where a cache line does
    /// makes lookups faster.
    ///
    /// # Errors
    ///
    /// [`MapError::Memory`] if they are fewer.
    pub fn new(len: usize, last: Sector, words: S) -> Result<Self, MapError> {
        match words_needed(len) {
            Some(needed) if needed <= words.len() => {
                let shape = Shape::new(len, last);
                Ok(Self {
                    words,
                    shape,
                    count: 0,
                })
            }
            needed => Err(MapError::Memory {
                words: words.len(),
                needed: needed.unwrap_or(usize::MAX),
            }),
        }
    }

    /// Takes the next segment.
    ///
    /// # Errors
    ///
    /// [`MapError::Unexpected`].
    #[inline]
    pub fn push(&mut self, segment: Segment) -> Result<(), MapError> {
        put(&mut self.words, self.shape, &mut self.count, segment)
    }

    /// Ends the map.
    ///
    /// # Errors
    ///
    /// [`MapError::Incomplete`].
    pub fn finish(self) -> Result<SegmentMap<S>, MapError> {
        if self.count != self.shape.len {
            return Err(MapError::Incomplete);
        }
        Ok(SegmentMap {
            words: self.words,
            shape: self.shape,
        })
    }
}

/// The words of memory for a map of so many segments: 16 bytes each. [`None`] if there is no such
/// number.
#[inline]
#[must_use]
pub const fn words_needed(len: usize) -> Option<usize> {
    len.checked_mul(WORDS)
}

/// The merged segments of an image, as [`merge`](super::merge) gives them, laid out to be searched.
///
/// Of a segment's first sector the 32 highest bits that the image uses are its key; the rest of a
/// segment is a record of three words. 16 segments are a leaf, in which keys and records are close
/// together, as memory far apart takes longest to reach. The first key of a leaf is not in it but
/// ahead of all leaves, in a row of such keys: these, a word for 256 bytes, stay in the processor's
/// caches while they are searched. What is left over when all leaves are full comes last. So there is
/// no word that is not a segment's own.
pub struct SegmentMap<S> {
    /// The first keys of the leaves, the leaves, each with 15 keys and 16 records, and the rest: keys,
    /// then records.
    words: S,
    shape: Shape,
}

/// How the words of a map are to be understood.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// The number of segments.
    len: usize,
    /// The number of bits of a segment's first sector that are not in its key: at most
    /// [`LOW_BITS`], and none for images up to 2 TiB.
    shift: u32,
}

impl<S: Deref<Target = [u32]>> SegmentMap<S> {
    /// What is at `sector`, and for how many sectors on.
    #[inline]
    #[must_use]
    pub fn lookup(&self, sector: Sector) -> Run {
        lookup(&self.words, self.shape, sector)
    }

    /// The number of segments.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.shape.len
    }

    /// Whether there is none, and the image all zero.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.shape.len == 0
    }

    /// The segments in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        let shape = self.shape;
        (0..shape.leaves())
            .flat_map(move |leaf| (0..LEAF).map(move |slot| shape.in_leaf(leaf, slot)))
            .chain((0..shape.rest()).map(move |slot| shape.in_rest(slot)))
            .map_while(move |at| segment(&self.words, shape, at))
    }

    /// The memory of the map in bytes.
    #[inline]
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val::<[u32]>(&self.words)
    }
}

impl<S> fmt::Debug for SegmentMap<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentMap")
            .field("len", &self.shape.len)
            .finish_non_exhaustive()
    }
}

impl Shape {
    /// Of `len` segments, none of which starts behind `last`.
    fn new(len: usize, last: Sector) -> Self {
        let bits = u64::BITS.saturating_sub(last.get().leading_zeros());
        Self {
            len,
            shift: bits.saturating_sub(u32::BITS).min(LOW_BITS),
        }
    }

    /// The key of a sector, and the bits that are not in it. Sectors too far for a key get the
    /// largest.
    #[inline]
    fn split(self, sector: Sector) -> (u32, u32) {
        match u32::try_from(sector.get().wrapping_shr(self.shift)) {
            Ok(key) => {
                let low = low_u32(sector.get()) & 1u32.wrapping_shl(self.shift).wrapping_sub(1);
                (key, low)
            }
            Err(_) => (u32::MAX, u32::MAX),
        }
    }

    /// The sector of a key and the bits that are not in it.
    #[inline]
    fn join(self, key: u32, low: u32) -> Sector {
        Sector::new(u64::from(key).wrapping_shl(self.shift) | u64::from(low))
    }

    /// The number of leaves.
    #[inline]
    const fn leaves(self) -> usize {
        self.len / LEAF
    }

    /// The number of segments that are in no leaf: the last ones.
    #[inline]
    const fn rest(self) -> usize {
        self.len % LEAF
    }

    /// The first word of the leaf at a place. No sum here wraps: there is memory for all words.
    #[inline]
    const fn leaf(self, place: usize) -> usize {
        self.leaves().wrapping_add(place.wrapping_mul(LEAF_WORDS))
    }

    /// Where the segment in a slot of a leaf is.
    #[inline]
    const fn in_leaf(self, place: usize, slot: usize) -> At {
        let leaf = self.leaf(place);
        At {
            key: match slot.checked_sub(1) {
                Some(slot) => leaf.wrapping_add(slot),
                None => place,
            },
            record: leaf
                .wrapping_add(LEAF_KEYS)
                .wrapping_add(slot.wrapping_mul(RECORD)),
        }
    }

    /// Where a segment that is in no leaf is.
    #[inline]
    const fn in_rest(self, slot: usize) -> At {
        let keys = self.leaf(self.leaves());
        At {
            key: keys.wrapping_add(slot),
            record: keys
                .wrapping_add(self.rest())
                .wrapping_add(slot.wrapping_mul(RECORD)),
        }
    }
}

/// Where a segment is in the words of a map.
#[derive(Clone, Copy, Debug)]
struct At {
    /// Its key.
    key: usize,
    /// The first word of its record.
    record: usize,
}

/// The bits of a record's first word that are the low bits of the first sector; above them is the
/// number of sectors.
const LOW_MASK: u32 = 1u32.wrapping_shl(LOW_BITS).wrapping_sub(1);

// Not generic over the memory, so that they are compiled with this crate: the functions below.

fn put(
    words: &mut [u32],
    shape: Shape,
    count: &mut usize,
    segment: Segment,
) -> Result<(), MapError> {
    let (key, low) = shape.split(segment.start());
    if *count >= shape.len || low > LOW_MASK {
        return Err(MapError::Unexpected);
    }
    let (leaf, slot) = (*count / LEAF, *count % LEAF);
    let at = if leaf < shape.leaves() {
        shape.in_leaf(leaf, slot)
    } else {
        shape.in_rest(slot)
    };
    let (len, content) = segment.len_and_content();
    *words.get_mut(at.key).ok_or(MapError::Unexpected)? = key;
    let [first, second, third] = words
        .get_mut(at.record..)
        .and_then(<[u32]>::first_chunk_mut)
        .ok_or(MapError::Unexpected)?;
    *first = low | len.wrapping_shl(LOW_BITS);
    *second = low_u32(content);
    *third = low_u32(content.wrapping_shr(u32::BITS));
    *count = count.wrapping_add(1);
    Ok(())
}

/// A record: the low bits of the first sector, the number of sectors, the content.
#[inline]
fn record(words: &[u32], at: At) -> Option<(u32, u32, u64)> {
    let [first, second, third] = *words.get(at.record..)?.first_chunk::<RECORD>()?;
    let content = u64::from(second) | u64::from(third).wrapping_shl(u32::BITS);
    Some((first & LOW_MASK, first.wrapping_shr(LOW_BITS), content))
}

#[inline]
fn segment(words: &[u32], shape: Shape, at: At) -> Option<Segment> {
    let (low, len, content) = record(words, at)?;
    let start = shape.join(*words.get(at.key)?, low);
    Some(Segment::from_parts(start, len, content))
}

/// Where a segment starts; its record is only looked at if it has to be.
#[inline]
fn start(words: &[u32], shape: Shape, at: At) -> Option<Sector> {
    let low = match shape.shift {
        0 => 0,
        _ => record(words, at)?.0,
    };
    Some(shape.join(*words.get(at.key)?, low))
}

/// The segment that starts at `sector` or is the last to start before it, and the one after that.
#[inline]
fn around(words: &[u32], shape: Shape, sector: Sector) -> (Option<At>, Option<At>) {
    let (key, low) = shape.split(sector);
    // Where the key says it all, nothing more has to be compared.
    let inexact = shape.shift != 0;
    let starts_by_then = |at: At| record(words, at).is_some_and(|record| record.0 <= low);

    let rest = words
        .get(shape.leaf(shape.leaves())..)
        .and_then(|rest| rest.get(..shape.rest()))
        .unwrap_or_default();
    let behind_leaves = rest.first().map(|_| shape.in_rest(0));
    if rest.first().is_some_and(|first| *first <= key) {
        let mut count = not_behind(rest, key);
        if inexact {
            count = not_low(rest, key, count, |slot| starts_by_then(shape.in_rest(slot)));
        }
        if let Some(last) = count.checked_sub(1) {
            let behind = (count < rest.len()).then(|| shape.in_rest(count));
            return (Some(shape.in_rest(last)), behind);
        }
    }

    let firsts = words.get(..shape.leaves()).unwrap_or_default();
    // The library's search is written to take no branch that depends on a key.
    let mut count = firsts.partition_point(|first| *first <= key);
    if inexact {
        count = not_low(firsts, key, count, |leaf| {
            starts_by_then(shape.in_leaf(leaf, 0))
        });
    }
    let next_leaf = if count < firsts.len() {
        Some(shape.in_leaf(count, 0))
    } else {
        behind_leaves
    };
    let Some(leaf) = count.checked_sub(1) else {
        return (None, next_leaf);
    };
    let keys = words
        .get(shape.leaf(leaf)..)
        .and_then(|leaf| leaf.first_chunk::<LEAF_KEYS>())
        .unwrap_or(&[u32::MAX; LEAF_KEYS]);
    let mut slot = not_behind(keys, key);
    if inexact {
        slot = not_low(keys, key, slot, |slot| {
            starts_by_then(shape.in_leaf(leaf, slot.wrapping_add(1)))
        });
    }
    let behind = if slot < LEAF_KEYS {
        Some(shape.in_leaf(leaf, slot.wrapping_add(1)))
    } else {
        next_leaf
    };
    (Some(shape.in_leaf(leaf, slot)), behind)
}

/// How many of a few keys, which are in order, are not behind `wanted`.
///
/// Every key is looked at: that takes no branch, and no wait for the one before.
#[inline(always)]
fn not_behind(keys: &[u32], wanted: u32) -> usize {
    let count = |keys: &[u32]| {
        keys.iter().fold(0u32, |count, key| {
            count.wrapping_add(u32::from(*key <= wanted))
        })
    };
    // Two sums, so that neither waits for the other.
    let (low, high) = keys.split_at_checked(LEAF / 2).unwrap_or((keys, &[]));
    usize_from(count(low).wrapping_add(count(high)))
}

/// How many of the first `count` keys, of which none is behind `wanted`, are left without those that
/// equal it and start behind what is looked for all the same: `by_then` says of each whether it does
/// not.
fn not_low(keys: &[u32], wanted: u32, count: usize, by_then: impl Fn(usize) -> bool) -> usize {
    // An image may have any number of segments with the same key, so halve here too.
    let mut low = keys.partition_point(|key| *key < wanted);
    let mut high = count;
    while low < high {
        let middle = low.midpoint(high);
        if by_then(middle) {
            low = middle.wrapping_add(1);
        } else {
            high = middle;
        }
    }
    low
}

fn lookup(words: &[u32], shape: Shape, sector: Sector) -> Run {
    let (before, behind) = around(words, shape, sector);
    if let Some(segment) = before.and_then(|at| segment(words, shape, at)) {
        if let (Some(skipped), Some(len)) = (
            sector.since(segment.start()),
            segment.end().since(sector).filter(|len| len.get() != 0),
        ) {
            if !segment.zeroed() {
                return Run::Data {
                    layer: segment.layer(),
                    source: Sector::new(segment.source().get().wrapping_add(skipped.get())),
                    len,
                };
            }
        }
    }
    // A hole, or a zeroed segment, of which the hole behind it is the same.
    let len = behind
        .and_then(|behind| start(words, shape, behind)?.since(sector))
        .unwrap_or(Sectors::new(u64::MAX));
    Run::Zero { len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsmt::testing::{data, zeros};
    use std::vec;
    use std::vec::Vec;

    fn map_of(segments: &[Segment]) -> SegmentMap<Vec<u32>> {
        let last = segments.last().map_or(Sector::new(0), |last| last.start());
        let words = vec![0xdead_beef; words_needed(segments.len()).unwrap()];
        let mut builder = MapBuilder::new(segments.len(), last, words).unwrap();
        for segment in segments {
            builder.push(*segment).unwrap();
        }
        builder.finish().unwrap()
    }

    fn zero(len: u64) -> Run {
        Run::Zero {
            len: Sectors::new(len),
        }
    }

    #[test]
    fn any_number_of_segments_may_have_the_same_key() {
        // The last one starts so far on that keys leave 18 bits out: all the others have one of two.
        let base = (1 << 40) - 4000;
        let mut segments: Vec<Segment> = (0..2000)
            .map(|n| data(base + 4 * n, 2, 8 + 8 * n))
            .collect();
        segments.push(data((1 << 50) - 2, 1, 8));
        let map = map_of(&segments);
        assert_eq!(map.shape.shift, LOW_BITS);
        assert!(map.segments().eq(segments.iter().copied()));
        for n in 0..2000 {
            for within in 0..4 {
                let run = map.lookup(Sector::new(base + 4 * n + within));
                if within < 2 {
                    let source = Sector::new(8 + 8 * n + within);
                    assert!(matches!(run, Run::Data { source: at, .. } if at == source));
                    assert_eq!(run.len(), Sectors::new(2 - within));
                } else if n < 1999 {
                    assert_eq!(run, zero(4 - within));
                }
            }
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
                Run::Data {
                    layer: 2,
                    source: Sector::new(100 + within),
                    len: Sectors::new(5 - within)
                }
            );
        }
        // A zeroed segment and the hole behind it are one run.
        assert_eq!(at(15), zero(15));
        assert_eq!(at(20), zero(10));
        assert_eq!(at(30).len(), Sectors::new(1));
        assert_eq!(at(31), zero(u64::MAX));
        assert_eq!(at(35), zero(u64::MAX));
        assert_eq!(at(u64::MAX), zero(u64::MAX));
    }

    #[test]
    fn an_empty_map_is_zero() {
        let map = map_of(&[]);
        assert!(map.is_empty());
        assert_eq!(map.lookup(Sector::new(7)), zero(u64::MAX));
        assert!(!map.lookup(Sector::new(7)).is_empty());
    }

    /// The plain way to look something up.
    fn plainly(segments: &[Segment], sector: Sector) -> Run {
        let behind = segments.partition_point(|segment| segment.start() <= sector);
        let next = segments
            .get(behind)
            .map_or(u64::MAX, |next| next.start().get() - sector.get());
        match behind.checked_sub(1).map(|at| segments[at]) {
            Some(segment) if !segment.zeroed() && segment.end() > sector => Run::Data {
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
            (40, 3, (1 << 35) - 60),
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
                    assert_eq!(
                        map.lookup(at),
                        plainly(&segments, at),
                        "{at} of {segments:?}"
                    );
                }
            }
            for at in [0, first + 1, limit - 1, limit, u64::MAX - 1, u64::MAX] {
                let at = Sector::new(at);
                assert_eq!(map.lookup(at), plainly(&segments, at));
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
}
