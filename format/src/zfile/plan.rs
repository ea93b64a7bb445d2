// SPDX-License-Identifier: GPL-2.0

//! From a range of content to the read of the ZFile that it takes.
//!
//! Pure arithmetic on the jump table: it allocates nothing and reads nothing.

use super::{
    jump_table::{
        Group,
        JumpTable, //
    },
    layout::Layout,
};
use crate::units::{
    BlockIndex,
    Bytes,
    CompressedOffset,
    ContentOffset,
    LogicalBlockSize,
    Sector,
    Sectors, //
};
use core::ops::Deref;

/// The blocks that a read decompresses, and where they are in what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The first block.
    pub(super) first: BlockIndex,
    /// Where in the ZFile the first block is.
    pub(super) first_at: CompressedOffset,
    /// The last block.
    pub(super) last: BlockIndex,
    /// Where in the first block the read starts, in bytes.
    pub(super) skip: usize,
    /// Where in the ZFile the lower read starts.
    pub(super) read_from: CompressedOffset,
}

impl BlockRange {
    /// The number of blocks.
    #[inline]
    #[must_use]
    pub fn count(&self) -> u32 {
        self.last
            .get()
            .saturating_sub(self.first.get())
            .saturating_add(1)
    }
}

/// Where the content of a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Memory for the whole of the one block that is read, then any output:
    /// [`Planner::read_part`].
    Block,
    /// An output of one segment: [`Planner::read_all`].
    Segment,
    /// An output of any segments: [`Planner::read_all`].
    Segments,
}

/// A read of the device that holds the ZFile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first sector of the device.
    pub sector: Sector,
    /// The length in bytes, a whole number of logical blocks.
    pub len: usize,
    /// The length of the buffer for it, with scratch space for one block if there may be a block
    /// that is not decompressed in place.
    pub buffer: usize,
    /// Whether it reads a single block, so that no less can be read.
    pub single: bool,
    /// The bytes to decompress.
    pub content: Bytes,
    /// The blocks to decompress.
    pub blocks: BlockRange,
}

/// The jump table of a ZFile, and the logical blocks of its device: all that reading takes.
#[derive(Debug)]
pub struct Planner<S> {
    table: JumpTable<S>,
    logical_block: LogicalBlockSize,
}

impl<S: Deref<Target = [Group]>> Planner<S> {
    /// A planner for a ZFile that starts at the first byte of a device.
    #[inline]
    #[must_use]
    pub const fn new(table: JumpTable<S>, logical_block: LogicalBlockSize) -> Self {
        Self {
            table,
            logical_block,
        }
    }

    /// The jump table.
    #[inline]
    #[must_use]
    pub const fn table(&self) -> &JumpTable<S> {
        &self.table
    }

