// SPDX-License-Identifier: GPL-2.0

//! A config.v1.json: where the overlaybd snapshotter of containerd says what an image is made of.
//!
//! The layers are found by the rules of overlaybd itself. Nothing is fetched, nothing is written,
//! and no layer file is opened here: what is in the files is for [`Layer::open`].
//!
//! What only a process that stays would need is not looked at: `resultFile`, `download`,
//! `recordTracePath`, and any field that is not known.
//!
//! [`Layer::open`]: crate::layer::Layer::open

use crate::error::{Error, Result, Status};
use crate::layer::LayerFile;
use crate::oci::parts_of_digest;
use overlaybd_format::lsmt::MAX_LAYERS;
use serde::Deserialize;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest document in JSON that is read, in bytes. Those of images have a few thousand.
const MAX_DOCUMENT: u64 = 16 << 20;

/// What a folder's layer may be called, in the order of overlaybd.
const IN_FOLDER: [(&str, Origin); 3] = [
    ("overlaybd.commit", Origin::Commit),
    (".commit", Origin::Commit),
    ("overlaybd.sealed", Origin::Sealed),
];

/// The whole config; what is not named here is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    repo_blob_url: Option<String>,
    lowers: Option<Vec<Lower>>,
    upper: Option<Upper>,
    acceleration_layer: Option<bool>,
}

/// A layer that is only read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Lower {
    file: Option<String>,
    dir: Option<String>,
    digest: Option<String>,
    size: Option<u64>,
    target_file: Option<String>,
    target_digest: Option<String>,
    gzip_index: Option<String>,
}

/// The layer that is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Upper {
    data: Option<String>,
    index: Option<String>,
    target: Option<String>,
}

/// What of a config names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// `file`.
    File,
    /// `dir`, and the file is a layer in its last form.
    Commit,
    /// `dir`, and the file is what a writable layer is made into on this machine.
    Sealed,
}

