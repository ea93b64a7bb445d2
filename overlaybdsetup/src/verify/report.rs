// SPDX-License-Identifier: GPL-2.0

//! The result of `verify`, and its text.
//!
//! The structures here are the JSON, by the rules in the documentation of [`verify`](super). This
//! file reads no layer and makes no check.

use crate::error::{Error, Result};
use crate::output::plain;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, Write};

/// The result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Each file, in the order given.
    pub files: Vec<FileReport>,
    /// The image that they form; null if each file was verified by itself.
    pub image: Option<ImageReport>,
}

/// The result for a file.
#[derive(Debug, Default, Serialize)]
pub struct FileReport {
    /// The path as given.
    pub file: String,
    /// Whether nothing is wrong with it.
    pub ok: bool,
    /// Whether it is a `layer` or a `zfile` of other content; null if neither, or it does not open.
    pub kind: Option<&'static str>,
    /// Its length; null if it cannot be opened.
    pub file_bytes: Option<u64>,
    /// The number of its blocks; null if it is not compressed, or does not open.
    pub blocks: Option<u32>,
    /// Whether each block has a CRC, without which damage may be undetected; null if it has no
    /// blocks.
    pub block_checksums: Option<bool>,
    /// The length of its content, decompressed; null if it does not open.
    pub content_bytes: Option<u64>,
    /// The digest of the whole file, with the name of the algorithm; null if none was given to
    /// compare it with.
    pub digest: Option<String>,
    /// The first faults: those of the whole file, then those of blocks in order.
    pub faults: Vec<Fault>,
    /// The number of further faults.
    pub more_faults: u64,
}

/// Something wrong with a file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fault {
    /// What is wrong, in words.
    pub what: String,
    /// The number of the bad block; null if no single block is bad.
    pub block: Option<u32>,
    /// Where the bad bytes start in the file; null if the fault has no place.
    pub offset: Option<u64>,
    /// The number of bad bytes in the file; null if the fault has no place.
    pub bytes: Option<u64>,
    /// The sectors of the image that cannot be read correctly. If the files are one image, those
    /// that a layer above hides are left out. Null if the fault has no place in the data of a
    /// layer, or if the index of the layer cannot be read.
    pub image_sectors: Option<Vec<SectorRange>>,
    /// The number of further ranges.
    pub more_ranges: usize,
}

/// Consecutive sectors of 512 bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SectorRange {
    /// The first sector.
    pub start: u64,
    /// The number of sectors.
    pub count: u64,
}

/// The result for the image.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    /// Whether its layers form an image. They may have faults of their own.
    pub ok: bool,
    /// The number of layers.
    pub layers: usize,
    /// The size of the device; null if not all layers open.
    pub virtual_size: Option<u64>,
    /// The number of extents of the merged layers; null if they do not merge.
    pub extents: Option<u64>,
    /// What is wrong with it; null if nothing is, or if not all layers open.
    pub fault: Option<String>,
}

impl Report {
    /// Writes the result as text.
    pub(super) fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for file in &self.files {
            file.show(self.image.is_some(), out)?;
        }
        if let Some(image) = &self.image {
            image.show(out)?;
        }
        Ok(())
    }

    /// The error that `verify` ends with, in one line, if anything is wrong.
    pub(super) fn summary(&self) -> Result<()> {
        if self.ok {
            return Ok(());
        }
        let bad: Vec<_> = self.files.iter().filter(|file| !file.ok).collect();
        let text = match (bad.as_slice(), &self.image) {
            ([], Some(image)) => image.fault.clone().unwrap_or_default(),
            ([], None) => "there is no file to verify".to_string(),
            ([file], _) => match file.faults.as_slice() {
                [fault] if file.more_faults == 0 => format!("{}: {}", file.file, fault.what),
                _ => format!("{}: {} faults", file.file, file.count()),
            },
            (bad, _) => format!(
                "{} of {} files have something wrong, {} faults in all",
                bad.len(),
                self.files.len(),
                bad.iter().map(|file| file.count()).sum::<u64>()
            ),
        };
        Err(Error::refused(text))
    }
}

impl FileReport {
    /// The number of its faults.
    fn count(&self) -> u64 {
        self.more_faults + self.faults.len() as u64
    }

    fn show(&self, whole: bool, out: &mut dyn Write) -> io::Result<()> {
        let name = plain(&self.file);
        if self.ok {
            let blocks = match self.blocks {
                Some(blocks) => format!("{blocks} blocks"),
                None => "not compressed".to_string(),
            };
            let bytes = self.content_bytes.unwrap_or_default();
            write!(out, "{name}: ok, {blocks}, {bytes} bytes")?;
            if self.digest.is_some() {
                write!(out, ", digest as given")?;
            }
            if self.kind == Some("zfile") {
                write!(out, ", no layer")?;
            }
            if self.block_checksums == Some(false) {
                write!(
                    out,
                    ", without checksums of blocks: not all damage can be found"
                )?;
            }
            return writeln!(out);
        }
        writeln!(out, "{name}: {}", counted(self.count(), "fault"))?;
        for fault in &self.faults {
            let sectors = fault.sectors(whole);
            writeln!(out, "  {}{sectors}", plain(&fault.what))?;
        }
        if self.more_faults > 0 {
            writeln!(out, "  and {} more", counted(self.more_faults, "fault"))?;
        }
        Ok(())
    }
}

impl Fault {
    /// A fault of the whole file.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ..Self::default()
        }
    }

    /// The sectors of the image that are hit, as text.
    fn sectors(&self, whole: bool) -> String {
        let Some(ranges) = &self.image_sectors else {
            return String::new();
        };
        let mut text = String::new();
        for range in ranges {
            let last = range.start + range.count.saturating_sub(1);
            let separator = if text.is_empty() { "" } else { ", " };
            let _ = match range.count {
                1 => write!(text, "{separator}{last}"),
                _ => write!(text, "{separator}{} to {last}", range.start),
            };
        }
        if self.more_ranges > 0 {
            let _ = write!(text, " and {}", counted(self.more_ranges as u64, "range"));
        }
        let one = self.more_ranges == 0 && matches!(ranges.as_slice(), [range] if range.count == 1);
        match (text.as_str(), whole) {
            ("", true) => "; nothing of the image is hit".to_string(),
            ("", false) => "; no extent of the layer is hit".to_string(),
            (text, _) if one => format!("; it hits sector {text} of the image"),
            (text, _) => format!("; it hits sectors {text} of the image"),
        }
    }
}

impl ImageReport {
    /// The result before any check.
    pub(super) const fn new(layers: usize) -> Self {
        Self {
            ok: false,
            layers,
            virtual_size: None,
            extents: None,
            fault: None,
        }
    }

    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        match (&self.fault, self.virtual_size, self.extents) {
            (Some(fault), ..) => writeln!(out, "image: {fault}"),
            (None, Some(size), Some(extents)) => writeln!(
                out,
                "image: {}, {size} bytes, {extents} extents",
                counted(self.layers as u64, "layer")
            ),
            _ => writeln!(out, "image: not all of its layers open"),
        }
    }
}

/// A number of things: "1 fault", "2 faults".
fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
