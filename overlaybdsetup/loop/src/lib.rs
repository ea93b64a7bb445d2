// SPDX-License-Identifier: GPL-2.0

//! Loop devices, by `LOOP_CONFIGURE` alone: a device has its file and all its settings at once, or is free.
//!
//! Every device is an autoclear one: the kernel takes its file away when the last user closes it. So there is
//! nothing to take down here. A [`LoopDevice`] that is dropped before anything else uses the device is free
//! again, and so is one whose process is killed.
//!
//! This is the only crate of the program that contains `unsafe`: the two requests to the loop driver, for which
//! there is no safe wrapper. It decides nothing about images.

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

// An enum of the header, which the crate of bindings has none of.
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// How often another process may take the free device that the kernel named first.
const TRIES: u32 = 1000;

/// What a loop device is to show of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The first byte of the file that it shows: a multiple of 512.
    pub offset: u64,
    /// How many bytes it shows; 0 for all up to the end of the file. It shows whole sectors of 512 bytes.
    pub limit: u64,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether it passes by the page cache, where the file system of the file can do that.
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
    /// `ENOENT` or `ENXIO` if the kernel has no loop devices, `EPERM` or `EACCES` if the caller may not make one.
    pub fn open() -> io::Result<Self> {
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")?;
        Ok(Self(control))
    }

    /// Gives a free loop device the file. The devices are made as they are needed, however many that is.
    ///
    /// The sectors of the device have 512 bytes, whatever those of the disk have: with any more the device
    /// would end at a multiple of them. Where the disk cannot read 512 bytes, it is read through the page cache.
    ///
    /// # Errors
    ///
    /// Whatever the kernel says; `EBUSY` if other processes take every free device first.
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
                // Taken between the two calls.
                Err(Errno::BUSY) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::BUSY.into())
    }
}

/// A loop device that has a file, and that this process holds open.
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
    /// None that can be expected of an open file.
    pub fn number(&self) -> io::Result<(u32, u32)> {
        let device = fstat(&self.device)?.st_rdev;
        Ok((major(device), minor(device)))
    }
}

/// Gives a device its file and its settings.
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
    // SAFETY: `device` is a loop device, for which this request reads a `loop_config` and writes nothing.
    unsafe { ioctl(device, Setter::<CONFIGURE, loop_config>::new(config)) }
}

const CONFIGURE: Opcode = LOOP_CONFIGURE as Opcode;

/// The request for the number of a free loop device.
struct GetFree;

// SAFETY: `LOOP_CTL_GET_FREE` takes no argument, touches no memory of the caller and returns a number.
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
    /// None is needed: the pointer is not used.
    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<u32> {
        Ok(out.cast_unsigned())
    }
}
