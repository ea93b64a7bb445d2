// SPDX-License-Identifier: GPL-2.0

//! The file system on a device: its name, by its superblock, and the options to mount it with.
//!
//! It knows the file systems that images contain, and no others.

use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How much of a device is read: all superblocks are in it.
const LOOKED_AT: usize = 70 << 10;

/// A known file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// The name of its type in the kernel.
    pub name: &'static str,
    /// The mount options on a read-only device.
    pub read_only_options: &'static str,
    /// The mount options on a writable device.
    pub writable_options: &'static str,
}

impl Filesystem {
    /// Looks for the file system on a device.
    ///
    /// # Errors
    ///
    /// If the device has no known file system, or cannot be read.
    pub fn of(device: &Path) -> Result<Self> {
        let mut start = vec![0; LOOKED_AT];
        let cannot =
            |error: io::Error| Error::io(format!("cannot read {}", device.display()), &error);
        let file = File::open(device).map_err(cannot)?;
        let mut there = 0;
        while there < start.len() {
            match file.read_at(&mut start[there..], there as u64) {
                Ok(0) => break,
                Ok(len) => there += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(cannot(error)),
            }
        }
        detect(&start).ok_or_else(|| {
            Error::refused(
                "there is no file system on the device that this program knows (ext4, EROFS, XFS, \
                 Btrfs, squashfs, ISO 9660): open it without --mount and mount it yourself",
            )
        })
    }
}

/// The file system whose superblock is in the first bytes of a device.
fn detect(start: &[u8]) -> Option<Filesystem> {
    let at = |offset: usize, magic: &[u8]| {
        start
            .get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    let known = |name, read_only_options| {
        Some(Filesystem {
            name,
            read_only_options,
            // Other devices of the same image have the same XFS uuid.
            writable_options: if name == "xfs" { "nouuid" } else { "" },
        })
    };
    if at(1080, &[0x53, 0xef]) {
        // The incompatible feature "needs recovery": the journal is not empty, and cannot be
        // replayed on a read-only device.
        let dirty = start.get(1024 + 0x60).is_some_and(|flags| flags & 4 != 0);
        return known("ext4", if dirty { "noload" } else { "" });
    }
    if at(1024, &0xe0f5_e1e2_u32.to_le_bytes()) {
        return known("erofs", "");
    }
    if at(0, b"hsqs") {
        return known("squashfs", "");
    }
    if at(0, b"XFSB") {
        // The log cannot be replayed on a read-only device. nouuid: see above.
        return known("xfs", "norecovery,nouuid");
    }
    if at(65536 + 64, b"_BHRfS_M") {
        return known("btrfs", "");
    }
    if at(32768 + 1, b"CD001") {
        return known("iso9660", "");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_their_magic() {
        let with = |places: &[(usize, &[u8])]| {
            let mut start = vec![0; LOOKED_AT];
            for (at, bytes) in places {
                start[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            detect(&start).map(|found| (found.name, found.read_only_options))
        };
        assert_eq!(with(&[(1080, &[0x53, 0xef])]), Some(("ext4", "")));
        assert_eq!(
            with(&[(1080, &[0x53, 0xef]), (1120, &[4])]),
            Some(("ext4", "noload"))
        );
        assert_eq!(
            with(&[(1024, &[0xe2, 0xe1, 0xf5, 0xe0])]),
            Some(("erofs", ""))
        );
        assert_eq!(with(&[(0, b"XFSB")]), Some(("xfs", "norecovery,nouuid")));
        assert_eq!(with(&[(0, b"hsqs")]), Some(("squashfs", "")));
        assert_eq!(with(&[(32769, b"CD001")]), Some(("iso9660", "")));
        assert_eq!(with(&[(65600, b"_BHRfS_M")]), Some(("btrfs", "")));
        assert_eq!(with(&[]), None);
        assert_eq!(detect(&[0; 100]), None);
    }
}