    /// The layout of the ZFile.
    #[inline]
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        self.table.layout()
    }

    /// The read for `len` bytes of content from `start` on, which go to `destination`. The range
    /// may reach beyond the end of the content, by less than a sector. [`None`] if there is no
    /// content.
    #[must_use]
    pub fn plan(&self, start: ContentOffset, len: Bytes, destination: Destination) -> Option<Plan> {
        let layout = self.table.layout();
        let size = layout.block_size();
        let end = start.get().checked_add(len.get())?;
        let last = end.min(layout.content_len().get()).checked_sub(1)?;
        if last < start.get() {
            return None;
        }
        let (first, skip) = size.locate(start)?;
        let (last, _) = size.locate(ContentOffset::new(last))?;
        let (first_at, stored) = self.table.span(first, last)?;
        let from = self.logical_block.floor(first_at.get());
        let to = self
            .logical_block
            .ceil(first_at.checked_add(stored)?.get())?;
        let len = usize::try_from(to.checked_sub(from)?).ok()?;
        let blocks = BlockRange {
            first,
            first_at,
            last,
            skip,
            read_from: CompressedOffset::new(from),
        };
        let content = u64::from(size.get()).saturating_mul(u64::from(blocks.count()));
        let whole = skip == 0 && (end >= layout.content_len().get() || end & size.mask() == 0);
        let scratch = match destination {
            Destination::Block => 0,
            Destination::Segment if whole => 0,
            Destination::Segment | Destination::Segments => size.to_usize(),
        };
        Some(Plan {
            sector: Sector::new(Bytes::new(from).whole_sectors().get()),
            len,
            buffer: len.saturating_add(scratch),
            single: first == last,
            content: Bytes::new(content),
            blocks,
        })
    }

    /// The length of the largest buffer that a plan for one block has, in bytes: the stored block,
    /// wherever it lies in the logical blocks of the device, and its content.
    #[must_use]
    pub fn max_block_buffer(&self) -> usize {
        // The stored block may start at the end of one logical block and end at the start of
        // another.
        let edges = self.logical_block.get().saturating_mul(2);
        let stored = u64::from(self.layout().max_stored_len()).saturating_add(edges);
        usize::try_from(stored)
            .unwrap_or(usize::MAX)
            .saturating_add(self.layout().block_size().to_usize())
    }

    /// Halves a read of `sectors` from `start` on, rounded to a block boundary so that no block is
    /// read twice. The result is at least the rest of the first block.
    #[must_use]
    pub fn halve_to_block(&self, start: ContentOffset, sectors: Sectors) -> Option<Sectors> {
        let size = self.layout().block_size();
        let half = Bytes::new(sectors.to_bytes()?.get() >> 1);
        let (first, _) = size.locate(start)?;
        let (last, _) = size.locate(start.checked_add(half)?)?;
        let end = size.start_of(last.max(first.next()?));
        Some(end.checked_sub(start)?.whole_sectors())
    }

    /// Clamps a read of `sectors` that starts `skip` bytes into a block to the rest of this block,
    /// or, if it starts with the block, to whole blocks. 0 if it is less than a block.
    #[must_use]
    pub fn clamp_to_block(&self, skip: usize, sectors: Sectors) -> Sectors {
        let size = self.layout().block_size();
        let keep = if skip > 0 {
            Bytes::of_memory(size.to_usize().saturating_sub(skip))
        } else {
            sectors.to_bytes().map_or(Bytes::new(0), |bytes| {
                Bytes::new(bytes.get() & !size.mask())
            })
        };
        keep.whole_sectors()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::crc32c,
        zfile::{
            testing::layout,
            JumpTableBuilder, //
        },
    };
    use std::vec::Vec;

    /// Three blocks of 4 KiB, the last of 1808 bytes, stored in bytes 512, 1512 and 2112 to 2312.
    fn planner(logical: u32) -> Planner<Vec<Group>> {
        let layout = layout(10_000, 4096, false, 2312, None);
        let mut builder = JumpTableBuilder::new(layout, Vec::from([Group::EMPTY]), crc32c).unwrap();
        for len in [1000u32, 600, 200] {
            builder.push(&len.to_le_bytes()).unwrap();
        }
        let table = builder.finish().unwrap();
        Planner::new(table, LogicalBlockSize::new(logical).unwrap())
    }

    fn plan(planner: &Planner<Vec<Group>>, start: u64, len: u64) -> Option<Plan> {
        planner.plan(
            ContentOffset::new(start),
            Bytes::new(len),
            Destination::Segments,
        )
    }

    #[test]
    fn reads_whole_logical_blocks() {
        let found = plan(&planner(512), 512, 512).unwrap();
        let blocks = BlockRange {
            first: BlockIndex::new(0),
            first_at: CompressedOffset::new(512),
            last: BlockIndex::new(0),
            skip: 512,
            read_from: CompressedOffset::new(512),
        };
        let wanted = Plan {
            sector: Sector::new(1),
            len: 1024,
            buffer: 1024 + 4096,
            single: true,
            content: Bytes::new(4096),
            blocks,
        };
        assert_eq!(found, wanted);
        let found = plan(&planner(4096), 512, 512).unwrap();
        let wanted = Plan {
            sector: Sector::new(0),
            len: 4096,
            buffer: 4096 + 4096,
            blocks: BlockRange {
                read_from: CompressedOffset::new(0),
                ..blocks
            },
            ..wanted
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn reads_several_blocks() {
        let found = plan(&planner(512), 4096 + 1024, 4096).unwrap();
        let wanted = Plan {
            sector: Sector::new(2),
            len: 2560 - 1024,
            buffer: 2560 - 1024 + 4096,
            single: false,
            content: Bytes::new(2 * 4096),
            blocks: BlockRange {
                first: BlockIndex::new(1),
                first_at: CompressedOffset::new(1512),
                last: BlockIndex::new(2),
                skip: 1024,
                read_from: CompressedOffset::new(1024),
            },
        };
        assert_eq!(found, wanted);
        assert_eq!(found.blocks.count(), 2);
    }

    #[test]
    fn ends_with_the_content() {
        let planner = planner(512);
        let last = plan(&planner, 9728, 512).unwrap();
        assert_eq!((last.single, last.blocks.skip), (true, 9728 - 8192));
        assert!(plan(&planner, 9999, 1).is_some());
        assert_eq!(plan(&planner, 10_000, 512), None);
        assert_eq!(plan(&planner, 0, 0), None);
        assert_eq!(plan(&planner, u64::MAX, 1), None);
        assert_eq!(
            plan(&planner, 0, 1 << 40).unwrap(),
            plan(&planner, 0, 10_000).unwrap()
        );
    }

    #[test]
    fn scratch_space_only_where_it_is_needed() {
        let planner = planner(512);
        let scratch = |start, len, to| {
            let plan = planner.plan(ContentOffset::new(start), Bytes::new(len), to);
            plan.map(|plan| plan.buffer - plan.len).unwrap()
        };
        for (start, len, whole) in [
            (0, 4096, true),
            (4096, 4096, true),
            (0, 8192, true),
            // To the end of the content, and to that of its last sector.
            (8192, 10_000 - 8192, true),
            (8192, 2048, true),
            (0, 4095, false),
            (0, 4097, false),
            (1, 4095, false),
            (512, 4096, false),
            (8192, 1536, false),
        ] {
            let segment = if whole { 0 } else { 4096 };
            assert_eq!(scratch(start, len, Destination::Segment), segment);
            assert_eq!(scratch(start, len, Destination::Segments), 4096);
            assert_eq!(scratch(start, len, Destination::Block), 0);
        }
    }

    #[test]
    fn buffer_of_one_block() {
        let longest = u64::from(planner(512).layout().max_stored_len());
        assert_eq!(
            planner(512).max_block_buffer() as u64,
            longest + 1024 + 4096
        );
        assert_eq!(
            planner(4096).max_block_buffer() as u64,
            longest + 8192 + 4096
        );
    }

    #[test]
    fn halves_at_blocks() {
        let halve = |start, sectors| {
            let (start, sectors) = (ContentOffset::new(start), Sectors::new(sectors));
            planner(512)
                .halve_to_block(start, sectors)
                .map(Sectors::get)
        };
        assert_eq!(halve(0, 16), Some(8));
        assert_eq!(halve(512, 15), Some(7));
        // At least the rest of the first block.
        assert_eq!(halve(0, 9), Some(8));
        assert_eq!(halve(4096, 11), Some(8));
        assert_eq!(halve(0, u64::MAX), None);
        assert_eq!(halve(u64::MAX, 2), None);
    }

    #[test]
    fn clamps_to_blocks() {
        let clamp = |skip, sectors| {
            let clamped = planner(512).clamp_to_block(skip, Sectors::new(sectors));
            clamped.get()
        };
        assert_eq!(clamp(512, 1), 7);
        assert_eq!(clamp(512, 100), 7);
        assert_eq!(clamp(0, 7), 0);
        assert_eq!(clamp(0, 8), 8);
        assert_eq!(clamp(0, 17), 16);
        assert_eq!(clamp(0, u64::MAX), 0);
    }
}
