// SPDX-License-Identifier: GPL-2.0

//! Reads the index of one layer and returns its segments, checked and in order, ready to merge. It
//! never trusts an entry.

use super::{
    error::OpenError,
    header_trailer::HEADER_LEN,
    layer::Layer,
    segment::Segment, //
};
use crate::{
    arith::{
        add_u32,
        add_usize, //
    },
    convert::{
        u64_from,
        usize_from, //
    },
    records::Records,
    units::{
        Sector,
        SECTOR_SIZE, //
    },
    StructureError, //
};
use core::{
    fmt,
    ops::DerefMut, //
};

/// The first sector of data in a blob: the header is before it.
const DATA_START: Sector = Sector::new(u64_from(HEADER_LEN) / SECTOR_SIZE);

/// Takes the index of a layer and converts it to segments. It drops padding, entries of no sectors
/// and tags, and checks that entries are in order, do not overlap, and have their data in the blob.
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

    /// Takes the next bytes of the index, in pieces of any length.
    ///
    /// # Errors
    ///
    /// [`OpenError::EntryOrder`], [`OpenError::EntrySource`], [`StructureError::IndexSurplus`]. The
    /// loader must not be used after an error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        self.progress.push(&mut self.segments, bytes)
    }

    /// Ends the index. Returns the memory, and the number of the layer's segments at its start.
    ///
    /// # Errors
    ///
    /// [`StructureError::IndexIncomplete`], [`StructureError::IndexSurplus`].
    pub fn finish(self) -> Result<(S, usize), OpenError> {
        self.progress.finish()?;
        Ok((self.segments, self.progress.live))
    }
}

/// The state of a loader without its memory. Not generic, so it is compiled with this crate.
struct Progress {
    expected: u32,
    data_end: Sector,
    records: Records<16>,
    /// The number of entries so far, padding included.
    entries: u32,
    /// The number of segments so far.
    live: usize,
    /// The end of the last entry that is not padding.
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
                return Err(OpenError::Structure(StructureError::IndexSurplus {
                    expected: *expected,
                }));
            }
            *entries = add_u32(entry, 1);
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
            // Unreachable: new() checked that there is memory for each entry.
            let Some(slot) = segments.get_mut(*live) else {
                return Err(OpenError::Structure(StructureError::IndexSurplus {
                    expected: *expected,
                }));
            };
            *slot = segment.cut();
            *live = add_usize(*live, 1);
            Ok(())
        })
    }

    fn finish(&self) -> Result<(), OpenError> {
        Ok(self.records.finish(self.entries, self.expected)?)
    }
}

