// SPDX-License-Identifier: GPL-2.0

//! Whether a content is a layer, for `dump` and `verify`, which report more than a refusal: its
//! header and trailer as they are, and whether it is a layer, no layer, or a layer with something
//! wrong.
//!
//! It reads the header, the trailer and the index, and no data.

use crate::content::Content;
use crate::error::{Error, Result};
use crate::layer::load;
use crate::zfile::Codec;
use overlaybd_format::lsmt::{self, trailer_offset, HeaderTrailerFields, Segment, HEADER_LEN};
use overlaybd_format::units::Bytes;

/// A header or trailer; [`None`] if it could not be read.
type Area = Option<Box<[u8; HEADER_LEN]>>;

/// A content with its header, its trailer and the verdict.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// Its first 4096 bytes.
    pub(crate) header: Area,
    /// Its last 4096 bytes, if it is longer than a header.
    pub(crate) trailer: Area,
    /// Whether it is a layer.
    pub(crate) verdict: Verdict,
}

/// Whether a content is a layer.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// A layer: the positions of its parts, and its segments in order.
    Layer(lsmt::Layer, Vec<Segment>),
    /// No layer, for this reason: neither its start nor its end has the magic of one.
    Other(String),
    /// A layer with something wrong, or a content that cannot be read.
    Refused(Error),
}

impl Inspection {
    /// Inspects an open content.
    pub(crate) fn new(content: &Content) -> Self {
        let len = Bytes::new(content.len());
        let mut codec = Codec::default();
        let mut read = |at: u64| -> Result<Box<[u8; HEADER_LEN]>> {
            let mut area = Box::new([0; HEADER_LEN]);
            content.read(at, &mut area[..], &mut codec)?;
            Ok(area)
        };
        let header = (len.get() >= HEADER_LEN as u64).then(|| read(0));
        let trailer = trailer_offset(len).ok().map(|at| read(at.get()));
        let (header, trailer, failure) = match (header, trailer) {
            (Some(Err(error)), other) => (None, other.and_then(Result::ok), Some(error)),
            (other, Some(Err(error))) => (other.and_then(Result::ok), None, Some(error)),
            (header, trailer) => (
                header.and_then(Result::ok),
                trailer.and_then(Result::ok),
                None,
            ),
        };
        let verdict = if has_magic(&header) || has_magic(&trailer) {
            match load(content) {
                Ok((lsmt, segments)) => Verdict::Layer(lsmt, segments),
                Err(error) => Verdict::Refused(error),
            }
        } else if let Some(error) = failure {
            Verdict::Refused(error)
        } else {
            Verdict::Other(why_none(&header, &trailer, len))
        };
        Self {
            header,
            trailer,
            verdict,
        }
    }

    /// Whether it is meant as a layer: its start or its end has the magic of one.
    pub(crate) fn is_layer(&self) -> bool {
        has_magic(&self.header) || has_magic(&self.trailer)
    }
}

fn has_magic(area: &Area) -> bool {
    area.as_ref()
        .is_some_and(|area| HeaderTrailerFields::new(area).has_magic)
}

/// The check that fails for a content without the magic of a layer.
fn why_none(header: &Area, trailer: &Area, len: Bytes) -> String {
    let error = match (header, trailer) {
        (Some(header), Some(trailer)) => lsmt::Layer::open(header, trailer, len).err(),
        _ => trailer_offset(len).err(),
    };
    error.map_or_else(String::new, |error| error.to_string())
}

/// The error for a file that is no ZFile and, for this reason, no layer.
pub(crate) fn neither(why: &str) -> Error {
    Error::refused(format!("it is neither a ZFile nor a layer: {why}"))
}
