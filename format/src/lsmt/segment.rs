// SPDX-License-Identifier: GPL-2.0

//! Consecutive sectors of the image that one layer has: 16 bytes, packed like an index entry.

use crate::{
    arith::{
        add_u64,
        sub_u64, //
    },
    convert::{
        low_u32,
        low_u8,
        u64_from_u32,
        u64_from_u8, //
    },
    fields::u64_at,
    units::{
        LogicalBlockSize,
        Sector,
        Sectors, //
    },
};
use core::fmt;

pub(super) const START_BITS: u32 = 50;
const LEN_BITS: u32 = 14;
const SOURCE_BITS: u32 = 55;
pub(super) const LAYER_SHIFT: u32 = 56;
pub(super) const ZEROED: u64 = 1 << SOURCE_BITS;

pub(super) const START_MASK: u64 = (1 << START_BITS) - 1;
const LEN_MASK: u64 = (1 << LEN_BITS) - 1;
pub(super) const SOURCE_MASK: u64 = (1 << SOURCE_BITS) - 1;

/// The start of a padding entry.
pub(super) const PADDING_START: u64 = START_MASK;

const _: () = assert!(START_BITS + LEN_BITS == 64 && size_of::<Segment>() == 16);

/// Consecutive sectors of the image that one layer has.
///
/// # Invariants
///
/// It ends at or before sector 2^50 of the image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Bits 0 to 49: the first sector in the image; bits 50 to 63: the number of sectors.
    place: u64,
    /// Bits 0 to 54: the first sector in the blob; bit 55: zeroed; bits 56 to 63: the layer.
    content: u64,
}

impl Segment {
    /// A segment of no sectors, to initialise memory with.
    pub const EMPTY: Self = Self {
        place: 0,
        content: 0,
    };

    /// The most sectors a segment can have.
    pub const MAX_LEN: Sectors = Sectors::new(LEN_MASK);

    /// The sector at or before which every segment ends.
    pub const LIMIT: Sector = Sector::new(1 << START_BITS);

    /// A segment of layer 0 whose sectors are in the blob from sector `source` on.
    ///
    /// [`None`] if a number is too large: `len` above [`Self::MAX_LEN`], the end after
    /// [`Self::LIMIT`], `source` of more than 55 bits.
    #[must_use]
    pub fn data(start: Sector, len: Sectors, source: Sector) -> Option<Self> {
        let end = start.checked_add(len)?;
        if len > Self::MAX_LEN || end > Self::LIMIT || source.get() > SOURCE_MASK {
            return None;
        }
        // A start of 2^50 does not fit its bits.
        if start.get() > START_MASK {
            return None;
        }
        Some(Self {
            place: start.get() | len.get() << START_BITS,
            content: source.get(),
        })
    }

    /// A segment of layer 0 whose sectors are zero. [`None`] as by [`Self::data`].
    #[must_use]
    pub fn zeros(start: Sector, len: Sectors) -> Option<Self> {
        let mut segment = Self::data(start, len, Sector::new(0))?;
        segment.content |= ZEROED;
        Some(segment)
    }

    /// An index entry as it is on disk, without its tag. [`None`] if it is padding. It may end
    /// after [`Self::LIMIT`]: see [`Self::cut`].
    pub(super) fn from_entry(entry: &[u8; 16]) -> Option<Self> {
        let place = u64_at::<0, 16>(entry);
        let content = u64_at::<8, 16>(entry);
        if place & START_MASK == PADDING_START {
            return None;
        }
        Some(Self {
            place,
            content: content & (ZEROED | SOURCE_MASK),
        })
    }

    /// The fields that a map has apart from the first sector: the number of sectors, and the
    /// content: source, zeroed and layer.
    #[inline]
    pub(super) const fn len_and_content(self) -> (u32, u64) {
        (low_u32(self.place >> START_BITS), self.content)
    }

    /// The segment of these parts, see [`Self::len_and_content`]. Bits that do not fit are dropped.
    #[inline]
    pub(super) const fn from_parts(start: Sector, len: u32, content: u64) -> Self {
        Self {
            place: start.get() & START_MASK | u64_from_u32(len) << START_BITS,
            content,
        }
    }

