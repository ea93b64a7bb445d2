// SPDX-License-Identifier: GPL-2.0

//! An image in an OCI image layout, or in the content store of containerd: a folder with blobs.
//!
//! The manifest is found by the index, or is named. Its layers have to be of OverlayBD; that they
//! are is said by annotations, and seen by [`Layer::open`]. Nothing is fetched, converted, unpacked
//! or written. No blob of a layer is read here, and the digest of none is computed: that is for
//! `verify`.
//!
//! [`Layer::open`]: crate::layer::Layer::open

mod document;

use crate::config::{is_absence, read_document};
use crate::error::{Error, Result, Status};
use crate::layer::LayerFile;
use document::{Descriptor, Index, Kind, Layout, Manifest};
use overlaybd_format::lsmt::MAX_LAYERS;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256, Sha512};
use std::path::{Path, PathBuf};

/// The annotations of a descriptor that name an image in an index.
const NAMES: [&str; 2] = [
    "org.opencontainers.image.ref.name",
    "io.containerd.image.name",
];

/// The media types of what an index lists as an image, in the forms of OCI and of Docker.
const IMAGES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// The media types of a layer that is a tar and not compressed.
const TARS: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
];

/// The digest of an OverlayBD layer, at its conversion.
const BLOB_DIGEST: &str = "containerd.io/snapshot/overlaybd/blob-digest";

/// The version of the layer; two of them are TurboOCI, under its name and under the one before.
const VERSION: &str = "containerd.io/snapshot/overlaybd/version";

/// The versions that are TurboOCI.
const TURBO_VERSIONS: [&str; 2] = ["0.1.0-turbo.ociv1", "0.1.0-fastoci"];

/// The annotations of a layer of TurboOCI, under both names.
const TURBO: [&str; 4] = [
    "containerd.io/snapshot/overlaybd/turbo-oci/target-digest",
    "containerd.io/snapshot/overlaybd/turbo-oci/target-media-type",
    "containerd.io/snapshot/overlaybd/fastoci/target-digest",
    "containerd.io/snapshot/overlaybd/fastoci/target-media-type",
];

/// "yes" on a layer that holds a list of blocks to read ahead, and nothing of the image.
const ACCELERATION: &str = "containerd.io/snapshot/overlaybd/acceleration-layer";

/// How many indexes are followed from one to the next.
const MAX_INDEXES: u32 = 8;

/// Splits `DIR[:REF]`.
///
/// As with skopeo, DIR ends at the first ':' and REF may have more of them. But a DIR with ':' in
/// it can be used if it exists: an argument that is an existing folder as a whole has no REF, and
/// the first ':' behind an existing folder counts, if there is one. "DIR:" has no REF either.
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

/// The layers of an image in `folder`, the lowest first.
///
/// The image is the one that index.json calls `reference`, or the only one in it. With `manifest`
/// there need be no index.json: that is the digest of a blob in `folder`, or the path of a file,
/// and may also name an index. An index of several platforms stands for the manifest of this
/// machine's.
///
/// # Errors
///
/// Documents that cannot be read, are longer than 16 MiB, are not what they should be, or do not
/// have the digest they are named by; no image of that name, several where none is named, and none
/// for this machine; layers that are ordinary, of TurboOCI, not in `folder`, or more than 255.
pub fn layers(
    folder: &Path,
    reference: Option<&str>,
    manifest: Option<&str>,
) -> Result<Vec<LayerFile>> {
    let store = Store { folder };
    let start = match (reference, manifest) {
        (None, None) | (Some(_), None) => {
            let (path, index) = store.index()?;
            let chosen =
                by_name(&index, reference).map_err(|error| error.within(path.display()))?;
            store.document(chosen.digest.as_str())?
        }
        (None, Some(digest)) if digest.starts_with("sha256:") || digest.starts_with("sha512:") => {
            store.document(digest)?
        }
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            let bytes = read_document(&path)?;
            (path, bytes)
        }
        (Some(reference), Some(_)) => {
            return Err(Error::refused(format!(
                "the image {reference:?} is named, and a manifest too: only one of them can be"
            )));
        }
    };
    store.follow(start, MAX_INDEXES)
}

/// The algorithm and the digits of a digest; [`None`] for one that names no file.
///
/// What this returns has no '/' and no '.' in it.
pub(crate) fn parts_of_digest(digest: &str) -> Option<(&str, &str)> {
    let (algorithm, digits) = digest.split_once(':')?;
    let len = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return None,
    };
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (digits.len() == len && digits.bytes().all(is_digit)).then_some((algorithm, digits))
}

