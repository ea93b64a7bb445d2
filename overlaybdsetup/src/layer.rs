// SPDX-License-Identifier: GPL-2.0

//! One layer of an image: opens its file, and checks what the kernel checks when a table is loaded,
//! with the same source code.
//!
//! It reads no data: `verify` does that.

use crate::blob::{Fetching, RemoteBlob};
use crate::content::Content;
use crate::error::{Error, Result, Status};
use crate::payload::{in_pieces, Payload};
use crate::registry::Blob;
use crate::zfile::Codec;
use overlaybd_format::lsmt::{self, trailer_offset, IndexLoader, Segment};
use overlaybd_format::units::Bytes;
use std::path::PathBuf;

/// A layer file, or a blob in a registry, as a command line, a config or a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFile {
    /// The path of the file, or the URL of the blob.
    pub path: PathBuf,
    /// The length that the file should have, in bytes, if the source gives it.
    pub size: Option<u64>,
    /// The digest that the file should have, `sha256:` and 64 hexadecimal digits for example, if
    /// the source gives it.
    pub digest: Option<String>,
    /// The blob and how to fetch it; [`None`] for a file.
    pub remote: Option<(Blob, Fetching)>,
}

impl LayerFile {
    /// A file without a given length or digest.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            size: None,
            digest: None,
            remote: None,
        }
    }

    /// A blob in a registry.
    #[must_use]
    pub fn of_blob(blob: Blob, fetching: Fetching) -> Self {
        Self {
            path: blob.url.clone().into(),
            size: Some(blob.size),
            digest: Some(blob.digest.clone()),
            remote: Some((blob, fetching)),
        }
    }

    /// Opens the file, or starts the fetcher of the blob. It compares no length.
    ///
    /// # Errors
    ///
    /// Those of [`Payload::open`] and [`RemoteBlob::open`].
    pub(crate) fn payload(&self) -> Result<Payload> {
        match &self.remote {
            None => Payload::open(&self.path),
            Some((blob, fetching)) => Payload::of_blob(RemoteBlob::open(blob, fetching)?),
        }
    }

    /// Opens the file, and compares its length with the given one.
    ///
    /// # Errors
    ///
    /// Those of [`Payload::open`], and another length.
    pub fn open(&self) -> Result<Payload> {
        let payload = self.payload()?;
        self.check_len(&payload)
            .map_err(|error| error.within(self.path.display()))?;
        Ok(payload)
    }

    /// Compares the length of the open file with the given one.
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
    /// Anything wrong with it, with the file's name.
    pub fn open(file: &LayerFile) -> Result<Self> {
        Content::open(file.open()?)
            .and_then(Self::of_content)
            .map_err(|error| error.within(file.path.display()))
    }

    /// Checks the layer in an open content.
    ///
    /// # Errors
    ///
    /// Anything wrong with it, without the file's name.
    pub fn of_content(content: Content) -> Result<Self> {
        let (lsmt, segments) = load(&content)?;
        Ok(Self {
            content,
            lsmt,
            segments,
        })
    }

    /// The content of its file.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The positions of its parts.
    #[must_use]
    pub const fn lsmt(&self) -> &lsmt::Layer {
        &self.lsmt
    }

    /// Its segments, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// Checks the layer in an open content. Returns the positions of its parts, and its segments in
/// order.
///
/// # Errors
///
/// Anything wrong with it, without the file's name.
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
