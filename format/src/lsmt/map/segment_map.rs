// SPDX-License-Identifier: GPL-2.0

//! The finished map, and the lookup of a sector. It never changes a word.

use super::layout::MapLayout;
use crate::{
    arith::{
        add_usize,
        sub_usize, //
    },
    convert::usize_from,
    lsmt::{
        extent::Extent,
        segment::Segment, //
    },
    units::Sector, //
};
use core::{
    fmt,
    ops::Deref, //
};

/// The merged segments of an image, as [`merge`](crate::lsmt::merge()) gives them, laid out for
/// lookups: 16 bytes a segment.
pub struct SegmentMap<S> {
    words: S,
    layout: MapLayout,
}

impl<S> SegmentMap<S> {
    /// The map in words that are written already.
    pub(super) const fn new(words: S, layout: MapLayout) -> Self {
        Self { words, layout }
    }

    #[cfg(test)]
    pub(super) const fn layout(&self) -> MapLayout {
        self.layout
    }
}

impl<S: Deref<Target = [u32]>> SegmentMap<S> {
    /// What is at `sector`, and at how many sectors from there on.
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

    /// Whether there is no segment, and the whole image is zero.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.layout.len == 0
    }

    /// The segments in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        (0..self.layout.len).map_while(|index| self.layout.segment(&self.words, index))
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

// The functions below are not generic over the memory, so they are compiled once, with this crate.

/// The last group to start at or before `sector`, or the first group.
#[inline]
fn find(words: &[u32], layout: MapLayout, sector: Sector) -> usize {
    let directory = words.get(..layout.directory).unwrap_or_default();
    let bounds = directory
        .get(layout.bucket(sector)..)
        .and_then(<[u32]>::first_chunk);
    let Some(&[first, last]) = bounds else {
        // After the last segment.
        return layout.groups.saturating_sub(1);
    };
    let (mut low, mut high) = (usize_from(first), usize_from(last));
    while low < high {
        let middle = sub_usize(high, sub_usize(high, low) / 2);
        if layout
            .group(words, middle)
            .is_some_and(|group| group.start() <= sector)
        {
            low = middle;
        } else {
            high = sub_usize(middle, 1);
        }
    }
    low
}

// Inline, unlike the others: a call takes a tenth of the time of a lookup to save registers.
#[inline]
fn lookup(words: &[u32], layout: MapLayout, sector: Sector) -> Extent {
    if layout.ungrouped_start.is_some_and(|start| start <= sector) {
        return lookup_ungrouped(words, layout, sector);
    }
    let place = find(words, layout, sector);
    let group = layout.group(words, place);
    let Some(group) = group.filter(|_| place < layout.groups) else {
        return Extent::zero(sector, layout.ungrouped_start);
    };
    // All four are compared, without a branch: the processor could not predict it.
    let segments = group.segments();
    let [mut before, others @ ..] = segments;
    for segment in others {
        if segment.start() <= sector {
            before = segment;
        }
    }
    Extent::data(sector, before).unwrap_or_else(|| {
        let mut after = None;
        for segment in segments.into_iter().rev() {
            if segment.start() > sector {
                after = Some(segment.start());
            }
        }
        let next = add_usize(place, 1);
        Extent::zero(
            sector,
            after.or_else(|| match next < layout.groups {
                true => Some(layout.group(words, next)?.start()),
                false => layout.ungrouped_start,
            }),
        )
    })
}

/// [`lookup`] of a sector at or after the start of the first segment that is in no group.
#[cold]
fn lookup_ungrouped(words: &[u32], layout: MapLayout, sector: Sector) -> Extent {
    let count = sub_usize(layout.len, layout.grouped());
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if layout
            .ungrouped(words, middle)
            .is_some_and(|segment| segment.start() <= sector)
        {
            low = add_usize(middle, 1);
        } else {
            high = middle;
        }
    }
    let at = |number: usize| match number < count {
        true => layout.ungrouped(words, number),
        false => None,
    };
    low.checked_sub(1)
        .and_then(|before| Extent::data(sector, at(before)?))
        .unwrap_or_else(|| Extent::zero(sector, at(low).map(Segment::start)))
}
