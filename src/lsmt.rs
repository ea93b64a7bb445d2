// SPDX-License-Identifier: GPL-2.0

//! `lsmt_target <base device> <bytes> [<upper device> <bytes>]…`: layers as one device.
//!
//! `ctr` checks the layers, loads their indexes and merges them into one map. `map` looks
//! up the segment a bio begins in and passes the bio on to that layer's device, or answers it with
//! zeros; what reaches beyond the segment comes again as a bio of its own. It allocates nothing
//! and never waits.

use crate::{
    dm::{
        Args,
        Bio,
        CtrError,
        DeviceVisitor,
        Features,
        Mapped,
        QueueLimits,
        Setup,
        StatusKind,
        StatusText,
        Target,
        Unit, //
    },
    image::{
        check_table_len,
        Source, //
    },
    index::{
        check_target,
        Index, //
    },
};
use core::{
    fmt::{
        self,
        Write, //
    },
    ops::ControlFlow, //
};
use kernel::prelude::*;
use overlaybd_format::{
    lsmt::{
        merge,
        trailer_offset,
        virtual_size,
        words_needed,
        Cursor,
        Extent,
        IndexLoader,
        Layer,
        MapBuilder,
        MapError,
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

/// A stack of layers on lower devices.
pub(crate) struct Lsmt {
    /// The layers, lowest first.
    layers: KVec<Source>,
    map: SegmentMap<Index<u32>>,
}

/// A layer that has been checked, and its segments.
struct Loaded {
    layer: Layer,
    segments: Index<Segment>,
}

impl Lsmt {
    /// Reads and checks what says how a layer is laid out.
    fn open_layer(setup: &Setup<'_>, source: &Source) -> Result<Layer, CtrError> {
        let refuse = |fault| source.malformed(setup, &fault);
        let trailer_at = trailer_offset(source.len).map_err(refuse)?;
        let header = source.area(setup, c"Cannot read the layer header", Bytes::new(0))?;
        let trailer = source.area(setup, c"Cannot read the layer trailer", trailer_at)?;
        Layer::open(&header, &trailer, source.len).map_err(refuse)
    }

    /// Reads and checks the index of a layer.
    fn load_index(
        setup: &Setup<'_>,
        source: &Source,
        layer: &Layer,
    ) -> Result<Index<Segment>, CtrError> {
        let entries = usize::try_from(layer.index_entries()).unwrap_or(usize::MAX);
        let storage = Index::new(setup, Segment::EMPTY, entries)?;
        let refuse = |fault| source.malformed(setup, &fault);
        let mut loader = IndexLoader::new(layer, storage).map_err(refuse)?;
        source.index(
            setup,
            c"Cannot read the layer index",
            layer.index_offset(),
            layer.index_len(),
            |piece| loader.push(piece),
        )?;
        let (mut segments, live) = loader.finish().map_err(refuse)?;
        segments.truncate(live);
        Ok(segments)
    }

    /// Opens the layers one by one, within the memory that their indexes may take.
    fn load(setup: &Setup<'_>, sources: &[Source]) -> Result<KVec<Loaded>, CtrError> {
        let mut loaded = KVec::with_capacity(sources.len(), GFP_KERNEL)?;
        let mut memory: u64 = 0;
        for source in sources {
            let layer = Self::open_layer(setup, source)?;
            memory = memory.saturating_add(layer.index_len().get());
            check_target(setup, memory)?;
            let segments = Self::load_index(setup, source, &layer)?;
            loaded.push(Loaded { layer, segments }, GFP_KERNEL)?;
        }
        Ok(loaded)
    }

    /// Merges the segments of all layers: counts them first, so that the result takes no more
    /// memory than it needs.
    fn merge(
        setup: &Setup<'_>,
        sources: &[Source],
        loaded: &[Loaded],
    ) -> Result<SegmentMap<Index<u32>>, CtrError> {
        let mut layers = KVec::with_capacity(loaded.len(), GFP_KERNEL)?;
        for layer in loaded {
            layers.push(&*layer.segments, GFP_KERNEL)?;
        }
        let mut cursors = KVec::from_elem(Cursor::EMPTY, layers.len(), GFP_KERNEL)?;
        let refuse = |error: MergeError<MapError>| {
            setup.refuse(
                c"Layers cannot be merged",
                EINVAL,
                format_args!("merging the layers failed: {error:?}"),
            )
        };
        let alignment = Alignment::new(sources);
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
        .map_err(refuse)?;
        if let Some(start) = misaligned {
            return Err(setup.refuse(
                c"Segments are not aligned to the device's logical blocks",
                EINVAL,
                format_args!(
                    "the segment at sector {start} does not fit logical blocks of {} bytes",
                    alignment.largest.get()
                ),
            ));
        }
        let words = words_needed(count).unwrap_or(usize::MAX);
        let words = Index::new(setup, 0u32, words)?;
        let mut builder =
            MapBuilder::new(count, last, words).map_err(|error| refuse(MergeError::Sink(error)))?;
        merge(&layers, &mut cursors, |segment| builder.push(segment)).map_err(refuse)?;
        builder
            .finish()
            .map_err(|error| refuse(MergeError::Sink(error)))
    }
}

/// What larger logical blocks than sectors ask of the segments.
struct Alignment<'a> {
    sources: &'a [Source],
    /// The largest unit of the devices.
    largest: Unit,
}

impl<'a> Alignment<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let unit = |source: &Source| source.device.unit();
        Self {
            sources,
            largest: sources.iter().map(unit).max().unwrap_or(Unit::SECTOR),
        }
    }

    /// Whether the devices can be asked for what is in a segment.
    fn fits(&self, segment: Segment) -> bool {
        if self.largest == Unit::SECTOR {
            return true;
        }
        // Bios to the stack are then multiples of the largest unit, and so is every part of them
        // if all borders between segments are; where data lies counts in the device's own unit.
        let divides =
            |unit: Unit, at: Sector| at.to_bytes().is_some_and(|at| unit.divides(at.get()));
        let own = self
            .sources
            .get(usize::from(segment.layer()))
            .map_or(self.largest, |source| source.device.unit());
        divides(self.largest, segment.start())
            && divides(self.largest, segment.end())
            && (segment.zeroed() || divides(own, segment.source()))
    }
}

