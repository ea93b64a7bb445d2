// SPDX-License-Identifier: GPL-2.0

//! The layer files that a command line names: through a config, through an OCI folder, or directly.

use crate::cli::ImageSource;
use crate::config;
use crate::error::{Error, Result};
use crate::layer::LayerFile;
use crate::oci;

/// The layer files that a command line names, lowest first.
///
/// # Errors
///
/// Anything wrong with the config or the folder; no source at all.
pub fn layers(image: &ImageSource) -> Result<Vec<LayerFile>> {
    let source = &image.source;
    if let Some(path) = &source.config {
        return config::layers(path);
    }
    if let Some(folder) = &source.oci {
        let (folder, reference) = oci::split(folder);
        return oci::layers(&folder, reference.as_deref(), image.manifest.as_deref());
    }
    if source.layers.is_empty() {
        return Err(Error::refused(
            "one of --config, --oci and --layer is needed",
        ));
    }
    Ok(source.layers.iter().map(LayerFile::new).collect())
}
