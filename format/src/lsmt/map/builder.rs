// SPDX-License-Identifier: GPL-2.0

//! Builds a map from segments that arrive in order. It never reads the map, and never allocates.

use super::{
    group::{
        pack,
        GROUP,
        GROUP_WORDS, //
    },
    layout::{
        MapLayout,
        WORDS, //
    },
    segment_map::SegmentMap, //
};
use crate::{
    arith::add_usize,
    lsmt::segment::Segment,
    units::Sector, //
};
use core::{
    fmt,
    ops::DerefMut, //
};

/// Why a map cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The memory given is not enough for the segments.
    Memory {
        /// The words of memory.
        words: usize,
        /// The words that the segments need.
        needed: usize,
    },
    /// More segments than announced, or one past the announced last sector.
    Unexpected,
    /// Fewer segments than announced.
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

/// Takes the merged segments of an image, in order, and builds a map of them.
pub struct MapBuilder<S> {
    words: S,
    layout: MapLayout,
    progress: Progress,
}

/// How much of a map is built.
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
        Ok(SegmentMap::new(self.words, self.layout))
    }
}

/// The words of memory for a map of `len` segments: 16 bytes each. [`None`] if there is no such
/// number.
#[inline]
#[must_use]
pub const fn words_needed(len: usize) -> Option<usize> {
    len.checked_mul(WORDS)
}

// Nothing below is generic over the memory, so it is compiled once, with this crate.

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
            .get_mut(layout.ungrouped_word(number)..)
            .and_then(<[u32]>::first_chunk_mut)
            .ok_or(MapError::Unexpected)? = segment.words();
    } else {
        fill_directory(words, *layout, progress, layout.bucket(segment.start()))?;
        words
            .get_mut(layout.group_word(index / GROUP)..)
            .and_then(<[u32]>::first_chunk_mut::<GROUP_WORDS>)
            .and_then(|group| pack(group, index % GROUP, segment))
            .ok_or(MapError::Unexpected)?;
    }
    progress.segments = add_usize(index, 1);
    Ok(())
}

/// Writes the directory's words up to that of `bucket`, in which the next segment starts: until
/// then, the last group written is the last to start before any of these buckets.
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
