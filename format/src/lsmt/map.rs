// SPDX-License-Identifier: GPL-2.0

//! The merged segments of an image, and what is at a sector of it.

use super::segment::Segment;
use crate::arith::{add_u32, add_u64, add_usize, mul_usize, shr_u64, sub_usize};
use crate::convert::{low_u16, low_u32, u64_from, usize_from};
use crate::units::{Sector, Sectors};
use core::fmt;
use core::ops::{Deref, DerefMut};

/// What is at a sector of the image, and for how many sectors on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
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

impl Extent {
    /// The number of sectors: never 0.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> Sectors {
        match self {
            Self::Data { len, .. } | Self::Zero { len } => *len,
        }
    }

    /// What a segment, the last to start at or before `sector`, says of it, if that is where data
    /// is.
    #[inline]
    fn data(sector: Sector, segment: Segment) -> Option<Self> {
        let skipped = sector.checked_sub(segment.start())?;
        let len = segment
            .end()
            .checked_sub(sector)
            .filter(|len| len.get() != 0)?;
        (!segment.zeroed()).then(|| Self::Data {
            layer: segment.layer(),
            source: Sector::new(add_u64(segment.source().get(), skipped.get())),
            len,
        })
    }

    /// Zeros up to the next segment: a hole, or what a zeroed segment and the hole behind it are.
    #[inline]
    fn zero(sector: Sector, next: Option<Sector>) -> Self {
        let len = next.and_then(|next| next.checked_sub(sector));
        Self::Zero {
            len: len.unwrap_or(Sectors::new(u64::MAX)),
        }
    }
}

/// The segments of a group.
const GROUP: usize = 4;

/// The words of a group: a key for each segment, a tail for each, two in a word, and two words for
/// what each holds.
const GROUP_WORDS: usize = 14;

/// The words of a segment that is in no group; and the memory for one, in a group or not.
const WORDS: usize = 4;

/// The low bits of a segment's first sector: the lowest bits of its tail, a 16-bit word whose upper
/// bits are the number of sectors. The segment's key is the first sector without these bits.
const LOW_BITS: u32 = 2;

const LOW_MASK: u32 = (1 << LOW_BITS) - 1;

/// The end of the sectors at which a segment can start that is in a group: 8 TiB.
const GROUPS_END: u64 = 1 << (u32::BITS + LOW_BITS);

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
    layout: MapLayout,
    progress: Progress,
}

/// How much of a map is made.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// The number of segments.
    segments: usize,
    /// The number of words of the directory.
    directory: usize,
}

