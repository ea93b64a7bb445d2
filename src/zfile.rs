// SPDX-License-Identifier: GPL-2.0

//! `zfile_target <device> <zfile bytes>`: a ZFile as the block device of its decompressed content.
//!
//! `ctr` checks the ZFile and loads its jump table. `map` looks up where the blocks of a read are
//! stored and has them read in one piece; [`Zfile::transform`] decompresses them into the bio.
//! Only blocks larger than 4 KiB are kept for a while, a few, when a part of them is read.

use crate::{
    dm::{
        crc32c,
        errno,
        Args,
        Bio,
        BlockCache,
        BufferPool,
        Cached,
        Claim,
        CtrError,
        Damaged,
        DeviceVisitor,
        Effort,
        Features,
        Log,
        Mapped,
        Pending,
        QueueLimits,
        ReadThrough,
        Segments,
        Setup,
        StatusKind,
        StatusText,
        Target,
        Unit,
        ZstdContexts,
        ZstdTaken, //
    },
    image::{
        check_table_len,
        Source, //
    },
    index::Index,
};
use core::{
    borrow::Borrow,
    fmt::{
        self,
        Write, //
    },
    ops::ControlFlow, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};
use overlaybd_format::{
    units::{
        BlockIndex,
        BlockSize,
        Bytes,
        CompressedOffset,
        ContentOffset,
        Sector,
        Sectors,
        SECTOR_SIZE, //
    },
    zfile::{
        decode,
        groups_needed,
        open,
        Algorithm,
        BlockError,
        Decompress,
        Group,
        HeaderOutcome,
        JumpTable,
        JumpTableBuilder,
        Layout,
        Lz4,
        StoredBlock, //
    },
};

/// The longest read answered in one piece, in sectors: 256 KiB. Longer ones are split, so that all
/// CPUs decompress them; it is four of the largest blocks.
const MAX_IO_SECTORS: u32 = 512;

/// Blocks up to this size in bytes are not kept: they are rarely read in part. It does not follow
/// the machine's page size. On pages of 16 or 64 KiB file systems with blocks of 4 KiB and direct
/// I/O read as little as they do elsewhere, and where whole pages are read the cache is not used.
const LARGEST_UNCACHED: u32 = 4096;

/// A ZFile on a lower device.
pub(crate) struct Zfile {
    source: Source,
    table: JumpTable<Index<Group>>,
    buffers: Arc<BufferPool>,
    /// The unit that the lower device is read in.
    unit: Unit,
    codec: Codec,
    /// Where blocks are kept of which only a part was read, if that is worth it.
    cache: Option<Arc<BlockCache>>,
    counts: Counts,
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

/// How the blocks are compressed, with what decompressing them takes.
enum Codec {
    Lz4,
    Zstd(Arc<ZstdContexts>),
}

impl Codec {
    /// The name in the status line.
    fn name(&self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd(_) => "zstd",
        }
    }
}

/// What `map` tells `transform` about a bio.
pub(crate) struct Request {
    /// The first byte of content asked for.
    start: ContentOffset,
    /// Where in the ZFile the bytes read begin.
    read_from: CompressedOffset,
    /// The number of blocks to decompress.
    blocks: u32,
    /// What decompressing would otherwise wait for.
    zstd: Option<ZstdTaken>,
    /// Where to keep the block, if it is one and only a part of it is asked for. Dropping or
    /// handing in a claim ends bios, so it goes when nothing else is held that other reads wait
    /// for.
    claim: Option<Claim>,
}

/// What has to be read of the lower device for a bio.
struct Extent {
    /// The first sector.
    sector: Sector,
    /// How many bytes, a whole number of the device's units.
    bytes: usize,
    /// Whether it is a single block, so that no less can be read.
    single: bool,
}

/// What happened since the target was made.
struct Counts {
    /// Reads of the lower device that failed.
    read_errors: Atomic<u64>,
    /// Blocks with a wrong CRC.
    crc_errors: Atomic<u64>,
    /// Blocks that do not decompress to what they should.
    decompress_errors: Atomic<u64>,
    /// Blocks decompressed.
    decompressed: Atomic<u64>,
    /// Bios answered with a block from the cache.
    cache_hits: Atomic<u64>,
}

