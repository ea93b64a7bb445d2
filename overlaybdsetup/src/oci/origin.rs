// SPDX-License-Identifier: GPL-2.0

//! Where the documents and layers of an image come from, and the way from a document to the layers.
//!
//! It does not know where that is: in a folder or in a registry.

use super::document::{Index, Kind, Manifest};
use super::index::chosen;
use super::layer::{check, is_acceleration};
use crate::error::{Error, Result};
use crate::json::parse;
use overlaybd_format::lsmt::MAX_LAYERS;

/// How many indexes are followed from one to the next.
pub(super) const MAX_INDEXES: u32 = 8;

/// A manifest or an index as it was read.
#[derive(Debug)]
pub(crate) struct Document {
    /// What messages call it: its path, or its reference.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Where the documents and layers of an image come from.
pub(crate) trait Origin {
    /// A layer that can be opened later.
    type Layer;

    /// Reads a manifest or an index, and checks its digest.
    ///
    /// # Errors
    ///
    /// A document that is not there, cannot be read or has another digest, with its name.
    fn document(&self, digest: &str) -> Result<Document>;

    /// The layer with this digest and size. It is not read.
    ///
    /// # Errors
    ///
    /// A layer that cannot be opened later, without its digest.
    fn layer(&self, digest: &str, size: u64) -> Result<Self::Layer>;
}

/// The layers of the manifest `start`, or of the one that an index lists for this machine, lowest
/// first.
///
/// # Errors
///
/// Documents that cannot be read or are malformed; no image for this machine; layers that are no
/// OverlayBD layers, that `origin` does not have, or more than 255.
pub(crate) fn layers_from<O: Origin>(origin: &O, start: Document) -> Result<Vec<O::Layer>> {
    follow(origin, start, MAX_INDEXES)
}

fn follow<O: Origin>(origin: &O, start: Document, indexes: u32) -> Result<Vec<O::Layer>> {
    let Document { name, bytes } = start;
    let refused = |text: &str| Error::refused(text).within(&name);
    let kind: Kind = parse(&name, &bytes)?;
    match (kind.manifests, kind.layers) {
        (None, Some(_)) => {
            let manifest: Manifest = parse(&name, &bytes)?;
            layers_of(origin, &manifest).map_err(|error| error.within(&name))
        }
        (Some(_), None) => {
            let left = indexes
                .checked_sub(1)
                .ok_or_else(|| refused("an index in an index, too many times"))?;
            let index: Index = parse(&name, &bytes)?;
            let chosen = chosen(&index).map_err(|error| error.within(&name))?;
            follow(origin, origin.document(chosen.digest.as_str())?, left)
        }
        (Some(_), Some(_)) => Err(refused("it has both layers and manifests: no kind has")),
        (None, None) => Err(refused(
            "it has neither layers nor manifests: no manifest and no index of an image",
        )),
    }
}

/// The layers of a manifest, lowest first.
fn layers_of<O: Origin>(origin: &O, manifest: &Manifest) -> Result<Vec<O::Layer>> {
    let mut layers = manifest.layers.as_slice();
    if let Some((last, below)) = layers.split_last() {
        if is_acceleration(last) {
            layers = below;
        }
    }
    let count = layers.len();
    if count == 0 {
        return Err(Error::refused("no layer in it that is one of an image"));
    }
    if count > MAX_LAYERS {
        return Err(Error::refused(format!(
            "it has {count} layers, and an image has no more than {MAX_LAYERS}"
        )));
    }
    (1..)
        .zip(layers)
        .map(|(number, layer)| {
            check(layer)
                .and_then(|()| origin.layer(layer.digest.as_str(), layer.size))
                .map_err(|error| {
                    error.within(format!("layer {number} of {count}, {}", layer.digest))
                })
        })
        .collect()
}
