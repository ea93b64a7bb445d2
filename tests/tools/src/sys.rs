// SPDX-License-Identifier: GPL-2.0

//! System calls that std does not offer, as safe functions: the only unsafe code of this package.

#![allow(unsafe_code)]

pub mod queue;

use linux_raw_sys::ioctl::{BLKDISCARD, BLKSECDISCARD, BLKZEROOUT};
use rustix::{
    io::{Errno, ReadWriteFlags},
    ioctl::{ioctl, opcode, Ioctl, IoctlOutput, Opcode, Setter},
    mm::{madvise, Advice},
};
use std::{
    alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout},
    ffi::c_void,
    fs::File,
    io,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// Alignment of a [`Buffer`]: the size of a huge page on x86-64 and on arm64 with 4 KiB pages.
const ALIGN: usize = 2 << 20;

/// Memory that begins on a huge page boundary, so that offsets in it are offsets in pages.
pub struct Buffer {
    memory: NonNull<u8>,
    layout: Layout,
}

// SAFETY: The memory belongs to the buffer alone.
unsafe impl Send for Buffer {}

impl Buffer {
    /// At least `len` bytes. With `huge`, the kernel is asked for huge pages, so that the memory is
    /// physically contiguous; without, it is asked for single pages.
    ///
    /// # Panics
    ///
    /// If `len` is zero or does not fit the address space.
    #[must_use]
    pub fn new(len: usize, huge: bool) -> Self {
        assert!(len > 0);
        let layout = Layout::from_size_align(len.next_multiple_of(ALIGN), ALIGN)
            .expect("a buffer fits the address space");
        let advice = if huge {
            Advice::LinuxHugepage
        } else {
            Advice::LinuxNoHugepage
        };
        // SAFETY: The layout is not empty, and the advice applies to the memory that was allocated
        // alone. The kernel may ignore it.
        let memory = unsafe {
            let memory = alloc_zeroed(layout);
            if !memory.is_null() {
                let _ = madvise(memory.cast(), layout.size(), advice);
            }
            memory
        };
        let Some(memory) = NonNull::new(memory) else {
            handle_alloc_error(layout)
        };
        Self { memory, layout }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: The memory is that long, initialised by the allocator, and ours.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: Allocated with this layout in `new`.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

/// `preadv2`: reads into several slices at once. `nowait` asks for `RWF_NOWAIT`.
///
/// # Errors
///
/// What the kernel reports.
pub fn preadv(
    file: &File,
    slices: &mut [io::IoSliceMut<'_>],
    offset: u64,
    nowait: bool,
) -> io::Result<usize> {
    let flags = if nowait {
        ReadWriteFlags::NOWAIT
    } else {
        ReadWriteFlags::empty()
    };
    Ok(rustix::io::preadv2(file, slices, offset, flags)?)
}

/// Drops the pages of `file` that are cached and clean.
pub fn drop_cache(file: &File) {
    // Advice: the kernel may ignore it, and so may the caller ignore an error.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Ioctls whose argument is a range of bytes of a block device.
#[derive(Clone, Copy, Debug)]
pub enum RangeIoctl {
    /// `BLKDISCARD`
    Discard,
    /// `BLKSECDISCARD`
    SecureDiscard,
    /// `BLKZEROOUT`
    ZeroOut,
}

/// Does `what` to `len` bytes from `start` on.
///
/// # Errors
///
/// What the kernel reports.
pub fn range_ioctl(file: &File, what: RangeIoctl, start: u64, len: u64) -> io::Result<()> {
    let range = [start, len];
    // SAFETY: The argument of each of these requests is two 64-bit numbers, which the kernel only
    // reads.
    unsafe {
        match what {
            RangeIoctl::Discard => ioctl(file, Setter::<BLKDISCARD, _>::new(range))?,
            RangeIoctl::SecureDiscard => ioctl(file, Setter::<BLKSECDISCARD, _>::new(range))?,
            RangeIoctl::ZeroOut => ioctl(file, Setter::<BLKZEROOUT, _>::new(range))?,
        }
    }
    Ok(())
}

/// The group of device-mapper's requests: `DM_IOCTL` of `linux/dm-ioctl.h`.
const DM_IOCTL: u8 = 0xfd;

/// Size of `struct dm_ioctl`, with which the buffer of every request of device-mapper begins.
pub const DM_HEADER: usize = 312;

/// A request of device-mapper on a buffer of the caller's size.
///
/// The crates that wrap these requests enlarge a buffer that is too small and ask again. A test
/// must be able to ask with a buffer that is too small.
struct DmRequest<'a> {
    command: u8,
    buffer: &'a mut [u8],
}

// SAFETY: The opcode is that of a request on a `struct dm_ioctl`, of which the kernel reads and
// writes as many bytes as `data_size` says. `dm_ioctl` has checked that the buffer has them.
unsafe impl Ioctl for DmRequest<'_> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<[u8; DM_HEADER]>(DM_IOCTL, self.command)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.buffer.as_mut_ptr().cast()
    }

    /// # Safety
    ///
    /// None is needed: the pointer is not used.
    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// One of device-mapper's ioctls, on a buffer that begins with a `struct dm_ioctl`.
///
/// # Errors
///
/// What the kernel reports.
///
/// # Panics
///
/// If the buffer is smaller than its `data_size` says.
pub fn dm_ioctl(control: &File, command: u8, buffer: &mut [u8]) -> io::Result<()> {
    let data_size = buffer[12..16].try_into().map(u32::from_ne_bytes);
    assert!(
        data_size.is_ok_and(|size| { size as usize >= DM_HEADER && size as usize <= buffer.len() })
    );
    // SAFETY: The buffer begins with a `struct dm_ioctl`, and holds `data_size` bytes.
    unsafe { ioctl(control, DmRequest { command, buffer })? };
    Ok(())
}

/// The name of an error as in `errno(3)`, of those that cases compare.
#[must_use]
pub fn errno_name(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::IO) => "EIO".into(),
        Some(Errno::PERM) => "EPERM".into(),
        Some(Errno::ACCESS) => "EACCES".into(),
        Some(Errno::ROFS) => "EROFS".into(),
        Some(Errno::INVAL) => "EINVAL".into(),
        Some(Errno::AGAIN) => "EAGAIN".into(),
        Some(Errno::OPNOTSUPP) => "EOPNOTSUPP".into(),
        Some(other) => format!("errno {}", other.raw_os_error()),
        None => error.to_string(),
    }
}
