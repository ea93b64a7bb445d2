// SPDX-License-Identifier: GPL-2.0

//! Units of position and length, as types. A sector of the image, a byte of a ZFile's content and a
//! byte of the ZFile itself are all 64-bit numbers; code that mixes two of them does not compile.
//! The types never wrap: a method that can overflow returns [`None`].

use crate::{
    arith::{
        add_u64,
        shl_u32,
        shl_u64,
        shr_u64,
        sub_u32,
        sub_u64, //
    },
    convert::{
        u64_from,
        usize_from, //
    },
};
use core::fmt;

/// The size of a sector in bytes. It does not depend on the block size of a device.
pub const SECTOR_SIZE: u64 = 512;

/// log2 of [`SECTOR_SIZE`].
const SECTOR_SHIFT: u32 = 9;

/// Declares a newtype over an unsigned integer with `new`, `get` and a plain `Display`.
macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($raw);

        impl $name {
            /// Wraps the number.
            #[inline]
            #[must_use]
            pub const fn new(value: $raw) -> Self {
                Self(value)
            }

            /// The number.
            #[inline]
            #[must_use]
            pub const fn get(self) -> $raw {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// Declares the arithmetic of a position or a length whose differences are `$length`.
macro_rules! arithmetic {
    ($name:ident, $length:ident) => {
        impl $name {
            /// The sum with a length, [`None`] if it overflows.
            #[inline]
            #[must_use]
            pub const fn checked_add(self, length: $length) -> Option<Self> {
                match self.0.checked_add(length.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The length by which this is larger than `other`, [`None`] if it is smaller.
            #[inline]
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<$length> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some($length(difference)),
                    None => None,
                }
            }
        }
    };
}

unit! {
    /// A position in 512-byte sectors: of the image, or, where it says so, of a layer's blob.
    Sector(u64)
}

unit! {
    /// A length in 512-byte sectors.
    Sectors(u64)
}

unit! {
    /// A length in bytes.
    Bytes(u64)
}

unit! {
    /// A position, in bytes, in the decompressed content of a ZFile.
    ContentOffset(u64)
}

unit! {
    /// A position, in bytes, in the ZFile itself, from the first byte of its header on.
    CompressedOffset(u64)
}

unit! {
    /// The number of a block of a ZFile, from 0.
    BlockIndex(u32)
}

arithmetic!(Sector, Sectors);
arithmetic!(Sectors, Sectors);
arithmetic!(Bytes, Bytes);
arithmetic!(ContentOffset, Bytes);
arithmetic!(CompressedOffset, Bytes);

impl Sector {
    /// The position in bytes, [`None`] if it overflows.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> Option<Bytes> {
        Sectors(self.0).to_bytes()
    }
}

impl Sectors {
    /// The length in bytes, [`None`] if it overflows.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> Option<Bytes> {
        match self.0.checked_mul(SECTOR_SIZE) {
            Some(bytes) => Some(Bytes(bytes)),
            None => None,
        }
    }
}

impl Bytes {
    /// The length of something in memory.
    #[inline]
    #[must_use]
    pub const fn of_memory(len: usize) -> Self {
        Self(u64_from(len))
    }

    /// The number of whole sectors in it.
    #[inline]
    #[must_use]
    pub const fn whole_sectors(self) -> Sectors {
        Sectors(self.0 >> SECTOR_SHIFT)
    }

    /// The number of sectors that hold it, the last perhaps in part.
    #[inline]
    #[must_use]
    pub const fn sectors_needed(self) -> Sectors {
        Sectors(self.0.div_ceil(SECTOR_SIZE))
    }

    /// Whether it is a whole number of sectors.
    #[inline]
    #[must_use]
    pub const fn is_whole_sectors(self) -> bool {
        self.0 % SECTOR_SIZE == 0
    }
}

impl BlockIndex {
    /// The next number, [`None`] after the largest.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

/// The bytes of content in one block of a ZFile: a power of two from 512 to 65536.
///
/// Writers offer 4 KiB to 64 KiB. The format's own library reads and writes 512 and 1024 as well,
/// and crashes above 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize {
    shift: u32,
}

