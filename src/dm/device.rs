// SPDX-License-Identifier: GPL-2.0

//! A lower device of a target: opening it, its size, reading it in a constructor.
//!
//! Reading here waits for the device, so it is for constructors alone; a read on behalf of a bio
//! goes through [`read_through`](super::read_through).

use super::bindings;
use core::{
    fmt::{
        self,
        Write, //
    },
    num::NonZero,
    ptr::NonNull, //
};
use kernel::prelude::*;
use overlaybd_format::units::Bytes;

/// How much a constructor reads at once, in bytes: enough that a large index costs few reads,
/// little enough that the memory is there on any machine.
const CHUNK: usize = 64 * 1024;

/// The unit a device is read in, its logical block size: a power of two of 512 bytes or more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unit(NonZero<u64>);

impl Unit {
    /// Sectors, the smallest unit there is.
    pub(crate) const SECTOR: Self = Self(NonZero::new(512).unwrap());

    /// The unit in bytes.
    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }

    /// The last whole unit at or before the byte `at`.
    pub(crate) fn floor(self, at: u64) -> u64 {
        at - at % self.0
    }

    /// The first whole unit at or after the byte `at`.
    pub(crate) fn ceil(self, at: u64) -> Option<u64> {
        match at % self.0 {
            0 => Some(at),
            beyond => at.checked_add(self.0.get() - beyond),
        }
    }

    /// Whether the byte `at` is at the beginning of a unit.
    pub(crate) fn divides(self, at: u64) -> bool {
        at % self.0 == 0
    }
}

/// A block device that a target reads from.
///
/// # Invariants
///
/// `dev` was got with `dm_get_device` for `ti` and not yet put; `ti` is live. (A lower device is
/// made in a constructor and kept in the target it makes, which does not outlive `ti`.)
pub(crate) struct LowerDevice {
    dev: NonNull<bindings::dm_dev>,
    ti: NonNull<bindings::dm_target>,
}

// SAFETY: A `dm_dev` may be used from any thread; device-mapper serialises construction and
// destruction of a target.
unsafe impl Send for LowerDevice {}
// SAFETY: What is read through a shared reference does not change while the device is open, or is
// read with the block layer's own synchronisation.
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
    /// Opens the device that `path` names (a path, or `major:minor`), which is only read.
    ///
    /// The device is opened with the mode of the table, as every target of a table should: when
    /// another line of the table asks for the same device with a mode that it was not opened with,
    /// device-mapper opens it anew and frees the `dm_dev` that the first line holds (`upgrade_mode`
    /// in `drivers/md/dm-table.c`). A device that cannot be written is opened for reading alone;
    /// such a line then cannot open it for writing either, and its table is refused before anything
    /// is freed.
    ///
    /// # Safety
    ///
    /// `ti` must be the target being constructed, and outlive the result.
    pub(super) unsafe fn open(ti: NonNull<bindings::dm_target>, path: &CStr) -> Result<Self> {
        // SAFETY: A target being constructed belongs to a live table.
        let mode = unsafe { bindings::dm_table_get_mode((*ti.as_ptr()).table) };
        // SAFETY: By the caller's promise.
        unsafe { Self::get(ti, path, mode) }.or_else(|error| {
            if error != EACCES && error != EROFS {
                return Err(error);
            }
            // SAFETY: By the caller's promise.
            unsafe { Self::get(ti, path, bindings::DM_OVERLAYBD_BLK_OPEN_READ) }
        })
    }

    /// Gets the device with `mode`.
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
        // SAFETY: `ti` is being constructed by the caller's promise, `path` is a NUL-terminated
        // string and `dev` is writable.
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
    pub(super) fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: By the type invariant `dev` has been got and not put, so it is live.
        unsafe { (*self.dev.as_ptr()).bdev }
    }

    /// The `struct dm_dev`, live as long as `self`.
    pub(super) fn as_ptr(&self) -> *mut bindings::dm_dev {
        self.dev.as_ptr()
    }

    /// The size of the device.
    pub(crate) fn size(&self) -> Bytes {
        // SAFETY: `bdev` gives a live block device.
        Bytes::new(unsafe { bindings::dm_overlaybd_bdev_bytes(self.bdev()) })
    }

    /// The unit the device is read in.
    pub(crate) fn unit(&self) -> Unit {
        // SAFETY: `bdev` gives a live block device.
        let bytes = unsafe { bindings::dm_overlaybd_bdev_lbs(self.bdev()) };
        NonZero::new(u64::from(bytes)).map_or(Unit::SECTOR, Unit)
    }

    /// Reads `len` bytes from the byte `at` and hands them to `consume`, in order, in pieces.
    /// Waits for the device, but no longer than for one piece once the task has been killed.
    pub(crate) fn read<E>(
        &self,
        at: Bytes,
        len: Bytes,
        mut consume: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), ReadError<E>> {
        let unit = self.unit();
        let end = at.checked_add(len).ok_or(ReadError::Outside)?.get();
        let mut at = at.get();
        if end > self.size().get() {
            return Err(ReadError::Outside);
        }
        // The device is a whole number of units long and `end` is within it, so rounding up does
        // not leave it.
        let to = unit.ceil(end).ok_or(ReadError::Outside)?;
        let span = to.saturating_sub(unit.floor(at));
        let chunk = CHUNK.min(usize::try_from(span).unwrap_or(CHUNK));
        let mut chunk =
            KVec::from_elem(0u8, chunk, GFP_KERNEL).map_err(|error| ReadError::Io(error.into()))?;
        while at < end {
            // SAFETY: Constructors run in the task that loads the table.
            if unsafe { bindings::dm_overlaybd_killed() } {
                return Err(ReadError::Io(EINTR));
            }
            let from = unit.floor(at);
            let n = chunk.len().min(to.saturating_sub(from) as usize);
            let data = chunk.get_mut(..n).ok_or(ReadError::Outside)?;
            self.read_units(from / 512, data).map_err(ReadError::Io)?;
            // A unit is no longer than a chunk, so every turn gets on.
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

    /// Reads whole units from the 512-byte sector `sector` into `data`, memory from kmalloc.
    fn read_units(&self, sector: u64, data: &mut [u8]) -> Result {
        // SAFETY: The block device is live, and `data` is writable memory in the direct map (its
        // callers allocate it with kmalloc) that lives until the read has ended.
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

/// The device as `major:minor`, the form device-mapper gives in tables.
impl fmt::Display for LowerDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: By the type invariant `dev` is live; its name does not change.
        let name = unsafe { &(*self.dev.as_ptr()).name };
        let mut digits = name.iter().take_while(|&&byte| byte != 0);
        digits.try_for_each(|&byte| f.write_char(char::from(byte)))
    }
}

impl Drop for LowerDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariant `dev` was got for `ti`, which is live, and not yet put.
        unsafe { bindings::dm_put_device(self.ti.as_ptr(), self.dev.as_ptr()) }
    }
}
