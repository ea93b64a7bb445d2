// SPDX-License-Identifier: GPL-2.0

//! From a table line to a target: opens the layers, loads their indexes, merges them.

use super::{
    alignment::Alignment,
    Lsmt, //
};
use crate::{
    dm::{
        args::Args,
        constructor::Setup, //
    },
    image::{
        index::{
            check_target,
            Index, //
        },
        layer_device::{
            check_table_len,
            LayerDevice, //
        },
        refusal::Refusal,
    },
};
use kernel::prelude::*;
use overlaybd_format::{
    lsmt::{
        merge,
        trailer_offset,
        virtual_size,
        words_needed,
        Cursor,
        IndexLoader,
        Layer,
        MapBuilder,
        MergeError,
        Segment,
        SegmentMap,
        MAX_LAYERS, //
    },
    units::{
        Bytes,
        Sector, //
    },
};

/// A layer that has been checked, and its segments.
struct Loaded {
    layer: Layer,
    segments: Index<Segment>,
}

impl Lsmt {
    /// Constructs a target from pairs of `<device> <bytes>`, the lowest layer first.
    pub(super) fn open<'a>(setup: &mut Setup<'_>, mut args: Args<'a>) -> Result<Self, Refusal<'a>> {
        let words = args.remaining();
        if words == 0 || words % 2 != 0 {
            return Err(Refusal::ArgumentCount {
                count: words,
                expected: "pairs of <device> <bytes>",
            });
        }
        let count = words / 2;
        if count > MAX_LAYERS {
            return Err(Refusal::TooManyLayers { count });
        }
        let mut layers = KVec::with_capacity(count, GFP_KERNEL)?;
        while args.remaining() > 0 {
            layers.push(LayerDevice::from_args(setup, &mut args)?, GFP_KERNEL)?;
        }
        let loaded = load(&layers)?;
        let size = virtual_size(loaded.iter().map(|loaded| loaded.layer.virtual_size()));
        check_table_len(setup, size.whole_sectors())?;
        let map = merge_layers(&layers, &loaded)?;
        Ok(Self { layers, map })
    }
}

/// Opens the layers one by one, within the memory that their indexes may take.
fn load<'a>(layers: &[LayerDevice]) -> Result<KVec<Loaded>, Refusal<'a>> {
    let mut loaded = KVec::with_capacity(layers.len(), GFP_KERNEL)?;
    let mut memory: u64 = 0;
    for source in layers {
        let layer = read_layer(source)?;
        memory = memory.saturating_add(layer.index_len().get());
        check_target(memory)?;
        let segments = load_index(source, &layer)?;
        loaded.push(Loaded { layer, segments }, GFP_KERNEL)?;
    }
    Ok(loaded)
}

/// Reads and checks the header and the trailer of a layer.
fn read_layer<'a>(source: &LayerDevice) -> Result<Layer, Refusal<'a>> {
    let refuse = |error| source.malformed(error);
    let trailer_at = trailer_offset(source.len).map_err(refuse)?;
    let header = source.read_struct(c"Cannot read the layer header", Bytes::new(0))?;
    let trailer = source.read_struct(c"Cannot read the layer trailer", trailer_at)?;
    Layer::open(&header, &trailer, source.len).map_err(refuse)
}

/// Reads and checks the index of a layer.
fn load_index<'a>(source: &LayerDevice, layer: &Layer) -> Result<Index<Segment>, Refusal<'a>> {
    let entries = usize::try_from(layer.index_entries()).unwrap_or(usize::MAX);
    let storage = Index::new(Segment::EMPTY, entries)?;
    let refuse = |error| source.malformed(error);
    let mut loader = IndexLoader::new(layer, storage).map_err(refuse)?;
    source.read_index(
        c"Cannot read the layer index",
        layer.index_offset(),
        layer.index_len(),
        |piece| loader.push(piece),
    )?;
    let (mut segments, live) = loader.finish().map_err(refuse)?;
    segments.truncate(live);
    Ok(segments)
}

/// Merges the segments of all layers. Counts them first, so that the map takes no more memory than
/// it needs.
fn merge_layers<'a>(
    devices: &[LayerDevice],
    loaded: &[Loaded],
) -> Result<SegmentMap<Index<u32>>, Refusal<'a>> {
    let mut layers = KVec::with_capacity(loaded.len(), GFP_KERNEL)?;
    for layer in loaded {
        layers.push(&*layer.segments, GFP_KERNEL)?;
    }
    let mut cursors = KVec::from_elem(Cursor::EMPTY, layers.len(), GFP_KERNEL)?;
    let alignment = Alignment::new(devices);
    let mut misaligned = None;
    let mut count: usize = 0;
    let mut last = Sector::new(0);
    merge(&layers, &mut cursors, |segment| {
        if misaligned.is_none() && !alignment.fits(segment) {
            misaligned = Some(segment.start());
        }
        count += 1;
        last = segment.start();
        Ok(())
    })
    .map_err(Refusal::Merge)?;
    if let Some(start) = misaligned {
        return Err(Refusal::Misaligned {
            start,
            block: alignment.largest.get(),
        });
    }
    let refuse = |error| Refusal::Merge(MergeError::Sink(error));
    let words = words_needed(count).unwrap_or(usize::MAX);
    let words = Index::new(0u32, words)?;
    let mut builder = MapBuilder::new(count, last, words).map_err(refuse)?;
    merge(&layers, &mut cursors, |segment| builder.push(segment)).map_err(Refusal::Merge)?;
    builder.finish().map_err(refuse)
}
