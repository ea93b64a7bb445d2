// SPDX-License-Identifier: GPL-2.0

//! The index of one layer, from its bytes to checked segments in order. It never trusts an entry:
//! what comes out can be merged and read as it is.

use super::error::OpenError;
use super::layer::Layer;
use super::segment::Segment;
use crate::convert::usize_from;
use crate::records::Records;
use crate::units::Sector;
use core::fmt;
use core::ops::DerefMut;

/// The first sector of data in a blob: the header is in front of it.
const DATA_START: Sector = Sector::new(8);

/// Takes the index of a layer, and makes segments of it: padding and entries of no sectors dropped,
/// order and overlap checked, data inside the blob, tags gone.
pub struct IndexLoader<S> {
    segments: S,
    progress: Progress,
}

impl<S> fmt::Debug for IndexLoader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexLoader")
            .field("entries", &self.progress.entries)
            .field("expected", &self.progress.expected)
            .field("live", &self.progress.live)
            .finish_non_exhaustive()
    }
}

impl<S: DerefMut<Target = [Segment]>> IndexLoader<S> {
    /// Starts with at least [`Layer::index_entries`] segments of memory, of any content.
    ///
    /// # Errors
    ///
    /// [`OpenError::Memory`] if they are fewer.
    pub fn new(layer: &Layer, segments: S) -> Result<Self, OpenError> {
        let needed = usize_from(layer.index_entries());
        if segments.len() < needed {
            return Err(OpenError::Memory {
                segments: segments.len(),
                needed,
            });
        }
        Ok(Self {
            segments,
            progress: Progress {
                expected: layer.index_entries(),
                data_end: layer.data_end(),
                records: Records::new(),
                entries: 0,
                live: 0,
                end: Sector::new(0),
            },
        })
    }

    /// Takes the next bytes of the index, however many.
    ///
    /// # Errors
    ///
    /// [`OpenError::EntryOrder`], [`OpenError::EntrySource`], [`OpenError::IndexSurplus`]. The
    /// loader is of no use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        self.progress.push(&mut self.segments, bytes)
    }

    /// Ends the index. Returns the memory, and how many segments at its start are the layer's.
    ///
    /// # Errors
    ///
    /// [`OpenError::IndexIncomplete`], [`OpenError::IndexSurplus`].
    pub fn finish(self) -> Result<(S, usize), OpenError> {
        self.progress.finish()?;
        Ok((self.segments, self.progress.live))
    }
}

/// What a loader knows beside its memory. Not generic, so that it is compiled with this crate.
struct Progress {
    expected: u32,
    data_end: Sector,
    records: Records<16>,
    /// The number of entries so far, padding included.
    entries: u32,
    /// The number of segments so far.
    live: usize,
    /// Where the last entry that is no padding ends.
    end: Sector,
}

impl Progress {
    fn push(&mut self, segments: &mut [Segment], bytes: &[u8]) -> Result<(), OpenError> {
        let Self {
            expected,
            data_end,
            records,
            entries,
            live,
            end,
        } = self;
        records.push(bytes, |raw| {
            let entry = *entries;
            if entry >= *expected {
                return Err(OpenError::IndexSurplus {
                    expected: *expected,
                });
            }
            *entries = entry.wrapping_add(1);
            let Some(segment) = Segment::from_entry(raw) else {
                return Ok(());
            };
            let start = segment.start();
            if start < *end {
                return Err(OpenError::EntryOrder {
                    entry,
                    start,
                    previous_end: *end,
                });
            }
            *end = segment.end();
            if !has_source_in(segment, *data_end) {
                return Err(OpenError::EntrySource {
                    entry,
                    source: segment.source(),
                    len: segment.len(),
                    limit: *data_end,
                });
            }
            if segment.is_empty() {
                return Ok(());
            }
            // Not reachable without: new() saw to it that there is memory for each entry.
            let Some(slot) = segments.get_mut(*live) else {
                return Err(OpenError::IndexSurplus {
                    expected: *expected,
                });
            };
            *slot = segment.cut();
            *live = live.wrapping_add(1);
            Ok(())
        })
    }

    fn finish(&self) -> Result<(), OpenError> {
        let expected = self.expected;
        if !self.records.is_whole() && self.entries == expected {
            return Err(OpenError::IndexSurplus { expected });
        }
        if self.entries != expected {
            return Err(OpenError::IndexIncomplete {
                entries: self.entries,
                expected,
            });
        }
        Ok(())
    }
}

/// Whether the data of a segment lies between the header and `data_end`. An empty one must not be
/// the first sector of data, and a zeroed one may be at the end, as the format's own reader has it.
fn has_source_in(segment: Segment, data_end: Sector) -> bool {
    let source = segment.source();
    if segment.zeroed() {
        return source >= DATA_START && source <= data_end;
    }
    match source.checked_add(segment.len()) {
        Some(end) => {
            source >= DATA_START && source < data_end && end > DATA_START && end <= data_end
        }
        None => false,
    }
}
