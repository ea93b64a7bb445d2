// SPDX-License-Identifier: GPL-2.0

//! A record: which parts of the blobs of an image were read, in the order in which they were first
//! read. `record` writes it, and `open --prefetch` has its parts fetched first.
//!
//! Blobs are named by their digests, so a record is of use for any image with one of them. It names
//! no image and no registry.

use super::parts::Run;
use crate::error::{Error, Result};
use crate::json;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The version that is written.
const VERSION: u32 = 1;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format: 1.
    overlaybd_record: u32,
    /// The blobs, lowest first.
    blobs: Vec<BlobRecord>,
}

/// What was read of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BlobRecord {
    digest: String,
    /// Runs of parts of 128 KiB.
    parts: Vec<Run>,
}

impl Record {
    /// A record of blobs: their digests, and what was read of each.
    #[must_use]
    pub fn new(blobs: Vec<(String, Vec<Run>)>) -> Self {
        Self {
            overlaybd_record: VERSION,
            blobs: (blobs.into_iter())
                .map(|(digest, parts)| BlobRecord { digest, parts })
                .collect(),
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no record of a known version.
    pub fn read(path: &Path) -> Result<Self> {
        let record: Self = json::parse(path.display(), &json::read(path)?)?;
        if record.overlaybd_record != VERSION {
            return Err(Error::refused(format!(
                "{}: a record of version {}, and only {VERSION} is known",
                path.display(),
                record.overlaybd_record
            )));
        }
        Ok(record)
    }

    /// What it has of a blob.
    #[must_use]
    pub fn of(&self, digest: &str) -> Vec<Run> {
        (self.blobs.iter())
            .filter(|blob| blob.digest == digest)
            .flat_map(|blob| blob.parts.iter().copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_record_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let record = Record::new(vec![
            ("a".into(), vec![(3, 2), (0, 1)]),
            ("b".into(), vec![]),
        ]);
        fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        let read = Record::read(&path).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.of("a"), [(3, 2), (0, 1)]);
        assert_eq!(read.of("c"), []);
        fs::write(&path, "{\"overlaybd_record\": 2, \"blobs\": []}").unwrap();
        let error = Record::read(&path).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
        fs::write(&path, "{}").unwrap();
        assert!(Record::read(&path).is_err());
    }
}
