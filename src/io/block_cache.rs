// SPDX-License-Identifier: GPL-2.0

//! A few decompressed blocks of one device.
//!
//! A partial read decompresses the whole block. The cache keeps it, and queues reads that arrive
//! during decompression, so a block is decompressed once for all of them. A slot is empty, being
//! filled by the holder of its [`FillGuard`], or ready. Nothing here sleeps, and a queued bio holds
//! nothing that another read needs.
//!
//! A slot keeps one block in memory. A block that is replaced while a reader copies it stays
//! allocated until the copy ends.

use crate::{
    block::{
        bio::OwnedBio,
        bio_list::BioList,
        status::BlkError, //
    },
    dm::bio::{
        Bio,
        MapResult, //
    },
    sys::{
        lock::IrqSpinLock,
        memory::Memory, //
    },
};
use core::{
    mem::{
        replace,
        take, //
    },
    pin::Pin,
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        UniqueArc, //
    },
};
use overlaybd_format::{
    units::{
        BlockIndex,
        BlockSize,
        ContentOffset, //
    },
    Output, //
};

/// The most slots of a cache.
const MAX_SLOTS: usize = 64;

/// The fewest slots of a shard. Neighbouring blocks are in different shards, so few are enough.
const MIN_SLOTS_PER_SHARD: usize = 4;

/// Blocks of one device, all of the same size.
///
/// A block belongs to one shard, by its index. Readers of different shards share nothing.
pub(crate) struct BlockCache {
    shards: KVec<Arc<Shard>>,
    block_size: BlockSize,
}

/// A part of the cache, with a lock of its own.
///
/// The count of references to it lies beside the data that its lock protects, so a read that fills
/// a block writes no memory that readers of other shards use.
struct Shard {
    slots: IrqSpinLock<Slots>,
    block_size: BlockSize,
}

struct Slots {
    slots: KVec<Slot>,
    /// Counts lookups: the slot with the smallest `last_used` was not used for the longest time.
    clock: u64,
}

struct Slot {
    block: BlockIndex,
    last_used: u64,
    state: SlotState,
}

#[derive(Default)]
enum SlotState {
    #[default]
    Empty,
    /// There is one [`FillGuard`], and bios may wait for it.
    Filling(Waiting),
    Ready(Arc<Memory>),
}

/// The bios that wait for a fill.
struct Waiting {
    bios: BioList,
    /// Whether the read that fills the slot may be declined, because its sender does not wait. Only
    /// bios of such senders wait for it, so all of them can be declined with it.
    nowait: bool,
}

impl Waiting {
    /// Ends the bios without the block. Senders that do not wait repeat theirs.
    fn fail(mut self) {
        let error = if self.nowait {
            BlkError::AGAIN
        } else {
            BlkError::IOERR
        };
        while let Some(bio) = self.bios.pop() {
            bio.end(Err(error));
        }
    }
}

/// What a lookup has done with a bio.
pub(crate) enum CacheLookup<B> {
    /// The cache has answered the bio, or will.
    Hit(MapResult),
    /// The block is not in the cache: the caller must fill the slot through the guard.
    Miss(B, FillGuard),
    /// The block is not in the cache, and all slots are being filled, or memory is short, or the
    /// bio must not wait for the fill of this block.
    Full(B),
}

impl BlockCache {
    /// A cache for as many blocks of `block_size` as fit in `bytes` bytes. The memory of a block is
    /// allocated when it is first needed.
    pub(crate) fn new(block_size: BlockSize, bytes: usize) -> Result<Self> {
        let slots = (bytes / block_size.to_usize()).clamp(1, MAX_SLOTS);
        let count = (slots / MIN_SLOTS_PER_SHARD).max(1);
        let mut shards = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let shard = Shard::new(block_size, slots / count)?;
            shards.push(Arc::new(shard, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self { shards, block_size })
    }

    /// The shard of a block.
    fn shard(&self, block: BlockIndex) -> Option<&Arc<Shard>> {
        let at = u64::from(block.get()).checked_rem(self.shards.len() as u64)?;
        self.shards.get(at as usize)
    }

    /// Completes a bio, which reads a part of `block`, from the cache: at once, or when the fill in
    /// progress ends. Fails a bio that reads past the block.
    pub(crate) fn lookup<'a, T>(
        &self,
        bio: Bio<'a, T>,
        block: BlockIndex,
        skip: usize,
    ) -> CacheLookup<Bio<'a, T>> {
        let room = self.block_size.to_usize().saturating_sub(skip) as u64;
        if bio.sectors().to_bytes().is_none_or(|len| len.get() > room) {
            return CacheLookup::Hit(bio.kill());
        }
        let Some(shard) = self.shard(block) else {
            return CacheLookup::Full(bio);
        };
        let mut slots = shard.slots.lock();
        match slots.find(block) {
            Some(SlotState::Ready(memory)) => {
                let memory = memory.clone();
                drop(slots);
                let (bio, result) = bio.take();
                answer(bio.into_bio(), &memory, skip);
                CacheLookup::Hit(result)
            }
            Some(SlotState::Filling(waiting)) if waiting.nowait && !bio.is_nowait() => {
                CacheLookup::Full(bio)
            }
            Some(SlotState::Filling(waiting)) => {
                let (bio, result) = bio.take();
                waiting.bios.push(bio.into_bio());
                CacheLookup::Hit(result)
            }
            _ => match slots.claim(block, self.block_size, bio.is_nowait()) {
                Some((slot, memory)) => {
                    drop(slots);
                    let guard = FillGuard {
                        shard: shard.clone(),
                        slot,
                        memory: Some(memory),
                    };
                    CacheLookup::Miss(bio, guard)
                }
                None => CacheLookup::Full(bio),
            },
        }
    }
}

