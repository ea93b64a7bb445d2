// SPDX-License-Identifier: GPL-2.0

//! Where the directory, the groups and the other segments are in the words of a map. No sum and no
//! product overflows: there is memory for [`WORDS`] times `len` words.

use super::group::{
    Group,
    GROUP,
    GROUPS_END,
    GROUP_WORDS, //
};
use crate::{
    arith::{
        add_u32,
        add_u64,
        add_usize,
        mul_usize,
        shr_u64, //
    },
    convert::u64_from,
    lsmt::segment::Segment,
    units::Sector, //
};

/// The words of a segment that is in no group, and the memory for each segment.
pub(super) const WORDS: usize = 4;

/// How the words of a map are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapLayout {
    /// The number of segments.
    pub(super) len: usize,
    /// A sector at or after which no segment but the last starts.
    pub(super) last: Sector,
    /// The number of groups.
    pub(super) groups: usize,
    /// The words of the directory: one for each bucket up to the last segment, and one more. None
    /// if there is no group.
    pub(super) directory: usize,
    /// log2 of the sectors of a bucket.
    bucket_bits: u32,
    /// Where the first segment that is in no group starts.
    pub(super) ungrouped_start: Option<Sector>,
}

impl MapLayout {
    /// The layout of `len` segments, none of which starts after `last`.
    pub(super) fn new(len: usize, last: Sector) -> Self {
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
        // What groups leave of their segments' memory has room for this directory.
        let room = mul_usize(layout.groups, GROUP * WORDS - GROUP_WORDS);
        let words = |bucket_bits| add_u64(shr_u64(last.get(), bucket_bits), 2);
        while words(layout.bucket_bits) > u64_from(room) {
            layout.bucket_bits = add_u32(layout.bucket_bits, 1);
        }
        layout.directory = usize::try_from(words(layout.bucket_bits)).unwrap_or(room);
        layout
    }

    /// The bucket of a sector.
    #[inline]
    pub(super) fn bucket(self, sector: Sector) -> usize {
        usize::try_from(shr_u64(sector.get(), self.bucket_bits)).unwrap_or(usize::MAX)
    }

    /// The number of segments in groups: the first ones.
    #[inline]
    pub(super) fn grouped(self) -> usize {
        mul_usize(self.groups, GROUP)
    }

    /// The first word of the group at `place`.
    #[inline]
    pub(super) fn group_word(self, place: usize) -> usize {
        add_usize(self.directory, mul_usize(place, GROUP_WORDS))
    }

    /// The first word of a segment that is in no group, by its number among those.
    #[inline]
    pub(super) fn ungrouped_word(self, number: usize) -> usize {
        add_usize(self.group_word(self.groups), mul_usize(number, WORDS))
    }

    /// The group at `place`.
    #[inline]
    pub(super) fn group(self, words: &[u32], place: usize) -> Option<Group<'_>> {
        let words = words.get(self.group_word(place)..)?;
        Some(Group(words.first_chunk()?))
    }

    /// A segment that is in no group, by its number among those.
    #[inline]
    pub(super) fn ungrouped(self, words: &[u32], number: usize) -> Option<Segment> {
        let words = words.get(self.ungrouped_word(number)..)?;
        Some(Segment::from_words(*words.first_chunk()?))
    }

    /// A segment by its number in the map, which has that many.
    pub(super) fn segment(self, words: &[u32], index: usize) -> Option<Segment> {
        match index.checked_sub(self.grouped()) {
            Some(number) => self.ungrouped(words, number),
            None => self
                .group(words, index / GROUP)?
                .segments()
                .get(index % GROUP)
                .copied(),
        }
    }
}