/// Whether the data of a segment lies between the header and `data_end`. As in the format's own
/// reader, an empty segment must not be at the first sector of data, and a zeroed one may be at
/// `data_end`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lsmt::testing::{
            data,
            entry,
            layer, //
        },
        units::Sectors,
        FormatError, //
    };
    use std::{
        vec,
        vec::Vec, //
    };

    const PADDING: [u8; 16] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    /// Loads an index of a layer whose data ends at sector 100.
    fn load(entries: &[[u8; 16]]) -> Result<Vec<Segment>, OpenError> {
        let layer = layer(100 * 512, entries.len() as u64);
        let memory = vec![Segment::EMPTY; entries.len()];
        let mut loader = IndexLoader::new(&layer, memory)?;
        loader.push(&entries.concat())?;
        let (mut segments, live) = loader.finish()?;
        segments.truncate(live);
        Ok(segments)
    }

    #[test]
    fn padding_empty_entries_and_tags_go() {
        let segments = load(&[
            PADDING,
            entry(0, 10, 8, false, 77),
            PADDING,
            entry(10, 0, 9, false, 0),
            entry(10, 5, 50, true, 255),
            PADDING,
        ])
        .unwrap();
        let zeroed = Segment::from_entry(&entry(10, 5, 50, true, 0)).unwrap();
        assert_eq!(segments, [data(0, 10, 8), zeroed]);
        assert_eq!(load(&[]).unwrap(), []);
        assert_eq!(load(&[PADDING; 256]).unwrap(), []);
    }

    #[test]
    fn any_pieces() {
        let entries: Vec<_> = (0..40)
            .map(|i| entry(i * 3, 2, 8 + i, i % 5 == 0, i))
            .collect();
        let whole = load(&entries).unwrap();
        for piece in [1, 3, 15, 16, 17, 33, 512] {
            let memory = vec![Segment::EMPTY; 40];
            let mut loader = IndexLoader::new(&layer(100 * 512, 40), memory).unwrap();
            for chunk in entries.concat().chunks(piece) {
                loader.push(chunk).unwrap();
            }
            assert_eq!(loader.finish().unwrap(), (whole.clone(), 40));
        }
    }

    #[test]
    fn order() {
        let error = |entry, start, previous_end| {
            Err(OpenError::EntryOrder {
                entry,
                start: Sector::new(start),
                previous_end: Sector::new(previous_end),
            })
        };
        // Swapped; overlapping by one; the same one twice, with padding between.
        assert_eq!(
            load(&[entry(10, 5, 8, false, 0), entry(0, 5, 8, false, 0)]),
            error(1, 0, 15)
        );
        assert_eq!(
            load(&[entry(0, 5, 8, false, 0), entry(4, 5, 8, false, 0)]),
            error(1, 4, 5)
        );
        let twice = entry(7, 5, 8, false, 0);
        assert_eq!(load(&[twice, PADDING, twice]), error(2, 7, 12));
        // Entries of no sectors are dropped, but they have a place in the order.
        assert_eq!(
            load(&[entry(10, 0, 9, false, 0), entry(0, 5, 8, false, 0)]),
            error(1, 0, 10)
        );
        // An end after the limit is compared before it is cut, and no entry can follow it.
        let last = (1 << 50) - 2;
        let segments = load(&[entry(last, 50, 8, false, 0)]).unwrap();
        assert_eq!(segments, [data(last, 2, 8)]);
        assert_eq!(
            load(&[entry(last, 50, 8, false, 0), entry(last, 1, 8, false, 0)]),
            error(1, last, last + 50)
        );
    }

    #[test]
    fn source() {
        let bad = |len: u64, source: u64, zeroed| {
            assert_eq!(
                load(&[PADDING, entry(0, len, source, zeroed, 0)]),
                Err(OpenError::EntrySource {
                    entry: 1,
                    source: Sector::new(source),
                    len: Sectors::new(len),
                    limit: Sector::new(100)
                })
            );
        };
        let good = |len: u64, source: u64, zeroed| {
            let segments = load(&[entry(0, len, source, zeroed, 0)]).unwrap();
            assert_eq!(segments.len(), usize::from(len != 0));
        };
        let far = (1 << 55) - 1;
        for (len, source) in [(1, 7), (1, 0), (1, 100), (2, 99), (93, 8), (1, far)] {
            bad(len, source, false);
        }
        for (len, source) in [(1, 8), (1, 99), (92, 8)] {
            good(len, source, false);
        }
        // No sectors: the first place of data is none.
        bad(0, 8, false);
        bad(0, 100, false);
        good(0, 9, false);
        good(0, 99, false);
        // Zeroed: anywhere up to the end of the data, at any length.
        for source in [0, 7, 101, far] {
            bad(50, source, true);
        }
        for source in [8, 100] {
            good(16_383, source, true);
            good(0, source, true);
        }
    }

    #[test]
    fn data_ends_where_it_can_at_most() {
        // The largest index offset there is gives a limit of 55 bits, and no sum overflows.
        let layer = layer(u64::MAX - 16 - 4096, 1);
        let mut loader = IndexLoader::new(&layer, vec![Segment::EMPTY; 1]).unwrap();
        let source = (1 << 55) - 1;
        let error = loader.push(&entry(0, 16_383, source, false, 0));
        assert!(matches!(error, Err(OpenError::EntrySource { .. })));
    }

    #[test]
    fn incomplete_and_surplus() {
        let layer = layer(100 * 512, 3);
        let start = || IndexLoader::new(&layer, vec![Segment::EMPTY; 3]).unwrap();
        let mut loader = start();
        loader.push(&[PADDING; 2].concat()).unwrap();
        loader.push(&[0; 15]).unwrap();
        assert_eq!(
            loader.finish().unwrap_err(),
            OpenError::Structure(StructureError::IndexIncomplete {
                entries: 2,
                expected: 3
            })
        );
        let surplus = OpenError::Structure(StructureError::IndexSurplus { expected: 3 });
        let mut loader = start();
        assert_eq!(loader.push(&[PADDING; 4].concat()).unwrap_err(), surplus);
        let mut loader = start();
        loader.push(&[PADDING; 3].concat()).unwrap();
        loader.push(&[0]).unwrap();
        assert_eq!(loader.finish().unwrap_err(), surplus);
    }

    #[test]
    fn memory() {
        let error = IndexLoader::new(&layer(8192, 3), vec![Segment::EMPTY; 2]).unwrap_err();
        assert_eq!(
            error,
            OpenError::Memory {
                segments: 2,
                needed: 3
            }
        );
        assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
    }
}