impl Counts {
    const fn new() -> Self {
        Self {
            read_errors: Atomic::new(0),
            crc_errors: Atomic::new(0),
            decompress_errors: Atomic::new(0),
            decompressed: Atomic::new(0),
            cache_hits: Atomic::new(0),
        }
    }
}

impl Zfile {
    /// Reads and checks what says how the ZFile is laid out.
    fn open_layout(setup: &Setup<'_>, source: &Source) -> Result<Layout, CtrError> {
        const HEADER: &CStr = c"Cannot read the ZFile header";
        const TRAILER: &CStr = c"Cannot read the ZFile trailer";
        let refuse = |fault| source.malformed(setup, &fault);
        let header = source.area(setup, HEADER, Bytes::new(0))?;
        let layout = match open(&header, source.len, crc32c).map_err(refuse)? {
            HeaderOutcome::Complete(layout) => layout,
            HeaderOutcome::NeedsTrailer(pending) => {
                let at = Bytes::new(pending.offset().get());
                let trailer = source.area(setup, TRAILER, at)?;
                pending.finish(&trailer, crc32c).map_err(refuse)?
            }
        };
        Ok(layout)
    }

    /// Gets what decompressing the blocks will take.
    fn prepare_codec(
        context: &Context,
        setup: &Setup<'_>,
        source: &Source,
        layout: &Layout,
    ) -> Result<Codec, CtrError> {
        match layout.algorithm() {
            Algorithm::Lz4 => Ok(Codec::Lz4),
            Algorithm::Zstd => match context.zstd.provide() {
                Ok(()) => Ok(Codec::Zstd(context.zstd.clone())),
                Err(error) if error == errno::unsupported() => Err(setup.refuse(
                    c"ZFile: this kernel has no ZSTD",
                    error,
                    format_args!("{}: compressed with ZSTD", source.device),
                )),
                Err(error) => Err(setup.refuse(
                    c"Cannot allocate ZSTD workspaces",
                    error,
                    format_args!("{}: no memory for ZSTD workspaces", source.device),
                )),
            },
        }
    }

    /// Reads and checks where the blocks are stored.
    fn load_table(
        setup: &Setup<'_>,
        source: &Source,
        layout: Layout,
    ) -> Result<JumpTable<Index<Group>>, CtrError> {
        let groups = Index::new(setup, Group::EMPTY, groups_needed(layout.block_count()))?;
        let refuse = |fault| source.malformed(setup, &fault);
        let mut builder = JumpTableBuilder::new(layout, groups, crc32c).map_err(refuse)?;
        source.index(
            setup,
            c"Cannot read the ZFile index",
            Bytes::new(layout.index_offset().get()),
            layout.index_len(),
            |piece| builder.push(piece),
        )?;
        builder.finish().map_err(refuse)
    }

    /// A cache for blocks that are larger than what is usually read of them.
    fn make_cache(size: BlockSize) -> Result<Option<Arc<BlockCache>>> {
        // A value or, before kernel 7.3, a reference to it.
        let kib: u32 = *Borrow::borrow(&crate::module_parameters::block_cache_kib.value());
        let bytes = (kib as usize).saturating_mul(1024);
        if size.get() <= LARGEST_UNCACHED || bytes < size.to_usize() {
            return Ok(None);
        }
        BlockCache::new(size.to_usize(), bytes).map(Some)
    }

    /// How much of the content a target can show: the last sector may be filled up with zeros.
    fn content_sectors(&self) -> Sectors {
        self.table.layout().content_len().sectors_needed()
    }

    /// The first and the last block of the `len` bytes of content from `start` on, as far as there
    /// is content.
    fn blocks_of(&self, start: ContentOffset, len: Bytes) -> Option<(BlockIndex, BlockIndex)> {
        let layout = self.table.layout();
        let end = start.get().checked_add(len.get())?;
        let last = end.min(layout.content_len().get()).checked_sub(1)?;
        if last < start.get() {
            return None;
        }
        let (first, _) = layout.block_size().locate(start)?;
        let (last, _) = layout.block_size().locate(ContentOffset::new(last))?;
        Some((first, last))
    }

