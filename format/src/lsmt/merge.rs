// SPDX-License-Identifier: GPL-2.0

//! Merges N layers into one by a sweep over the sectors of the image.
//!
//! Each layer is a sequence of events, the starts and ends of its segments. A tournament over the
//! layers finds the next event of all. A set of the layers that have a segment at the current
//! sector has the topmost of them. A segment of the result ends where another layer, or another
//! segment of the same layer, becomes the topmost. So the time is O(s log n) for s segments in n
//! layers, and the memory one [`Cursor`] a layer. The merge never recurses and never allocates.
//!
//! The tournament is a loser tree: an inner node holds the loser of its match, and the winner goes
//! up. The key of a layer, the sector of its next event and its number, is one integer, so a match
//! is a minimum and a maximum, without a branch. Node 0 is not used, node i has the children 2i and
//! 2i + 1, and layer i of n is leaf n + i. This holds for any n, not only for powers of two.

use super::segment::Segment;
use crate::{
    arith::{
        add_usize,
        shl_u64,
        sub_u32, //
    },
    convert::low_u8, //
};
use core::{
    fmt,
    ops::Deref, //
};

/// The most layers an image can have.
pub const MAX_LAYERS: usize = 255;

/// A key has the layer in these bits, and the sector above them.
const LAYER_BITS: u32 = 8;

/// The sector of a layer that has no more events: after the end of any segment.
const EXHAUSTED: u64 = 1 << 55;

/// A node of the tree that has had no match yet.
const VACANT: u64 = u64::MAX;

const _: () = assert!(Segment::LIMIT.get() < EXHAUSTED && MAX_LAYERS < 1 << LAYER_BITS);

/// The state of one layer in [`merge`]. Callers only allocate it.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The key of the loser at the inner node that has the number of this layer.
    loser: u64,
    /// The number of segments taken from the layer: those up to `ahead`.
    taken: usize,
    /// The segment at the current sector, if the layer is active.
    current: Segment,
    /// The next segment, empty if there is none. It is fetched one event early: with many layers it
    /// is not in the cache, and the merge does not wait for memory this way.
    ahead: Segment,
}

impl Cursor {
    /// A cursor to fill memory with.
    pub const EMPTY: Self = Self {
        loser: VACANT,
        taken: 0,
        current: Segment::EMPTY,
        ahead: Segment::EMPTY,
    };

    /// Moves to the next segment.
    #[inline]
    fn advance(&mut self, layer: &[Segment]) {
        self.current = self.ahead;
        self.ahead = layer.get(self.taken).copied().unwrap_or(Segment::EMPTY);
        self.taken = add_usize(self.taken, 1);
    }

    /// Where the segment ahead starts.
    #[inline]
    fn next_start(&self) -> u64 {
        if self.ahead.is_empty() {
            EXHAUSTED
        } else {
            self.ahead.start().get()
        }
    }
}

/// Why layers cannot be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError<E> {
    /// There are more than [`MAX_LAYERS`].
    TooManyLayers {
        /// The number of layers.
        layers: usize,
    },
    /// There are fewer cursors than layers.
    Scratch {
        /// The number of cursors.
        cursors: usize,
        /// The number of layers.
        layers: usize,
    },
    /// The sink returned an error.
    Sink(E),
}

