// SPDX-License-Identifier: GPL-2.0

//! `zfile_target <device> <zfile_bytes>`: a ZFile as the block device of its decompressed content.
//!
//! `ctr` checks the ZFile and loads its jump table. `map` plans which stored blocks a bio needs and
//! submits one lower read for them. `complete_read` decompresses them into the bio. The arithmetic
//! of both is in the `format` crate. Only parts of blocks larger than 4 KiB go through the block
//! cache.
//!
//! | file | what it does |
//! |---|---|
//! | [`open`] | constructs a target from a table line |
//! | [`codec`] | LZ4 and ZSTD |
//! | [`stats`] | the counters of the status line |

mod codec;
mod open;
mod stats;

use self::{
    codec::{
        Codec,
        Decoder, //
    },
    stats::Stats, //
};
use crate::{
    block::{
        bio::BioWriter,
        limits::QueueLimits, //
    },
    dm::{
        args::Args,
        bio::{
            Bio,
            MapResult, //
        },
        constructor::Setup,
        log::Log,
        status::{
            StatusKind,
            StatusText, //
        },
        target::{
            write_ima_name,
            Features,
            Target, //
        },
        visitor::DeviceVisitor,
    },
    image::{
        index::Index,
        layer_device::LayerDevice,
        refusal::Refusal, //
    },
    io::{
        block_cache::{
            BlockCache,
            CacheLookup,
            FillGuard, //
        },
        buffer::BufferPool,
        pending::{
            Corrupt,
            Cost,
            Pending,
            ReadThrough,
            Wait, //
        },
        read_through::LowerRead,
    },
    sys::{
        crc32c::crc32c,
        zstd::ZstdContexts, //
    },
};
use core::{
    fmt::{
        self,
        Write, //
    },
    ops::ControlFlow, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use overlaybd_format::{
    units::{
        Bytes,
        ContentOffset,
        Sector,
        SECTOR_SIZE, //
    },
    zfile::{
        BlockError,
        BlockRange,
        Destination,
        Group,
        Planner,
        ReadError, //
    },
};

/// The longest read that is answered in one piece, in sectors: 256 KiB, four of the largest blocks.
/// Device-mapper splits longer ones, so that all CPUs decompress them.
const MAX_IO_SECTORS: u32 = 512;

/// A ZFile on a lower device.
pub(crate) struct Zfile {
    source: LayerDevice,
    planner: Planner<Index<Group>>,
    buffers: BufferPool,
    codec: Codec,
    /// For partial reads of blocks. [`None`] if the blocks are small, or by a parameter.
    cache: Option<BlockCache>,
    stats: Stats,
    log: Log,
}

/// What all targets share.
pub(crate) struct Context {
    zstd: Arc<ZstdContexts>,
}

impl Context {
    /// Made when the target type is registered.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            zstd: ZstdContexts::new()?,
        })
    }
}

impl Zfile {
    /// Submits the lower read for a bio that starts at `start`, shortened to what there is memory
    /// for.
    fn submit(
        &self,
        mut bio: Bio<'_, Self>,
        start: ContentOffset,
        fill: Option<FillGuard>,
    ) -> MapResult {
        loop {
            let sectors = bio.sectors();
            let to = if fill.is_some() {
                Destination::Block
            } else if bio.has_one_segment() {
                Destination::Segment
            } else {
                Destination::Segments
            };
            let Some(plan) = sectors
                .to_bytes()
                .and_then(|len| self.planner.plan(start, len, to))
            else {
                return bio.kill();
            };
            let mut buffer = self.buffers.try_alloc(plan.buffer);
            if buffer.is_none() && plan.single {
                if bio.is_nowait() {
                    return bio.decline();
                }
                buffer = self.buffers.alloc_unit();
            }
            if let Some(buffer) = buffer {
                let lower = LowerRead {
                    device: &self.source.device,
                    at: plan.sector,
                    len: plan.len,
                    buffer,
                    fill,
                };
                let cost = Cost {
                    bytes: plan.content,
                    may_wait: self.codec.may_wait(),
                };
                return bio.read_through(lower, cost, plan.blocks);
            }
            // Memory is short, or fragmented. A single block is served from the reserve.
            match self.planner.halve_to_block(start, sectors) {
                Some(fewer) if fewer < sectors => bio.accept_partial(fewer),
                _ => return bio.kill(),
            }
        }
    }