    /// What has to be read for `len` bytes of content from `start` on, and how to use it.
    fn plan(&self, start: ContentOffset, len: Bytes) -> Option<(Extent, Request)> {
        let (first, last) = self.blocks_of(start, len)?;
        let (offset, stored) = self.table.span(first, last)?;
        let from = self.unit.floor(offset.get());
        let to = self.unit.ceil(offset.checked_add(stored)?.get())?;
        let extent = Extent {
            sector: Sector::new(from / SECTOR_SIZE),
            bytes: usize::try_from(to.checked_sub(from)?).ok()?,
            single: first == last,
        };
        let request = Request {
            start,
            read_from: CompressedOffset::new(from),
            blocks: last.get().checked_sub(first.get())?.checked_add(1)?,
            zstd: None,
            claim: None,
        };
        Some((extent, request))
    }

    /// The largest memory that reading one block takes: the block as stored, wherever it lies in
    /// the units of the device, and its content.
    fn memory_of_one_block(layout: &Layout, unit: Unit) -> usize {
        // What is stored may begin at the end of one unit and end at the beginning of another.
        let stored = u64::from(layout.max_stored_len()) + 2 * unit.get();
        stored as usize + layout.block_size().to_usize()
    }

    /// Half as many sectors as `sectors`, ending where a block does if that leaves any: what is
    /// read of a block is then read once.
    fn shorter(&self, start: ContentOffset, sectors: Sectors) -> Option<Sectors> {
        let size = self.table.layout().block_size();
        let half = Sectors::new(sectors.get() / 2).to_bytes()?;
        let (first, _) = size.locate(start)?;
        let (last, _) = size.locate(start.checked_add(half)?)?;
        // At least up to the end of the first block.
        let end = size.start_of(last.max(first.next()?));
        Some(end.checked_sub(start)?.whole_sectors())
    }

    /// Shortens a bio that starts `skip` bytes into a block to the part of it that lies in this
    /// block, or to whole blocks, so that only bios within one block have to do with the cache.
    fn cut(&self, bio: &mut Bio<'_, Self>, skip: usize) {
        let size = self.table.layout().block_size().to_usize();
        let bytes = bio.sectors().to_bytes().map_or(0, Bytes::get);
        let keep = if skip > 0 {
            size.saturating_sub(skip) as u64
        } else {
            bytes - bytes % size as u64
        };
        bio.accept(Bytes::new(keep).whole_sectors());
    }

    /// Decompresses one block into `out`, as long as the block's content.
    fn decode(
        &self,
        block: BlockIndex,
        stored: &[u8],
        out: &mut [u8],
        codec: &mut impl Decompress,
    ) -> Result<(), Damaged> {
        decode(self.table.layout(), block, stored, out, crc32c, codec).map_err(|error| {
            let kind = match error {
                BlockError::Crc { .. } => &self.counts.crc_errors,
                _ => &self.counts.decompress_errors,
            };
            kind.fetch_add(1, Relaxed);
            self.log
                .error_limited(format_args!("{}: {error}", self.source.device));
            Damaged
        })
    }

    /// Decompresses the blocks of a bio into its memory, and into that of the claim, if there is
    /// one.
    fn decode_all(
        &self,
        request: &mut Request,
        read: &[u8],
        scratch: &mut [u8],
        out: &mut Segments<'_>,
        codec: &mut impl Decompress,
    ) -> Result<(), Damaged> {
        self.counts
            .decompressed
            .fetch_add(u64::from(request.blocks), Relaxed);
        let layout = self.table.layout();
        let wanted = Bytes::new(out.remaining() as u64);
        let (first, last) = self.blocks_of(request.start, wanted).ok_or(Damaged)?;
        // Only the first block may be needed from the middle on.
        let (_, mut skip) = layout.block_size().locate(request.start).ok_or(Damaged)?;
        for (block, stored) in self.table.blocks(first, last) {
            let stored = self.stored(request, stored, read).ok_or(Damaged)?;
            let len = layout.block_len(block).ok_or(Damaged)?;
            if let Some(claim) = &mut request.claim {
                let (content, behind) = claim.memory().split_at_mut_checked(len).ok_or(Damaged)?;
                self.decode(block, stored, content, codec)?;
                // What is behind the end of the content is zeros.
                behind.fill(0);
                out.write(claim.memory().get(skip..).ok_or(Damaged)?);
                return Ok(());
            }
            let end = len.min(skip.saturating_add(out.remaining()));
            if (skip, end) == (0, len) {
                if let Some(done) =
                    out.fill(len, |content| self.decode(block, stored, content, codec))
                {
                    done?;
                    continue;
                }
            }
            let content = scratch.get_mut(..len).ok_or(Damaged)?;
            self.decode(block, stored, content, codec)?;
            out.write(content.get(skip..end).ok_or(Damaged)?);
            skip = 0;
        }
        // The content may end within its last sector; the rest of that one is zeros.
        if out.remaining() < SECTOR_SIZE as usize
            && last.next().map(BlockIndex::get) == Some(layout.block_count())
        {
            out.zero_rest();
        }
        Ok(())
    }

