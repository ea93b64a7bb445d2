// SPDX-License-Identifier: GPL-2.0

//! A folder with blobs: its index.json, its documents by digest, and the layers they lead to.

use super::document::{Index, Kind, Layout, Manifest};
use super::index::chosen;
use super::layer::{check, is_acceleration};
use crate::digest::{parts, Algorithm};
use crate::error::{is_absence, Error, Result, Status};
use crate::json::{parse, read};
use crate::layer::LayerFile;
use overlaybd_format::lsmt::MAX_LAYERS;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with blobs/ALGORITHM/DIGITS in it.
pub(super) struct Blobs<'a> {
    folder: &'a Path,
}

impl<'a> Blobs<'a> {
    pub(super) const fn new(folder: &'a Path) -> Self {
        Self { folder }
    }

    /// Reads index.json.
    pub(super) fn index(&self) -> Result<(PathBuf, Index)> {
        // A folder without oci-layout is accepted: only index.json is used.
        let path = self.folder.join("oci-layout");
        if !is_absent(&path) {
            let layout: Layout = parse(&path, &read(&path)?)?;
            let version = layout.image_layout_version;
            if !version.starts_with("1.") {
                return Err(Error::refused(format!(
                    "{}: its version is {version:?}, and only 1.x is known",
                    path.display()
                )));
            }
        }
        let path = self.folder.join("index.json");
        if self.folder.is_dir() && is_absent(&path) {
            return Err(Error::new(
                Status::Device,
                format!(
                    "{}: no index.json in it: not an OCI image layout. In a content store of \
                     containerd the manifest has to be named: --manifest",
                    self.folder.display()
                ),
            ));
        }
        let index = parse(&path, &read(&path)?)?;
        Ok((path, index))
    }

    /// The path of a blob, which exists.
    fn path_of(&self, digest: &str) -> Result<PathBuf> {
        let (algorithm, digits) = parts(digest).ok_or_else(|| {
            Error::refused(format!(
                "the digest {digest:?} names no file: it has to be sha256: and 64 digits, or \
                 sha512: and 128, each of 0 to 9 and a to f"
            ))
        })?;
        let blobs = self.folder.join("blobs");
        let path = blobs.join(algorithm.name()).join(digits);
        match fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) if is_absence(&error) => Err(Error::new(
                Status::Device,
                format!("not in {}", blobs.display()),
            )),
            Err(error) => Err(Error::io(format!("cannot read {}", path.display()), &error)),
        }
    }

    /// Reads a manifest or an index, and checks its digest.
    pub(super) fn document(&self, digest: &str) -> Result<(PathBuf, Vec<u8>)> {
        let path = self
            .path_of(digest)
            .map_err(|error| error.within(format!("manifest {digest}")))?;
        let bytes = read(&path)?;
        let real = Algorithm::of(digest)?.digest(&bytes);
        if real != digest {
            return Err(Error::refused(format!(
                "{}: its digest is {real}: it is damaged",
                path.display()
            )));
        }
        Ok((path, bytes))
    }

    /// The layers of the manifest `start`, or of the one that an index lists for this machine.
    pub(super) fn follow(&self, start: (PathBuf, Vec<u8>), indexes: u32) -> Result<Vec<LayerFile>> {
        let (path, bytes) = start;
        let refused = |text: &str| Error::refused(text).within(path.display());
        let kind: Kind = parse(&path, &bytes)?;
        match (kind.manifests, kind.layers) {
            (None, Some(_)) => {
                let manifest: Manifest = parse(&path, &bytes)?;
                self.layers_of(&manifest)
                    .map_err(|error| error.within(path.display()))
            }
            (Some(_), None) => {
                let left = indexes
                    .checked_sub(1)
                    .ok_or_else(|| refused("an index in an index, too many times"))?;
                let index: Index = parse(&path, &bytes)?;
                let chosen = chosen(&index).map_err(|error| error.within(path.display()))?;
                self.follow(self.document(chosen.digest.as_str())?, left)
            }
            (Some(_), Some(_)) => Err(refused("it has both layers and manifests: no kind has")),
            (None, None) => Err(refused(
                "it has neither layers nor manifests: no manifest and no index of an image",
            )),
        }
    }

    /// The files of the layers of a manifest, lowest first.
    fn layers_of(&self, manifest: &Manifest) -> Result<Vec<LayerFile>> {
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
                    .and_then(|()| self.file_of(layer.digest.as_str(), layer.size))
                    .map_err(|error| {
                        error.within(format!("layer {number} of {count}, {}", layer.digest))
                    })
            })
            .collect()
    }

    /// The file of a layer.
    fn file_of(&self, digest: &str, size: u64) -> Result<LayerFile> {
        let path = self.path_of(digest).map_err(|error| {
            if error.status() == Status::Device {
                let why = "an image that is read from its registry has no layers here";
                Error::new(Status::Device, format!("{error}: {why}"))
            } else {
                error
            }
        })?;
        Ok(LayerFile {
            path,
            size: Some(size),
            digest: Some(digest.to_string()),
        })
    }
}

fn is_absent(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| is_absence(&error))
}
