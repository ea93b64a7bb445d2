// SPDX-License-Identifier: GPL-2.0

//! The system calls that std does not offer, as safe functions; the only unsafe code of this
//! package. Nothing here decides anything.

#![allow(unsafe_code)]

use std::{
    alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout},
    fs::File,
    io,
    ops::{Deref, DerefMut},
    os::fd::AsRawFd,
    ptr::NonNull,
};

/// Alignment of a [`Buffer`]: the size of a huge page on x86-64 and on arm64 with 4 KiB pages.
const ALIGN: usize = 2 << 20;

/// Memory whose place relative to page boundaries is known: it begins on a huge page boundary.
pub struct Buffer {
    memory: NonNull<u8>,
    layout: Layout,
}

// SAFETY: The memory belongs to the buffer alone.
unsafe impl Send for Buffer {}

impl Buffer {
    /// At least `len` bytes. With `huge`, the kernel is asked for huge pages, so that what is read
    /// lands in physically contiguous memory; without, it is asked for single pages.
    ///
    /// # Panics
    ///
    /// If `len` is zero or does not fit the address space.
    #[must_use]
    pub fn new(len: usize, huge: bool) -> Self {
        assert!(len > 0);
        let layout = Layout::from_size_align(len.next_multiple_of(ALIGN), ALIGN)
            .expect("a buffer fits the address space");
        // SAFETY: The layout is not empty. The allocator gets memory of this size and alignment
        // fresh from the kernel, and the advice applies to exactly that memory; it is no matter if
        // the kernel does not take it.
        let memory = unsafe {
            let memory = alloc_zeroed(layout);
            let advice = if huge {
                libc::MADV_HUGEPAGE
            } else {
                libc::MADV_NOHUGEPAGE
            };
            if !memory.is_null() {
                libc::madvise(memory.cast(), layout.size(), advice);
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
    let count = libc::c_int::try_from(slices.len()).map_err(io::Error::other)?;
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let flags = if nowait { libc::RWF_NOWAIT } else { 0 };
    // SAFETY: `IoSliceMut` is guaranteed to have the layout of `struct iovec`, the slices are
    // writable and live through the call.
    let n = unsafe {
        libc::preadv2(
            file.as_raw_fd(),
            slices.as_mut_ptr().cast(),
            count,
            offset,
            flags,
        )
    };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Drops the pages of `file` that are cached and clean.
pub fn drop_cache(file: &File) {
    // SAFETY: The call has no preconditions; it is advice, so it is no matter what it returns.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
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
    // linux/fs.h: _IO(0x12, 119), _IO(0x12, 125), _IO(0x12, 127).
    let request: libc::c_ulong = match what {
        RangeIoctl::Discard => 0x1277,
        RangeIoctl::SecureDiscard => 0x127d,
        RangeIoctl::ZeroOut => 0x127f,
    };
    let mut range = [start, len];
    // SAFETY: The argument of these ioctls is two 64-bit numbers.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, range.as_mut_ptr()) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
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
/// If the buffer is smaller than what its `data_size` says.
pub fn dm_ioctl(control: &File, command: u8, buffer: &mut [u8]) -> io::Result<()> {
    // linux/dm-ioctl.h: _IOWR(0xfd, command, struct dm_ioctl), which is 312 bytes long.
    let request: libc::c_ulong = 0xc138_fd00 | libc::c_ulong::from(command);
    let data_size = buffer[12..16].try_into().map(u32::from_ne_bytes);
    assert!(data_size.is_ok_and(|size| size >= 312 && size as usize <= buffer.len()));
    // SAFETY: The kernel reads and writes `data_size` bytes, which are there.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), request as _, buffer.as_mut_ptr()) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The short name of an error, as `errno(3)` gives it, for those the programs print.
#[must_use]
pub fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EIO) => "EIO".into(),
        Some(libc::EPERM) => "EPERM".into(),
        Some(libc::EACCES) => "EACCES".into(),
        Some(libc::EROFS) => "EROFS".into(),
        Some(libc::EINVAL) => "EINVAL".into(),
        Some(libc::EAGAIN) => "EAGAIN".into(),
        Some(libc::EOPNOTSUPP) => "EOPNOTSUPP".into(),
        Some(other) => format!("errno {other}"),
        None => error.to_string(),
    }
}