    /// The bytes of one block in what was read.
    fn stored<'a>(
        &self,
        request: &Request,
        stored: StoredBlock,
        read: &'a [u8],
    ) -> Option<&'a [u8]> {
        let at = stored.offset.checked_sub(request.read_from)?.get();
        let at = usize::try_from(at).ok()?;
        let end = at.checked_add(usize::try_from(stored.len).ok()?)?;
        read.get(at..end)
    }
}

#[vtable]
impl Target for Zfile {
    const NAME: &'static CStr = c"zfile_target";
    const VERSION: [c_uint; 3] = [1, 0, 0];
    // `map` may wait for memory.
    const FEATURES: Features = Features::NONE;
    type Io = Pending<Self>;
    type Context = Context;

    fn ctr(context: &Context, setup: &mut Setup<'_>, mut args: Args<'_>) -> Result<Self, CtrError> {
        if args.remaining() != 2 {
            return Err(setup.refuse(
                c"Invalid argument count",
                EINVAL,
                format_args!(
                    "{} arguments instead of <device> <zfile bytes>",
                    args.remaining()
                ),
            ));
        }
        let source = Source::from_args(setup, &mut args)?;
        let layout = Self::open_layout(setup, &source)?;
        let codec = Self::prepare_codec(context, setup, &source, &layout)?;
        let table = Self::load_table(setup, &source, layout)?;
        let unit = source.device.unit();
        let no_memory = |errno| {
            setup.refuse(
                c"Cannot allocate buffers",
                errno,
                format_args!("{}: no memory for buffers", source.device),
            )
        };
        let buffers =
            BufferPool::new(Self::memory_of_one_block(&layout, unit)).map_err(no_memory)?;
        let cache = Self::make_cache(layout.block_size()).map_err(no_memory)?;
        let zfile = Self {
            source,
            table,
            buffers,
            unit,
            codec,
            cache,
            counts: Counts::new(),
            log: setup.log(),
        };
        check_table_len(setup, zfile.content_sectors())?;
        setup.set_max_io_len(MAX_IO_SECTORS);
        Ok(zfile)
    }

    fn map(&self, mut bio: Bio<'_, Self>) -> Mapped {
        if !bio.is_read() {
            return bio.kill();
        }
        let Some(start) = bio
            .sector()
            .to_bytes()
            .map(|at| ContentOffset::new(at.get()))
        else {
            return bio.kill();
        };
        let mut claim = None;
        if let Some(cache) = &self.cache {
            let size = self.table.layout().block_size();
            let Some((block, skip)) = size.locate(start) else {
                return bio.kill();
            };
            self.cut(&mut bio, skip);
            if bio.sectors().to_bytes() < Some(Bytes::of_memory(size.to_usize())) {
                match bio.answer_from(cache, block.get(), skip) {
                    Cached::Answered(mapped) => {
                        self.counts.cache_hits.fetch_add(1, Relaxed);
                        return mapped;
                    }
                    Cached::Missing(missing, claimed) => {
                        bio = missing;
                        claim = Some(claimed);
                    }
                    Cached::NoRoom(missing) => bio = missing,
                }
            }
        }
        loop {
            let sectors = bio.sectors();
            let Some((extent, mut request)) =
                sectors.to_bytes().and_then(|len| self.plan(start, len))
            else {
                return bio.kill();
            };
            let buffer = if extent.single {
                self.buffers.alloc_unit()
            } else {
                let scratch = self.table.layout().block_size().to_usize();
                self.buffers.try_alloc(extent.bytes.saturating_add(scratch))
            };
            if let Some(buffer) = buffer {
                request.claim = claim;
                let device = &self.source.device;
                return bio.read_through(device, extent.sector, buffer, extent.bytes, request);
            }
            // Memory is short, or in too small pieces: do with less of it. A single block is
            // served from the reserve.
            match self.shorter(start, sectors) {
                Some(fewer) if fewer < sectors => bio.accept(fewer),
                _ => return bio.kill(),
            }
        }
    }

