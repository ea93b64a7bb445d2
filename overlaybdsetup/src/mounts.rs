// SPDX-License-Identifier: GPL-2.0

//! Mounts of a device: mounts it, unmounts it, and lists where it is mounted.

use crate::error::{Error, Result, Status};
use crate::filesystem::Filesystem;
use crate::sysfs::Number;
use rustix::io::Errno;
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Checks that a path is a folder to mount on, and returns it as an absolute path.
///
/// # Errors
///
/// If it is no folder.
pub fn check_folder(folder: &Path) -> Result<PathBuf> {
    let cannot = |error| Error::io(format!("cannot mount on {}", folder.display()), &error);
    let path = fs::canonicalize(folder).map_err(cannot)?;
    if !path.is_dir() {
        return Err(Error::new(
            Status::Device,
            format!("cannot mount on {}: it is no folder", folder.display()),
        ));
    }
    Ok(path)
}

/// Mounts the file system on a device.
///
/// # Errors
///
/// If the device has no known file system, or the kernel does not mount it.
pub fn mount_device(device: &Path, folder: &Path, read_only: bool) -> Result<()> {
    let found = Filesystem::of(device)?;
    let (flags, options) = if read_only {
        (MountFlags::RDONLY, found.read_only_options)
    } else {
        (MountFlags::empty(), found.writable_options)
    };
    let options = CString::new(options).unwrap_or_default();
    mount(device, folder, found.name, flags, options.as_c_str()).map_err(|errno| {
        Error::io(
            format!(
                "cannot mount {} ({}) on {}",
                device.display(),
                found.name,
                folder.display()
            ),
            &errno.into(),
        )
    })
}

/// Unmounts a folder. With `lazily` a mount in use is detached, and ends with its last user.
///
/// # Errors
///
/// [`Status::Busy`] if it is in use.
pub fn unmount_folder(folder: &Path, lazily: bool) -> Result<()> {
    let mut flags = UnmountFlags::NOFOLLOW;
    if lazily {
        flags |= UnmountFlags::DETACH;
    }
    unmount(folder, flags).map_err(|errno| {
        Error::io(
            format!("cannot unmount {}", folder.display()),
            &errno.into(),
        )
    })
}

/// The use of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A process uses the file system, or another mount is on a folder of it.
    Busy,
    /// Nothing uses it.
    Idle,
    /// Nothing has used it since the last question: it is no longer mounted.
    Gone,
}

/// Asks whether anything uses the file system that is mounted on a folder. The kernel has no
/// question that never unmounts it.
///
/// # Errors
///
/// If the folder is no mount point, or the kernel refuses the question.
pub fn usage(folder: &Path) -> Result<Usage> {
    match unmount(folder, UnmountFlags::NOFOLLOW | UnmountFlags::EXPIRE) {
        Ok(()) => Ok(Usage::Gone),
        Err(Errno::AGAIN) => Ok(Usage::Idle),
        Err(Errno::BUSY) => Ok(Usage::Busy),
        Err(errno) => Err(Error::io(
            format!("cannot unmount {}", folder.display()),
            &errno.into(),
        )),
    }
}

/// The folders that a device is mounted on, in the mount namespace of this process, oldest first.
///
/// # Errors
///
/// If /proc/self/mountinfo cannot be read.
pub fn of_device(number: Number) -> Result<Vec<PathBuf>> {
    let path = "/proc/self/mountinfo";
    let text = fs::read(path).map_err(|error| Error::io(format!("cannot read {path}"), &error))?;
    Ok(folders(&text, number))
}

/// The folders in a mountinfo, whose lines are "ID PARENT MAJOR:MINOR ROOT FOLDER ...".
fn folders(text: &[u8], number: Number) -> Vec<PathBuf> {
    let number = number.to_string();
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut words = line.split(|byte| *byte == b' ');
            let device = words.nth(2)?;
            let folder = words.nth(1)?;
            (device == number.as_bytes()).then(|| unescape(folder))
        })
        .collect()
}

/// A path in which a backslash and three octal digits stand for a byte.
fn unescape(path: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// A path for a shell script, in quotes if it needs them.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@=%,".contains(byte);
    let text = path.to_string_lossy();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_a_device() {
        let text = b"22 1 254:3 / / rw shared:1 - ext4 /dev/root rw\n\
                     30 22 254:30 / /mnt/a\\040b ro - ext4 /dev/mapper/x ro\n\
                     31 22 254:30 /sub /mnt/c ro - ext4 /dev/mapper/x ro\n\n";
        assert_eq!(
            folders(text, Number(254, 30)),
            [PathBuf::from("/mnt/a b"), PathBuf::from("/mnt/c")]
        );
        assert!(folders(text, Number(254, 0)).is_empty());
    }

    #[test]
    fn quotes() {
        assert_eq!(quoted(Path::new("/a/b-1.tar")), "/a/b-1.tar");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
