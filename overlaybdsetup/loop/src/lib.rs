// SPDX-License-Identifier: GPL-2.0

//! Loop devices, through `LOOP_CONFIGURE` alone: one request sets the file and all settings, so a
//! device is never half configured.
//!
//! Every device is autoclear: the kernel detaches its file when the last user closes it. So this
//! crate never detaches one. A device is free again when its [`LoopDevice`] is dropped before
//! anything else uses it, or when the process is killed.
//!
//! This is the only crate of the program that contains `unsafe`, for the two requests to the loop
//! driver that no crate wraps. It knows nothing of images.

#![deny(
    missing_docs,
    unsafe_op_in_unsafe_fn,
    clippy::undocumented_unsafe_blocks
)]

use linux_raw_sys::loop_device::{loop_config, loop_info64, LOOP_CONFIGURE, LOOP_CTL_GET_FREE};
use rustix::fs::{fstat, major, minor};
use rustix::io::Errno;
use rustix::ioctl::{ioctl, Ioctl, IoctlOutput, Opcode, Setter};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

// From an enum in the kernel's header, which the crate of bindings leaves out.
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// How often to try again when another process takes the free device first.
const TRIES: u32 = 1000;

/// The settings of a loop device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where it starts in the file, in bytes: a multiple of 512.
    pub offset: u64,
    /// Its length in bytes; 0 to show the file up to its end. Only whole sectors of 512 bytes are
    /// shown.
    pub limit: u64,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether it uses direct I/O, where the file system of the file supports it.
    pub direct_io: bool,
}

/// The control device of the loop driver, open.
#[derive(Debug)]
pub struct LoopControl(File);

impl LoopControl {
    /// Opens the control device.
    ///
    /// # Errors
    ///
    /// `ENOENT` or `ENXIO` if the kernel has no loop driver, `EPERM` or `EACCES` if the caller may
    /// not use it.
    pub fn open() -> io::Result<Self> {
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")?;
        Ok(Self(control))
    }

    /// Attaches a file to a free loop device. The driver creates a new device if none is free.
    ///
    /// The device has sectors of 512 bytes, whatever the disk has: with larger sectors it would end
    /// at a multiple of them. If the disk cannot read 512 bytes, the driver reads the file through
    /// the page cache.
    ///
    /// # Errors
    ///
    /// The error of the kernel; `EBUSY` if other processes take every free device first.
    pub fn attach(&self, file: impl AsFd, settings: Settings) -> io::Result<LoopDevice> {
        for _ in 0..TRIES {
            // SAFETY: `self.0` is the loop driver's control device, and `GetFree` is what it takes.
            let index = unsafe { ioctl(&self.0, GetFree)? };
            let device = OpenOptions::new()
                .read(true)
                .write(!settings.read_only)
                .open(format!("/dev/loop{index}"))?;
            match configure(&device, file.as_fd().as_raw_fd(), settings) {
                Ok(()) => return Ok(LoopDevice { device, index }),
                // Another process took it between the two calls.
                Err(Errno::BUSY) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::BUSY.into())
    }
}

/// A loop device with a file attached, held open by this process.
#[derive(Debug)]
pub struct LoopDevice {
    device: File,
    index: u32,
}

impl LoopDevice {
    /// The number in the device's name, `/dev/loopN`.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The device's major and minor number.
    ///
    /// # Errors
    ///
    /// None is expected for an open file.
    pub fn number(&self) -> io::Result<(u32, u32)> {
        let device = fstat(&self.device)?.st_rdev;
        Ok((major(device), minor(device)))
    }
}

/// Sets the file and the settings of a device.
fn configure(device: &File, file: i32, settings: Settings) -> Result<(), Errno> {
    let mut flags = LO_FLAGS_AUTOCLEAR;
    if settings.read_only {
        flags |= LO_FLAGS_READ_ONLY;
    }
    if settings.direct_io {
        flags |= LO_FLAGS_DIRECT_IO;
    }
    let config = loop_config {
        fd: file.cast_unsigned(),
        block_size: 512,
        info: loop_info64 {
            lo_device: 0,
            lo_inode: 0,
            lo_rdevice: 0,
            lo_offset: settings.offset,
            lo_sizelimit: settings.limit,
            lo_number: 0,
            lo_encrypt_type: 0,
            lo_encrypt_key_size: 0,
            lo_flags: flags,
            lo_file_name: [0; 64],
            lo_crypt_name: [0; 64],
            lo_encrypt_key: [0; 32],
            lo_init: [0; 2],
        },
        __reserved: [0; 8],
    };
    // SAFETY: `device` is a loop device, for which this request reads a `loop_config` and writes
    // nothing.
    unsafe { ioctl(device, Setter::<CONFIGURE, loop_config>::new(config)) }
}

const CONFIGURE: Opcode = LOOP_CONFIGURE as Opcode;

/// The request for the number of a free loop device.
struct GetFree;

// SAFETY: `LOOP_CTL_GET_FREE` takes no argument, touches no memory of the caller and returns a
// number.
unsafe impl Ioctl for GetFree {
    type Output = u32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE as Opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::null_mut()
    }

    /// # Safety
    ///
    /// There are no requirements: the pointer is not used.
    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<u32> {
        Ok(out.cast_unsigned())
    }
}
