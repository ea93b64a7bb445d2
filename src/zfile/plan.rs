// SPDX-License-Identifier: GPL-2.0

//! From a range of content to the lower read that it takes.
//!
//! Pure arithmetic on the jump table: it allocates nothing, reads nothing and knows no bio.

use crate::block::logical_block::LogicalBlockSize;
use core::ops::Deref;
use overlaybd_format::{
    units::{
        BlockIndex,
        Bytes,
        CompressedOffset,
        ContentOffset,
        Sector,
        Sectors,
        SECTOR_SIZE, //
    },
    zfile::{
        Group,
        JumpTable,
        Layout, //
    },
};

/// The blocks that a read decompresses.
pub(crate) struct Blocks {
    /// The first block.
    pub(super) first: BlockIndex,
    /// The last block.
    pub(super) last: BlockIndex,
    /// Where in the first block the read starts, in bytes.
    pub(super) skip: usize,
    /// Where in the ZFile the lower read starts.
    pub(super) read_from: CompressedOffset,
}

impl Blocks {
    /// The number of blocks.
    pub(super) fn count(&self) -> u32 {
        self.last
            .get()
            .saturating_sub(self.first.get())
            .saturating_add(1)
    }
}

/// A lower read.
pub(super) struct Plan {
    /// The first sector of the lower device.
    pub(super) sector: Sector,
    /// The length in bytes, a whole number of logical blocks.
    pub(super) len: usize,
    /// The length of the buffer for it, with scratch space for one block.
    pub(super) buffer: usize,
    /// Whether it reads a single block, so that no less can be read.
    pub(super) single: bool,
    /// The bytes to decompress.
    pub(super) content: Bytes,
    /// The blocks to decompress.
    pub(super) blocks: Blocks,
}

/// The jump table of a ZFile, and the logical blocks of its device.
pub(super) struct Planner<S> {
    table: JumpTable<S>,
    logical_block: LogicalBlockSize,
}

impl<S: Deref<Target = [Group]>> Planner<S> {
    pub(super) fn new(table: JumpTable<S>, logical_block: LogicalBlockSize) -> Self {
        Self {
            table,
            logical_block,
        }
    }

    /// The jump table.
    pub(super) fn table(&self) -> &JumpTable<S> {
        &self.table
    }

    /// The layout of the ZFile.
    pub(super) fn layout(&self) -> &Layout {
        self.table.layout()
    }

    /// The lower read for `len` bytes of content from `start` on. The range may reach beyond the
    /// end of the content, by less than a sector. [`None`] if there is no content.
    pub(super) fn plan(&self, start: ContentOffset, len: Bytes) -> Option<Plan> {
        let layout = self.table.layout();
        let size = layout.block_size();
        let end = start.get().checked_add(len.get())?;
        let last = end.min(layout.content_len().get()).checked_sub(1)?;
        if last < start.get() {
            return None;
        }
        let (first, skip) = size.locate(start)?;
        let (last, _) = size.locate(ContentOffset::new(last))?;
        let (offset, stored) = self.table.span(first, last)?;
        let from = self.logical_block.floor(offset.get());
        let to = self.logical_block.ceil(offset.checked_add(stored)?.get())?;
        let len = usize::try_from(to.checked_sub(from)?).ok()?;
        let blocks = Blocks {
            first,
            last,
            skip,
            read_from: CompressedOffset::new(from),
        };
        let content = u64::from(size.get()).saturating_mul(u64::from(blocks.count()));
        Some(Plan {
            sector: Sector::new(from / SECTOR_SIZE),
            len,
            buffer: len.saturating_add(size.to_usize()),
            single: first == last,
            content: Bytes::new(content),
            blocks,
        })
    }

    /// Halves a read of `sectors` from `start` on, rounded to a block boundary so that no block is
    /// read twice. The result is at least the rest of the first block.
    pub(super) fn halve_to_block(&self, start: ContentOffset, sectors: Sectors) -> Option<Sectors> {
        let size = self.layout().block_size();
        let half = Sectors::new(sectors.get() / 2).to_bytes()?;
        let (first, _) = size.locate(start)?;
        let (last, _) = size.locate(start.checked_add(half)?)?;
        let end = size.start_of(last.max(first.next()?));
        Some(end.checked_sub(start)?.whole_sectors())
    }

    /// Clamps a read of `sectors` that starts `skip` bytes into a block to the rest of this block,
    /// or, if it starts with the block, to whole blocks. 0 if it is less than a block.
    pub(super) fn clamp_to_block(&self, skip: usize, sectors: Sectors) -> Sectors {
        let size = self.layout().block_size().to_usize();
        let bytes = sectors.to_bytes().map_or(0, Bytes::get);
        let keep = if skip > 0 {
            size.saturating_sub(skip) as u64
        } else {
            bytes - bytes % size as u64
        };
        Bytes::new(keep).whole_sectors()
    }
}

/// The length of the largest buffer that the read of one block takes, in bytes: the stored block,
/// wherever it lies in the logical blocks of the device, and its content.
pub(super) fn max_block_buffer(layout: &Layout, logical_block: LogicalBlockSize) -> usize {
    // The stored block may start at the end of one logical block and end at the start of another.
    let stored = u64::from(layout.max_stored_len()) + 2 * logical_block.get();
    stored as usize + layout.block_size().to_usize()
}