impl<S> fmt::Debug for MapBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapBuilder")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl<S: DerefMut<Target = [u32]>> MapBuilder<S> {
    /// Starts a map of `len` segments, of which the last starts at `last`, in at least
    /// [`words_needed`] words of memory, of any content.
    ///
    /// # Errors
    ///
    /// [`MapError::Memory`] if they are fewer.
    pub fn new(len: usize, last: Sector, words: S) -> Result<Self, MapError> {
        match words_needed(len) {
            Some(needed) if needed <= words.len() => {
                let layout = MapLayout::new(len, last);
                Ok(Self {
                    words,
                    layout,
                    progress: Progress::default(),
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
        push_segment(
            &mut self.words,
            &mut self.layout,
            &mut self.progress,
            segment,
        )
    }

    /// Ends the map.
    ///
    /// # Errors
    ///
    /// [`MapError::Incomplete`].
    pub fn finish(mut self) -> Result<SegmentMap<S>, MapError> {
        if self.progress.segments != self.layout.len {
            return Err(MapError::Incomplete);
        }
        fill_directory(&mut self.words, self.layout, &mut self.progress, usize::MAX)?;
        Ok(SegmentMap {
            words: self.words,
            layout: self.layout,
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
/// Four segments are a group of 56 bytes, which is looked at as a whole, so the processor waits for
/// memory once. What that saves of 16 bytes a segment is a directory: it cuts the image into equal
/// buckets, up to two for each group, and says of each which group is the last to start by
/// then. Where the segments are spread evenly, a lookup reads two words of the directory and from
/// there goes to one or two groups. Where they are crowded, it halves the groups between the two.
///
/// Segments left over when all groups are full come last, and so do all those of an image whose
/// last one starts at 8 TiB or later, as groups have no room for all bits of their sectors. These
/// are searched by halves.
pub struct SegmentMap<S> {
    /// The directory, the groups, and the segments that are in none.
    words: S,
    layout: MapLayout,
}

/// How the words of a map are to be understood. None of the sums and products wraps: there is
/// memory for [`WORDS`] times `len` words.
#[derive(Clone, Copy, Debug)]
struct MapLayout {
    /// The number of segments.
    len: usize,
    /// Where the last of them starts, or behind that.
    last: Sector,
    /// The number of groups.
    groups: usize,
    /// The words of the directory: one for each bucket of the image up to the last segment, and one
    /// more. None if there is no group.
    directory: usize,
    /// A bucket of the image is 2 to this power sectors.
    bucket_bits: u32,
    /// Where the first segment that is in no group starts.
    ungrouped_start: Option<Sector>,
}

impl<S: Deref<Target = [u32]>> SegmentMap<S> {
    /// What is at `sector`, and for how many sectors on.
    #[inline]
    #[must_use]
    pub fn lookup(&self, sector: Sector) -> Extent {
        lookup(&self.words, self.layout, sector)
    }

    /// The number of segments.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.layout.len
    }

    /// Whether there is none, and the image all zero.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.layout.len == 0
    }

    /// The segments in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        (0..self.layout.len).map_while(|index| segment(&self.words, self.layout, index))
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
            .field("len", &self.layout.len)
            .finish_non_exhaustive()
    }
}

impl MapLayout {
    /// Of `len` segments, none of which starts behind `last`.
    fn new(len: usize, last: Sector) -> Self {
        let mut layout = Self {
            len,
            last,
            groups: 0,
            directory: 0,
            bucket_bits: 0,
            ungrouped_start: None,
        };
        if len < GROUP || last.get() >= GROUPS_END {
            return layout;
        }
        layout.groups = len / GROUP;
        // What groups leave of their segments' memory, and as many buckets as fit in it.
        let room = mul_usize(layout.groups, GROUP * WORDS - GROUP_WORDS);
        let words = |bucket_bits| add_u64(shr_u64(last.get(), bucket_bits), 2);
        while words(layout.bucket_bits) > u64_from(room) {
            layout.bucket_bits = add_u32(layout.bucket_bits, 1);
        }
        layout.directory = usize::try_from(words(layout.bucket_bits)).unwrap_or(room);
        layout
    }

    /// The bucket of the image that a sector is in.
    #[inline]
    fn bucket(self, sector: Sector) -> usize {
        usize::try_from(shr_u64(sector.get(), self.bucket_bits)).unwrap_or(usize::MAX)
    }

    /// The number of segments in groups: the first ones.
    #[inline]
    const fn grouped(self) -> usize {
        mul_usize(self.groups, GROUP)
    }

    /// The first word of a group.
    #[inline]
    const fn group(self, group: usize) -> usize {
        add_usize(self.directory, mul_usize(group, GROUP_WORDS))
    }

    /// The first word of a segment that is in no group, counted from the first of those.
    #[inline]
    const fn ungrouped(self, number: usize) -> usize {
        add_usize(self.group(self.groups), mul_usize(number, WORDS))
    }
}

// Nothing below is generic over the memory, so it is compiled once, with this crate.

/// The group at a place.
#[inline]
fn group(words: &[u32], layout: MapLayout, place: usize) -> Option<Group<'_>> {
    let words = words.get(layout.group(place)..)?;
    Some(Group(words.first_chunk()?))
}

/// A segment that is in no group.
#[inline]
fn ungrouped(words: &[u32], layout: MapLayout, number: usize) -> Option<Segment> {
    let words = words.get(layout.ungrouped(number)..)?;
    Some(Segment::from_words(*words.first_chunk()?))
}

/// A segment by its number.
fn segment(words: &[u32], layout: MapLayout, index: usize) -> Option<Segment> {
    match index.checked_sub(layout.grouped()) {
        Some(number) if index < layout.len => ungrouped(words, layout, number),
        Some(_) => None,
        None => group(words, layout, index / GROUP)?
            .segments()
            .get(index % GROUP)
            .copied(),
    }
}

/// Writes the directory's words up to that of `bucket`, in which the next segment starts: so far,
/// the last segment of the groups is the last one to start before any of these buckets.
fn fill_directory(
    words: &mut [u32],
    layout: MapLayout,
    progress: &mut Progress,
    bucket: usize,
) -> Result<(), MapError> {
    let segments = progress.segments.min(layout.grouped());
    let place = segments.saturating_sub(1) / GROUP;
    let place = u32::try_from(place).map_err(|_| MapError::Unexpected)?;
    let end = bucket.saturating_add(1).min(layout.directory);
    if let Some(directory) = words.get_mut(progress.directory..end) {
        directory.fill(place);
        progress.directory = end;
    }
    Ok(())
}

fn push_segment(
    words: &mut [u32],
    layout: &mut MapLayout,
    progress: &mut Progress,
    segment: Segment,
) -> Result<(), MapError> {
    let index = progress.segments;
    if index >= layout.len || segment.start() > layout.last {
        return Err(MapError::Unexpected);
    }
    if let Some(number) = index.checked_sub(layout.grouped()) {
        layout.ungrouped_start.get_or_insert(segment.start());
        *words
            .get_mut(layout.ungrouped(number)..)
            .and_then(<[u32]>::first_chunk_mut)
            .ok_or(MapError::Unexpected)? = segment.words();
    } else {
        fill_directory(words, *layout, progress, layout.bucket(segment.start()))?;
        pack(words, *layout, index, segment).ok_or(MapError::Unexpected)?;
    }
    progress.segments = add_usize(index, 1);
    Ok(())
}

/// Four segments as they are in memory.
#[derive(Clone, Copy)]
struct Group<'a>(&'a [u32; GROUP_WORDS]);

impl Group<'_> {
    #[inline(always)]
    fn segments(self) -> [Segment; GROUP] {
        // Four keys; four tails, in two words; four contents.
        let [k0, k1, k2, k3, m01, m23, a0, b0, a1, b1, a2, b2, a3, b3] = *self.0;
        [
            unpack(k0, low_u16(m01), [a0, b0]),
            unpack(k1, low_u16(m01 >> u16::BITS), [a1, b1]),
            unpack(k2, low_u16(m23), [a2, b2]),
            unpack(k3, low_u16(m23 >> u16::BITS), [a3, b3]),
        ]
    }

    /// Where the first of them starts.
    #[inline(always)]
    fn start(self) -> Sector {
        self.segments()[0].start()
    }
}

/// A segment of what a group keeps of it.
#[inline(always)]
fn unpack(key: u32, tail: u16, [low, high]: [u32; 2]) -> Segment {
    let tail = u32::from(tail);
    Segment::from_parts(
        Sector::new(u64::from(key) << LOW_BITS | u64::from(tail & LOW_MASK)),
        tail >> LOW_BITS,
        u64::from(low) | u64::from(high) << u32::BITS,
    )
}

/// Puts a segment, which starts before [`GROUPS_END`], into its group: after those before it.
fn pack(words: &mut [u32], layout: MapLayout, index: usize, segment: Segment) -> Option<()> {
    let (place, slot) = (index / GROUP, index % GROUP);
    let group = words.get_mut(layout.group(place)..)?;
    let group = group.first_chunk_mut::<GROUP_WORDS>()?;
    let (keys, rest) = group.split_at_mut_checked(GROUP)?;
    let (tails, contents) = rest.split_at_mut_checked(GROUP / 2)?;

    let start = segment.start().get();
    let (len, content) = segment.len_and_content();
    *keys.get_mut(slot)? = low_u32(start >> LOW_BITS);
    let tail = low_u32(start) & LOW_MASK | len << LOW_BITS;
    let pair = tails.get_mut(slot / 2)?;
    *pair = match slot % 2 {
        0 => tail,
        _ => *pair | tail << u16::BITS,
    };
    let contents = contents.get_mut(mul_usize(slot, 2)..)?;
    *contents.first_chunk_mut()? = [low_u32(content), low_u32(content >> u32::BITS)];
    Some(())
}

/// The last group to start at or before `sector`, or the first.
#[inline]
fn find(words: &[u32], layout: MapLayout, sector: Sector) -> usize {
    let directory = words.get(..layout.directory).unwrap_or_default();
    let bounds = directory
        .get(layout.bucket(sector)..)
        .and_then(<[u32]>::first_chunk);
    let Some(&[first, last]) = bounds else {
        // Behind the last segment.
        return layout.groups.saturating_sub(1);
    };
    let (mut low, mut high) = (usize_from(first), usize_from(last));
    while low < high {
        let middle = sub_usize(high, sub_usize(high, low) / 2);
        if group(words, layout, middle).is_some_and(|group| group.start() <= sector) {
            low = middle;
        } else {
            high = sub_usize(middle, 1);
        }
    }
    low
}

// But this, which goes where it is called from: a tenth of its time is saving registers for a call.
#[inline]
fn lookup(words: &[u32], layout: MapLayout, sector: Sector) -> Extent {
    if layout.ungrouped_start.is_some_and(|start| start <= sector) {
        return lookup_ungrouped(words, layout, sector);
    }
    let place = find(words, layout, sector);
    let Some(group) = group(words, layout, place).filter(|_| place < layout.groups) else {
        return Extent::zero(sector, layout.ungrouped_start);
    };
    // All are looked at, and none is branched on: which it will be the processor cannot guess.
    let segments = group.segments();
    let [mut before, others @ ..] = segments;
    for segment in others {
        if segment.start() <= sector {
            before = segment;
        }
    }
    Extent::data(sector, before).unwrap_or_else(|| {
        let mut behind = None;
        for segment in segments.into_iter().rev() {
            if segment.start() > sector {
                behind = Some(segment.start());
            }
        }
        let next = add_usize(place, 1);
        Extent::zero(
            sector,
            behind.or_else(|| match next < layout.groups {
                true => Some(self::group(words, layout, next)?.start()),
                false => layout.ungrouped_start,
            }),
        )
    })
}

/// [`lookup`], of a sector not before the first segment that is in no group.
#[cold]
fn lookup_ungrouped(words: &[u32], layout: MapLayout, sector: Sector) -> Extent {
    let count = sub_usize(layout.len, layout.grouped());
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if ungrouped(words, layout, middle).is_some_and(|segment| segment.start() <= sector) {
            low = add_usize(middle, 1);
        } else {
            high = middle;
        }
    }
    let at = |number: usize| match number < count {
        true => ungrouped(words, layout, number),
        false => None,
    };
    low.checked_sub(1)
        .and_then(|before| Extent::data(sector, at(before)?))
        .unwrap_or_else(|| Extent::zero(sector, at(low).map(Segment::start)))
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
        assert_eq!(map.layout.groups, 500);
        assert_eq!(
            map.layout.bucket(segments[0].start()),
            map.layout.bucket(segments[1999].start())
        );
        assert!(map.segments().eq(segments.iter().copied()));
        for at in base - 3..base + 8003 {
            let at = Sector::new(at);
            assert_eq!(map.lookup(at), plainly(&segments, at));
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
            let plain = len - layout.grouped();
            assert!(layout.ungrouped(plain) <= words_needed(len).unwrap());
            // Every sector has a bucket, and that has a word, and there is a word behind it.
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
    }

    /// The plain way to look something up.
    fn plainly(segments: &[Segment], sector: Sector) -> Extent {
        let behind = segments.partition_point(|segment| segment.start() <= sector);
        let next = segments
            .get(behind)
            .map_or(u64::MAX, |next| next.start().get() - sector.get());
        match behind.checked_sub(1).map(|at| segments[at]) {
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
}