    /// The segment as four words.
    #[inline]
    pub(super) const fn words(self) -> [u32; 4] {
        [
            low_u32(self.place),
            low_u32(self.place >> u32::BITS),
            low_u32(self.content),
            low_u32(self.content >> u32::BITS),
        ]
    }

    /// The segment whose [`Self::words`] these are.
    #[inline]
    pub(super) const fn from_words([a, b, c, d]: [u32; 4]) -> Self {
        Self {
            place: u64_from_u32(a) | u64_from_u32(b) << u32::BITS,
            content: u64_from_u32(c) | u64_from_u32(d) << u32::BITS,
        }
    }

    /// The segment without its sectors after [`Self::LIMIT`].
    pub(super) fn cut(self) -> Self {
        let room = sub_u64(Self::LIMIT.get(), self.start().get());
        if self.len().get() <= room {
            return self;
        }
        Self {
            place: self.start().get() | room << START_BITS,
            content: self.content,
        }
    }

    /// The same segment as one of layer `layer`.
    #[inline]
    #[must_use]
    pub(super) const fn with_layer(self, layer: u8) -> Self {
        Self {
            place: self.place,
            content: self.content & (ZEROED | SOURCE_MASK) | u64_from_u8(layer) << LAYER_SHIFT,
        }
    }

    /// The part from sector `from` of the image up to, and without, sector `to`; both must be
    /// within the segment. [`None`] if there is no such part, or it is empty.
    #[inline]
    #[must_use]
    pub(super) fn part(self, from: u64, to: u64) -> Option<Self> {
        let start = self.place & START_MASK;
        if from >= to || from < start || to > self.end().get() {
            return None;
        }
        let skipped = if self.zeroed() {
            0
        } else {
            sub_u64(from, start)
        };
        Some(Self {
            place: from | sub_u64(to, from) << START_BITS,
            // The data ends in the blob, as the index loader checked, so this fits its 55 bits.
            content: add_u64(self.content, skipped),
        })
    }

    /// The first sector of the image.
    #[inline]
    #[must_use]
    pub const fn start(self) -> Sector {
        Sector::new(self.place & START_MASK)
    }

    /// The number of sectors.
    #[inline]
    #[must_use]
    pub const fn len(self) -> Sectors {
        Sectors::new(self.place >> START_BITS)
    }