    /// Counts and logs why a block cannot be read.
    fn corrupt(&self, error: ReadError) -> Corrupt {
        if let ReadError::Block(error) = error {
            let counter = match error {
                BlockError::Crc { .. } => &self.stats.crc_errors,
                _ => &self.stats.decompress_errors,
            };
            counter.add(1);
            self.log
                .error_ratelimited(format_args!("{}: {error}", self.source.device));
        }
        Corrupt
    }
}

#[vtable]
impl Target for Zfile {
    const NAME: &'static CStr = c"zfile_target";
    const VERSION: [c_uint; 3] = [1, 0, 0];
    const FEATURES: Features = Features::NOWAIT;
    type Io = Pending<Self>;
    type Context = Context;
    type Refusal<'a> = Refusal<'a>;

    fn ctr<'a>(
        context: &Context,
        setup: &mut Setup<'_>,
        args: Args<'a>,
    ) -> Result<Self, Refusal<'a>> {
        Self::open(context, setup, args)
    }

    fn map(&self, mut bio: Bio<'_, Self>) -> MapResult {
        if !bio.is_read() {
            return bio.kill();
        }
        let Some(at) = bio.sector().to_bytes() else {
            return bio.kill();
        };
        let start = ContentOffset::new(at.get());
        let mut fill = None;
        if let Some(cache) = &self.cache {
            let size = self.planner.layout().block_size();
            let Some((block, skip)) = size.locate(start) else {
                return bio.kill();
            };
            // Only bios within one block use the cache.
            let sectors = self.planner.clamp_to_block(skip, bio.sectors());
            bio.accept_partial(sectors);
            if bio.sectors().to_bytes() < Some(Bytes::of_memory(size.to_usize())) {
                match cache.lookup(bio, block, skip) {
                    CacheLookup::Hit(result) => {
                        self.stats.cache_hits.add(1);
                        return result;
                    }
                    CacheLookup::Miss(missed, guard) => {
                        bio = missed;
                        fill = Some(guard);
                    }
                    CacheLookup::Full(missed) => bio = missed,
                }
            }
        }
        self.submit(bio, start, fill)
    }

    fn status(&self, kind: StatusKind, text: &mut StatusText<'_>) -> fmt::Result {
        let LayerDevice { device, len } = &self.source;
        let layout = self.planner.layout();
        match kind {
            StatusKind::Info => write!(
                text,
                "{} {} {} blocks {} index_bytes {} {}",
                self.codec.name(),
                layout.block_size(),
                if layout.verify() {
                    "verify"
                } else {
                    "noverify"
                },
                layout.block_count(),
                self.planner.table().memory_bytes(),
                self.stats,
            ),
            StatusKind::Table => write!(text, "{device} {len}"),
            StatusKind::Ima => {
                write_ima_name::<Self>(text)?;
                write!(text, ",device_name={device},zfile_bytes={len};")
            }
        }
    }

    fn iterate_devices(&self, visitor: &mut DeviceVisitor<'_>) -> ControlFlow<()> {
        let LayerDevice { device, len } = &self.source;
        visitor.visit(device, Sector::new(0), len.sectors_needed())
    }

    fn io_hints(&self, limits: &mut QueueLimits<'_>) {
        // Any sector of a block can be read, whatever the logical block size of the lower device:
        // layers above are made of 512-byte sectors.
        limits.set_logical_block_size(SECTOR_SIZE as u32);
        limits.set_physical_block_size(self.planner.layout().block_size().get());
        limits.lift_max_sectors();
        limits.clear_geometry();
        // The sender of a bio cannot poll for the end of the reads that the target makes.
        limits.refuse_polling();
    }
}

impl ReadThrough for Zfile {
    type Request = BlockRange;
    type Workspace<'a> = Decoder<'a>;

    fn lower_failed(&self) {
        self.stats.read_errors.add(1);
    }

    fn workspace(&self, wait: Wait) -> Option<Decoder<'_>> {
        self.codec.decoder(wait)
    }

    fn complete_read(
        &self,
        mut decoder: Decoder<'_>,
        blocks: &BlockRange,
        read: &[u8],
        scratch: &mut [u8],
        block: Option<&mut [u8]>,
        out: &mut BioWriter<'_>,
    ) -> Result<(), Corrupt> {
        self.stats.blocks_decompressed.add(blocks.count());
        let planner = &self.planner;
        match block {
            Some(block) => planner.read_part(blocks, read, block, out, crc32c, &mut decoder),
            None => planner.read_all(blocks, read, scratch, out, crc32c, &mut decoder),
        }
        .map_err(|error| self.corrupt(error))
    }
}
