// SPDX-License-Identifier: GPL-2.0

//! The layers that a command line names: files through a config, through an OCI folder, or
//! directly, and blobs through a registry.
//!
//! It opens no layer.

use crate::blob::Fetching;
use crate::cache;
use crate::cli::{ImageSource, Remote};
use crate::config;
use crate::digest;
use crate::error::{Error, Result};
use crate::fetcher::Record;
use crate::layer::LayerFile;
use crate::oci;
use crate::registry::{self, Blob};
use std::path::{Path, PathBuf};

/// The layers that a command line names, lowest first. `remote` says how those in a registry are
/// read; without it there can be none.
///
/// # Errors
///
/// Anything wrong with the config, the folder or the manifest in the registry; an image in a
/// registry without `remote`; no source at all.
pub fn layers(image: &ImageSource, remote: Option<&Remote>) -> Result<Vec<LayerFile>> {
    let source = &image.source;
    if let Some(path) = &source.config {
        return config::layers(path);
    }
    if let Some(folder) = &source.oci {
        let (folder, reference) = oci::split(folder);
        return oci::layers(&folder, reference.as_deref(), image.manifest.as_deref());
    }
    if let (Some(reference), Some(remote)) = (&source.registry, remote) {
        return blobs(reference, image.insecure, remote);
    }
    if let Some(reference) = &source.registry {
        return Err(Error::refused(format!(
            "--registry {reference}: layers in a registry are no files, and only files can be read \
             here: copy the image, for example with skopeo, and use --oci"
        )));
    }
    if source.layers.is_empty() {
        return Err(Error::refused(
            "one of --config, --oci, --registry and --layer is needed",
        ));
    }
    Ok(source.layers.iter().map(LayerFile::new).collect())
}

/// The layers of an image in a registry: those that are files here, and the blobs of others.
fn blobs(reference: &str, insecure: bool, remote: &Remote) -> Result<Vec<LayerFile>> {
    let cache = remote.cache.as_deref().map(cache::create).transpose()?;
    if let (Some(cache), Some(size)) = (&cache, remote.cache_size) {
        cache::prune(cache, size)?;
    }
    let fetching = Fetching {
        cache,
        patience: remote.timeout,
        prefetch: remote.prefetch.as_deref().map(record).transpose()?,
    };
    let here = |blob: &Blob| file_in(remote.blobs.as_deref()?, blob);
    Ok(registry::layers(reference, insecure)?
        .into_iter()
        .map(|blob| here(&blob).unwrap_or_else(|| LayerFile::of_blob(blob, fetching.clone())))
        .collect())
}

/// The absolute path of a record, which is one.
fn record(path: &Path) -> Result<PathBuf> {
    Record::read(path)?;
    path.canonicalize()
        .map_err(|error| Error::io(format!("cannot read {}", path.display()), &error))
}

/// The file with the content of a blob in a folder of blobs, if it is there.
fn file_in(folder: &Path, blob: &Blob) -> Option<LayerFile> {
    let (algorithm, digits) = digest::parts(&blob.digest)?;
    let names = [folder.join("blobs"), folder.to_path_buf()];
    let path = (names.iter())
        .map(|folder| folder.join(algorithm.name()).join(digits))
        .find(|path| path.is_file())?;
    Some(LayerFile {
        size: Some(blob.size),
        digest: Some(blob.digest.clone()),
        ..LayerFile::new(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Source;

    #[test]
    fn an_image_in_a_registry_has_no_files() {
        let mut image = ImageSource {
            source: Source {
                registry: Some("h.x/a:1".into()),
                ..Source::default()
            },
            ..ImageSource::default()
        };
        let error = layers(&image, None).unwrap_err().to_string();
        assert_eq!(
            error,
            "--registry h.x/a:1: layers in a registry are no files, and only files can be read \
             here: copy the image, for example with skopeo, and use --oci"
        );
        image.source.registry = None;
        let error = layers(&image, None).unwrap_err().to_string();
        assert!(error.contains("is needed"), "{error}");
    }
}