    /// Whether it has no sectors.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len().get() == 0
    }

    /// The first sector of the image after it.
    #[inline]
    #[must_use]
    pub const fn end(self) -> Sector {
        Sector::new(add_u64(self.start().get(), self.len().get()))
    }

    /// The first sector of its data in the blob. It has no meaning if it is [`Self::zeroed`].
    #[inline]
    #[must_use]
    pub const fn source(self) -> Sector {
        Sector::new(self.content & SOURCE_MASK)
    }

    /// Whether its sectors are zero, so that none is read.
    #[inline]
    #[must_use]
    pub const fn zeroed(self) -> bool {
        self.content & ZEROED != 0
    }

    /// Whether devices can read it whose logical blocks are larger than sectors: `image` those of
    /// the device that has the image, `layer` those of the one that has the blob.
    ///
    /// Reads of the image are whole blocks of that device. If all borders between segments are as
    /// well, so are all parts of a read. The data starts at a whole block of the blob.
    #[must_use]
    pub fn fits(self, image: LogicalBlockSize, layer: LogicalBlockSize) -> bool {
        let divides = |block: LogicalBlockSize, at: Sector| {
            at.to_bytes().is_some_and(|at| block.divides(at.get()))
        };
        divides(image, self.start())
            && divides(image, self.end())
            && (self.zeroed() || divides(layer, self.source()))
    }

    /// The layer it comes from, 0 for the lowest.
    #[inline]
    #[must_use]
    pub const fn layer(self) -> u8 {
        low_u8(self.content >> LAYER_SHIFT)
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("start", &self.start().get())
            .field("len", &self.len().get())
            .field("source", &self.source().get())
            .field("zeroed", &self.zeroed())
            .field("layer", &self.layer())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsmt::testing::{
        data,
        entry,
        zeros, //
    };

    #[test]
    fn logical_blocks() {
        let block = |bytes| LogicalBlockSize::new(bytes).unwrap();
        let sector = LogicalBlockSize::SECTOR;
        assert!(data(1, 1, 1).fits(sector, sector));
        assert!(data(8, 16, 8).fits(block(4096), block(4096)));
        assert!(data(8, 16, 9).fits(block(4096), sector));
        assert!(!data(8, 16, 9).fits(block(4096), block(1024)));
        assert!(!data(9, 15, 8).fits(block(4096), sector));
        assert!(!data(8, 15, 8).fits(block(4096), sector));
        assert!(!data(8, 16, 8).fits(block(8192), sector));
        // What is zero has no place in the blob.
        assert!(zeros(8, 16).fits(block(4096), block(65536)));
        assert!(!zeros(8, 17).fits(block(1024), sector));
    }

    #[test]
    fn fields_do_not_touch_each_other() {
        let segment = data((1 << 50) - 16_383, 16_383, (1 << 55) - 1).with_layer(255);
        assert_eq!(segment.start().get(), (1 << 50) - 16_383);
        assert_eq!(segment.len().get(), 16_383);
        assert_eq!(segment.end(), Segment::LIMIT);
        assert_eq!(segment.source().get(), (1 << 55) - 1);
        assert!(!segment.zeroed());
        assert_eq!(segment.layer(), 255);
        let segment = zeros(0, 1).with_layer(255).with_layer(0);
        assert_eq!(segment.source().get(), 0);
        assert!(segment.zeroed());
        assert_eq!(segment.layer(), 0);
        assert!(Segment::EMPTY.is_empty());
        assert!(!segment.is_empty());
    }

    #[test]
    fn numbers_too_large() {
        let make = |start, len, source| {
            Segment::data(Sector::new(start), Sectors::new(len), Sector::new(source))
        };
        assert_eq!(make(0, 16_384, 0), None);
        assert_eq!(make((1 << 50) - 5, 6, 0), None);
        assert_eq!(make(1 << 50, 0, 0), None);
        assert_eq!(make(u64::MAX, 1, 0), None);
        assert_eq!(make(0, 1, 1 << 55), None);
        assert!(make((1 << 50) - 5, 5, (1 << 55) - 1).is_some());
        assert!(make((1 << 50) - 1, 1, 0).is_some());
        assert_eq!(Segment::zeros(Sector::new(0), Sectors::new(16_384)), None);
    }

    #[test]
    fn entries_lose_their_tag_and_padding_is_none() {
        let segment = Segment::from_entry(&entry(5, 6, 7, true, 77)).unwrap();
        assert_eq!(segment.start().get(), 5);
        assert_eq!(segment.len().get(), 6);
        assert_eq!(segment.source().get(), 7);
        assert!(segment.zeroed());
        assert_eq!(segment.layer(), 0);
        let padding = (1 << 50) - 1;
        assert_eq!(Segment::from_entry(&entry(padding, 0, 0, false, 0)), None);
        assert_eq!(Segment::from_entry(&entry(padding, 9, 9, true, 9)), None);
    }

    #[test]
    fn cut_at_the_limit() {
        let last = (1 << 50) - 2;
        let segment = Segment::from_entry(&entry(last, 16_383, 8, false, 0)).unwrap();
        assert_eq!(segment.end().get(), (1 << 50) + 16_381);
        assert_eq!(segment.cut(), data(last, 2, 8));
        assert_eq!(data(last, 2, 8).cut(), data(last, 2, 8));
    }

    #[test]
    fn parts() {
        let segment = data(100, 50, 8).with_layer(3);
        assert_eq!(
            segment.part(110, 120),
            Some(data(110, 10, 18).with_layer(3))
        );
        assert_eq!(segment.part(100, 150), Some(segment));
        for (from, to) in [(110, 110), (120, 110), (99, 110), (140, 151)] {
            assert_eq!(segment.part(from, to), None);
        }
        assert_eq!(zeros(100, 50).part(110, 120), Some(zeros(110, 10)));
    }
}
