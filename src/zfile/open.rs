// SPDX-License-Identifier: GPL-2.0

//! From a table line to a target: opens the lower device, checks the ZFile, loads its jump table.

use super::{
    codec::Codec,
    stats::Stats,
    Context,
    Zfile,
    MAX_IO_SECTORS, //
};
use crate::{
    dm::{
        args::Args,
        constructor::Setup, //
    },
    image::{
        index::Index,
        layer_device::{
            check_table_len,
            LayerDevice, //
        },
        refusal::Refusal,
    },
    io::{
        block_cache::BlockCache,
        buffer::BufferPool, //
    },
    sys::{
        crc32c::crc32c,
        errno, //
    },
};
use core::borrow::Borrow;
use kernel::prelude::*;
use overlaybd_format::{
    units::{
        BlockSize,
        Bytes, //
    },
    zfile::{
        groups_needed,
        open,
        Algorithm,
        Group,
        HeaderOutcome,
        JumpTable,
        JumpTableBuilder,
        Layout,
        Planner, //
    },
};

/// Blocks up to this size in bytes are not cached: they are rarely read in part.
///
/// It does not follow the machine's page size. On pages of 16 or 64 KiB, file systems with blocks
/// of 4 KiB and direct I/O read as little as elsewhere, and reads of whole pages do not use the
/// cache.
const LARGEST_UNCACHED: u32 = 4096;

impl Zfile {
    /// Constructs a target from `<device> <zfile_bytes>`.
    pub(super) fn open<'a>(
        context: &Context,
        setup: &mut Setup<'_>,
        mut args: Args<'a>,
    ) -> Result<Self, Refusal<'a>> {
        if args.remaining() != 2 {
            return Err(Refusal::ArgumentCount {
                count: args.remaining(),
                expected: "<device> <zfile_bytes>",
            });
        }
        let source = LayerDevice::from_args(setup, &mut args)?;
        let layout = read_layout(&source)?;
        let codec = acquire_codec(context, &source, &layout)?;
        let table = load_table(&source, layout)?;
        let planner = Planner::new(table, source.device.logical_block_size());
        let no_memory = |errno| Refusal::BufferMemory {
            device: source.device.name(),
            errno,
        };
        let buffers = BufferPool::new(planner.max_block_buffer()).map_err(no_memory)?;
        let cache = new_cache(layout.block_size()).map_err(no_memory)?;
        let stats = Stats::new().map_err(no_memory)?;
        // The last sector may be filled up with zeros.
        check_table_len(setup, layout.content_len().sectors_needed())?;
        setup.set_max_io_len(MAX_IO_SECTORS);
        Ok(Self {
            source,
            planner,
            buffers,
            codec,
            cache,
            stats,
            log: setup.log(),
        })
    }
}

/// Reads and checks the header and, if the header needs it, the trailer.
fn read_layout<'a>(source: &LayerDevice) -> Result<Layout, Refusal<'a>> {
    const HEADER: &CStr = c"Cannot read the ZFile header";
    const TRAILER: &CStr = c"Cannot read the ZFile trailer";
    let refuse = |error| source.malformed(error);
    let header = source.read_struct(HEADER, Bytes::new(0))?;
    match open(&header, source.len, crc32c).map_err(refuse)? {
        HeaderOutcome::Complete(layout) => Ok(layout),
        HeaderOutcome::NeedsTrailer(pending) => {
            let at = Bytes::new(pending.offset().get());
            let trailer = source.read_struct(TRAILER, at)?;
            pending.finish(&trailer, crc32c).map_err(refuse)
        }
    }
}

/// Acquires what decompressing the blocks takes.
fn acquire_codec<'a>(
    context: &Context,
    source: &LayerDevice,
    layout: &Layout,
) -> Result<Codec, Refusal<'a>> {
    if layout.algorithm() == Algorithm::Lz4 {
        return Ok(Codec::Lz4);
    }
    let device = source.device.name();
    match context.zstd.ensure_allocated() {
        Ok(()) => Ok(Codec::Zstd(context.zstd.clone())),
        Err(error) if error == errno::unsupported() => Err(Refusal::NoZstd { device }),
        Err(errno) => Err(Refusal::ZstdMemory { device, errno }),
    }
}

/// Reads and checks the index.
fn load_table<'a>(
    source: &LayerDevice,
    layout: Layout,
) -> Result<JumpTable<Index<Group>>, Refusal<'a>> {
    let groups = Index::new(Group::EMPTY, groups_needed(layout.block_count()))?;
    let refuse = |error| source.malformed(error);
    let mut builder = JumpTableBuilder::new(layout, groups, crc32c).map_err(refuse)?;
    source.read_index(
        c"Cannot read the ZFile index",
        Bytes::new(layout.index_offset().get()),
        layout.index_len(),
        |piece| builder.push(piece),
    )?;
    builder.finish().map_err(refuse)
}

/// A cache, if the blocks are larger than what is usually read of them.
fn new_cache(size: BlockSize) -> Result<Option<BlockCache>> {
    // A value or, before kernel 7.3, a reference to it.
    let kib: u32 = *Borrow::borrow(&crate::module_parameters::block_cache_kib.value());
    let bytes = (kib as usize).saturating_mul(1024);
    if size.get() <= LARGEST_UNCACHED || bytes < size.to_usize() {
        return Ok(None);
    }
    BlockCache::new(size, bytes).map(Some)
}
