// SPDX-License-Identifier: GPL-2.0

//! Whether a layer of a manifest is an OverlayBD layer, by its media type and annotations.
//!
//! It reads no blob.

use super::document::Descriptor;
use crate::error::{Error, Result};
use crate::output::plain;

/// The media types of a layer that is a tar and not compressed.
pub(super) const TARS: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
];

/// The digest of an OverlayBD layer when it was converted.
pub(super) const BLOB_DIGEST: &str = "containerd.io/snapshot/overlaybd/blob-digest";

/// The version of the layer. Two versions are TurboOCI, under its present and its former name.
pub(super) const VERSION: &str = "containerd.io/snapshot/overlaybd/version";

/// The versions that are TurboOCI.
pub(super) const TURBO_VERSIONS: [&str; 2] = ["0.1.0-turbo.ociv1", "0.1.0-fastoci"];

/// The annotations of a TurboOCI layer, under both names.
pub(super) const TURBO: [&str; 4] = [
    "containerd.io/snapshot/overlaybd/turbo-oci/target-digest",
    "containerd.io/snapshot/overlaybd/turbo-oci/target-media-type",
    "containerd.io/snapshot/overlaybd/fastoci/target-digest",
    "containerd.io/snapshot/overlaybd/fastoci/target-media-type",
];

/// "yes" on a layer that lists blocks to read ahead, and holds nothing of the image.
pub(super) const ACCELERATION: &str = "containerd.io/snapshot/overlaybd/acceleration-layer";

/// Refuses a layer that is not an OverlayBD layer of the image.
///
/// All known converters annotate a layer with the digest and size of its own blob. The two differ
/// once another program has compressed the blob: skopeo does that when it writes a layout, and
/// keeps the annotations. So a difference alone is no error, and the descriptor decides: it
/// describes the blob in the folder or registry.
pub(super) fn check(layer: &Descriptor) -> Result<()> {
    let media_type = layer.media_type.as_str();
    if is_turbo(layer) {
        return Err(Error::refused(
            "it is of TurboOCI, and its data stays in an ordinary layer; no device can be made of \
             that",
        ));
    }
    if is_acceleration(layer) {
        return Err(Error::refused(
            "it is an acceleration layer, and only the topmost can be one",
        ));
    }
    match layer.annotation(BLOB_DIGEST) {
        Some(original) if original != layer.digest.as_str() && is_compressed(media_type) => {
            Err(Error::refused(format!(
                "it was the OverlayBD layer {original:?}, and what copied it compressed it ({}). \
                 Copy the image with its layers as they are; skopeo does with \
                 --dest-oci-accept-uncompressed-layers",
                plain(media_type)
            )))
        }
        Some(_) => Ok(()),
        // A layout created by hand has no annotations, so nothing here distinguishes a tar that
        // contains an OverlayBD layer from one that contains files. `Layer::open` looks at the
        // bytes.
        None if TARS.contains(&media_type) => Ok(()),
        None => Err(Error::refused(format!(
            "it is an ordinary layer ({}), not one of OverlayBD: the image has to be converted \
             first",
            plain(media_type)
        ))),
    }
}

pub(super) fn is_acceleration(layer: &Descriptor) -> bool {
    layer.annotation(ACCELERATION) == Some("yes")
}

fn is_turbo(layer: &Descriptor) -> bool {
    TURBO.iter().any(|name| layer.annotation(name).is_some())
        || layer
            .annotation(VERSION)
            .is_some_and(|version| TURBO_VERSIONS.contains(&version))
}

fn is_compressed(media_type: &str) -> bool {
    ["gzip", "zstd"].iter().any(|end| media_type.ends_with(end))
}
