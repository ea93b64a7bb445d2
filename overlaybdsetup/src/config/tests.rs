// SPDX-License-Identifier: GPL-2.0

//! Configs that the snapshotter writes, and configs that are refused.

use super::*;
use crate::json::MAX_LEN;
use proptest::prelude::*;
use serde_json::{json, Value};
use std::os::unix::fs::symlink;
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
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
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
                size: Some(700),
                digest: Some(DIGEST.to_string()),
                ..LayerFile::new(folder.path("1/fs/overlaybd.commit"))
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
    // A path through a regular file counts as absent.
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
    fs::create_dir(folder.path("dir")).unwrap();
    symlink("../store/x", folder.path("dir/overlaybd.commit")).unwrap();
    symlink("nowhere", folder.path("dangling")).unwrap();
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
    // Control characters of a config do not reach a terminal.
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
    let long = vec![b' '; usize::try_from(MAX_LEN).unwrap() + 1];
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