impl BlockSize {
    /// The smallest block size in bytes.
    pub const MIN: u32 = 512;
    /// The largest block size in bytes.
    pub const MAX: u32 = 65536;

    /// A block size from a number of bytes, [`None`] if it is not valid.
    #[inline]
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= Self::MIN && bytes <= Self::MAX {
            Some(Self {
                shift: bytes.trailing_zeros(),
            })
        } else {
            None
        }
    }

    /// The block size in bytes.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u32 {
        shl_u32(1, self.shift)
    }

    /// The block size in bytes, as the length of a buffer.
    #[inline]
    #[must_use]
    pub const fn to_usize(self) -> usize {
        usize_from(self.get())
    }

    /// log2 of the block size, 9 to 16.
    #[inline]
    #[must_use]
    pub const fn shift(self) -> u32 {
        self.shift
    }

    /// The block that holds a byte of content, and the offset of the byte in it.
    ///
    /// [`None`] if the number of the block does not fit 32 bits. The numbers of all blocks of a
    /// ZFile that opened do.
    #[inline]
    #[must_use]
    pub fn locate(self, offset: ContentOffset) -> Option<(BlockIndex, usize)> {
        let index = u32::try_from(shr_u64(offset.0, self.shift)).ok()?;
        let within = u32::try_from(offset.0 & self.mask()).ok()?;
        Some((BlockIndex(index), usize_from(within)))
    }

    /// Where the content of a block starts.
    #[inline]
    #[must_use]
    pub fn start_of(self, block: BlockIndex) -> ContentOffset {
        // At most 2^32 << 16.
        ContentOffset(shl_u64(u64::from(block.0), self.shift))
    }

    /// The number of blocks of a content, the last perhaps not full.
    #[inline]
    #[must_use]
    pub fn blocks_needed(self, content: Bytes) -> u64 {
        let partial = content.0 & self.mask() != 0;
        add_u64(shr_u64(content.0, self.shift), u64::from(partial))
    }

    /// The bits of an offset that are within a block.
    #[inline]
    pub(crate) fn mask(self) -> u64 {
        u64::from(sub_u32(self.get(), 1))
    }
}

impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

/// The logical block size of a block device, the unit in which it is read: a power of two, 512
/// bytes or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogicalBlockSize {
    shift: u32,
}

impl LogicalBlockSize {
    /// One sector, the smallest logical block.
    pub const SECTOR: Self = Self {
        shift: SECTOR_SHIFT,
    };