impl Shard {
    /// A shard of `count` empty slots.
    fn new(block_size: BlockSize, count: usize) -> Result<Self> {
        let mut slots = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let slot = Slot {
                block: BlockIndex::new(0),
                last_used: 0,
                state: SlotState::Empty,
            };
            slots.push(slot, GFP_KERNEL)?;
        }
        Ok(Self {
            slots: IrqSpinLock::new(Slots { slots, clock: 0 })?,
            block_size,
        })
    }

    /// Ends the fill of a slot and returns the bios that wait for it.
    fn finish_fill(&self, slot: usize, state: SlotState) -> Option<Waiting> {
        let mut slots = self.slots.lock();
        let slot = slots.slots.get_mut(slot)?;
        match replace(&mut slot.state, state) {
            SlotState::Filling(waiting) => Some(waiting),
            _ => None,
        }
    }

    /// Where in its block a bio starts, in bytes.
    fn skip(&self, bio: &OwnedBio) -> Option<usize> {
        let start = ContentOffset::new(bio.sector().to_bytes()?.get());
        let (_, skip) = self.block_size.locate(start)?;
        Some(skip)
    }
}

impl Slots {
    /// The state of the slot that holds `block`, or will.
    fn find(&mut self, block: BlockIndex) -> Option<&mut SlotState> {
        self.clock = self.clock.saturating_add(1);
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.block == block && !matches!(slot.state, SlotState::Empty))?;
        slot.last_used = self.clock;
        Some(&mut slot.state)
    }

    /// Claims the slot that was not used for the longest time, an empty one first, and memory for
    /// it. [`None`] if all slots are being filled, or memory is short.
    fn claim(
        &mut self,
        block: BlockIndex,
        block_size: BlockSize,
        nowait: bool,
    ) -> Option<(usize, UniqueArc<Memory>)> {
        let age = |slot: &Slot| match slot.state {
            SlotState::Empty => Some(0),
            SlotState::Ready(_) => Some(slot.last_used),
            SlotState::Filling(_) => None,
        };
        let mut oldest: Option<(usize, u64)> = None;
        // `enumerate` and `zip` would count with an overflow check.
        for at in 0..self.slots.len() {
            let Some(age) = self.slots.get(at).and_then(age) else {
                continue;
            };
            if oldest.is_none_or(|(_, least)| age < least) {
                oldest = Some((at, age));
            }
        }
        let (at, _) = oldest?;
        let slot = self.slots.get_mut(at)?;
        let memory = match take(&mut slot.state) {
            SlotState::Ready(memory) => Arc::into_unique_or_drop(memory).map(Pin::into_inner),
            _ => None,
        };
        let memory = match memory {
            Some(mut memory) => {
                memory.mark_unwritten();
                memory
            }
            None => {
                let memory = Memory::try_new(block_size.to_usize())?;
                UniqueArc::new(memory, GFP_NOWAIT).ok()?
            }
        };
        slot.block = block;
        slot.last_used = self.clock;
        slot.state = SlotState::Filling(Waiting {
            bios: BioList::new(),
            nowait,
        });
        Some((at, memory))
    }
}

/// Ends a bio with the bytes of its block from `skip` on.
fn answer(mut bio: OwnedBio, block: &[u8], skip: usize) {
    let mut complete = false;
    if let (Some(mut data), Some(wanted)) = (bio.writer(), block.get(skip..)) {
        data.write(wanted);
        complete = data.remaining() == 0;
    }
    bio.end(if complete {
        Ok(())
    } else {
        Err(BlkError::IOERR)
    });
}

/// The duty to fill a slot of a shard. Dropping it fails the bios that wait for the block.
pub(crate) struct FillGuard {
    shard: Arc<Shard>,
    slot: usize,
    /// [`None`] once the block is published.
    memory: Option<UniqueArc<Memory>>,
}

impl FillGuard {
    /// The memory for the block, as long as a block, with arbitrary content.
    pub(crate) fn memory(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Some(memory) => memory,
            None => &mut [],
        }
    }

    /// Publishes the block, all of which must be written: answers the bios that wait for it, and
    /// keeps it for later ones.
    // Off the stack of reads that publish nothing, whose bios may end in each other's completions.
    #[inline(never)]
    pub(crate) fn publish(mut self) {
        let Some(memory) = self.memory.take() else {
            return;
        };
        let memory = Arc::from(memory);
        let state = SlotState::Ready(memory.clone());
        let Some(mut waiting) = self.shard.finish_fill(self.slot, state) else {
            return;
        };
        while let Some(bio) = waiting.bios.pop() {
            match self.shard.skip(&bio) {
                Some(skip) => answer(bio, &memory, skip),
                None => drop(bio),
            }
        }
    }
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        if self.memory.is_some() {
            if let Some(waiting) = self.shard.finish_fill(self.slot, SlotState::Empty) {
                waiting.fail();
            }
        }
    }
}
