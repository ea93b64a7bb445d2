// SPDX-License-Identifier: GPL-2.0

//! Builds a jump table from the bytes of an index. It never trusts a length: it checks that all
//! blocks lie between the header and the index.

use super::{
    group::{
        groups_needed,
        Group,
        GROUP_LEN,
        GROUP_SHIFT,
        SLOT_MASK, //
    },
    table::JumpTable, //
};
use crate::{
    arith::{
        add_u32,
        add_u64,
        shl_u64, //
    },
    convert::{
        low_u16,
        u64_from,
        usize_from, //
    },
    records::Records,
    units::BlockIndex,
    zfile::{
        error::OpenError,
        header_trailer::HEADER_LEN,
        layout::{
            Layout,
            ENTRY_LEN, //
        },
    },
    Crc32c,
    StructureError, //
};
use core::{
    fmt,
    ops::DerefMut, //
};

/// The bytes of an index entry.
pub(super) const ENTRY: usize = 4;

const _: () = assert!(ENTRY_LEN == 4);

/// The offset of the first block: right after the header.
const FIRST_BLOCK: u64 = u64_from(HEADER_LEN);

/// Takes the index of a ZFile and builds a [`JumpTable`] of it.
pub struct JumpTableBuilder<S> {
    groups: S,
    progress: Progress,
}

impl<S> fmt::Debug for JumpTableBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JumpTableBuilder")
            .field("layout", &self.progress.layout)
            .field("blocks", &self.progress.blocks)
            .finish_non_exhaustive()
    }
}

impl<S: DerefMut<Target = [Group]>> JumpTableBuilder<S> {
    /// Starts with at least [`groups_needed`] groups of memory, of any content.
    ///
    /// # Errors
    ///
    /// [`OpenError::Memory`] if they are fewer.
    pub fn new(layout: Layout, groups: S, crc: Crc32c) -> Result<Self, OpenError> {
        let needed = groups_needed(layout.block_count());
        if groups.len() < needed {
            return Err(OpenError::Memory {
                groups: groups.len(),
                needed,
            });
        }
        Ok(Self {
            groups,
            progress: Progress {
                layout,
                crc,
                index_crc: 0,
                records: Records::new(),
                blocks: 0,
                end: FIRST_BLOCK,
            },
        })
    }

    /// Takes the next bytes of the index, in pieces of any length.
    ///
    /// # Errors
    ///
    /// [`OpenError::IndexEntry`], [`OpenError::BlocksPastIndex`], [`StructureError::IndexSurplus`].
    /// The builder must not be used after an error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        self.progress.push(&mut self.groups, bytes)
    }

    /// Ends the index.
    ///
    /// # Errors
    ///
    /// [`StructureError::IndexIncomplete`], [`StructureError::IndexSurplus`],
    /// [`OpenError::IndexCrc`].
    pub fn finish(self) -> Result<JumpTable<S>, OpenError> {
        self.progress.finish()?;
        Ok(JumpTable::new(self.progress.layout, self.groups))
    }
}

/// The state of a builder without its memory. Not generic, so it is compiled with this crate.
struct Progress {
    layout: Layout,
    crc: Crc32c,
    index_crc: u32,
    records: Records<ENTRY>,
    /// The number of blocks so far.
    blocks: u32,
    /// Where the last of them ends.
    end: u64,
}

impl Progress {
    fn push(&mut self, groups: &mut [Group], bytes: &[u8]) -> Result<(), OpenError> {
        if self.layout.index_crc().is_some() {
            self.index_crc = (self.crc)(self.index_crc, bytes);
        }
        let mut records = self.records;
        let result = records.push_runs(bytes, |mut run| loop {
            if let Some((entries, tail)) = run.split_first_chunk() {
                if self.push_group(groups, entries) {
                    run = tail;
                    continue;
                }
            }
            let Some((entry, tail)) = run.split_first_chunk() else {
                return Ok(());
            };
            self.push_one(groups, u32::from_le_bytes(*entry))?;
            run = tail;
        });
        self.records = records;
        result
    }

    /// Takes the entries of a whole group at once, and returns whether it did. It changes nothing
    /// if they do not start a group or one of them is wrong: [`Self::push_one`] then finds which.
    #[inline]
    fn push_group(&mut self, groups: &mut [Group], entries: &[u8; ENTRY * GROUP_LEN]) -> bool {
        let (min, max) = (self.layout.min_stored_len(), self.layout.max_stored_len());
        let first = self.blocks;
        let next = first.saturating_add(1 << GROUP_SHIFT);
        if first & SLOT_MASK != 0 || next > self.layout.block_count() {
            return false;
        }
        let Some(group) = groups.get_mut(usize_from(first >> GROUP_SHIFT)) else {
            return false;
        };
        let mut sum = 0u32;
        let mut long = 0u64;
        let mut invalid = false;
        let lens = group.lens.iter_mut().zip(entries.chunks_exact(ENTRY));
        for (low, entry) in lens {
            let len = entry
                .first_chunk()
                .map_or(0, |entry| u32::from_le_bytes(*entry));
            invalid |= len < min || len > max;
            // The sum of 64 valid lengths, at most 66052 each, does not overflow. The sum of others
            // is not used.
            #[allow(clippy::disallowed_methods, reason = "invalid lengths may overflow")]
            {
                sum = sum.wrapping_add(len);
            }
            long = long >> 1 | u64::from(len >> 16) << SLOT_MASK;
            *low = low_u16(len);
        }
        let end = self.end.saturating_add(u64::from(sum));
        if invalid || end > self.layout.index_offset().get() {
            return false;
        }
        (group.base, group.long) = (self.end, long);
        (self.blocks, self.end) = (next, end);
        true
    }

    fn push_one(&mut self, groups: &mut [Group], len: u32) -> Result<(), OpenError> {
        let expected = self.layout.block_count();
        let index_offset = self.layout.index_offset().get();
        let (min, max) = (self.layout.min_stored_len(), self.layout.max_stored_len());
        let block = BlockIndex::new(self.blocks);
        if block.get() >= expected {
            return Err(StructureError::IndexSurplus { expected }.into());
        }
        if len < min || len > max {
            return Err(OpenError::IndexEntry {
                block,
                len,
                min,
                max,
            });
        }
        let slot = block.get() & SLOT_MASK;
        // Unreachable: new() checked that there is a group for each block.
        let Some(group) = groups.get_mut(usize_from(block.get() >> GROUP_SHIFT)) else {
            return Err(StructureError::IndexSurplus { expected }.into());
        };
        if slot == 0 {
            *group = Group {
                base: self.end,
                ..Group::EMPTY
            };
        }
        if let Some(low) = group.lens.get_mut(usize_from(slot)) {
            *low = low_u16(len);
        }
        group.long |= shl_u64(u64::from(len >> 16), slot);
        // 10^9 blocks of at most 66052 bytes do not overflow, and none ends after the index starts.
        let end = add_u64(self.end, u64::from(len));
        if end > index_offset {
            return Err(OpenError::BlocksPastIndex {
                block,
                end,
                index_offset,
            });
        }
        (self.blocks, self.end) = (add_u32(block.get(), 1), end);
        Ok(())
    }

    fn finish(&self) -> Result<(), OpenError> {
        self.records
            .finish(self.blocks, self.layout.block_count())?;
        match self.layout.index_crc() {
            Some(stored) if stored != self.index_crc => Err(OpenError::IndexCrc {
                stored,
                computed: self.index_crc,
            }),
            _ => Ok(()),
        }
    }
}