#[vtable]
impl Target for Lsmt {
    const NAME: &'static CStr = c"lsmt_target";
    const VERSION: [c_uint; 3] = [1, 0, 0];
    const FEATURES: Features = Features::NOWAIT;
    type Io = ();
    type Context = ();

    fn ctr((): &(), setup: &mut Setup<'_>, mut args: Args<'_>) -> Result<Self, CtrError> {
        let words = args.remaining();
        if words == 0 || words % 2 != 0 {
            return Err(setup.refuse(
                c"Invalid argument count",
                EINVAL,
                format_args!("{words} arguments instead of pairs of <device> <bytes>"),
            ));
        }
        let count = words / 2;
        if count > MAX_LAYERS {
            return Err(setup.refuse(
                c"Too many layers",
                EINVAL,
                format_args!("{count} layers, there may be {MAX_LAYERS}"),
            ));
        }
        let mut layers = KVec::with_capacity(count, GFP_KERNEL)?;
        while args.remaining() > 0 {
            layers.push(Source::from_args(setup, &mut args)?, GFP_KERNEL)?;
        }
        let loaded = Self::load(setup, &layers)?;
        let size = virtual_size(loaded.iter().map(|loaded| loaded.layer.virtual_size()));
        check_table_len(setup, size.whole_sectors())?;
        let map = Self::merge(setup, &layers, &loaded)?;
        Ok(Self { layers, map })
    }

    fn map(&self, mut bio: Bio<'_, Self>) -> Mapped {
        if !bio.is_read() {
            return bio.kill();
        }
        match self.map.lookup(bio.sector()) {
            Extent::Data { layer, source, len } => {
                let Some(layer) = self.layers.get(usize::from(layer)) else {
                    return bio.kill();
                };
                bio.accept(len);
                bio.remap(&layer.device, source)
            }
            Extent::Zero { len } => {
                bio.accept(len);
                bio.zero()
            }
        }
    }

    fn status(&self, kind: StatusKind, text: &mut StatusText<'_>) -> fmt::Result {
        match kind {
            StatusKind::Info => write!(
                text,
                "layers {} segments {} index_bytes {}",
                self.layers.len(),
                self.map.len(),
                self.map.memory_bytes(),
            ),
            StatusKind::Table => {
                for (i, Source { device, len }) in self.layers.iter().enumerate() {
                    let space = if i == 0 { "" } else { " " };
                    write!(text, "{space}{device} {len}")?;
                }
                Ok(())
            }
            StatusKind::Ima => {
                text.target_name::<Self>()?;
                write!(text, ",layers={}", self.layers.len())?;
                for (i, Source { device, len }) in self.layers.iter().enumerate() {
                    write!(text, ",device_name_{i}={device},bytes_{i}={len}")?;
                }
                text.write_str(";")
            }
        }
    }

    fn iterate_devices(&self, visitor: &mut DeviceVisitor<'_>) -> ControlFlow<()> {
        // Device-mapper wants whole logical blocks, the largest of all layers'. What is left out is
        // the end of a layer's trailer, which no bio reads.
        let largest = Alignment::new(&self.layers).largest;
        for Source { device, len } in &self.layers {
            let len = Bytes::new(largest.floor(len.get()));
            visitor.visit(device, Sector::new(0), len.whole_sectors())?;
        }
        ControlFlow::Continue(())
    }

    fn io_hints(&self, limits: &mut QueueLimits<'_>) {
        limits.clear_geometry();
    }
}
