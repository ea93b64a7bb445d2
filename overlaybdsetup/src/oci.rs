// SPDX-License-Identifier: GPL-2.0

//! Images in an OCI image layout, or in the content store of containerd: a folder with blobs.
//!
//! The manifest is found through the index, or named by the caller. Its layers must be OverlayBD
//! layers: annotations say so here, and [`Layer::open`] checks the bytes later. Nothing is fetched,
//! converted, unpacked or written. No blob of a layer is read, and no digest of one is computed:
//! `verify` does that.
//!
//! An image in a registry consists of the same documents, and the same rules choose its layers:
//! `origin` has them for both.
//!
//! [`Layer::open`]: crate::layer::Layer::open

mod blobs;
mod document;
mod index;
mod layer;
mod origin;
#[cfg(test)]
mod tests;

use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::json;
use crate::layer::LayerFile;
use blobs::Blobs;
use index::by_name;
use std::path::{Path, PathBuf};

pub(crate) use index::IMAGES;
pub(crate) use origin::{layers_from, Document, Origin};

/// Splits `DIR[:REF]`.
///
/// As with skopeo, DIR ends at the first ':', and REF may contain more of them. A folder with ':'
/// in its name can be given all the same: an argument that is an existing folder as a whole has no
/// REF; otherwise DIR ends at the first ':' that follows an existing folder, if there is one.
/// "DIR:" has no REF either.
#[must_use]
pub fn split(argument: &str) -> (PathBuf, Option<String>) {
    let colons = || {
        argument
            .match_indices(':')
            .map(|(at, _)| at)
            // No folder has an empty name.
            .filter(|at| *at > 0)
    };
    let is_folder = |text: &str| Path::new(text).is_dir();
    let at = if is_folder(argument) {
        None
    } else {
        colons()
            .find(|at| is_folder(&argument[..*at]))
            .or_else(|| colons().next())
    };
    match at {
        None => (PathBuf::from(argument), None),
        Some(at) => {
            let reference = &argument[at + 1..];
            let reference = (!reference.is_empty()).then(|| reference.to_string());
            (PathBuf::from(&argument[..at]), reference)
        }
    }
}

/// The layers of an image in `folder`, lowest first.
///
/// The image is the one that index.json calls `reference`, or its only one. With `manifest`, no
/// index.json is needed: it is the digest of a blob in `folder`, or the path of a file, and may
/// name an index as well. From an index of several platforms, the manifest for this machine is
/// taken.
///
/// # Errors
///
/// Documents that cannot be read, are longer than 16 MiB, are malformed, or do not have the digest
/// that names them; no image of that name, several where none is named, or none for this machine;
/// layers that are ordinary ones, of TurboOCI, not in `folder`, or more than 255.
pub fn layers(
    folder: &Path,
    reference: Option<&str>,
    manifest: Option<&str>,
) -> Result<Vec<LayerFile>> {
    let blobs = Blobs::new(folder);
    let is_digest = |text: &str| {
        text.split_once(':')
            .is_some_and(|(name, _)| Algorithm::named(name).is_some())
    };
    let start = match (reference, manifest) {
        (reference, None) => {
            let (path, index) = blobs.index()?;
            let chosen =
                by_name(&index, reference).map_err(|error| error.within(path.display()))?;
            blobs.document(chosen.digest.as_str())?
        }
        (None, Some(digest)) if is_digest(digest) => blobs.document(digest)?,
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            Document {
                bytes: json::read(&path)?,
                name: path.display().to_string(),
            }
        }
        (Some(reference), Some(_)) => {
            return Err(Error::refused(format!(
                "the image {reference:?} is named, and a manifest too: only one of them can be"
            )));
        }
    };
    layers_from(&blobs, start)
}
