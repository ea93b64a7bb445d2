// SPDX-License-Identifier: GPL-2.0

//! What `status` prints of a device, as JSON and as text.
//!
//! It asks the kernel nothing. The structures here are the JSON: fields may be added, and are never
//! renamed.

use super::counters::Counters;
use crate::fetcher::Report as Remote;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// A device that `open` made by name.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// The path of its node.
    pub path: PathBuf,
    /// `image`, or `writable` for a device with an exception store.
    pub kind: &'static str,
    /// Its uuid.
    pub uuid: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is read-only.
    pub read_only: bool,
    /// The number of its users: processes, mounts, and devices above it.
    pub users: u32,
    /// Whether it is removed when its last user closes it.
    pub deferred: bool,
    /// Where it is mounted, in the mount namespace of this process.
    pub mounts: Vec<PathBuf>,
    /// The number of segments of the merged index.
    pub segments: u64,
    /// The layers, lowest first.
    pub layers: Vec<LayerReport>,
    /// The sum of the counters of all layers and of the merged index.
    pub totals: Counters,
    /// The exception store of a writable device.
    pub store: Option<StoreReport>,
}

/// A layer of a device.
#[derive(Debug, Default, Serialize)]
pub struct LayerReport {
    /// The name of its device; null if it is not compressed.
    pub device: Option<String>,
    /// The number of users of that device.
    pub users: u32,
    /// Its file.
    pub file: Option<PathBuf>,
    /// Where it is fetched from; null for a file.
    pub remote: Option<Remote>,
    /// Where it starts in the file or blob, in bytes.
    pub offset: u64,
    /// Whether the loop device reads the file with direct I/O.
    pub direct_io: bool,
    /// The compression algorithm; null if it is not compressed.
    pub algorithm: Option<String>,
    /// The content of a block, in bytes.
    pub block_size: u64,
    /// Whether each block has a checksum.
    pub verify: bool,
    /// The number of blocks.
    pub blocks: u64,
    /// The counters of its device.
    #[serde(flatten)]
    pub counters: Counters,
}

/// The exception store of a writable device.
#[derive(Debug, Serialize)]
pub struct StoreReport {
    /// Its file.
    pub file: Option<PathBuf>,
    /// `ok`; `full`: writes fail; or `invalid`: reads fail too.
    pub state: &'static str,
    /// The room that is used, in bytes.
    pub used_bytes: u64,
    /// The room in all, in bytes.
    pub total_bytes: u64,
}

impl Report {
    /// The report as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {:<12} {value}", format!("{name}:"));
        };
        line("kind", self.kind.to_string());
        line("uuid", self.uuid.clone());
        line("size", format!("{} bytes", self.size));
        let mode = if self.read_only {
            "read-only"
        } else {
            "read-write"
        };
        line("mode", mode.to_string());
        for folder in &self.mounts {
            line("mounted", folder.display().to_string());
        }
        if let Some(store) = &self.store {
            let file = store.file.as_ref();
            line(
                "store",
                file.map(|file| file.display().to_string())
                    .unwrap_or_default(),
            );
            line("store state", store.state.to_string());
            if store.state == "ok" {
                line(
                    "store used",
                    format!("{} of {} bytes", store.used_bytes, store.total_bytes),
                );
            }
        }
        line("segments", self.segments.to_string());
        line("index", format!("{} bytes", self.totals.index_bytes));
        line("errors", self.totals.errors());
        line("reads", self.totals.reads());
        for (number, layer) in self.layers.iter().enumerate() {
            line(&format!("layer {}", number + 1), layer.text());
        }
        let used = match (self.users, self.deferred) {
            (0, _) => "is not in use",
            (_, false) => "is in use",
            (_, true) => "is in use, and removed when it no longer is",
        };
        format!("{} {used}.\n{text}", self.path.display())
    }
}

impl LayerReport {
    fn text(&self) -> String {
        let mut text = match (&self.file, &self.remote) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(remote)) => remote.url.clone(),
            (None, None) => String::new(),
        };
        if self.offset > 0 {
            let _ = write!(text, " at {}", self.offset);
        }
        match &self.algorithm {
            Some(algorithm) => {
                let _ = write!(
                    text,
                    ", {algorithm} {}{}: {}; errors: {}",
                    self.block_size,
                    if self.verify { ", checksums" } else { "" },
                    self.counters.reads(),
                    self.counters.errors()
                );
            }
            None => text.push_str(", not compressed"),
        }
        if let Some(remote) = &self.remote {
            let _ = write!(
                text,
                "; {} of {} bytes are here, {} fetched, {} retries, {} failed reads",
                remote.present_bytes,
                remote.size,
                remote.fetched_bytes,
                remote.retries,
                remote.failed_reads
            );
            if remote.failing {
                let _ = write!(
                    text,
                    "; the registry does not answer: {}",
                    remote.last_error
                );
            }
        }
        text
    }
}