impl<E: fmt::Display> fmt::Display for MergeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyLayers { layers } => {
                write!(f, "{layers} layers, at most {MAX_LAYERS} can be merged")
            }
            Self::Scratch { cursors, layers } => {
                write!(f, "{layers} layers, but memory for {cursors} to be merged")
            }
            Self::Sink(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for MergeError<E> {}

/// Merges `layers`, lowest first, and calls `sink` with the segments of the image: in order and
/// without overlap, each with the number of its layer.
///
/// Of all layers that have a segment at a sector the topmost wins, whether it is data or zeroed.
/// Where no layer has one, there is no segment. A segment of the image is the longest part of one
/// segment of one layer that is topmost: neighbours are not joined.
///
/// The layers must be as [`IndexLoader`](super::IndexLoader) returns them. The result for other
/// layers has no meaning, but the merge still ends without a panic. `scratch` needs a cursor for
/// each layer, of any content.
///
/// # Errors
///
/// [`MergeError`]. An error of the sink ends the merge.
pub fn merge<L: Deref<Target = [Segment]>, E>(
    layers: &[L],
    scratch: &mut [Cursor],
    mut sink: impl FnMut(Segment) -> Result<(), E>,
) -> Result<(), MergeError<E>> {
    if layers.len() > MAX_LAYERS {
        return Err(MergeError::TooManyLayers {
            layers: layers.len(),
        });
    }
    let available = scratch.len();
    let Some(cursors) = scratch.get_mut(..layers.len()) else {
        return Err(MergeError::Scratch {
            cursors: available,
            layers: layers.len(),
        });
    };

    let mut winner = start(layers, cursors);
    let mut active = LayerSet::EMPTY;
    // The topmost active layer, and the sector from which its current segment is the topmost.
    let mut top: Option<(u8, u64)> = None;
    loop {
        let place = winner >> LAYER_BITS;
        if place >= EXHAUSTED {
            return Ok(());
        }
        let layer = low_u8(winner);
        let index = usize::from(layer);

        // A segment of the image ends here if the event is of the topmost layer, or of one above.
        let at_top = top.is_none_or(|(top_layer, _)| top_layer <= layer);
        if at_top {
            if let Some((top_layer, from)) = top {
                let segment = cursors
                    .get(usize::from(top_layer))
                    .and_then(|cursor| cursor.current.part(from, place));
                if let Some(segment) = segment {
                    sink(segment.with_layer(top_layer)).map_err(MergeError::Sink)?;
                }
            }
        }

        let (Some(segments), Some(cursor)) = (layers.get(index), cursors.get_mut(index)) else {
            return Ok(());
        };
        // The event of a layer that is not active is the start of its next segment.
        let next_event = if cursor.next_start() != place {
            // The end of a segment, with a hole after it.
            active.remove(layer);
            if at_top {
                top = active.topmost().map(|below| (below, place));
            }
            cursor.next_start()
        } else {
            // The start of a segment, perhaps at the end of another.
            active.insert(layer);
            cursor.advance(segments);
            if at_top {
                top = Some((layer, place));
            }
            cursor.current.end().get()
        };
        winner = replay(cursors, index, key(next_event, layer));
    }
}

/// The key of a layer in the tournament.
fn key(place: u64, layer: u8) -> u64 {
    place << LAYER_BITS | u64::from(layer)
}

/// Plays the first tournament, and returns its winner.
fn start<L: Deref<Target = [Segment]>>(layers: &[L], cursors: &mut [Cursor]) -> u64 {
    cursors.fill(Cursor::EMPTY);
    let mut winner = VACANT;
    for (index, layer) in (0..=u8::MAX).zip(layers) {
        let Some(cursor) = cursors.get_mut(usize::from(index)) else {
            break;
        };
        cursor.advance(layer);
        let mut climber = key(cursor.next_start(), index);
        let mut node = leaf(cursors, usize::from(index));
        // The first layer at a node waits there for the other.
        let reached_top = loop {
            node >>= 1;
            if node == 0 {
                break true;
            }
            let Some(cursor) = cursors.get_mut(node) else {
                break false;
            };
            let waiting = cursor.loser;
            if waiting == VACANT {
                cursor.loser = climber;
                break false;
            }
            cursor.loser = climber.max(waiting);
            climber = climber.min(waiting);
        };
        if reached_top {
            winner = climber;
        }
    }
    winner
}

/// The node of a layer's leaf.
#[inline]
fn leaf(cursors: &[Cursor], layer: usize) -> usize {
    add_usize(cursors.len(), layer)
}

/// Plays the matches of the layer that won last, which has a new key, and returns the new winner.
#[inline]
fn replay(cursors: &mut [Cursor], layer: usize, key: u64) -> u64 {
    let mut climber = key;
    let mut node = leaf(cursors, layer) >> 1;
    while let (true, Some(cursor)) = (node != 0, cursors.get_mut(node)) {
        let loser = cursor.loser;
        cursor.loser = climber.max(loser);
        climber = climber.min(loser);
        node >>= 1;
    }
    climber
}

/// A set of layers.
struct LayerSet([u64; 4]);

impl LayerSet {
    const EMPTY: Self = Self([0; 4]);

    #[inline]
    fn word(&mut self, layer: u8) -> Option<(&mut u64, u64)> {
        let word = self.0.get_mut(usize::from(layer >> 6))?;
        Some((word, shl_u64(1, u32::from(layer & 63))))
    }

    #[inline]
    fn insert(&mut self, layer: u8) {
        if let Some((word, bit)) = self.word(layer) {
            *word |= bit;
        }
    }

    #[inline]
    fn remove(&mut self, layer: u8) {
        if let Some((word, bit)) = self.word(layer) {
            *word &= !bit;
        }
    }

    /// The largest number in the set.
    #[inline]
    fn topmost(&self) -> Option<u8> {
        let [first, second, third, fourth] = self.0;
        for (base, word) in [(192, fourth), (128, third), (64, second), (0, first)] {
            if word != 0 {
                let bit = sub_u32(63, word.leading_zeros());
                return Some(base | low_u8(u64::from(bit)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsmt::testing::{
        data,
        zeros, //
    };
    use std::{
        string::ToString,
        vec,
        vec::Vec, //
    };

    fn merged(layers: &[&[Segment]]) -> Vec<Segment> {
        // Cursors of any content.
        let dirty = Cursor {
            loser: 3,
            taken: 9,
            current: data(1, 2, 8),
            ahead: data(3, 4, 8),
        };
        let mut scratch = vec![dirty; layers.len()];
        let mut result = Vec::new();
        merge(layers, &mut scratch, |segment| {
            result.push(segment);
            Ok::<(), ()>(())
        })
        .unwrap();
        result
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(merged(&[]), []);
        assert_eq!(merged(&[&[]]), []);
        assert_eq!(merged(&[&[], &[], &[]]), []);
    }

    #[test]
    fn one_layer_stays_as_it_is() {
        let layer = [data(0, 5, 8), data(5, 5, 13), zeros(20, 3), data(40, 1, 9)];
        assert_eq!(merged(&[&layer]), layer);
        let second = layer.map(|segment| segment.with_layer(1));
        assert_eq!(merged(&[&[], &layer]), second);
        assert_eq!(merged(&[&layer, &[]]), layer);
    }

    #[test]
    fn upper_splits_lower() {
        assert_eq!(
            merged(&[&[data(0, 100, 8)], &[data(40, 10, 8), zeros(60, 1)]]),
            [
                data(0, 40, 8),
                data(40, 10, 8).with_layer(1),
                data(50, 10, 58),
                zeros(60, 1).with_layer(1),
                data(61, 39, 69),
            ]
        );
    }

    #[test]
    fn lower_shows_through_holes_only() {
        assert_eq!(
            merged(&[
                &[data(0, 10, 8), data(10, 10, 50)],
                &[data(5, 10, 8)],
                &[data(0, 7, 8), zeros(14, 2)]
            ]),
            [
                data(0, 7, 8).with_layer(2),
                data(7, 7, 10).with_layer(1),
                zeros(14, 2).with_layer(2),
                data(16, 4, 56),
            ]
        );
    }

    #[test]
    fn neighbours_hide_without_a_gap() {
        // Two layers above take turns, two segments of one layer meet: below nothing shows.
        assert_eq!(
            merged(&[
                &[data(0, 40, 8)],
                &[data(10, 10, 8)],
                &[data(0, 10, 8), data(20, 5, 8), data(25, 15, 8)]
            ]),
            [
                data(0, 10, 8).with_layer(2),
                data(10, 10, 8).with_layer(1),
                data(20, 5, 8).with_layer(2),
                data(25, 15, 8).with_layer(2),
            ]
        );
    }

    #[test]
    fn neighbours_are_not_joined() {
        let layer = [data(0, 5, 8), data(5, 5, 13)];
        assert_eq!(merged(&[&layer]).len(), 2);
    }

    #[test]
    fn to_the_last_sector_there_is() {
        let last = (1 << 50) - 10;
        assert_eq!(
            merged(&[&[data(last, 10, 8)], &[data(last + 5, 5, 8)]]),
            [data(last, 5, 8), data(last + 5, 5, 8).with_layer(1)]
        );
    }

    #[test]
    fn every_number_of_layers() {
        // Layer i covers sectors i to 255: of each the end shows that no layer above has.
        for count in 1..=MAX_LAYERS {
            let layers: Vec<Vec<Segment>> = (0..count as u64)
                .map(|i| vec![data(i, 256 - i, 8)])
                .collect();
            let layers: Vec<&[Segment]> = layers.iter().map(Vec::as_slice).collect();
            let result = merged(&layers);
            assert_eq!(result.len(), count);
            for (index, segment) in (0u8..=254).zip(&result) {
                assert_eq!(segment.layer(), index);
                assert_eq!(segment.start().get(), u64::from(index));
            }
        }
    }

    #[test]
    fn too_many_layers() {
        let layers = vec![&[][..]; 256];
        let result = merge(&layers, &mut [Cursor::EMPTY; 256], |_| Ok::<(), ()>(()));
        assert_eq!(result, Err(MergeError::TooManyLayers { layers: 256 }));
    }

    #[test]
    fn too_few_cursors() {
        let layers = vec![&[][..]; 3];
        let result = merge(&layers, &mut [Cursor::EMPTY; 2], |_| Ok::<(), ()>(()));
        assert_eq!(
            result,
            Err(MergeError::Scratch {
                cursors: 2,
                layers: 3
            })
        );
    }

    #[test]
    fn the_sink_ends_it() {
        let layer = [data(0, 5, 8), data(5, 5, 13), data(10, 1, 8)];
        let mut count = 0;
        let result = merge(&[&layer[..]], &mut [Cursor::EMPTY; 1], |_| {
            count += 1;
            if count < 2 {
                Ok(())
            } else {
                Err("full")
            }
        });
        assert_eq!(result, Err(MergeError::Sink("full")));
        assert_eq!(count, 2);
        assert_eq!(result.unwrap_err().to_string(), "full");
    }

    #[test]
    fn layers_that_break_the_rules_do_no_harm() {
        let layers: [&[Segment]; 2] = [
            &[
                data(50, 5, 8),
                data(0, 100, 8),
                Segment::EMPTY,
                data(3, 3, 8),
            ],
            &[
                Segment::EMPTY,
                Segment::EMPTY,
                data(1, 60, 8),
                data(1, 60, 8),
            ],
        ];
        for segment in merged(&layers) {
            assert!(!segment.is_empty());
        }
    }
}
