// SPDX-License-Identifier: GPL-2.0

//! Layouts that converters write, and layouts that are refused.

use super::index::{IMAGES, NAMES};
use super::layer::{ACCELERATION, BLOB_DIGEST, TARS, TURBO, TURBO_VERSIONS, VERSION};
use super::origin::MAX_INDEXES;
use super::{layers, split};
use crate::digest::Algorithm;
use crate::error::{Error, Result, Status};
use crate::layer::LayerFile;
use proptest::prelude::*;
use serde_json::{json, Value};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
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
    Algorithm::Sha256.digest(bytes)
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
        fs::write(self.path(name), value.to_string()).unwrap();
    }

    fn path_of(&self, digest: &str) -> PathBuf {
        self.path(&format!("blobs/{}", digest.replace(':', "/")))
    }

    /// A blob, and the start of its descriptor.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest_of(bytes);
        let path = self.path_of(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    fn document(&self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// A layer as converters write it.
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
    fn refused(&self, reference: Option<&str>, manifest: Option<&str>, words: &[&str]) -> Error {
        let error = self.read(reference, manifest).unwrap_err();
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        error
    }

    /// The error for an image of a good layer and, above it, `layer`.
    #[track_caller]
    fn refused_layer(&self, layer: Value, words: &[&str]) -> Error {
        let digest = layer["digest"].as_str().unwrap().to_string();
        self.index(&[self.manifest(MANIFEST, &[self.layer(b"below"), layer])]);
        let error = self.refused(None, None, &["layer 2 of 2, ", &digest]);
        self.refused(None, None, words);
        error
    }

    /// An image of one layer with this content.
    fn image(&self, text: &str) -> Value {
        self.manifest(MANIFEST, &[self.layer(text.as_bytes())])
    }

    /// The content of the only layer of the image that is found.
    #[track_caller]
    fn text(&self, reference: Option<&str>, manifest: Option<&str>) -> String {
        let layers = self.read(reference, manifest).unwrap();
        assert_eq!(layers.len(), 1);
        fs::read_to_string(&layers[0].path).unwrap()
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
            size: Some(size),
            digest: Some(digest(layer)),
            ..LayerFile::new(layout.path_of(&digest(layer)))
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
    fs::remove_file(layout.path("oci-layout")).unwrap();
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

    fs::write(&path, fs::read_to_string(&path).unwrap() + " ").unwrap();
    layout.refused(None, Some(&digest), &["damaged", "its digest is sha256:"]);
    // A file that is named by its path is not checked against a digest.
    assert_eq!(layout.text(None, path.to_str()), "x");
}

#[test]
fn digests_of_sha512() {
    let layout = Layout::new();
    let content = b"content";
    let digest = Algorithm::Sha512.digest(content);
    let path = layout.path_of(&digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let layer = json!({"mediaType": TAR, "digest": digest, "size": 7});
    let manifest = layout.path_of(&self::digest(&layout.manifest(MANIFEST, &[layer])));
    let bytes = fs::read(&manifest).unwrap();
    let by_512 = Algorithm::Sha512.digest(&bytes);
    fs::write(layout.path_of(&by_512), &bytes).unwrap();
    assert_eq!(layout.text(None, Some(&by_512)), "content");
    fs::write(layout.path_of(&by_512), b"{}").unwrap();
    layout.refused(None, Some(&by_512), &["damaged", "sha512:"]);
}

#[test]
fn blobs_may_be_symbolic_links() {
    let layout = Layout::new();
    let layer = layout.layer(b"content");
    let path = layout.path_of(&digest(&layer));
    fs::rename(&path, layout.path("elsewhere")).unwrap();
    symlink("../../elsewhere", &path).unwrap();
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
    // A compressed media type alone is accepted: the digest is that of the converted blob.
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
    fs::remove_file(layout.path_of(&digest(&layer))).unwrap();
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
    let write = |text: &str| fs::write(layout.path("index.json"), text).unwrap();
    write("{\n \"manifests\": 1}");
    layout.refused(None, None, &["index.json: ", "line 2 column"]);
    write(&" ".repeat((16 << 20) + 1));
    layout.refused(None, None, &["index.json: longer than 16777216 bytes"]);
    write("{\"schemaVersion\": 2, \"layers\": []}");
    layout.refused(None, None, &["missing field `manifests`"]);

    let path = layout.path("manifest.json");
    let manifest = |text: &str| {
        fs::write(&path, text).unwrap();
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
        fs::create_dir(folder.path().join(name)).unwrap();
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
    // Both folders exist: the whole argument wins, then the shorter folder.
    fs::create_dir(folder.path().join("with")).unwrap();
    check("with:colon", "with:colon", None);
    check("with:colon:6", "with", Some("colon:6"));
    assert_eq!(split(":x"), (PathBuf::from(":x"), None));
    assert_eq!(split(""), (PathBuf::new(), None));
}

proptest! {
    #[test]
    fn split_keeps_path_and_name(dir in "[a-z:.]{1,12}", name in "[^\0]{1,30}", is: bool) {
        let folder = TempDir::new().unwrap();
        // The 'd' keeps any shorter path from being a folder.
        let dir = folder.path().join(format!("d{dir}d"));
        let text = dir.to_str().unwrap();
        if is {
            fs::create_dir(&dir).unwrap();
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
            fs::write(layout.path("index.json"), bytes).unwrap();
            prop_assert!(layout.read(None, None).is_err());
            prop_assert!(layout.read(Some(&text), None).is_err());
            let path = layout.path("index.json");
            prop_assert!(layout.read(None, path.to_str()).is_err());
        }
    }
}
