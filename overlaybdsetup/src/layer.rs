// SPDX-License-Identifier: GPL-2.0

//! One layer of an image: its file, opened, and all checked that the kernel checks when a table is loaded, with
//! the same source. What lies in its blocks is not read here, that is for `verify`.

use crate::content::Content;
use crate::error::{Error, Result, Status};
use crate::payload::{in_pieces, Payload};
use crate::zfile::Codec;
use overlaybd_format::lsmt::{self, trailer_offset, IndexLoader, Segment};
use overlaybd_format::units::Bytes;
use std::path::PathBuf;

/// A layer file as a source names it: a command line, a config, a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFile {
    /// Where it is.
    pub path: PathBuf,
    /// The length of the file that the source gives, in bytes.
    pub size: Option<u64>,
    /// The digest of the file that the source gives, `sha256:` and 64 hexadecimal digits.
    pub digest: Option<String>,
}

impl LayerFile {
    /// A file of which nothing else is known.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            size: None,
            digest: None,
        }
    }

    /// Opens the file and compares its length with what the source says.
    ///
    /// # Errors
    ///
    /// As [`Payload::open`], and another length.
    pub fn open(&self) -> Result<Payload> {
        let payload = Payload::open(&self.path)?;
        self.check_len(&payload)
            .map_err(|error| error.within(self.path.display()))?;
        Ok(payload)
    }

    /// Compares the length of the file, which is open, with what the source says.
    ///
    /// # Errors
    ///
    /// Another length, without the file's name.
    pub(crate) fn check_len(&self, payload: &Payload) -> Result<()> {
        match self.size {
            Some(size) if size != payload.file_len() => Err(Error::refused(format!(
                "it has {} bytes, should have {size}: not downloaded to its end, or another file",
                payload.file_len()
            ))),
            _ => Ok(()),
        }
    }
}

/// A layer whose headers, trailers and indexes are right.
#[derive(Debug)]
pub struct Layer {
    content: Content,
    lsmt: lsmt::Layer,
    segments: Vec<Segment>,
}

impl Layer {
    /// Opens a layer's file and checks it.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, with the file's name.
    pub fn open(file: &LayerFile) -> Result<Self> {
        let payload = file.open()?;
        let content = Content::open(payload).map_err(|error| error.within(file.path.display()))?;
        Self::of_content(content).map_err(|error| error.within(file.path.display()))
    }

    /// Checks the layer in a content that is open.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, without the file's name.
    pub fn of_content(content: Content) -> Result<Self> {
        let (lsmt, segments) = load(&content)?;
        Ok(Self {
            content,
            lsmt,
            segments,
        })
    }

    /// What its file holds.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// Where things are in it.
    #[must_use]
    pub const fn lsmt(&self) -> &lsmt::Layer {
        &self.lsmt
    }

    /// What it knows of the image, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// Checks the layer in a content: where things are in it, and its segments, in order.
///
/// # Errors
///
/// Whatever is wrong with it, without the file's name.
pub(crate) fn load(content: &Content) -> Result<(lsmt::Layer, Vec<Segment>)> {
    let refused = |error: lsmt::OpenError| Error::refused(error.to_string());
    let mut codec = Codec::default();
    let len = Bytes::new(content.len());
    let (mut header, mut trailer) = ([0; lsmt::HEADER_LEN], [0; lsmt::HEADER_LEN]);
    let offset = trailer_offset(len).map_err(refused)?;
    content.read(0, &mut header, &mut codec)?;
    content.read(offset.get(), &mut trailer, &mut codec)?;
    let lsmt = lsmt::Layer::open(&header, &trailer, len).map_err(refused)?;

    let entries = usize::try_from(lsmt.index_entries()).unwrap_or(usize::MAX);
    let mut segments = Vec::new();
    segments.try_reserve_exact(entries).map_err(|_| {
        Error::new(
            Status::Memory,
            format!("no memory for the index of {entries} entries"),
        )
    })?;
    segments.resize(entries, Segment::EMPTY);
    let mut loader = IndexLoader::new(&lsmt, segments).map_err(refused)?;
    in_pieces(lsmt.index_len().get(), |at, piece| {
        content.read(lsmt.index_offset().get() + at, piece, &mut codec)?;
        loader.push(piece).map_err(refused)
    })?;
    let (mut segments, live) = loader.finish().map_err(refused)?;
    segments.truncate(live);
    Ok((lsmt, segments))
}
