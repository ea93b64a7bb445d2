// SPDX-License-Identifier: GPL-2.0

//! Where the layers of an image come from: a config, an OCI folder, or the command line itself.

use crate::cli::{Manifest, Source};
use crate::error::{Error, Result};
use crate::layer::LayerFile;
use crate::{config, oci};

/// The layer files that a command line names, lowest first.
///
/// # Errors
///
/// Whatever is wrong with the config or the folder; no source at all.
pub fn layers(source: &Source, manifest: &Manifest) -> Result<Vec<LayerFile>> {
    if let Some(path) = &source.config {
        return config::layers(path);
    }
    if let Some(folder) = &source.oci {
        let (folder, reference) = oci::split(folder);
        return oci::layers(&folder, reference.as_deref(), manifest.manifest.as_deref());
    }
    if source.layers.is_empty() {
        return Err(Error::refused(
            "one of --config, --oci and --layer is needed",
        ));
    }
    Ok(source.layers.iter().map(LayerFile::new).collect())
}
