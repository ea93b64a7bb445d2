// SPDX-License-Identifier: GPL-2.0

//! Reads the content of a ZFile, by `overlaybd_format`.

use crate::{crc32c, Error, ReadAt, Zstd};
use overlaybd_format::units::{Bytes, ContentOffset, LogicalBlockSize, SECTOR_SIZE};
use overlaybd_format::zfile::{
    groups_needed, open, Algorithm, Decompress, Destination, Group, HeaderOutcome, JumpTable,
    JumpTableBuilder, Layout, Lz4, Planner, ReadError, HEADER_LEN,
};
use std::sync::Mutex;

/// The bytes of an index that are read at once: on purpose not a multiple of an entry.
const INDEX_PIECE: u64 = 100_001;

/// The content of a ZFile.
#[derive(Debug)]
pub struct ZfileReader<R> {
    file: R,
    planner: Planner<Vec<Group>>,
    /// Created when it is needed, and kept.
    zstd: Mutex<Option<Zstd>>,
}

impl<R: ReadAt> ZfileReader<R> {
    /// Opens a file that is a ZFile from its first to its last byte.
    ///
    /// # Errors
    ///
    /// [`Error::Zfile`] with the check that fails, [`Error::Io`].
    pub fn open(file: R) -> Result<Self, Error> {
        let mut area = [0; HEADER_LEN];
        let there = area
            .len()
            .min(usize::try_from(file.len()).unwrap_or(HEADER_LEN));
        file.read_at(0, &mut area[..there])?;
        let layout = match open(&area, Bytes::new(file.len()), crc32c)? {
            HeaderOutcome::Complete(layout) => layout,
            HeaderOutcome::NeedsTrailer(pending) => {
                file.read_at(pending.offset().get(), &mut area)?;
                pending.finish(&area, crc32c)?
            }
        };

        let memory = vec![Group::EMPTY; groups_needed(layout.block_count())];
        let mut builder = JumpTableBuilder::new(layout, memory, crc32c)?;
        let mut done = 0;
        while done < layout.index_len().get() {
            let len = INDEX_PIECE.min(layout.index_len().get() - done);
            let mut piece = vec![0; usize::try_from(len).unwrap_or_default()];
            file.read_at(layout.index_offset().get() + done, &mut piece)?;
            builder.push(&piece)?;
            done += len;
        }
        Ok(Self {
            file,
            planner: Planner::new(builder.finish()?, LogicalBlockSize::SECTOR),
            zstd: Mutex::default(),
        })
    }

    /// The layout of the file.
    pub const fn layout(&self) -> &Layout {
        self.planner.layout()
    }

    /// Where each block is in the file.
    pub const fn table(&self) -> &JumpTable<Vec<Group>> {
        self.planner.table()
    }

    /// Reads with this codec, as the kernel module does.
    fn read_with(
        &self,
        offset: u64,
        buf: &mut [u8],
        codec: &mut impl Decompress,
    ) -> Result<(), Error> {
        let past_end = || Error::Io(std::io::ErrorKind::UnexpectedEof.into());
        if buf.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(buf.len() as u64).ok_or_else(past_end)?;
        if end > self.layout().content_len().get() {
            return Err(past_end());
        }
        let plan = self
            .planner
            .plan(
                ContentOffset::new(offset),
                Bytes::of_memory(buf.len()),
                Destination::Segment,
            )
            .ok_or_else(past_end)?;
        let mut memory = vec![0; plan.buffer];
        let (read, scratch) = memory.split_at_mut(plan.len);
        // The file may end within its last sector, behind the blocks.
        let at = plan.sector.get() * SECTOR_SIZE;
        let there = usize::try_from(self.file.len() - at).map_or(plan.len, |len| len.min(plan.len));
        self.file.read_at(at, &mut read[..there])?;
        let mut out = buf;
        self.planner
            .read_all(&plan.blocks, read, scratch, &mut out, crc32c, codec)
            .map_err(|error| match error {
                ReadError::Block(error) => error.into(),
                _ => past_end(),
            })
    }
}

impl<R: ReadAt> ReadAt for ZfileReader<R> {
    fn len(&self) -> u64 {
        self.layout().content_len().get()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        match self.layout().algorithm() {
            Algorithm::Lz4 => self.read_with(offset, buf, &mut Lz4),
            Algorithm::Zstd => {
                let mut zstd = self
                    .zstd
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                self.read_with(offset, buf, zstd.get_or_insert_with(Zstd::new))
            }
        }
    }
}
