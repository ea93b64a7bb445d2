// SPDX-License-Identifier: GPL-2.0

//! `dump`: the headers, trailers and indexes of layer files, as text or as JSON.
//!
//! It reads no data: of a compressed layer, only the blocks that contain its header, index and
//! trailer. `verify` checks the data. A file with something wrong is shown as far as it can be
//! read, with the check that refuses it.
//!
//! The JSON is an array of [`FileDump`]. Fields may be added to it, and are never renamed. Numbers
//! are decimal, and in bytes unless their documentation says otherwise.

mod layer;
#[cfg(test)]
mod tests;
mod text;
mod zfile;

pub use layer::{Extent, IndexDump, LayerArea, LayerDump};
pub use zfile::{StoredBlocks, ZfileArea, ZfileDump, ZfileLayout};

use crate::content::Content;
use crate::error::{Error, Result};
use crate::inspect::{neither, Inspection, Verdict};
use crate::output::{self, plain, print};
use crate::payload::Payload;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use text::Text;

/// The parts of a file.
#[derive(Debug, Serialize)]
pub struct FileDump {
    /// The path as given on the command line.
    pub file: String,
    /// Its length; null if it cannot be opened.
    pub file_bytes: Option<u64>,
    /// The position of the layer in the file; null if it is unknown.
    pub payload: Option<PayloadDump>,
    /// The ZFile; null if it is not compressed.
    pub zfile: Option<ZfileDump>,
    /// The layer; null if there is none, or the ZFile around it does not open.
    pub layer: Option<LayerDump>,
    /// Why a ZFile's content is no layer; null if it is a layer, or cannot be read.
    pub no_layer: Option<String>,
    /// What is wrong with the file; null if nothing is.
    pub refusal: Option<String>,
}

/// The position of a layer in its file.
#[derive(Debug, Serialize)]
pub struct PayloadDump {
    /// Whether it is in a tar.
    pub in_tar: bool,
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// Shows the parts of files.
///
/// # Errors
///
/// After all files are shown, if one of them is refused; an error of `out`.
pub fn run(files: &[PathBuf], json: bool, extents: bool, out: &mut dyn Write) -> Result<()> {
    let mut dumps = Vec::new();
    let mut refusals = Vec::new();
    print(out, |out| {
        for (number, path) in files.iter().enumerate() {
            let dump = FileDump::of(path, extents);
            if let Some(refusal) = &dump.refusal {
                refusals.push(format!("{}: {refusal}", dump.file));
            }
            if json {
                dumps.push(dump);
                continue;
            }
            if number > 0 {
                out.write_all(b"\n")?;
            }
            dump.show(out)?;
        }
        if json {
            output::json(out, &dumps)?;
        }
        Ok(())
    })?;
    match refusals.as_slice() {
        [] => Ok(()),
        [refusal] => Err(Error::refused(refusal.clone())),
        [refusal, ..] => Err(Error::refused(format!(
            "{} files are refused, the first one {refusal}",
            refusals.len()
        ))),
    }
}

impl FileDump {
    /// Reads a file.
    fn of(path: &Path, extents: bool) -> Self {
        let mut dump = Self {
            file: path.display().to_string(),
            file_bytes: None,
            payload: None,
            zfile: None,
            layer: None,
            no_layer: None,
            refusal: None,
        };
        if let Err(error) = dump.fill(path, extents) {
            dump.refusal = Some(error.to_string());
        }
        dump
    }

    /// Fills in the fields in order, up to the first error.
    fn fill(&mut self, path: &Path, extents: bool) -> Result<()> {
        let payload = Payload::open(path)?;
        self.file_bytes = Some(payload.file_len());
        self.payload = Some(PayloadDump {
            in_tar: payload.in_tar(),
            offset: payload.offset(),
            bytes: payload.len(),
        });
        // Read before `Content::open`, so that they are shown for a refused ZFile too.
        self.zfile = ZfileDump::of(&payload)?;
        let content = Content::open(payload)?;
        if let (Some(dump), Some(zfile)) = (&mut self.zfile, content.zfile()) {
            dump.blocks = Some(StoredBlocks::of(zfile));
        }
        let inspection = Inspection::new(&content);
        if inspection.is_layer() {
            self.layer = Some(LayerDump::of(&inspection, &content, extents));
        }
        match inspection.verdict {
            Verdict::Layer(..) => Ok(()),
            Verdict::Refused(error) => Err(error),
            Verdict::Other(why) if self.zfile.is_some() => {
                self.no_layer = Some(why);
                Ok(())
            }
            Verdict::Other(why) => Err(neither(&why)),
        }
    }

    /// Writes the file as text.
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut text = Text(out);
        writeln!(text.0, "{}", plain(&self.file))?;
        text.bytes("File", self.file_bytes)?;
        if let Some(payload) = &self.payload {
            if payload.in_tar {
                let place = format!("{} bytes at {}", payload.bytes, payload.offset);
                text.line("Payload in a tar", place)?;
            }
        }
        if let Some(zfile) = &self.zfile {
            zfile.show(&mut text)?;
        }
        if let Some(layer) = &self.layer {
            layer.show(&mut text)?;
        }
        for (name, why) in [("NO LAYER", &self.no_layer), ("REFUSED", &self.refusal)] {
            if let Some(why) = why {
                writeln!(text.0)?;
                text.line(name, plain(why))?;
            }
        }
        Ok(())
    }
}
