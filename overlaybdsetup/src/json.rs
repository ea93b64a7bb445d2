// SPDX-License-Identifier: GPL-2.0

//! JSON documents that other programs wrote: reads the file, and parses its bytes.
//!
//! It does not know what the fields mean, and writes no document.

use crate::error::{Error, Result};
use crate::output::plain;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest document that is read, in bytes. Those of images have a few thousand.
pub(crate) const MAX_LEN: u64 = 16 << 20;

/// Reads a file that should hold a document.
///
/// # Errors
///
/// A file that cannot be read, or that is longer than 16 MiB.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let cannot = |error: io::Error| Error::io(format!("cannot read {}", path.display()), &error);
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_LEN + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(Error::refused(format!(
            "{}: longer than {MAX_LEN} bytes: another kind of file",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Parses a document. `name` is its path, or another name for messages.
///
/// # Errors
///
/// Bytes that are no such document, with line and column.
pub(crate) fn parse<T: DeserializeOwned>(name: impl Display, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::refused(plain(&error.to_string())).within(name))
}
