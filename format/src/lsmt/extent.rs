// SPDX-License-Identifier: GPL-2.0

//! The answer to a lookup: what is at a sector of the image. It reads no map.

use super::segment::Segment;
use crate::{
    arith::add_u64,
    units::{
        Sector,
        Sectors, //
    },
};

/// What is at a sector of the image, and at how many sectors from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The sectors are in the blob of a layer.
    Data {
        /// The layer, 0 for the lowest.
        layer: u8,
        /// The first sector in the blob.
        source: Sector,
        /// The number of sectors, the first included.
        len: Sectors,
    },
    /// The sectors are zero.
    Zero {
        /// The least number of sectors: up to the next segment. If there is none, it is more than
        /// the image has.
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

    /// The data at `sector`, given the last segment to start at or before it. [`None`] in a zeroed
    /// segment and in a hole.
    #[inline]
    pub(super) fn data(sector: Sector, segment: Segment) -> Option<Self> {
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

    /// Zeros from `sector` to the next segment: a hole, or the rest of a zeroed segment and the
    /// hole after it.
    #[inline]
    pub(super) fn zero(sector: Sector, next: Option<Sector>) -> Self {
        let len = next.and_then(|next| next.checked_sub(sector));
        Self::Zero {
            len: len.unwrap_or(Sectors::new(u64::MAX)),
        }
    }
}
