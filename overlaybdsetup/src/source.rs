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
/// Anything wrong with the config or the folder; an image in a registry, which has no files here;
/// no source at all.
pub fn layers(image: &ImageSource) -> Result<Vec<LayerFile>> {
    let source = &image.source;
    if let Some(path) = &source.config {
        return config::layers(path);
    }
    if let Some(folder) = &source.oci {
        let (folder, reference) = oci::split(folder);
        return oci::layers(&folder, reference.as_deref(), image.manifest.as_deref());
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
        let error = layers(&image).unwrap_err().to_string();
        assert_eq!(
            error,
            "--registry h.x/a:1: layers in a registry are no files, and only files can be read \
             here: copy the image, for example with skopeo, and use --oci"
        );
        image.source.registry = None;
        let error = layers(&image).unwrap_err().to_string();
        assert!(error.contains("is needed"), "{error}");
    }
}
