// SPDX-License-Identifier: GPL-2.0

//! From what a planned read of the ZFile returned to the content that was asked for.

use super::{
    block::{
        decode,
        BlockError,
        Decompress, //
    },
    jump_table::{
        Group,
        StoredBlock, //
    },
    plan::{
        BlockRange,
        Planner, //
    },
};
use crate::{
    units::{
        BlockIndex,
        Bytes,
        SECTOR_SIZE, //
    },
    Crc32c,
    Output, //
};
use core::ops::Deref;

/// Why content cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// A block is damaged.
    Block(BlockError),
    /// The caller's buffers do not have the lengths of the plan, or the blocks are those of another
    /// file.
    Buffers,
}

impl From<BlockError> for ReadError {
    #[inline]
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
}

impl<S: Deref<Target = [Group]>> Planner<S> {
    /// Decompresses the blocks of a plan into `out`, which is as long as the planned range.
    ///
    /// `read` is what the plan has read. A block that is not wanted as a whole, or lies in several
    /// segments of `out`, goes by way of `scratch`, the rest of the plan's buffer.
    ///
    /// # Errors
    ///
    /// [`ReadError::Block`] for the first block that is damaged. The rest of `out` is not written
    /// then.
    #[inline]
    pub fn read_all(
        &self,
        blocks: &BlockRange,
        read: &[u8],
        scratch: &mut [u8],
        out: &mut impl Output,
        crc: Crc32c,
        decoder: &mut impl Decompress,
    ) -> Result<(), ReadError> {
        let BlockRange {
            first,
            first_at,
            last,
            ..
        } = *blocks;
        let layout = self.layout();
        let mut skip = blocks.skip;
        for (block, stored) in self.table().blocks_at(first_at, first, last) {
            let stored = stored_bytes(blocks, stored, read).ok_or(ReadError::Buffers)?;
            let len = layout.block_len(block).ok_or(ReadError::Buffers)?;
            let end = len.min(skip.saturating_add(out.remaining()));
            if (skip, end) == (0, len) {
                let in_place =
                    |content: &mut [u8]| decode(layout, block, stored, content, crc, decoder);
                if let Some(done) = out.fill(len, in_place) {
                    done?;
                    continue;
                }
            }
            let content = scratch.get_mut(..len).ok_or(ReadError::Buffers)?;
            decode(layout, block, stored, content, crc, decoder)?;
            out.write(content.get(skip..end).ok_or(ReadError::Buffers)?);
            skip = 0;
        }
        // The content may end within its last sector. The rest of that sector is zeros.
        if Bytes::of_memory(out.remaining()) < Bytes::new(SECTOR_SIZE)
            && last.next().map(BlockIndex::get) == Some(layout.block_count())
        {
            out.zero_rest();
        }
        Ok(())
    }

    /// Decompresses the single block of a plan into `memory`, which is as long as a block, and
    /// copies the part of it that was planned to `out`.
    ///
    /// # Errors
    ///
    /// [`ReadError::Block`] if the block is damaged. Nothing of `out` is written then.
    #[inline]
    pub fn read_part(
        &self,
        blocks: &BlockRange,
        read: &[u8],
        memory: &mut [u8],
        out: &mut impl Output,
        crc: Crc32c,
        decoder: &mut impl Decompress,
    ) -> Result<(), ReadError> {
        let block = blocks.first;
        let (_, stored) = self
            .table()
            .blocks_at(blocks.first_at, block, block)
            .next()
            .ok_or(ReadError::Buffers)?;
        let stored = stored_bytes(blocks, stored, read).ok_or(ReadError::Buffers)?;
        let len = self.layout().block_len(block).ok_or(ReadError::Buffers)?;
        let (content, beyond) = memory.split_at_mut_checked(len).ok_or(ReadError::Buffers)?;
        decode(self.layout(), block, stored, content, crc, decoder)?;
        // The content may end within the last block. The rest of that block is zeros.
        beyond.fill(0);
        out.write(memory.get(blocks.skip..).ok_or(ReadError::Buffers)?);
        Ok(())
    }
}