/// The layers of a config, the lowest first. Relative paths in it start at the folder of `path`.
///
/// # Errors
///
/// A config that cannot be read, is longer than 16 MiB, or is not what it should be; one without
/// layers, with more than 255, or with a writable one; a layer that is not on this machine, or is
/// of TurboOCI.
pub fn layers(path: &Path) -> Result<Vec<LayerFile>> {
    let bytes = read_document(path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    layers_in(&bytes, folder).map_err(|error| error.within(path.display()))
}

/// Reads a file that should hold a document in JSON.
///
/// # Errors
///
/// A file that cannot be read, and one that is longer than 16 MiB.
pub(crate) fn read_document(path: &Path) -> Result<Vec<u8>> {
    let cannot = |error: io::Error| Error::io(format!("cannot read {}", path.display()), &error);
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::refused(format!(
            "{}: longer than {MAX_DOCUMENT} bytes: another kind of file",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The layers of a config with the content `bytes`.
fn layers_in(bytes: &[u8], folder: &Path) -> Result<Vec<LayerFile>> {
    let config: Config =
        serde_json::from_slice(bytes).map_err(|error| Error::refused(error.to_string()))?;
    refuse_upper(config.upper.as_ref())?;
    let mut lowers = config.lowers.unwrap_or_default();
    if lowers.is_empty() {
        return Err(Error::refused("it has no lowers: no layer to open"));
    }
    if config.acceleration_layer == Some(true) {
        // It holds a list of blocks to read ahead, and nothing of the image.
        lowers.pop();
        if lowers.is_empty() {
            return Err(Error::refused(
                "its only lower is the acceleration layer: no layer to open",
            ));
        }
    }
    let count = lowers.len();
    if count > MAX_LAYERS {
        return Err(Error::refused(format!(
            "it has {count} lowers, and an image has no more than {MAX_LAYERS} layers"
        )));
    }
    let url = given(config.repo_blob_url.as_deref());
    (1..)
        .zip(&lowers)
        .map(|(number, lower)| {
            layer_of(lower, folder, url)
                .map_err(|error| error.within(format!("layer {number} of {count}")))
        })
        .collect()
}

/// The value of a field; a field without text is one that is not there.
fn given(value: Option<&str>) -> Option<&str> {
    value.filter(|text| !text.is_empty())
}

fn refuse_upper(upper: Option<&Upper>) -> Result<()> {
    let Some(upper) = upper else {
        return Ok(());
    };
    let fields = [
        ("data", &upper.data),
        ("index", &upper.index),
        ("target", &upper.target),
    ];
    for (name, value) in fields {
        if let Some(value) = given(value.as_deref()) {
            return Err(Error::refused(format!(
                "its upper has the {name} {value:?}: only overlaybd writes to such a layer. For a \
                 device that can be written there is --writable (dm-snapshot), for a mount \
                 overlayfs"
            )));
        }
    }
    Ok(())
}

/// The file of a lower.
fn layer_of(lower: &Lower, folder: &Path, url: Option<&str>) -> Result<LayerFile> {
    let turbo = [
        ("targetFile", &lower.target_file),
        ("targetDigest", &lower.target_digest),
        ("gzipIndex", &lower.gzip_index),
    ];
    for (name, value) in turbo {
        if let Some(value) = given(value.as_deref()) {
            return Err(Error::refused(format!(
                "{name} is {value:?}: a layer of TurboOCI, whose data stays in an ordinary layer; \
                 no device can be made of that"
            )));
        }
    }
    let digest = given(lower.digest.as_deref());
    let mut looked_for = Vec::new();
    if let Some(file) = given(lower.file.as_deref()) {
        looked_for.push((folder.join(file), Origin::File));
    }
    let dir = given(lower.dir.as_deref()).map(|dir| folder.join(dir));
    if let Some(dir) = &dir {
        looked_for.extend(IN_FOLDER.map(|(name, origin)| (dir.join(name), origin)));
    }
    for (path, origin) in &looked_for {
        if let Some(len) = len_of(path)? {
            return Ok(of_file(path, *origin, len, lower.size, digest));
        }
    }
    Err(missing(&looked_for, dir.as_deref(), digest, url))
}

/// The length of a file; [`None`] if it does not exist.
fn len_of(path: &Path) -> Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(about) => Ok(Some(about.len())),
        Err(error) if is_absence(&error) => Ok(None),
        // Not allowed to look: that it is not there would be a guess.
        Err(error) => Err(Error::io(format!("cannot read {}", path.display()), &error)),
    }
}

/// Whether an error says that there is no such file.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What the config says of the file that is found.
///
/// `size` and `digest` are those of the blob in the registry: the snapshotter takes them from the
/// annotations of the layer. Two kinds of overlaybd.commit exist beside them. One is the blob, as
/// overlaybd downloads it in the background, checks it, and gives it that name only then. The
/// other is shorter: containerd unpacks the blob's tar there (`ctr rpull --download-blobs`), and
/// the file is what was in the tar. So a shorter file says nothing, and only a longer one is
/// certainly another. A file that is not as long as the blob does not have the blob's digest.
///
/// overlaybd.sealed is made on this machine and never is a blob. With `file` nothing writes a
/// size, and overlaybd does not look at one.
fn of_file(
    path: &Path,
    origin: Origin,
    len: u64,
    size: Option<u64>,
    digest: Option<&str>,
) -> LayerFile {
    // 0 stands for no size in the programs that read and write configs.
    let size = size.filter(|size| *size > 0);
    let may_be_blob = origin != Origin::Sealed && size.is_none_or(|size| size == len);
    LayerFile {
        path: path.to_path_buf(),
        size: size.filter(|size| origin == Origin::Commit && len >= *size),
        digest: digest
            .filter(|digest| may_be_blob && parts_of_digest(digest).is_some())
            .map(str::to_string),
    }
}

/// The error of a layer that is not on this machine.
fn missing(
    looked_for: &[(PathBuf, Origin)],
    dir: Option<&Path>,
    digest: Option<&str>,
    url: Option<&str>,
) -> Error {
    let mut text = String::new();
    // Writing to a String does not fail.
    if let Some(digest) = digest {
        let _ = write!(text, "{}: ", shown(digest));
    }
    text.push_str("it is not on this machine: ");
    match looked_for {
        [] => text.push_str("it has neither file nor dir"),
        paths => {
            text.push_str("looked for ");
            for (at, (path, _)) in paths.iter().enumerate() {
                let comma = if at == 0 { "" } else { ", " };
                let _ = write!(text, "{comma}{}", path.display());
            }
        }
    }
    // A config that no container has used yet has the layer, but not the mark.
    if dir.is_some_and(|dir| dir.join("trace").exists()) {
        text.push_str(
            "; there is a trace: an acceleration layer, but accelerationLayer is not true",
        );
    } else if let (Some(url), Some(digest)) = (url, digest) {
        let url = url.trim_end_matches('/');
        let _ = write!(
            text,
            "; overlaybd would fetch {}, this program fetches nothing",
            shown(&format!("{url}/{digest}"))
        );
    }
    Error::new(Status::Device, text)
}

/// A text of the config for a message: as it is, or quoted where it has more than plain characters.
fn shown(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        text.to_string()
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{json, Value};
    use tempfile::TempDir;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }

        fn read(&self, config: &Value) -> Result<Vec<LayerFile>> {
            self.write("config.v1.json", config.to_string().as_bytes());
            layers(&self.path("config.v1.json"))
        }

        #[track_caller]
        fn only(&self, lower: Value) -> LayerFile {
            let mut layers = self.read(&json!({"lowers": [lower]})).unwrap();
            assert_eq!(layers.len(), 1);
            layers.remove(0)
        }

        #[track_caller]
        fn refused(&self, config: &Value, words: &[&str]) -> Error {
            let error = self.read(config).unwrap_err();
            let text = error.to_string();
            for word in words.iter().chain(&["config.v1.json: "]) {
                assert!(text.contains(word), "{word:?} is not in: {text}");
            }
            error
        }
    }

    fn paths(layers: &[LayerFile]) -> Vec<PathBuf> {
        layers.iter().map(|layer| layer.path.clone()).collect()
    }

    #[test]
    fn a_config_of_the_snapshotter() {
        let folder = Folder::new();
        folder.write("1/fs/overlaybd.commit", &[0; 700]);
        folder.write("2/fs/overlaybd.commit", &[0; 600]);
        let config = json!({
            "repoBlobUrl": "https://registry-1.docker.io/v2/library/redis/blobs",
            "lowers": [
                {"digest": DIGEST, "size": 700, "dir": folder.path("1/fs")},
                {"dir": folder.path("2/fs")},
            ],
            "upper": {},
            "resultFile": "/x/init-debug.log",
            "recordTracePath": "/x/trace",
            "download": {"enable": true, "delay": 1},
            "something": [{"else": null}],
        });
        assert_eq!(
            folder.read(&config).unwrap(),
            [
                LayerFile {
                    path: folder.path("1/fs/overlaybd.commit"),
                    size: Some(700),
                    digest: Some(DIGEST.to_string()),
                },
                LayerFile::new(folder.path("2/fs/overlaybd.commit")),
            ]
        );
    }

    #[test]
    fn the_order_of_overlaybd() {
        let folder = Folder::new();
        let lower = json!({"file": "layer", "dir": "dir"});
        let order = [
            "dir/overlaybd.sealed",
            "dir/.commit",
            "dir/overlaybd.commit",
            "layer",
        ];
        for name in order {
            folder.write(name, b"x");
            assert_eq!(folder.only(lower.clone()).path, folder.path(name));
        }
        // What is no folder has no file in it.
        folder.write("file", b"x");
        let lower = json!({"file": "file/x", "dir": "dir"});
        assert_eq!(folder.only(lower).path, folder.path("dir/overlaybd.commit"));
    }

    #[test]
    fn texts_that_are_empty_are_absent() {
        let folder = Folder::new();
        folder.write("dir/overlaybd.commit", b"x");
        let lower = json!({
            "file": "", "dir": "dir", "digest": "", "size": 0,
            "targetFile": "", "targetDigest": "", "gzipIndex": null,
        });
        let config = json!({
            "repoBlobUrl": "", "lowers": [lower], "accelerationLayer": null,
            "upper": {"data": "", "index": "", "target": "", "vsize": 64},
        });
        assert_eq!(
            folder.read(&config).unwrap(),
            [LayerFile::new(folder.path("dir/overlaybd.commit"))]
        );
    }

    #[test]
    fn symbolic_links_are_followed() {
        let folder = Folder::new();
        folder.write("store/x", &[0; 9]);
        std::fs::create_dir(folder.path("dir")).unwrap();
        std::os::unix::fs::symlink("../store/x", folder.path("dir/overlaybd.commit")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path("dangling")).unwrap();
        let layer = folder.only(json!({"file": "dangling", "dir": "dir", "size": 9}));
        assert_eq!(layer.path, folder.path("dir/overlaybd.commit"));
        assert_eq!(layer.size, Some(9));
    }

    #[test]
    fn what_is_unpacked_is_shorter_than_its_blob() {
        let folder = Folder::new();
        folder.write("dir/overlaybd.commit", &[0; 1000]);
        let lower = |size: u64| json!({"dir": "dir", "digest": DIGEST, "size": size});
        let blob = folder.only(lower(1000));
        assert_eq!(
            (blob.size, blob.digest.as_deref()),
            (Some(1000), Some(DIGEST))
        );
        assert!(blob.open().is_ok());
        let unpacked = folder.only(lower(3072));
        assert_eq!((unpacked.size, unpacked.digest.as_deref()), (None, None));
        assert!(unpacked.open().is_ok());
        let other = folder.only(lower(999));
        assert_eq!((other.size, other.digest.as_deref()), (Some(999), None));
        let text = other.open().unwrap_err().to_string();
        assert!(text.contains("should have 999"), "{text}");
    }

    #[test]
    fn size_and_digest_of_what_is_no_download() {
        let folder = Folder::new();
        folder.write("layer", &[0; 1000]);
        folder.write("dir/overlaybd.sealed", &[0; 1000]);
        let sealed = folder.only(json!({"dir": "dir", "digest": DIGEST, "size": 1000}));
        assert_eq!((sealed.size, sealed.digest.as_deref()), (None, None));
        let file = folder.only(json!({"file": "layer", "digest": DIGEST, "size": 10}));
        assert_eq!((file.size, file.digest.as_deref()), (None, None));
        let file = folder.only(json!({"file": "layer", "digest": DIGEST}));
        assert_eq!((file.size, file.digest.as_deref()), (None, Some(DIGEST)));
        for digest in ["sha256:12", "0123", &DIGEST.to_uppercase()] {
            let file = folder.only(json!({"file": "layer", "digest": digest}));
            assert_eq!(file.digest, None);
        }
    }

    #[test]
    fn a_layer_that_is_not_here() {
        let folder = Folder::new();
        folder.write("layer", b"x");
        let lower = json!({"file": "a", "dir": "b", "digest": DIGEST, "size": 7});
        let config = json!({
            "repoBlobUrl": "https://host/v2/x/blobs/",
            "lowers": [{"file": "layer"}, lower, {"file": "layer"}],
        });
        let a = folder.path("a").display().to_string();
        let b = folder.path("b/.commit").display().to_string();
        let url = format!("https://host/v2/x/blobs/{DIGEST},");
        let words = ["layer 2 of 3: ", DIGEST, &a, &b, "would fetch", &url];
        let error = folder.refused(&config, &words);
        assert_eq!(error.status(), Status::Device);

        let config = json!({"lowers": [{"digest": DIGEST}]});
        let text = folder
            .refused(&config, &["layer 1 of 1: ", "neither file nor dir"])
            .to_string();
        assert!(!text.contains("fetch"), "{text}");
        // Nothing of a config reaches a terminal as a control character.
        let config = json!({"repoBlobUrl": "u", "lowers": [{"digest": "\u{1b}[2J"}]});
        let text = folder.refused(&config, &["layer 1 of 1"]).to_string();
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_may_not_be_looked_at_is_not_called_missing() {
        let folder = Folder::new();
        let config = json!({"lowers": [{"file": "a\0b"}]});
        let text = folder.refused(&config, &["layer 1 of 1", "cannot read"]);
        assert!(!text.to_string().contains("not on this machine"), "{text}");
    }

    #[test]
    fn an_acceleration_layer_is_dropped() {
        let folder = Folder::new();
        folder.write("layer", b"x");
        folder.write("top/trace", b"x");
        let lowers = json!([{"file": "layer"}, {"dir": "top"}]);
        let config = json!({"lowers": lowers, "accelerationLayer": true});
        let found = folder.read(&config).unwrap();
        assert_eq!(paths(&found), [folder.path("layer")]);
        let words = ["layer 2 of 2", "accelerationLayer is not true"];
        folder.refused(&json!({"lowers": lowers}), &words);
        let config = json!({"lowers": [{"dir": "top"}], "accelerationLayer": true});
        folder.refused(&config, &["only lower is the acceleration layer"]);
    }

    #[test]
    fn a_writable_layer_is_refused() {
        let folder = Folder::new();
        folder.write("layer", b"x");
        for field in ["data", "index", "target"] {
            let config = json!({"lowers": [{"file": "layer"}], "upper": {field: "/rw/x"}});
            folder.refused(
                &config,
                &[
                    "upper",
                    field,
                    "/rw/x",
                    "--writable",
                    "dm-snapshot",
                    "overlayfs",
                ],
            );
        }
    }

    #[test]
    fn turbo_oci_is_refused() {
        let folder = Folder::new();
        folder.write("layer", b"x");
        for field in ["targetFile", "targetDigest", "gzipIndex"] {
            let lowers = json!([{"file": "layer"}, {"file": "layer", field: "/x/layer.tar"}]);
            folder.refused(
                &json!({"lowers": lowers}),
                &["layer 2 of 2", field, "/x/layer.tar", "TurboOCI"],
            );
        }
    }

    #[test]
    fn how_many_layers() {
        let folder = Folder::new();
        folder.write("layer", b"x");
        for config in [json!({}), json!({"lowers": []}), json!({"lowers": null})] {
            folder.refused(&config, &["no lowers"]);
        }
        let lowers = |count| vec![json!({"file": "layer"}); count];
        let found = folder.read(&json!({"lowers": lowers(255)})).unwrap();
        assert_eq!(found.len(), 255);
        folder.refused(&json!({"lowers": lowers(256)}), &["256", "255"]);
        let config = json!({"lowers": lowers(256), "accelerationLayer": true});
        assert_eq!(folder.read(&config).unwrap().len(), 255);
    }

    #[test]
    fn what_is_no_config() {
        let folder = Folder::new();
        let path = folder.path("config.v1.json");
        let refused = |bytes: &[u8], words: &[&str]| {
            folder.write("config.v1.json", bytes);
            let text = layers(&path).unwrap_err().to_string();
            for word in words {
                assert!(text.contains(word), "{word:?} is not in: {text}");
            }
        };
        refused(b"", &["config.v1.json: EOF", "line 1"]);
        refused(b"{\n \"lowers\": 1}", &["line 2 column 12"]);
        refused(b"{\"lowers\": [{\"size\": -1}]}", &["-1", "line 1 column"]);
        refused(b"{\"lowers\": [], \"lowers\": []}", &["duplicate field"]);
        refused(b"\xff\xfe", &["line 1"]);
        let deep = [b"{\"x\": ".as_slice(), &b"[".repeat(1000)].concat();
        refused(&deep, &["EOF", "line 1"]);
        let long = vec![b' '; usize::try_from(MAX_DOCUMENT).unwrap() + 1];
        refused(&long[1..], &["EOF"]);
        refused(&long, &["longer than 16777216 bytes"]);

        let error = layers(&folder.path("nowhere")).unwrap_err();
        assert_eq!(error.status(), Status::Device);
        assert!(error.to_string().contains("nowhere: No such file"));
        let error = layers(folder.0.path()).unwrap_err().to_string();
        assert!(error.contains("cannot read"), "{error}");
    }

    fn field() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => prop::sample::select(vec![
                "repoBlobUrl", "lowers", "upper", "accelerationLayer", "file", "dir", "digest",
                "size", "targetFile", "targetDigest", "gzipIndex", "data", "index", "target",
            ])
            .prop_map(str::to_string),
            1 => any::<String>(),
        ]
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec!["", "layer", "dir", DIGEST]).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(field(), inner, 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_document_panics(value in document(), bytes in any::<Vec<u8>>()) {
            let folder = Path::new("/nowhere");
            let _ = layers_in(value.to_string().as_bytes(), folder);
            let _ = layers_in(json!({"lowers": value}).to_string().as_bytes(), folder);
            let _ = layers_in(&bytes, folder);
        }

        #[test]
        fn lowers_are_found_in_their_order(order in prop::collection::vec(0..4u8, 1..20)) {
            let folder = Folder::new();
            for name in 0..4u8 {
                folder.write(&format!("{name}"), &[name]);
            }
            let lowers: Vec<_> = order
                .iter()
                .map(|name| json!({"file": name.to_string()}))
                .collect();
            let found = folder.read(&json!({"lowers": lowers})).unwrap();
            let wanted: Vec<_> = order.iter().map(|name| folder.path(&name.to_string())).collect();
            prop_assert_eq!(paths(&found), wanted);
        }
    }
}
