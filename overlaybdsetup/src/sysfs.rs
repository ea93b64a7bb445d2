// SPDX-License-Identifier: GPL-2.0

//! Block devices by their numbers, and their attributes below /sys/dev/block.
//!
//! It opens no device and changes no attribute.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// A device's major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u32, pub u32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

impl Number {
    /// The number in a text MAJOR:MINOR, as tables have it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// The device-mapper name of the device; [`None`] if it is another kind of device.
    #[must_use]
    pub fn dm_name(self) -> Option<String> {
        self.attribute("dm/name")
    }

    /// An attribute of the loop device, such as `backing_file`; [`None`] if it is no loop device.
    #[must_use]
    pub fn loop_attribute(self, name: &str) -> Option<String> {
        self.attribute(&format!("loop/{name}"))
    }

    /// The text by which the owner of a network block device marked it; [`None`] if it is no such
    /// device.
    #[must_use]
    pub fn nbd_backend(self) -> Option<String> {
        self.attribute("backend")
    }

    /// The number in the name of a network block device, nbdN; [`None`] for any other device.
    #[must_use]
    pub fn nbd_index(self) -> Option<u32> {
        let device = fs::canonicalize(self.folder()).ok()?;
        let name = device.file_name()?.to_str()?;
        name.strip_prefix("nbd")?.parse().ok()
    }

    /// The names of the devices that have this device open: their device-mapper names, or else
    /// their kernel names.
    #[must_use]
    pub fn holders(self) -> Vec<String> {
        let entries = fs::read_dir(self.folder().join("holders"));
        let name = |kernel_name: OsString, path: PathBuf| {
            read_line(path.join("dm/name"))
                .unwrap_or_else(|| kernel_name.to_string_lossy().into_owned())
        };
        (entries.into_iter().flatten().flatten())
            .map(|entry| name(entry.file_name(), entry.path()))
            .collect()
    }

    fn attribute(self, name: &str) -> Option<String> {
        read_line(self.folder().join(name))
    }

    fn folder(self) -> PathBuf {
        PathBuf::from(format!("/sys/dev/block/{self}"))
    }
}

/// The content of an attribute, without the line feed at its end.
fn read_line(path: PathBuf) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end_matches('\n').to_string())
}
