// SPDX-License-Identifier: GPL-2.0

//! Which sectors of the image the faults of a layer hit.
//!
//! A fault is a range of bytes of the layer's content here. This file does not merge layers: the
//! caller adds each segment of the layer that is visible in the image.

use super::report::{FileReport, SectorRange};
use overlaybd_format::lsmt::Segment;
use overlaybd_format::units::Bytes;
use std::ops::Range;

/// The most ranges of sectors in the report on a fault.
pub(super) const MAX_RANGES: usize = 16;

/// The sectors of the image that the faults of a layer hit.
pub(super) struct Hits {
    /// For each fault with a place, its sectors in the layer, and those in the image.
    faults: Vec<Option<(Range<u64>, Vec<SectorRange>)>>,
}

impl Hits {
    /// The hits of faults at these bytes of the content. An empty range is a fault without a place.
    pub(super) fn new(places: impl Iterator<Item = Range<u64>>) -> Self {
        let sectors = |place: Range<u64>| place.start / 512..place.end.div_ceil(512);
        Self {
            faults: places
                .map(|place| (!place.is_empty()).then(|| (sectors(place), Vec::new())))
                .collect(),
        }
    }

    /// Adds the sectors of a segment that are hit, up to the end of the image.
    pub(super) fn add(&mut self, segment: Segment, size: Bytes) {
        if segment.zeroed() {
            return;
        }
        let (start, source) = (segment.start().get(), segment.source().get());
        let image_end = size.whole_sectors().get();
        for (sectors, hit) in self.faults.iter_mut().flatten() {
            let from = sectors.start.max(source);
            let end = sectors.end.min(source + segment.len().get());
            if from >= end {
                continue;
            }
            let first = start + (from - source);
            let last = (start + (end - source)).min(image_end);
            if let Some(count) = last.checked_sub(first).filter(|count| *count > 0) {
                hit.push(SectorRange {
                    start: first,
                    count,
                });
            }
        }
    }

    /// Adds the hits to the faults of a report, which must be those given to [`Self::new`].
    pub(super) fn tell(self, report: &mut FileReport) {
        for (fault, hit) in report.faults.iter_mut().zip(self.faults) {
            let Some((_, hit)) = hit else { continue };
            let mut joined: Vec<SectorRange> = Vec::new();
            for range in hit {
                match joined.last_mut() {
                    Some(last) if last.start + last.count == range.start => {
                        last.count += range.count;
                    }
                    _ => joined.push(range),
                }
            }
            fault.more_ranges = joined.len().saturating_sub(MAX_RANGES);
            joined.truncate(MAX_RANGES);
            fault.image_sectors = Some(joined);
        }
    }
}
