// SPDX-License-Identifier: GPL-2.0

//! Reads the content of a ZFile, by `overlaybd_format`.

use crate::{crc32c, Error, ReadAt, Zstd};
use overlaybd_format::units::{Bytes, ContentOffset};
use overlaybd_format::zfile::{
    decode, groups_needed, open, Algorithm, Decompress, Group, HeaderOutcome, JumpTable,
    JumpTableBuilder, Layout, Lz4, HEADER_LEN,
};
use std::sync::Mutex;

/// The bytes of an index that are read at once: on purpose not a multiple of an entry.
const INDEX_PIECE: u64 = 100_001;

/// The content of a ZFile.
#[derive(Debug)]
pub struct ZfileReader<R> {
    file: R,
    table: JumpTable<Vec<Group>>,
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
            table: builder.finish()?,
            zstd: Mutex::default(),
        })
    }

    /// The layout of the file.
    pub const fn layout(&self) -> &Layout {
        self.table.layout()
    }

    /// Where each block is in the file.
    pub const fn table(&self) -> &JumpTable<Vec<Group>> {
        &self.table
    }

    /// Reads with this codec.
    fn read_with(
        &self,
        offset: u64,
        buf: &mut [u8],
        codec: &mut impl Decompress,
    ) -> Result<(), Error> {
        let past_end = || Error::Io(std::io::ErrorKind::UnexpectedEof.into());
        let layout = self.layout();
        let Some(last) = (buf.len() as u64).checked_sub(1) else {
            return Ok(());
        };
        let last = offset.checked_add(last).ok_or_else(past_end)?;
        let size = layout.block_size();
        let (first_block, mut skip) = size
            .locate(ContentOffset::new(offset))
            .ok_or_else(past_end)?;
        let (last_block, _) = size.locate(ContentOffset::new(last)).ok_or_else(past_end)?;
        if last >= layout.content_len().get() {
            return Err(past_end());
        }

        let (start, len) = self
            .table
            .span(first_block, last_block)
            .ok_or_else(past_end)?;
        let mut stored = vec![0; usize::try_from(len.get()).map_err(|_| past_end())?];
        self.file.read_at(start.get(), &mut stored)?;

        let mut stored = stored.as_slice();
        let mut rest = buf;
        let mut bounce = vec![0; size.to_usize()];
        for (block, place) in self.table.blocks(first_block, last_block) {
            let (bytes, behind) = stored.split_at(place.len as usize);
            stored = behind;
            let content = layout.block_len(block).ok_or_else(past_end)?;
            let wanted = (content - skip).min(rest.len());
            let (out, behind) = rest.split_at_mut(wanted);
            if wanted == content {
                decode(layout, block, bytes, out, crc32c, codec)?;
            } else {
                let bounce = &mut bounce[..content];
                decode(layout, block, bytes, bounce, crc32c, codec)?;
                out.copy_from_slice(&bounce[skip..skip + wanted]);
            }
            rest = behind;
            skip = 0;
        }
        Ok(())
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