/// The bytes of one stored block in what was read.
#[inline]
fn stored_bytes<'a>(blocks: &BlockRange, stored: StoredBlock, read: &'a [u8]) -> Option<&'a [u8]> {
    let at = stored.offset.checked_sub(blocks.read_from)?.get();
    let at = usize::try_from(at).ok()?;
    let end = at.checked_add(usize::try_from(stored.len).ok()?)?;
    read.get(at..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::crc32c,
        units::{
            ContentOffset,
            LogicalBlockSize, //
        },
        zfile::{
            testing::layout,
            Destination,
            JumpTableBuilder,
            Lz4,
            Plan, //
        },
    };
    use std::{
        vec,
        vec::Vec, //
    };

    /// Two blocks of 512 bytes and one of 76, each stored as literals, and what a device with them
    /// holds.
    fn zfile() -> (Planner<Vec<Group>>, Vec<u8>, Vec<u8>) {
        let content: Vec<u8> = (0..1100u32).map(|at| (at % 251) as u8).collect();
        let (mut device, mut lens) = (vec![0; 512], Vec::new());
        for block in content.chunks(512) {
            let before = device.len();
            device.push(0xf0);
            let mut more = block.len() - 15;
            while more >= 255 {
                device.push(255);
                more -= 255;
            }
            device.push(more as u8);
            device.extend(block);
            lens.push((device.len() - before) as u32);
        }
        let layout = layout(1100, 512, false, device.len() as u64, None);
        let mut builder = JumpTableBuilder::new(layout, Vec::from([Group::EMPTY]), crc32c).unwrap();
        for len in lens {
            builder.push(&len.to_le_bytes()).unwrap();
        }
        device.resize(4096, 0xee);
        let planner = Planner::new(builder.finish().unwrap(), LogicalBlockSize::SECTOR);
        (planner, content, device)
    }

    fn plan_to(planner: &Planner<Vec<Group>>, start: u64, len: usize, to: Destination) -> Plan {
        let start = ContentOffset::new(start);
        planner.plan(start, Bytes::of_memory(len), to).unwrap()
    }

    fn plan(planner: &Planner<Vec<Group>>, start: u64, len: usize) -> Plan {
        plan_to(planner, start, len, Destination::Segments)
    }

    fn lower<'a>(plan: &Plan, device: &'a [u8]) -> &'a [u8] {
        let at = plan.sector.to_bytes().unwrap().get() as usize;
        &device[at..][..plan.len]
    }

    /// Memory in pieces of 100 bytes.
    struct Pieces(Vec<Vec<u8>>, usize);

    impl Pieces {
        fn new(len: usize) -> Self {
            Self(vec![0xa5; len].chunks(100).map(Vec::from).collect(), 0)
        }
    }

    impl Output for Pieces {
        fn remaining(&self) -> usize {
            self.0.iter().map(Vec::len).sum::<usize>() - self.1
        }

        fn current(&mut self) -> &mut [u8] {
            self.0
                .get_mut(self.1 / 100)
                .map_or(&mut [], |piece| &mut piece[self.1 % 100..])
        }

        fn advance(&mut self, bytes: usize) {
            self.1 += bytes;
        }
    }

    #[test]
    fn any_range_in_any_pieces() {
        let (planner, content, device) = zfile();
        let mut padded = content;
        padded.resize(1536, 0);
        for (start, len) in [(0, 512), (0, 1024), (0, 1536), (512, 512), (1024, 512)] {
            let plan = plan_to(&planner, start, len, Destination::Segment);
            let read = lower(&plan, &device);
            let wanted = &padded[start as usize..][..len];
            let mut scratch = vec![0xa5; plan.buffer - plan.len];

            let mut found = vec![0xa5; len];
            let mut out = &mut found[..];
            planner
                .read_all(&plan.blocks, read, &mut scratch, &mut out, crc32c, &mut Lz4)
                .unwrap();
            assert_eq!(found, wanted);

            let plan = plan_to(&planner, start, len, Destination::Segments);
            let mut scratch = vec![0xa5; plan.buffer - plan.len];
            let mut out = Pieces::new(len);
            planner
                .read_all(&plan.blocks, read, &mut scratch, &mut out, crc32c, &mut Lz4)
                .unwrap();
            assert_eq!((out.remaining(), out.0.concat()), (0, wanted.to_vec()));

            if plan.single {
                let mut out = Pieces::new(len);
                let mut memory = vec![0xa5; 512];
                planner
                    .read_part(&plan.blocks, read, &mut memory, &mut out, crc32c, &mut Lz4)
                    .unwrap();
                assert_eq!((out.remaining(), out.0.concat()), (0, wanted.to_vec()));
                assert_eq!(memory, wanted);
            }
        }
    }

    #[test]
    fn parts_of_blocks() {
        let (planner, content, device) = zfile();
        let plan = plan(&planner, 300, 400);
        let (mut scratch, mut found) = (vec![0xa5; 512], vec![0xa5; 400]);
        let mut out = &mut found[..];
        let read = lower(&plan, &device);
        planner
            .read_all(&plan.blocks, read, &mut scratch, &mut out, crc32c, &mut Lz4)
            .unwrap();
        assert_eq!(found, content[300..700]);
    }

    #[test]
    fn zeros_only_after_the_content() {
        // What is left of `out` is less than a sector, but the content goes on.
        let (planner, _, device) = zfile();
        let plan = plan(&planner, 0, 512);
        let (mut scratch, mut found) = (vec![0; 512], vec![0xa5; 600]);
        let mut out = &mut found[..];
        let read = lower(&plan, &device);
        planner
            .read_all(&plan.blocks, read, &mut scratch, &mut out, crc32c, &mut Lz4)
            .unwrap();
        assert_eq!(out.remaining(), 88);
        assert_eq!(found[512..], [0xa5; 88]);
        // Here it is the last block, but a whole sector is left.
        let plan = self::plan(&planner, 1024, 512);
        let mut found = vec![0xa5; 76 + 512];
        let mut out = &mut found[..];
        let read = lower(&plan, &device);
        planner
            .read_all(&plan.blocks, read, &mut scratch, &mut out, crc32c, &mut Lz4)
            .unwrap();
        assert_eq!(out.remaining(), 512);
    }

    #[test]
    fn wrong_buffers_and_damaged_blocks() {
        let (planner, _, mut device) = zfile();
        let plan = plan(&planner, 0, 1024);
        let mut scratch = vec![0; 512];
        let all = |read: &[u8], scratch: &mut [u8]| {
            let mut out = Pieces::new(1024);
            planner.read_all(&plan.blocks, read, scratch, &mut out, crc32c, &mut Lz4)
        };
        let read = lower(&plan, &device).to_vec();
        assert_eq!(all(&read, &mut scratch), Ok(()));
        assert_eq!(all(&read[..1000], &mut scratch), Err(ReadError::Buffers));
        assert_eq!(all(&read, &mut scratch[..511]), Err(ReadError::Buffers));
        let part = |read: &[u8], memory: &mut [u8]| {
            let mut out = Pieces::new(512);
            planner.read_part(&plan.blocks, read, memory, &mut out, crc32c, &mut Lz4)
        };
        assert_eq!(part(&read, &mut scratch), Ok(()));
        assert_eq!(part(&read[..500], &mut scratch), Err(ReadError::Buffers));
        assert_eq!(part(&read, &mut scratch[..511]), Err(ReadError::Buffers));
        // A longer run of literals than the block has.
        device[512 + 1] = 255;
        device[512 + 2] = 255;
        let read = lower(&plan, &device).to_vec();
        let block = BlockIndex::new(0);
        let damaged = Err(ReadError::Block(BlockError::Damaged { block }));
        assert_eq!(all(&read, &mut scratch), damaged);
        assert_eq!(part(&read, &mut scratch), damaged);
    }
}
