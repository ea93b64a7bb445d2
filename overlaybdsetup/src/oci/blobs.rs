// SPDX-License-Identifier: GPL-2.0

//! A folder with blobs: its index.json, its documents by digest, and the files of layers.

use super::document::{Index, Layout};
use super::origin::{Document, Origin};
use crate::digest::{check, parts};
use crate::error::{is_absence, Error, Result, Status};
use crate::json::{parse, read};
use crate::layer::LayerFile;
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
            let layout: Layout = parse(path.display(), &read(&path)?)?;
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
        let index = parse(path.display(), &read(&path)?)?;
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
}

impl Origin for Blobs<'_> {
    type Layer = LayerFile;

    fn document(&self, digest: &str) -> Result<Document> {
        let path = self
            .path_of(digest)
            .map_err(|error| error.within(format!("manifest {digest}")))?;
        let document = Document {
            bytes: read(&path)?,
            name: path.display().to_string(),
        };
        check(digest, &document.bytes).map_err(|error| error.within(&document.name))?;
        Ok(document)
    }

    fn layer(&self, digest: &str, size: u64) -> Result<LayerFile> {
        let path = self.path_of(digest).map_err(|error| {
            if error.status() == Status::Device {
                let why = "an image that is read from its registry has no layers here";
                Error::new(Status::Device, format!("{error}: {why}"))
            } else {
                error
            }
        })?;
        Ok(LayerFile {
            size: Some(size),
            digest: Some(digest.to_string()),
            ..LayerFile::new(path)
        })
    }
}

fn is_absent(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| is_absence(&error))
}
