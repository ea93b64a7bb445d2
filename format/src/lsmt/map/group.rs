// SPDX-License-Identifier: GPL-2.0

//! Four segments in 14 words: how a group is packed and unpacked.
//!
//! ```text
//!  word  0    1    2    3    4       5       6..8  8..10 10..12 12..14
//!       +----+----+----+----+-------+-------+-----+-----+------+------+
//!       | keys              | tails         | contents                |
//!       | k0 | k1 | k2 | k3 | 0 | 1 | 2 | 3 | 0   | 1   | 2    | 3    |
//!       +----+----+----+----+-------+-------+-----+-----+------+------+
//! ```
//!
//! The key of a segment is its first sector without the two lowest bits. They are in its tail, a
//! 16-bit word, below the number of sectors. The content is that of [`Segment::len_and_content`].

use crate::{
    arith::mul_usize,
    convert::{
        low_u16,
        low_u32, //
    },
    lsmt::segment::Segment,
    units::Sector, //
};

/// The segments of a group.
pub(super) const GROUP: usize = 4;

/// The words of a group.
pub(super) const GROUP_WORDS: usize = 14;

/// The bits of a first sector that are in the tail.
const LOW_BITS: u32 = 2;

const LOW_MASK: u32 = (1 << LOW_BITS) - 1;

/// The end of the sectors at which a segment in a group can start: 8 TiB.
pub(super) const GROUPS_END: u64 = 1 << (u32::BITS + LOW_BITS);

/// Four segments as they are in memory.
#[derive(Clone, Copy)]
pub(super) struct Group<'a>(pub(super) &'a [u32; GROUP_WORDS]);

impl Group<'_> {
    #[inline(always)]
    pub(super) fn segments(self) -> [Segment; GROUP] {
        let [k0, k1, k2, k3, t01, t23, a0, b0, a1, b1, a2, b2, a3, b3] = *self.0;
        [
            unpack(k0, low_u16(t01), [a0, b0]),
            unpack(k1, low_u16(t01 >> u16::BITS), [a1, b1]),
            unpack(k2, low_u16(t23), [a2, b2]),
            unpack(k3, low_u16(t23 >> u16::BITS), [a3, b3]),
        ]
    }

    /// Where the first segment starts.
    #[inline(always)]
    pub(super) fn start(self) -> Sector {
        self.segments()[0].start()
    }
}

/// The segment that a group has as these parts.
#[inline(always)]
fn unpack(key: u32, tail: u16, [low, high]: [u32; 2]) -> Segment {
    let tail = u32::from(tail);
    Segment::from_parts(
        Sector::new(u64::from(key) << LOW_BITS | u64::from(tail & LOW_MASK)),
        tail >> LOW_BITS,
        u64::from(low) | u64::from(high) << u32::BITS,
    )
}

/// Writes a segment that starts before [`GROUPS_END`] into its slot of a group. The segments before
/// it must be there already.
pub(super) fn pack(group: &mut [u32; GROUP_WORDS], slot: usize, segment: Segment) -> Option<()> {
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
