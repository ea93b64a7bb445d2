// SPDX-License-Identifier: GPL-2.0

//! From stored blocks to the data of a bio.

use super::{
    codec::Decoder,
    plan::Blocks,
    Zfile, //
};
use crate::{block::bio::BioWriter, io::pending::Corrupt, sys::crc32c::crc32c};
use overlaybd_format::{
    units::{
        BlockIndex,
        SECTOR_SIZE, //
    },
    zfile::{
        decode,
        BlockError,
        StoredBlock, //
    },
};

impl Zfile {
    /// Decompresses the one block of a bio into `memory`, which is as long as a block, and copies
    /// the part that the bio reads.
    pub(super) fn decode_part(
        &self,
        blocks: &Blocks,
        read: &[u8],
        memory: &mut [u8],
        out: &mut BioWriter<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Result<(), Corrupt> {
        let block = blocks.first;
        let stored = self.planner.table().stored(block).ok_or(Corrupt)?;
        let stored = stored_bytes(blocks, stored, read).ok_or(Corrupt)?;
        let len = self.planner.layout().block_len(block).ok_or(Corrupt)?;
        let (content, beyond) = memory.split_at_mut_checked(len).ok_or(Corrupt)?;
        self.decode(block, stored, content, decoder)?;
        // The content may end within the last block. The rest of that block is zeros.
        beyond.fill(0);
        out.write(memory.get(blocks.skip..).ok_or(Corrupt)?);
        Ok(())
    }

    /// Decompresses the blocks of a bio into its memory.
    ///
    /// `read` is what the lower device held. A block that is not wanted as a whole, or lies in
    /// several segments of the bio, goes by way of `scratch`.
    pub(super) fn decode_all(
        &self,
        blocks: &Blocks,
        read: &[u8],
        scratch: &mut [u8],
        out: &mut BioWriter<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Result<(), Corrupt> {
        let Blocks { first, last, .. } = *blocks;
        let layout = self.planner.layout();
        let mut skip = blocks.skip;
        for (block, stored) in self.planner.table().blocks(first, last) {
            let stored = stored_bytes(blocks, stored, read).ok_or(Corrupt)?;
            let len = layout.block_len(block).ok_or(Corrupt)?;
            let end = len.min(skip.saturating_add(out.remaining()));
            if (skip, end) == (0, len) {
                let in_place = |content: &mut [u8]| self.decode(block, stored, content, decoder);
                if let Some(done) = out.fill(len, in_place) {
                    done?;
                    continue;
                }
            }
            let content = scratch.get_mut(..len).ok_or(Corrupt)?;
            self.decode(block, stored, content, decoder)?;
            out.write(content.get(skip..end).ok_or(Corrupt)?);
            skip = 0;
        }
        // The content may end within its last sector. The rest of that sector is zeros.
        if out.remaining() < SECTOR_SIZE as usize
            && last.next().map(BlockIndex::get) == Some(layout.block_count())
        {
            out.zero_rest();
        }
        Ok(())
    }

    /// Decompresses one block into `out`, as long as the content of the block. Counts and logs what
    /// is wrong.
    fn decode(
        &self,
        block: BlockIndex,
        stored: &[u8],
        out: &mut [u8],
        decoder: &mut Decoder<'_>,
    ) -> Result<(), Corrupt> {
        decode(self.planner.layout(), block, stored, out, crc32c, decoder).map_err(|error| {
            let counter = match error {
                BlockError::Crc { .. } => &self.stats.crc_errors,
                _ => &self.stats.decompress_errors,
            };
            counter.add(1);
            self.log
                .error_ratelimited(format_args!("{}: {error}", self.source.device));
            Corrupt
        })
    }
}

/// The bytes of one stored block in what was read.
fn stored_bytes<'a>(blocks: &Blocks, stored: StoredBlock, read: &'a [u8]) -> Option<&'a [u8]> {
    let at = stored.offset.checked_sub(blocks.read_from)?.get();
    let at = usize::try_from(at).ok()?;
    let end = at.checked_add(usize::try_from(stored.len).ok()?)?;
    read.get(at..end)
}