    fn status(&self, kind: StatusKind, text: &mut StatusText<'_>) -> fmt::Result {
        let Source { device, len } = &self.source;
        let layout = self.table.layout();
        match kind {
            StatusKind::Info => write!(
                text,
                "{} {} {} blocks {} index_bytes {} read_errors {} crc_errors {} \
                 decompress_errors {} blocks_decompressed {} cache_hits {}",
                self.codec.name(),
                layout.block_size(),
                if layout.verify() {
                    "verify"
                } else {
                    "noverify"
                },
                layout.block_count(),
                self.table.memory_bytes(),
                self.counts.read_errors.load(Relaxed),
                self.counts.crc_errors.load(Relaxed),
                self.counts.decompress_errors.load(Relaxed),
                self.counts.decompressed.load(Relaxed),
                self.counts.cache_hits.load(Relaxed),
            ),
            StatusKind::Table => write!(text, "{device} {len}"),
            StatusKind::Ima => {
                text.target_name::<Self>()?;
                write!(text, ",device_name={device},zfile_bytes={len};")
            }
        }
    }

    fn iterate_devices(&self, visitor: &mut DeviceVisitor<'_>) -> ControlFlow<()> {
        let Source { device, len } = &self.source;
        visitor.visit(device, Sector::new(0), len.sectors_needed())
    }

    fn io_hints(&self, limits: &mut QueueLimits<'_>) {
        // Blocks are decompressed whole, but any sector of them can be handed out, whatever the
        // lower device's own unit is: layers above are made of 512-byte sectors.
        limits.set_logical_block_size(SECTOR_SIZE as u32);
        limits.set_physical_block_size(self.table.layout().block_size().get());
        limits.set_any_length();
        limits.clear_geometry();
        limits.set_io_opt(MAX_IO_SECTORS * SECTOR_SIZE as u32);
    }
}

impl ReadThrough for Zfile {
    type Request = Request;

    fn lower_failed(&self) {
        self.counts.read_errors.fetch_add(1, Relaxed);
    }

    fn effort(&self, request: &Request) -> Effort {
        let size = u64::from(self.table.layout().block_size().get());
        Effort {
            bytes: Bytes::new(size.saturating_mul(u64::from(request.blocks))),
            // Workspaces may have to be waited for.
            waits: matches!(self.codec, Codec::Zstd(_)),
        }
    }

    fn prepare(&self, request: &mut Request) -> bool {
        match &self.codec {
            Codec::Lz4 => true,
            Codec::Zstd(contexts) => {
                request.zstd = contexts.try_take();
                request.zstd.is_some()
            }
        }
    }

    fn transform(
        &self,
        mut request: Request,
        read: &[u8],
        scratch: &mut [u8],
        out: &mut Segments<'_>,
    ) -> Result<(), Damaged> {
        match &self.codec {
            Codec::Lz4 => self.decode_all(&mut request, read, scratch, out, &mut Lz4),
            Codec::Zstd(contexts) => {
                let mut zstd = request.zstd.take().unwrap_or_else(|| contexts.take());
                self.decode_all(&mut request, read, scratch, out, &mut zstd)
            }
        }?;
        // The workspace is back in its pool: other bios end here, and their owners may do work of
        // any kind in here.
        if let Some(claim) = request.claim {
            claim.hand_in();
        }
        Ok(())
    }
}