/// A folder with blobs in it.
struct Store<'a> {
    folder: &'a Path,
}

impl Store<'_> {
    /// Reads index.json.
    fn index(&self) -> Result<(PathBuf, Index)> {
        // A folder without oci-layout is taken as well: what is read here is in index.json.
        let path = self.folder.join("oci-layout");
        if !is_absent(&path) {
            let layout: Layout = parse(&path, &read_document(&path)?)?;
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
        let bytes = read_document(&path)?;
        Ok((path.clone(), parse(&path, &bytes)?))
    }

    /// Where a blob is.
    fn path_of(&self, digest: &str) -> Result<PathBuf> {
        let (algorithm, digits) = parts_of_digest(digest).ok_or_else(|| {
            Error::refused(format!(
                "the digest {digest:?} names no file: it has to be sha256: and 64 digits, or \
                 sha512: and 128, each of 0 to 9 and a to f"
            ))
        })?;
        let path = self.folder.join("blobs").join(algorithm).join(digits);
        match std::fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) if is_absence(&error) => Err(Error::new(
                Status::Device,
                format!("not in {}", self.folder.join("blobs").display()),
            )),
            Err(error) => Err(Error::io(format!("cannot read {}", path.display()), &error)),
        }
    }

    /// Reads a manifest or an index by its digest, and checks that.
    fn document(&self, digest: &str) -> Result<(PathBuf, Vec<u8>)> {
        let path = self
            .path_of(digest)
            .map_err(|error| error.within(format!("manifest {digest}")))?;
        let bytes = read_document(&path)?;
        let real = if digest.starts_with("sha512:") {
            format!("sha512:{:x}", Sha512::digest(&bytes))
        } else {
            format!("sha256:{:x}", Sha256::digest(&bytes))
        };
        if real != digest {
            return Err(Error::refused(format!(
                "{}: its digest is {real}: it is damaged",
                path.display()
            )));
        }
        Ok((path, bytes))
    }

    /// The layers of a manifest, or of the one that an index has for this machine.
    fn follow(&self, start: (PathBuf, Vec<u8>), indexes: u32) -> Result<Vec<LayerFile>> {
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
                let images = images_of(&index);
                let chosen = match images.as_slice() {
                    [] => Err(no_image(&index)),
                    [only] if only.platform.is_none() => Ok(*only),
                    images => by_platform(images),
                };
                let chosen = chosen.map_err(|error| error.within(path.display()))?;
                self.follow(self.document(chosen.digest.as_str())?, left)
            }
            (Some(_), Some(_)) => Err(refused("it has both layers and manifests: no kind has")),
            (None, None) => Err(refused(
                "it has neither layers nor manifests: no manifest and no index of an image",
            )),
        }
    }

    /// The layers of a manifest.
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
                self.layer_of(layer).map_err(|error| {
                    error.within(format!("layer {number} of {count}, {}", layer.digest))
                })
            })
            .collect()
    }

    /// The file of a layer.
    ///
    /// All known writers of the annotations give the blob its own digest and size there. They
    /// differ once another program has compressed the blob: skopeo does that on the way into a
    /// layout, and leaves the annotations. So a difference alone is nothing wrong, and the
    /// descriptor counts: it is what is in the folder.
    fn layer_of(&self, layer: &Descriptor) -> Result<LayerFile> {
        let media_type = layer.media_type.as_str();
        if is_turbo(layer) {
            return Err(Error::refused(
                "it is of TurboOCI, and its data stays in an ordinary layer; no device can be made \
                 of that",
            ));
        }
        if is_acceleration(layer) {
            return Err(Error::refused(
                "it is an acceleration layer, and only the topmost can be one",
            ));
        }
        match layer.annotation(BLOB_DIGEST) {
            Some(original) if original != layer.digest.as_str() && is_compressed(media_type) => {
                return Err(Error::refused(format!(
                    "it was the OverlayBD layer {original:?}, and what copied it compressed it \
                     ({}). Copy the image with its layers as they are; skopeo does with \
                     --dest-oci-accept-uncompressed-layers",
                    printable(media_type)
                )));
            }
            Some(_) => {}
            // A layout made by hand has no annotations, and then nothing here tells a tar with an
            // OverlayBD layer from one with files. Who opens the layer looks at its bytes.
            None if TARS.contains(&media_type) => {}
            None => {
                return Err(Error::refused(format!(
                    "it is an ordinary layer ({}), not one of OverlayBD: the image has to be \
                     converted first",
                    printable(media_type)
                )));
            }
        }
        let digest = layer.digest.to_string();
        let path = self.path_of(&digest).map_err(|error| {
            if error.status() == Status::Device {
                let why = "an image that is read from its registry has no layers here";
                Error::new(Status::Device, format!("{error}: {why}"))
            } else {
                error
            }
        })?;
        Ok(LayerFile {
            path,
            size: Some(layer.size),
            digest: Some(digest),
        })
    }
}

