// SPDX-License-Identifier: GPL-2.0

//! Keys: hashes that identify shared devices.

use crate::digest::hex;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// A hash of what a device shows, as 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The hash of these words.
    pub(crate) fn of(words: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for word in words {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word);
        }
        Self(hex(&hash.finalize()[..16]))
    }

    /// The key of a file. No other file has it as long as this one is open in any process.
    ///
    /// # Errors
    ///
    /// If the file system no longer has the file.
    pub fn of_file(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self::of(&[
            "file",
            &about.dev().to_string(),
            &about.ino().to_string(),
        ]))
    }

    /// Its digits.
    pub(super) const fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