    /// A logical block of `bytes` bytes, [`None`] if no device has it.
    #[inline]
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes.trailing_zeros() >= SECTOR_SHIFT {
            Some(Self {
                shift: bytes.trailing_zeros(),
            })
        } else {
            None
        }
    }

    /// The size in bytes.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u64 {
        shl_u64(1, self.shift)
    }

    /// Rounds the byte offset `at` down to a whole block.
    #[inline]
    #[must_use]
    pub const fn floor(self, at: u64) -> u64 {
        at & !self.mask()
    }

    /// Rounds the byte offset `at` up to a whole block, [`None`] if that is no 64-bit number.
    #[inline]
    #[must_use]
    pub const fn ceil(self, at: u64) -> Option<u64> {
        if self.divides(at) {
            Some(at)
        } else {
            self.floor(at).checked_add(self.get())
        }
    }

    /// Whether the byte offset `at` is a whole number of blocks.
    #[inline]
    #[must_use]
    pub const fn divides(self, at: u64) -> bool {
        at & self.mask() == 0
    }

    /// The bits of an offset that are within a block.
    #[inline]
    const fn mask(self) -> u64 {
        sub_u64(self.get(), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn logical_blocks() {
        for bytes in [0, 1, 256, 513, 768, 4095] {
            assert_eq!(LogicalBlockSize::new(bytes), None);
        }
        for bytes in [512, 4096, 65536, 1 << 31] {
            let block = LogicalBlockSize::new(bytes).unwrap();
            let size = u64::from(bytes);
            assert_eq!(block.get(), size);
            for at in [0, 1, size - 1, size, size + 1, 5 * size, u64::MAX - size] {
                assert_eq!(block.floor(at), at / size * size);
                assert_eq!(block.ceil(at), at.checked_next_multiple_of(size));
                assert_eq!(block.divides(at), at % size == 0);
            }
            assert_eq!(block.ceil(u64::MAX), None);
        }
        let smaller = LogicalBlockSize::SECTOR;
        assert!(smaller < LogicalBlockSize::new(1024).unwrap());
        assert_eq!(smaller.get(), SECTOR_SIZE);
    }

    #[test]
    fn positions_do_not_wrap() {
        let far = Sector::new(u64::MAX);
        assert_eq!(far.checked_add(Sectors::new(1)), None);
        assert_eq!(Sector::new(1).checked_sub(Sector::new(2)), None);
        assert_eq!(
            far.checked_sub(Sector::new(1)),
            Some(Sectors::new(u64::MAX - 1))
        );
        assert_eq!(far.to_bytes(), None);
        assert_eq!(Sector::new(3).to_bytes(), Some(Bytes::new(1536)));
        assert_eq!(Bytes::new(1).checked_sub(Bytes::new(2)), None);
        assert_eq!(Bytes::new(u64::MAX).checked_add(Bytes::new(1)), None);
        assert_eq!(Sectors::new(u64::MAX).checked_add(Sectors::new(1)), None);
        assert_eq!(BlockIndex::new(u32::MAX).next(), None);
        assert_eq!(BlockIndex::new(7).next(), Some(BlockIndex::new(8)));
    }

    #[test]
    fn bytes_to_sectors() {
        assert_eq!(Bytes::new(513).whole_sectors(), Sectors::new(1));
        assert_eq!(Bytes::new(513).sectors_needed(), Sectors::new(2));
        assert_eq!(Bytes::new(1024).sectors_needed(), Sectors::new(2));
        assert!(Bytes::new(1024).is_whole_sectors());
        assert!(!Bytes::new(1023).is_whole_sectors());
        assert_eq!(Bytes::new(u64::MAX).sectors_needed(), Sectors::new(1 << 55));
    }

    #[test]
    fn block_sizes() {
        let good: std::vec::Vec<u32> = (0..=1 << 18)
            .filter(|bytes| BlockSize::new(*bytes).is_some())
            .collect();
        assert_eq!(good, [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]);
        for bytes in good {
            let size = BlockSize::new(bytes).unwrap();
            assert_eq!(size.get(), bytes);
            assert_eq!(size.to_usize(), bytes as usize);
            assert_eq!(1 << size.shift(), bytes);
            assert_eq!(size.to_string(), bytes.to_string());
        }
        assert_eq!(BlockSize::new(u32::MAX), None);
        assert_eq!(BlockSize::new(1 << 31), None);
    }

    #[test]
    fn blocks_of_content() {
        let size = BlockSize::new(4096).unwrap();
        assert_eq!(
            size.locate(ContentOffset::new(3 * 4096 + 17)),
            Some((BlockIndex::new(3), 17))
        );
        assert_eq!(
            size.start_of(BlockIndex::new(3)),
            ContentOffset::new(3 * 4096)
        );
        assert_eq!(size.locate(ContentOffset::new(1 << 44)), None);
        assert_eq!(size.blocks_needed(Bytes::new(0)), 0);
        assert_eq!(size.blocks_needed(Bytes::new(1)), 1);
        assert_eq!(size.blocks_needed(Bytes::new(4096)), 1);
        assert_eq!(size.blocks_needed(Bytes::new(4097)), 2);
        let large = BlockSize::new(65536).unwrap();
        assert_eq!(
            large.start_of(BlockIndex::new(u32::MAX)).get(),
            u64::from(u32::MAX) << 16
        );
    }
}
