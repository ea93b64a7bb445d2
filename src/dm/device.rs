// SPDX-License-Identifier: GPL-2.0

//! A lower device of a target: opening it, its size, reading it in a constructor.
//!
//! Reading here waits for the device, so it is for constructors alone. A read on behalf of a bio
//! goes through [`read_through`](crate::io::read_through).
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use crate::{
    bindings,
    sys::context::killed, //
};
use core::{
    fmt::{
        self,
        Write, //
    },
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::units::{
    Bytes,
    LogicalBlockSize,
    SECTOR_SIZE, //
};

/// The most bytes that a constructor reads at once: enough that a large index takes few reads,
/// little enough that every machine has the memory.
const CHUNK: usize = 64 * 1024;

/// A block device that a target reads from.
///
/// # Invariants
///
/// `dev` comes from `dm_get_device` for `ti`, and is not yet put. `ti` is live: a lower device is
/// made in a constructor and kept in the target, which does not outlive `ti`.
pub(crate) struct LowerDevice {
    dev: NonNull<bindings::dm_dev>,
    ti: NonNull<bindings::dm_target>,
}

// SAFETY: Any thread may use a `dm_dev`. Device-mapper serialises construction and destruction of a
// target.
unsafe impl Send for LowerDevice {}
// SAFETY: What a shared reference reads does not change while the device is open, or is read with
// the block layer's own synchronisation.
unsafe impl Sync for LowerDevice {}

/// Why reading a lower device in a constructor failed.
pub(crate) enum ReadError<E> {
    /// The range is not within the device.
    Outside,
    /// The device, or the memory to read into, failed.
    Io(Error),
    /// The consumer of the data refused it.
    Refused(E),
}

impl LowerDevice {
    /// Opens the device that `path` names (a path, or `major:minor`), for reading.
    ///
    /// The device is opened with the mode of the table, as every target of a table must do. When
    /// two lines of a table ask for one device with different modes, device-mapper opens it anew
    /// and frees the `dm_dev` that the first line holds (`upgrade_mode` in
    /// `drivers/md/dm-table.c`).
    ///
    /// A device that cannot be written is opened read-only. Another line of the table cannot open
    /// it for writing either, so the table is refused before anything is freed.
    ///
    /// # Safety
    ///
    /// `ti` must be the target under construction, and outlive the result.
    pub(super) unsafe fn open(ti: NonNull<bindings::dm_target>, path: &CStr) -> Result<Self> {
        // SAFETY: The target is live by the safety requirements of this function.
        let table = unsafe { (*ti.as_ptr()).table };
        // SAFETY: A target under construction belongs to a live table.
        let mode = unsafe { bindings::dm_table_get_mode(table) };
        // SAFETY: By the safety requirements of this function.
        unsafe { Self::get(ti, path, mode) }.or_else(|error| {
            if error != EACCES && error != EROFS {
                return Err(error);
            }
            // SAFETY: By the safety requirements of this function.
            unsafe { Self::get(ti, path, bindings::DM_OVERLAYBD_BLK_OPEN_READ) }
        })
    }

    /// Opens the device with `mode`.
    ///
    /// # Safety
    ///
    /// As for [`LowerDevice::open`].
    unsafe fn get(
        ti: NonNull<bindings::dm_target>,
        path: &CStr,
        mode: bindings::blk_mode_t,
    ) -> Result<Self> {
        let mut dev = core::ptr::null_mut();
        // SAFETY: `ti` is under construction by the safety requirements of this function, `path`
        // is a C string, and `dev` is writable.
        kernel::error::to_result(unsafe {
            bindings::dm_get_device(ti.as_ptr(), path.as_char_ptr(), mode, &mut dev)
        })?;
        // INVARIANT: `dm_get_device` succeeded.
        Ok(Self {
            dev: NonNull::new(dev).ok_or(ENODEV)?,
            ti,
        })
    }

    /// The block device, live as long as `self`.
    pub(crate) fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: `dev` is live by the type invariants.
        unsafe { (*self.dev.as_ptr()).bdev }
    }

    /// The `struct dm_dev`, live as long as `self`.
    pub(super) fn as_ptr(&self) -> *mut bindings::dm_dev {
        self.dev.as_ptr()
    }

    /// The name, which outlives the device.
    pub(crate) fn name(&self) -> DeviceName {
        // SAFETY: `dev` is live by the type invariants, and its name does not change.
        DeviceName(unsafe { (*self.dev.as_ptr()).name })
    }

    /// The size of the device.
    pub(crate) fn size(&self) -> Bytes {
        // SAFETY: `bdev` gives a live block device.
        Bytes::new(unsafe { bindings::dm_overlaybd_bdev_nr_bytes(self.bdev()) })
    }

    /// The logical block size of the device.
    pub(crate) fn logical_block_size(&self) -> LogicalBlockSize {
        // SAFETY: `bdev` gives a live block device.
        let bytes = unsafe { bindings::dm_overlaybd_bdev_logical_block_size(self.bdev()) };
        // The block layer refuses queues with any other size.
        LogicalBlockSize::new(bytes).unwrap_or(LogicalBlockSize::SECTOR)
    }

    /// Reads `len` bytes from the byte `at` and calls `consume` with them, in order, in pieces.
    /// Waits for the device. Ends after the present piece when the task is killed.
    pub(crate) fn read<E>(
        &self,
        at: Bytes,
        len: Bytes,
        mut consume: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), ReadError<E>> {
        let block = self.logical_block_size();
        let end = at.checked_add(len).ok_or(ReadError::Outside)?.get();
        let mut at = at.get();
        if end > self.size().get() {
            return Err(ReadError::Outside);
        }
        // The device is a whole number of blocks long and `end` is within it, so rounding up stays
        // within it.
        let to = block.ceil(end).ok_or(ReadError::Outside)?;
        let span = to.saturating_sub(block.floor(at));
        let chunk = CHUNK.min(usize::try_from(span).unwrap_or(CHUNK));
        let mut chunk =
            KVec::from_elem(0u8, chunk, GFP_KERNEL).map_err(|error| ReadError::Io(error.into()))?;
        while at < end {
            if killed() {
                return Err(ReadError::Io(EINTR));
            }
            let from = block.floor(at);
            let n = chunk.len().min(to.saturating_sub(from) as usize);
            let data = chunk.get_mut(..n).ok_or(ReadError::Outside)?;
            self.read_blocks(from / SECTOR_SIZE, data)
                .map_err(ReadError::Io)?;
            // A block is no longer than a chunk, so every turn makes progress.
            let next = end.min(from.saturating_add(n as u64));
            let piece = data.get((at - from) as usize..next.saturating_sub(from) as usize);
            consume(piece.ok_or(ReadError::Outside)?).map_err(ReadError::Refused)?;
            at = next;
        }
        Ok(())
    }

    /// Reads `N` bytes from the byte `at`. Waits for the device.
    pub(crate) fn read_array<const N: usize>(
        &self,
        at: Bytes,
    ) -> Result<KBox<[u8; N]>, ReadError<core::convert::Infallible>> {
        let mut array = KBox::<[u8; N]>::new([0; N], GFP_KERNEL)
            .map_err(|error| ReadError::Io(error.into()))?;
        let mut rest = array.as_mut_slice();
        self.read(at, Bytes::new(N as u64), |piece| {
            if let Some((now, later)) = core::mem::take(&mut rest).split_at_mut_checked(piece.len())
            {
                now.copy_from_slice(piece);
                rest = later;
            }
            Ok(())
        })?;
        Ok(array)
    }

    /// Reads whole blocks from the 512-byte sector `sector` into `data`, memory from kmalloc.
    fn read_blocks(&self, sector: u64, data: &mut [u8]) -> Result {
        // SAFETY: The block device is live. `data` is writable memory in the direct map, because
        // `read` allocates it with kmalloc, and it lives until the read has ended.
        kernel::error::to_result(unsafe {
            bindings::bdev_rw_virt(
                self.bdev(),
                sector,
                data.as_mut_ptr().cast(),
                data.len(),
                bindings::req_op_REQ_OP_READ,
            )
        })
    }
}

impl fmt::Display for LowerDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

impl Drop for LowerDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariants `dev` comes from `dm_get_device` for `ti`, which is live,
        // and is not yet put.
        unsafe { bindings::dm_put_device(self.ti.as_ptr(), self.dev.as_ptr()) }
    }
}

/// A device as `major:minor`, the form device-mapper uses in tables.
#[derive(Clone, Copy)]
pub(crate) struct DeviceName([c_char; 16]);

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = self.0.iter().take_while(|&&byte| byte != 0);
        digits.try_for_each(|&byte| f.write_char(char::from(byte)))
    }
}
