// SPDX-License-Identifier: GPL-2.0

//! The merged segments of an image, and what is at a sector of it.

use super::segment::Segment;
use crate::units::{Sector, Sectors};
use core::fmt;
use core::ops::Deref;

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

/// The merged segments of an image, in order and without overlap, as [`merge`](super::merge) gives
/// them.
pub struct SegmentMap<S> {
    segments: S,
}

impl<S: Deref<Target = [Segment]>> SegmentMap<S> {
    /// Wraps merged segments. Of others the map says something useless, but nothing worse.
    #[inline]
    #[must_use]
    pub const fn new(segments: S) -> Self {
        Self { segments }
    }

    /// What is at `sector`, and for how many sectors on.
    #[inline]
    #[must_use]
    pub fn lookup(&self, sector: Sector) -> Run {
        lookup(&self.segments, sector)
    }

    /// The number of segments.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether there is none, and the image all zero.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The segments in order.
    #[inline]
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl<S: Deref<Target = [Segment]>> fmt::Debug for SegmentMap<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentMap")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Not generic over the memory, so that it is compiled with this crate.
fn lookup(segments: &[Segment], sector: Sector) -> Run {
    let behind = segments.partition_point(|segment| segment.start() <= sector);
    if let Some(segment) = behind.checked_sub(1).and_then(|at| segments.get(at)) {
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
    let len = segments
        .get(behind)
        .and_then(|next| next.start().since(sector))
        .unwrap_or(Sectors::new(u64::MAX));
    Run::Zero { len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsmt::testing::{data, zeros};

    fn zero(len: u64) -> Run {
        Run::Zero {
            len: Sectors::new(len),
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
        let map = SegmentMap::new(&segments[..]);
        assert_eq!(map.len(), 4);
        assert!(!map.is_empty());
        assert_eq!(map.segments(), segments);
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
        let map = SegmentMap::new(&[][..]);
        assert!(map.is_empty());
        assert_eq!(map.lookup(Sector::new(7)), zero(u64::MAX));
        assert!(!map.lookup(Sector::new(7)).is_empty());
    }
}
