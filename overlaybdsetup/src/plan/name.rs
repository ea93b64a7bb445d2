// SPDX-License-Identifier: GPL-2.0

//! The names and uuids of devices, and the kinds of devices that uuids contain.

use super::key::Key;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The start of the names of all devices below the image's own.
pub const HIDDEN_PREFIX: &str = "overlaybd-";

/// The start of all uuids.
pub const UUID_PREFIX: &str = "OVERLAYBD-";

/// The longest name: the uuid ends with it, and has at most 128 bytes.
pub const MAX_NAME: usize = 64;

/// The purpose of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The image, read-only, with the name that the caller chose.
    Image,
    /// The image with an exception store, with the name that the caller chose.
    Writable,
    /// The image below writable devices.
    Origin,
    /// The content of a compressed layer.
    Layer,
    /// A layer's file up to its last byte.
    File,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Image,
        Self::Writable,
        Self::Origin,
        Self::Layer,
        Self::File,
    ];

    /// The kind as uuids contain it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Image => "IMAGE",
            Self::Writable => "WRITABLE",
            Self::Origin => "ORIGIN",
            Self::Layer => "LAYER",
            Self::File => "FILE",
        }
    }

    /// The kind of the device with this uuid; [`None`] if this program did not create it.
    #[must_use]
    pub fn of_uuid(uuid: &str) -> Option<Self> {
        let rest = uuid.strip_prefix(UUID_PREFIX)?;
        let (word, _) = rest.split_once('-')?;
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether callers name such devices. The other kinds are below them.
    #[must_use]
    pub const fn is_named(self) -> bool {
        matches!(self, Self::Image | Self::Writable)
    }
}

/// Checks a name for a device.
///
/// # Errors
///
/// A name that is too long, has characters that are not portable in file names below /dev, or could
/// be mistaken for that of a device below an image.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "#+-.:=@_".contains(char);
    let wrong = if name.is_empty() {
        "it is empty".to_string()
    } else if name.len() > MAX_NAME {
        format!("it has more than {MAX_NAME} characters")
    } else if let Some(char) = name.chars().find(|char| !allowed(*char)) {
        format!("it has a {char:?}; letters, digits and #+-.:=@_ can be used")
    } else if name.starts_with(HIDDEN_PREFIX) {
        format!("{HIDDEN_PREFIX}... are the devices below images")
    } else if matches!(name, "." | ".." | "control") || name.starts_with('-') {
        "it means something else".to_string()
    } else {
        return Ok(());
    };
    Err(Error::refused(format!(
        "the name {name:?} cannot be used: {wrong}"
    )))
}

/// The name of a device below an image.
pub(super) fn hidden(kind: Kind, key: &Key) -> String {
    format!("{HIDDEN_PREFIX}{}-{key}", kind.word().to_lowercase())
}

/// A uuid. It ends with the name that the caller chose, if it is given.
pub(super) fn uuid(kind: Kind, key: &Key, name: Option<&str>) -> String {
    let end = name.map(|name| format!("-{name}")).unwrap_or_default();
    format!("{UUID_PREFIX}{}-{key}{end}", kind.word())
}

/// The path of the node of a device-mapper device.
#[must_use]
pub fn node(name: &str) -> PathBuf {
    Path::new("/dev/mapper").join(name)
}