/// Whether a file does not exist. One that may not be looked at is not absent.
fn is_absent(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| is_absence(&error))
}

/// Parses a document; the error has line and column.
fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error: serde_json::Error| {
        let error = printable(&error.to_string());
        Error::refused(format!("{}: {error}", path.display()))
    })
}

/// Text of a document for a message: no control character of it reaches a terminal.
fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text.to_string()
    }
}

fn is_acceleration(layer: &Descriptor) -> bool {
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

/// What an index lists as an image; other things are passed over, as the specification says.
fn images_of(index: &Index) -> Vec<&Descriptor> {
    let is_image = |one: &&Descriptor| IMAGES.contains(&one.media_type.as_str());
    index.manifests.iter().filter(is_image).collect()
}

/// The error of an index without an image.
fn no_image(index: &Index) -> Error {
    let others = index.manifests.iter();
    let others = listed(others.map(|one| printable(&one.media_type)));
    Error::refused(match others.as_str() {
        "" => "no image in it".to_string(),
        others => format!("no image in it, only {others}"),
    })
}

/// The names of an image in an index.
fn names_of(image: &Descriptor) -> impl Iterator<Item = &str> {
    NAMES.iter().filter_map(|name| image.annotation(name))
}

/// An image as a message has it: its names, or its digest.
fn shown(image: &Descriptor) -> String {
    let names = listed(names_of(image).map(|name| format!("{name:?}")));
    if names.is_empty() {
        format!("{} without a name", image.digest)
    } else {
        names
    }
}

/// Texts with commas, each once.
fn listed(texts: impl Iterator<Item = String>) -> String {
    let mut list: Vec<String> = Vec::new();
    for text in texts {
        if !list.contains(&text) {
            list.push(text);
        }
    }
    list.join(", ")
}

/// The image of a name, or the only one.
///
/// One image may be listed several times, for several names. Several images of one name are those
/// of several platforms.
fn by_name<'a>(index: &'a Index, reference: Option<&str>) -> Result<&'a Descriptor> {
    let images = images_of(index);
    let all = || listed(images.iter().map(|image| shown(image)));
    let mut found: Vec<&Descriptor> = Vec::new();
    for &image in &images {
        let is_named = reference.is_none_or(|name| names_of(image).any(|other| other == name));
        if is_named && found.iter().all(|other| other.digest != image.digest) {
            found.push(image);
        }
    }
    match (found.as_slice(), reference) {
        ([only], _) => Ok(only),
        ([], _) if images.is_empty() => Err(no_image(index)),
        ([], name) => Err(Error::refused(format!(
            "no image {:?} in it; it has {}",
            name.unwrap_or_default(),
            all()
        ))),
        (several, None)
            if !several
                .iter()
                .all(|one| names_of(one).eq(names_of(several[0]))) =>
        {
            Err(Error::refused(format!(
                "it has {} images, and one has to be named: {}",
                several.len(),
                all()
            )))
        }
        (several, _) => by_platform(several),
    }
}

/// The first image for this machine. That it is the first which counts is in the specification.
fn by_platform<'a>(images: &[&'a Descriptor]) -> Result<&'a Descriptor> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let is_ours = |image: &&&Descriptor| {
        image
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && platform.architecture == machine)
    };
    images.iter().find(is_ours).copied().ok_or_else(|| {
        let others = images.iter().map(|image| platform_of(image));
        Error::refused(format!(
            "no image for linux/{machine} in it, but for {}. By its digest (--manifest) any can be \
             named",
            listed(others)
        ))
    })
}

