// SPDX-License-Identifier: GPL-2.0

//! The reference images: written by the reference tools, with a manifest of what the reference
//! reader reads from them. There are two sets of the same structure. The larger is used if it is
//! there: a folder named by `OVERLAYBD_IMAGES`, or `../shared/images` beside the repository. The
//! other is the part of it that is committed in `tests/fixtures`, compressed.

use crate::{Error, ReadAt};
use liblzma::read::XzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A folder of reference images.
#[derive(Debug)]
pub struct Corpus {
    folder: PathBuf,
    /// Its images.
    pub manifest: Manifest,
}

/// The manifest of a folder of reference images.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// ZFiles with other content than layers.
    pub zfiles: Vec<ZfileRow>,
    /// Layers.
    pub layers: Vec<LayerRow>,
    /// Stacks of these layers.
    pub stacks: Vec<StackRow>,
    /// Files with one thing wrong, or unusual.
    pub malformed: Vec<Damage>,
}

/// A ZFile, and its content.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of the manifest")]
pub struct ZfileRow {
    pub file: String,
    pub payload_offset: u64,
    pub payload_bytes: u64,
    pub algo: String,
    pub block_size: u32,
    pub verify: bool,
    pub header_overwritten: bool,
    pub content_bytes: u64,
    pub content_sha256: String,
}

/// A layer. The fields about compression are missing if it is not compressed.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of the manifest")]
pub struct LayerRow {
    pub file: String,
    pub payload_offset: u64,
    pub payload_bytes: u64,
    pub zfile: bool,
    pub algo: Option<String>,
    pub block_size: Option<u32>,
    pub verify: Option<bool>,
    pub content_bytes: u64,
}

/// A stack of layers, lowest first, and its content: all of it, or parts.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of the manifest")]
pub struct StackRow {
    pub layers: Vec<String>,
    pub virtual_size: u64,
    pub merged_segments: Option<usize>,
    pub sha256: Option<String>,
    #[serde(default)]
    pub ranges: Vec<Range>,
}

/// A part of an image.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of the manifest")]
pub struct Range {
    pub offset: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// A file with one thing wrong, or unusual.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the names of the manifest")]
pub struct Damage {
    pub file: String,
    pub what: String,
    pub kind: String,
    #[serde(rename = "want")]
    pub verdict: Verdict,
    pub content_bytes: Option<u64>,
    pub content_sha256: Option<String>,
}

/// The correct result of reading a [`Damage`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Verdict {
    /// It reads.
    #[serde(rename = "reads")]
    Reads,
    /// It does not open.
    #[serde(rename = "rejected at create with an error that names the check")]
    Rejected,
    /// It opens, but the damaged block does not read.
    #[serde(rename = "creates; EIO on the damaged block(s), the other blocks read right")]
    BlockError,
}

impl Corpus {
    /// The largest set of reference images there is.
    ///
    /// # Panics
    ///
    /// If there is none, or its manifest cannot be read.
    #[must_use]
    pub fn find() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let named = std::env::var_os("OVERLAYBD_IMAGES").map(PathBuf::from);
        let beside = repository.join("../shared/images");
        let folder = match named {
            Some(folder) => folder,
            None if beside.join("manifest.json").exists() => beside,
            None => return Self::committed(),
        };
        Self::open(folder)
    }

    /// The committed set.
    ///
    /// # Panics
    ///
    /// If its manifest cannot be read.
    #[must_use]
    pub fn committed() -> Self {
        Self::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures"))
    }

    fn open(folder: PathBuf) -> Self {
        let path = folder.join("manifest.json");
        let text = fs::read(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let manifest = serde_json::from_slice(&text)
            .unwrap_or_else(|error| panic!("cannot parse {}: {error}", path.display()));
        Self { folder, manifest }
    }

    /// Opens one of the images, by its name in the manifest.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[must_use]
    pub fn image(&self, name: &str) -> Box<dyn ReadAt> {
        let path = self.folder.join(name);
        if let Ok(file) = File::open(&path) {
            return Box::new(file);
        }
        let compressed = self.folder.join(format!("{name}.xz"));
        let mut bytes = Vec::new();
        File::open(&compressed)
            .and_then(|file| XzDecoder::new(file).read_to_end(&mut bytes))
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", compressed.display()));
        Box::new(bytes)
    }
}

/// The SHA-256 of `len` bytes from `offset` on, in hexadecimal.
///
/// # Errors
///
/// If it cannot be read.
pub fn sha256(from: &impl ReadAt, offset: u64, len: u64) -> Result<String, Error> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    let mut done = 0;
    while done < len {
        let piece = usize::try_from(len - done)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        from.read_at(offset + done, &mut buf[..piece])?;
        hash.update(&buf[..piece]);
        done += piece as u64;
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
