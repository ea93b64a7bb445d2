// SPDX-License-Identifier: GPL-2.0

//! Opens layers as one image, by `overlaybd_format`.

use crate::{Blob, Error, ReadAt};
use overlaybd_format::lsmt::{
    merge, trailer_offset, virtual_size, words_needed, Cursor, Extent, IndexLoader, Layer,
    MapBuilder, MapError, Segment, SegmentMap, HEADER_LEN,
};
use overlaybd_format::units::{Bytes, Sector};

const SECTOR: u64 = 512;

/// The bytes of an index that are read at once: on purpose not a multiple of an entry.
const INDEX_PIECE: u64 = 100_001;

/// Opens an LSMT blob and loads its index.
///
/// # Errors
///
/// [`Error::Layer`] with the check that fails, and the errors of reading the blob.
pub fn load_layer(blob: &impl ReadAt) -> Result<(Layer, Vec<Segment>), Error> {
    let blob_len = Bytes::new(blob.len());
    let offset = trailer_offset(blob_len)?;
    let (mut header, mut trailer) = ([0; HEADER_LEN], [0; HEADER_LEN]);
    blob.read_at(0, &mut header)?;
    blob.read_at(offset.get(), &mut trailer)?;
    let layer = Layer::open(&header, &trailer, blob_len)?;

    let memory = vec![Segment::EMPTY; layer.index_entries() as usize];
    let mut loader = IndexLoader::new(&layer, memory)?;
    let mut done = 0;
    while done < layer.index_len().get() {
        let len = INDEX_PIECE.min(layer.index_len().get() - done);
        let mut piece = vec![0; usize::try_from(len).unwrap_or_default()];
        blob.read_at(layer.index_offset().get() + done, &mut piece)?;
        loader.push(&piece)?;
        done += len;
    }
    let (mut segments, live) = loader.finish()?;
    segments.truncate(live);
    Ok((layer, segments))
}

/// An image of one or more layers.
#[derive(Debug)]
pub struct Stack<R> {
    blobs: Vec<Blob<R>>,
    map: SegmentMap<Vec<u32>>,
    len: u64,
}

impl<R: ReadAt> Stack<R> {
    /// Opens layer files, lowest first, and merges them.
    ///
    /// # Errors
    ///
    /// The error of the first one that is wrong, and [`Error::Merge`] if there are too many.
    pub fn open(files: impl IntoIterator<Item = R>) -> Result<Self, Error> {
        let mut blobs = Vec::new();
        let mut indexes = Vec::new();
        let mut sizes = Vec::new();
        for file in files {
            let blob = Blob::open(file)?;
            let (layer, segments) = load_layer(&blob)?;
            blobs.push(blob);
            indexes.push(segments);
            sizes.push(layer.virtual_size());
        }

        let mut scratch = vec![Cursor::EMPTY; indexes.len()];
        let mut segments = Vec::new();
        let merged = merge(&indexes, &mut scratch, |segment| {
            segments.push(segment);
            Ok::<(), Error>(())
        });
        merged.map_err(|error| Error::Merge(error.to_string()))?;
        Ok(Self {
            blobs,
            map: map_of(&segments).map_err(|error| Error::Merge(error.to_string()))?,
            len: virtual_size(sizes.into_iter()).get(),
        })
    }

    /// The merged segments.
    pub const fn map(&self) -> &SegmentMap<Vec<u32>> {
        &self.map
    }
}

/// A map of merged segments.
///
/// # Errors
///
/// [`MapError`], if they are not in order.
pub fn map_of(segments: &[Segment]) -> Result<SegmentMap<Vec<u32>>, MapError> {
    let last = segments.last().map_or(Sector::new(0), |last| last.start());
    let words = vec![0; words_needed(segments.len()).unwrap_or(0)];
    let mut builder = MapBuilder::new(segments.len(), last, words)?;
    for segment in segments {
        builder.push(*segment)?;
    }
    builder.finish()
}

impl<R: ReadAt> ReadAt for Stack<R> {
    fn len(&self) -> u64 {
        self.len
    }

    /// Offset and length need not be whole sectors. No other bytes are read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let past_end = || Error::Io(std::io::ErrorKind::UnexpectedEof.into());
        let end = offset.checked_add(buf.len() as u64).ok_or_else(past_end)?;
        if end > self.len {
            return Err(past_end());
        }
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let run = self.map.lookup(Sector::new(at / SECTOR));
            let skip = at % SECTOR;
            let room = run.len().get().saturating_mul(SECTOR) - skip;
            let len = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            let (out, behind) = rest.split_at_mut(len);
            match run {
                Extent::Data { layer, source, .. } => {
                    let blob = &self.blobs[usize::from(layer)];
                    blob.read_at(source.get() * SECTOR + skip, out)?;
                }
                Extent::Zero { .. } => out.fill(0),
            }
            rest = behind;
            at += len as u64;
        }
        Ok(())
    }
}