/// The platform of an image as a message has it.
fn platform_of(image: &Descriptor) -> String {
    let Some(platform) = &image.platform else {
        return format!("no platform ({})", image.digest);
    };
    let text = format!("{}/{}", platform.os, platform.architecture);
    let text = match &platform.variant {
        Some(variant) => format!("{text}/{variant}"),
        None => text,
    };
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{json, Value};
    use tempfile::TempDir;

    const MANIFEST: &str = IMAGES[0];
    const INDEX: &str = IMAGES[1];
    const DOCKER_MANIFEST: &str = IMAGES[2];
    const DOCKER_LIST: &str = IMAGES[3];
    const TAR: &str = TARS[0];
    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const BLOB_SIZE: &str = "containerd.io/snapshot/overlaybd/blob-size";

    /// This machine, and another.
    const OURS: &str = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    const OTHER: &str = if cfg!(target_arch = "aarch64") {
        "amd64"
    } else {
        "arm64"
    };

    fn digest_of(bytes: &[u8]) -> String {
        format!("sha256:{:x}", Sha256::digest(bytes))
    }

    struct Layout(TempDir);

    impl Layout {
        fn new() -> Self {
            let layout = Self(TempDir::new().unwrap());
            layout.write("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
            layout
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, value: &Value) {
            std::fs::write(self.path(name), value.to_string()).unwrap();
        }

        fn path_of(&self, digest: &str) -> PathBuf {
            self.path(&format!("blobs/{}", digest.replace(':', "/")))
        }

        /// A blob, and the start of its descriptor.
        fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
            let digest = digest_of(bytes);
            let path = self.path_of(&digest);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
            json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
        }

        fn document(&self, media_type: &str, value: &Value) -> Value {
            self.blob(media_type, value.to_string().as_bytes())
        }

        /// A layer as the convertors write it.
        fn layer(&self, bytes: &[u8]) -> Value {
            let mut layer = self.blob(TAR, bytes);
            layer["annotations"] = json!({
                BLOB_DIGEST: layer["digest"],
                BLOB_SIZE: bytes.len().to_string(),
                VERSION: "0.1.0",
            });
            layer
        }

        fn manifest(&self, media_type: &str, layers: &[Value]) -> Value {
            let config = self.blob("application/vnd.oci.image.config.v1+json", b"{}");
            let manifest = json!({
                "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers,
            });
            self.document(media_type, &manifest)
        }

        fn index(&self, manifests: &[Value]) {
            let index = json!({"schemaVersion": 2, "manifests": manifests});
            self.write("index.json", &index);
        }

        fn nested(&self, media_type: &str, manifests: &[Value]) -> Value {
            let index = json!({
                "schemaVersion": 2, "mediaType": media_type, "manifests": manifests,
            });
            self.document(media_type, &index)
        }

        fn read(&self, reference: Option<&str>, manifest: Option<&str>) -> Result<Vec<LayerFile>> {
            layers(self.0.path(), reference, manifest)
        }

        #[track_caller]
        fn refused(
            &self,
            reference: Option<&str>,
            manifest: Option<&str>,
            words: &[&str],
        ) -> Error {
            let error = self.read(reference, manifest).unwrap_err();
            let text = error.to_string();
            for word in words {
                assert!(text.contains(word), "{word:?} is not in: {text}");
            }
            error
        }

        /// What is said of an image with one good layer below another.
        #[track_caller]
        fn refused_layer(&self, layer: Value, words: &[&str]) -> Error {
            let digest = layer["digest"].as_str().unwrap().to_string();
            self.index(&[self.manifest(MANIFEST, &[self.layer(b"below"), layer])]);
            let error = self.refused(None, None, &["layer 2 of 2, ", &digest]);
            self.refused(None, None, words);
            error
        }

        /// An image of one layer, which tells it from others.
        fn image(&self, text: &str) -> Value {
            self.manifest(MANIFEST, &[self.layer(text.as_bytes())])
        }

        /// Which image it is that is found.
        #[track_caller]
        fn text(&self, reference: Option<&str>, manifest: Option<&str>) -> String {
            let layers = self.read(reference, manifest).unwrap();
            assert_eq!(layers.len(), 1);
            std::fs::read_to_string(&layers[0].path).unwrap()
        }
    }

    fn named(mut image: Value, annotations: Value) -> Value {
        image["annotations"] = annotations;
        image
    }

    fn on(mut image: Value, os: &str, architecture: &str) -> Value {
        image["platform"] = json!({"os": os, "architecture": architecture});
        image
    }

    fn digest(descriptor: &Value) -> String {
        descriptor["digest"].as_str().unwrap().to_string()
    }

    #[test]
    fn an_image_of_a_convertor() {
        for media_type in [MANIFEST, DOCKER_MANIFEST] {
            let layout = Layout::new();
            let below = layout.layer(b"below");
            let mut above = layout.layer(b"above it");
            above["mediaType"] = json!(TARS[1]);
            layout.index(&[layout.manifest(media_type, &[below.clone(), above.clone()])]);
            let file = |layer: &Value, size| LayerFile {
                path: layout.path_of(&digest(layer)),
                size: Some(size),
                digest: Some(digest(layer)),
            };
            assert_eq!(
                layout.read(None, None).unwrap(),
                [file(&below, 5), file(&above, 8)]
            );
        }
    }

    #[test]
    fn images_by_their_names() {
        let layout = Layout::new();
        let a = named(layout.image("a"), json!({NAMES[0]: "6.2.6"}));
        let b = named(
            layout.image("b"),
            json!({NAMES[0]: "7", NAMES[1]: "docker.io/library/redis:7"}),
        );
        layout.index(&[
            a.clone(),
            b,
            json!({
                "mediaType": "text/plain", "digest": digest(&a), "size": 1,
            }),
        ]);
        assert_eq!(layout.text(Some("6.2.6"), None), "a");
        assert_eq!(layout.text(Some("7"), None), "b");
        assert_eq!(layout.text(Some("docker.io/library/redis:7"), None), "b");
        let names = ["\"6.2.6\"", "\"7\", \"docker.io/library/redis:7\""];
        let index = "index.json: ";
        let words = ["2 images", "has to be named", names[0], names[1], index];
        layout.refused(None, None, &words);
        layout.refused(
            Some("8"),
            None,
            &["no image \"8\"", names[0], names[1], index],
        );

        // One image of two names is one image, and one without a name is named by its digest.
        layout.index(&[a.clone(), named(a.clone(), json!({NAMES[0]: "latest"}))]);
        assert_eq!(layout.text(None, None), "a");
        let c = layout.image("c");
        layout.index(&[a, c.clone()]);
        let without = format!("{} without a name", digest(&c));
        layout.refused(None, None, &["2 images", names[0], &without]);
    }

    #[test]
    fn an_index_without_an_image() {
        let layout = Layout::new();
        layout.index(&[]);
        layout.refused(None, None, &["index.json: no image in it"]);
        layout.refused(Some("x"), None, &["no image in it"]);
        let other = layout.blob("text/plain", b"x");
        layout.index(std::slice::from_ref(&other));
        layout.refused(None, None, &["no image in it, only text/plain"]);
        layout.index(&[layout.nested(INDEX, &[other])]);
        layout.refused(None, None, &["no image in it, only text/plain"]);
        layout.index(&[layout.blob("\u{1b}[2J", b"x")]);
        layout.refused(None, None, &["only \\u{1b}[2J"]);
    }

    #[test]
    fn the_image_for_this_machine() {
        let layout = Layout::new();
        let unknown = on(layout.image("attestation"), "unknown", "unknown");
        let windows = on(layout.image("windows"), "windows", OURS);
        let other = on(layout.image("other"), "linux", OTHER);
        let ours = on(layout.image("ours"), "linux", OURS);
        let again = on(layout.image("again"), "linux", OURS);
        let all = [unknown, windows, other.clone(), ours.clone(), again];
        for media_type in [INDEX, DOCKER_LIST] {
            let nested = layout.nested(media_type, &all);
            layout.index(&[named(nested.clone(), json!({NAMES[0]: "x"}))]);
            assert_eq!(layout.text(Some("x"), None), "ours");
            assert_eq!(layout.text(None, None), "ours");
            assert_eq!(layout.text(None, Some(&digest(&nested))), "ours");
            assert_eq!(layout.text(None, Some(&digest(&other))), "other");
        }
        // The platforms may be in index.json itself.
        layout.index(&all);
        assert_eq!(layout.text(None, None), "ours");
        layout.index(&[other.clone(), ours].map(|image| named(image, json!({NAMES[0]: "x"}))));
        assert_eq!(layout.text(Some("x"), None), "ours");

        let mut arm = on(layout.image("arm"), "linux", "arm");
        arm["platform"]["variant"] = json!("v7");
        layout.index(&[layout.nested(INDEX, &[other, arm])]);
        let ours = format!("no image for linux/{OURS}");
        let theirs = format!("linux/{OTHER}, linux/arm/v7");
        layout.refused(None, None, &[&ours, &theirs]);
    }

    #[test]
    fn indexes_in_indexes() {
        let layout = Layout::new();
        let mut image = layout.image("x");
        for _ in 0..MAX_INDEXES {
            image = layout.nested(INDEX, &[image]);
        }
        layout.index(std::slice::from_ref(&image));
        assert_eq!(layout.text(None, None), "x");
        layout.index(&[layout.nested(INDEX, &[image])]);
        layout.refused(None, None, &["too many times"]);
    }

    #[test]
    fn a_content_store_of_containerd() {
        let layout = Layout::new();
        std::fs::remove_file(layout.path("oci-layout")).unwrap();
        let image = layout.image("x");
        let digest = digest(&image);
        assert_eq!(layout.text(None, Some(&digest)), "x");
        let path = layout.path_of(&digest);
        assert_eq!(layout.text(None, path.to_str()), "x");
        let error = layout.refused(None, None, &["no index.json", "--manifest"]);
        assert_eq!(error.status(), Status::Device);
        layout.refused(Some("x"), Some(&digest), &["\"x\"", "only one"]);
        let absent = digest_of(b"absent");
        let error = layout.refused(
            None,
            Some(&absent),
            &["manifest sha256:", &absent, "not in"],
        );
        assert_eq!(error.status(), Status::Device);
        layout.refused(None, Some("sha256:../../x"), &["names no file", "../../x"]);
        layout.refused(None, Some("/nowhere/x"), &["cannot read /nowhere/x"]);
        let error = layers(Path::new("/nowhere"), None, None).unwrap_err();
        assert_eq!(error.status(), Status::Device);
        assert!(error.to_string().contains("/nowhere/index.json: No such"));

        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + " ").unwrap();
        layout.refused(None, Some(&digest), &["damaged", "its digest is sha256:"]);
        // A file that is not named by a digest has none.
        assert_eq!(layout.text(None, path.to_str()), "x");
    }

    #[test]
    fn digests_of_sha512() {
        let layout = Layout::new();
        let content = b"content";
        let digest = format!("sha512:{:x}", Sha512::digest(content));
        let path = layout.path_of(&digest);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let layer = json!({"mediaType": TAR, "digest": digest, "size": 7});
        let manifest = layout.path_of(&self::digest(&layout.manifest(MANIFEST, &[layer])));
        let bytes = std::fs::read(&manifest).unwrap();
        let by_512 = format!("sha512:{:x}", Sha512::digest(&bytes));
        std::fs::write(layout.path_of(&by_512), &bytes).unwrap();
        assert_eq!(layout.text(None, Some(&by_512)), "content");
        std::fs::write(layout.path_of(&by_512), b"{}").unwrap();
        layout.refused(None, Some(&by_512), &["damaged", "sha512:"]);
    }

    #[test]
    fn blobs_may_be_symbolic_links() {
        let layout = Layout::new();
        let layer = layout.layer(b"content");
        let path = layout.path_of(&digest(&layer));
        std::fs::rename(&path, layout.path("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../../elsewhere", &path).unwrap();
        layout.index(&[layout.manifest(MANIFEST, &[layer])]);
        assert_eq!(layout.text(None, None), "content");
    }

    #[test]
    fn an_ordinary_layer() {
        let layout = Layout::new();
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        for media_type in [GZIP, docker, "application/vnd.oci.image.layer.v1.tar+zstd"] {
            layout.refused_layer(
                layout.blob(media_type, b"x"),
                &["ordinary", media_type, "converted first"],
            );
        }
    }

    #[test]
    fn a_tar_without_annotations_is_looked_at_later() {
        let layout = Layout::new();
        for media_type in TARS {
            layout.index(&[layout.manifest(MANIFEST, &[layout.blob(media_type, b"x")])]);
            assert_eq!(layout.text(None, None), "x");
        }
    }

    #[test]
    fn annotations_that_differ() {
        let layout = Layout::new();
        let mut layer = layout.layer(b"x");
        layer["annotations"][BLOB_DIGEST] = json!(digest_of(b"other"));
        layer["annotations"][BLOB_SIZE] = json!("no number");
        layout.index(&[layout.manifest(MANIFEST, std::slice::from_ref(&layer))]);
        let found = layout.read(None, None).unwrap();
        assert_eq!(found[0].size, Some(1));
        assert_eq!(found[0].digest.as_deref(), Some(digest_of(b"x").as_str()));
        layer["mediaType"] = json!(GZIP);
        layout.refused_layer(
            layer,
            &[
                &digest_of(b"other"),
                "compressed it",
                GZIP,
                "--dest-oci-accept",
            ],
        );
        // The media type alone proves nothing: the bytes are the converted ones.
        let mut layer = layout.layer(b"x");
        layer["mediaType"] = json!(GZIP);
        layout.index(&[layout.manifest(MANIFEST, &[layer])]);
        assert_eq!(layout.text(None, None), "x");
    }

    #[test]
    fn turbo_oci() {
        let layout = Layout::new();
        for name in TURBO {
            let mut layer = layout.layer(b"x");
            layer["annotations"][name] = json!("x");
            layout.refused_layer(layer, &["TurboOCI"]);
        }
        for version in TURBO_VERSIONS {
            let mut layer = layout.layer(b"x");
            layer["annotations"][VERSION] = json!(version);
            layout.refused_layer(layer, &["TurboOCI"]);
        }
    }

    #[test]
    fn an_acceleration_layer() {
        let layout = Layout::new();
        let mut top = layout.layer(b"trace");
        top["annotations"][ACCELERATION] = json!("yes");
        let layer = layout.layer(b"x");
        layout.index(&[layout.manifest(MANIFEST, &[layer.clone(), top.clone()])]);
        assert_eq!(layout.text(None, None), "x");
        layout.index(&[layout.manifest(MANIFEST, &[top.clone(), layer])]);
        layout.refused(
            None,
            None,
            &["layer 1 of 2", "acceleration layer", "topmost"],
        );
        layout.index(&[layout.manifest(MANIFEST, std::slice::from_ref(&top))]);
        layout.refused(None, None, &["no layer in it"]);
        top["annotations"][ACCELERATION] = json!("no");
        layout.index(&[layout.manifest(MANIFEST, &[top])]);
        assert_eq!(layout.text(None, None), "trace");
    }

    #[test]
    fn a_blob_that_is_not_there() {
        let layout = Layout::new();
        let layer = layout.layer(b"x");
        std::fs::remove_file(layout.path_of(&digest(&layer))).unwrap();
        let words = ["not in ", "/blobs", "read from its registry"];
        let error = layout.refused_layer(layer, &words);
        assert_eq!(error.status(), Status::Device);
    }

    #[test]
    fn digests_that_name_no_file() {
        let layout = Layout::new();
        let hex = "ab".repeat(48);
        let layer = json!({"mediaType": TAR, "digest": format!("sha384:{hex}"), "size": 1});
        layout.refused_layer(layer, &["names no file", "sha384:"]);
        let layer = json!({"mediaType": TAR, "digest": "other:x", "size": 1});
        layout.refused_layer(layer, &["names no file", "other:x"]);
        for digest in ["sha256:../../../etc/passwd", "sha256:12", "../x:y", "x"] {
            let layer = json!({"mediaType": TAR, "digest": digest, "size": 1});
            layout.index(&[layout.manifest(MANIFEST, &[layer])]);
            layout.refused(None, None, &["at line 1 column "]);
        }
        let upper = digest_of(b"x").to_uppercase().replace("SHA", "sha");
        assert_eq!(parts_of_digest(&upper), None);
        assert_eq!(parts_of_digest("sha256"), None);
        assert!(parts_of_digest(&digest_of(b"x")).is_some());
    }

    #[test]
    fn how_many_layers() {
        let layout = Layout::new();
        let layers = |count| vec![layout.layer(b"x"); count];
        layout.index(&[layout.manifest(MANIFEST, &layers(255))]);
        assert_eq!(layout.read(None, None).unwrap().len(), 255);
        layout.index(&[layout.manifest(MANIFEST, &layers(256))]);
        layout.refused(None, None, &["256 layers", "255"]);
        layout.index(&[layout.manifest(MANIFEST, &[])]);
        layout.refused(None, None, &["no layer"]);
    }

    #[test]
    fn what_is_no_document() {
        let layout = Layout::new();
        let write = |text: &str| std::fs::write(layout.path("index.json"), text).unwrap();
        write("{\n \"manifests\": 1}");
        layout.refused(None, None, &["index.json: ", "line 2 column"]);
        write(&" ".repeat((16 << 20) + 1));
        layout.refused(None, None, &["index.json: longer than 16777216 bytes"]);
        write("{\"schemaVersion\": 2, \"layers\": []}");
        layout.refused(None, None, &["missing field `manifests`"]);

        let path = layout.path("manifest.json");
        let manifest = |text: &str| {
            std::fs::write(&path, text).unwrap();
            path.to_str()
        };
        layout.refused(None, manifest("{}"), &["neither layers nor manifests"]);
        let both = "{\"layers\": [], \"manifests\": []}";
        layout.refused(None, manifest(both), &["both layers and manifests"]);
        layout.refused(None, manifest("{\"layers\": []}"), &["missing field"]);
        layout.refused(None, manifest("["), &["manifest.json: EOF"]);

        layout.write("oci-layout", &json!({"imageLayoutVersion": "2.0.0"}));
        layout.refused(None, None, &["oci-layout", "\"2.0.0\"", "1.x"]);
    }

    #[test]
    fn folders_and_names() {
        let folder = TempDir::new().unwrap();
        let base = folder.path().to_str().unwrap();
        for name in ["plain", "with:colon"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let check = |argument: &str, path: &str, reference: Option<&str>| {
            let (found, name) = split(&format!("{base}/{argument}"));
            assert_eq!(found, folder.path().join(path), "{argument}");
            assert_eq!(name.as_deref(), reference, "{argument}");
        };
        check("plain", "plain", None);
        check("plain:", "plain", None);
        check("plain:6.2", "plain", Some("6.2"));
        check("plain:host:5000/a/b:6", "plain", Some("host:5000/a/b:6"));
        check("with:colon", "with:colon", None);
        check("with:colon:6", "with:colon", Some("6"));
        check("absent", "absent", None);
        check("absent:a:b", "absent", Some("a:b"));
        // Both exist: the whole counts, else the shorter one.
        std::fs::create_dir(folder.path().join("with")).unwrap();
        check("with:colon", "with:colon", None);
        check("with:colon:6", "with", Some("colon:6"));
        assert_eq!(split(":x"), (PathBuf::from(":x"), None));
        assert_eq!(split(""), (PathBuf::new(), None));
    }

    proptest! {
        #[test]
        fn split_keeps_path_and_name(dir in "[a-z:.]{1,12}", name in "[^\0]{1,30}", is: bool) {
            let folder = TempDir::new().unwrap();
            // So that nothing shorter is a folder.
            let dir = folder.path().join(format!("d{dir}d"));
            let text = dir.to_str().unwrap();
            if is {
                std::fs::create_dir(&dir).unwrap();
                prop_assert_eq!(split(text), (dir.clone(), None));
                let found = split(&format!("{text}:{name}"));
                prop_assert_eq!(found, (dir.clone(), Some(name)));
            } else {
                let found = split(&format!("{text}:{name}"));
                let first = text.find(':').map_or(text, |at| &text[..at]);
                prop_assert_eq!(found.0, PathBuf::from(first));
            }
        }

        #[test]
        fn split_loses_nothing(argument in any::<String>()) {
            let (path, name) = split(&argument);
            let path = path.to_str().unwrap();
            match name {
                Some(name) => prop_assert_eq!(format!("{path}:{name}"), argument),
                None => {
                    let rest = argument.strip_prefix(path);
                    prop_assert!(matches!(rest, Some("" | ":")), "{:?}", rest);
                }
            }
        }

        #[test]
        fn no_digest_leaves_the_folder(
            digest in "(sha256|sha512|[a-z./]{0,9}):?([0-9a-f]{64}|[0-9a-f]{128}|[0-9a-f./]{0,9})",
        ) {
            if let Some((algorithm, digits)) = parts_of_digest(&digest) {
                let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
                prop_assert!(is_plain(algorithm) && is_plain(digits));
            }
        }

        #[test]
        fn no_document_panics(
            bytes in any::<Vec<u8>>(),
            types in prop::collection::vec(0..6usize, 0..4),
            key in "manifests|layers|annotations|platform",
            text in any::<String>(),
        ) {
            let layout = Layout::new();
            let digest = digest_of(b"x");
            let types = types.iter().map(|at| IMAGES.iter().chain(&TARS).nth(*at).unwrap());
            let list: Vec<_> = types
                .map(|media_type| json!({
                    "mediaType": media_type, "digest": digest, "size": 1,
                    "annotations": {NAMES[0]: text, BLOB_DIGEST: text},
                    "platform": {"os": text, "architecture": text},
                }))
                .collect();
            let document = json!({"schemaVersion": 2, "config": list.first(), key: list});
            for bytes in [bytes, document.to_string().into_bytes()] {
                std::fs::write(layout.path("index.json"), bytes).unwrap();
                prop_assert!(layout.read(None, None).is_err());
                prop_assert!(layout.read(Some(&text), None).is_err());
                let path = layout.path("index.json");
                prop_assert!(layout.read(None, path.to_str()).is_err());
            }
        }
    }
}
