// SPDX-License-Identifier: GPL-2.0

//! What layer a content holds, for `dump` and `verify`, which say more than that a file is refused:
//! its header and trailer as they stand, and whether it is a layer, is none, or is one with
//! something wrong. It reads those two and the index, and no data.

use crate::content::Content;
use crate::error::{Error, Result};
use crate::layer::load;
use crate::zfile::Codec;
use overlaybd_format::lsmt::{self, trailer_offset, HeaderTrailerFields, Segment, HEADER_LEN};
use overlaybd_format::units::Bytes;

/// A header or trailer, if it was read.
type Area = Option<Box<[u8; HEADER_LEN]>>;

/// What layer a content holds.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// Its first 4096 bytes, if it has them and they can be read.
    pub(crate) header: Area,
    /// Its last 4096 bytes, if there are any behind the first, and they can be read.
    pub(crate) trailer: Area,
    /// What it is.
    pub(crate) verdict: Verdict,
}

/// Whether a content is a layer.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// A layer: where things are in it, and its segments, in order.
    Layer(lsmt::Layer, Vec<Segment>),
    /// No layer, for this reason: neither its start nor its end is that of one.
    Other(String),
    /// A layer with something wrong, or what it is cannot be read.
    Refused(Error),
}

impl Inspection {
    /// Looks at a content that is open.
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

    /// Whether it is meant to be a layer: its start or its end is that of one.
    pub(crate) fn is_layer(&self) -> bool {
        has_magic(&self.header) || has_magic(&self.trailer)
    }
}

fn has_magic(area: &Area) -> bool {
    area.as_ref()
        .is_some_and(|area| HeaderTrailerFields::new(area).has_magic)
}

/// The check that says that this is no layer.
fn why_none(header: &Area, trailer: &Area, len: Bytes) -> String {
    let error = match (header, trailer) {
        (Some(header), Some(trailer)) => lsmt::Layer::open(header, trailer, len).err(),
        _ => trailer_offset(len).err(),
    };
    error.map_or_else(String::new, |error| error.to_string())
}

/// What refuses a file that is no ZFile and whose bytes are no layer, for this reason.
pub(crate) fn neither(why: &str) -> Error {
    Error::refused(format!("it is neither a ZFile nor a layer: {why}"))
}
