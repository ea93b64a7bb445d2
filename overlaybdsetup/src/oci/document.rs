// SPDX-License-Identifier: GPL-2.0

//! The documents of an image: the version of a layout, an index, a manifest, and the descriptors in
//! both.
//!
//! The fields are specified by the [OCI image specification], and for Docker's forms by its
//! [manifest v2, schema 2]; both have the same ones. Other fields are ignored, and a media type is
//! only text here. This file opens no file and writes no document. The crate `oci-spec` has all of
//! this, but its licence, Apache-2.0 alone, cannot be combined with GPL-2.0-only.
//!
//! [OCI image specification]: https://github.com/opencontainers/image-spec/blob/main/spec.md
//! [manifest v2, schema 2]: https://distribution.github.io/distribution/spec/manifest-v2-2/

use crate::digest::{parts, Algorithm};
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;
use std::fmt;

/// The file oci-layout.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layout {
    pub(super) image_layout_version: String,
}

/// The fields that tell the kind of a document. Its media type does not: it may be missing.
#[derive(Debug, Deserialize)]
pub(super) struct Kind {
    pub(super) manifests: Option<IgnoredAny>,
    pub(super) layers: Option<IgnoredAny>,
}

/// An index, which Docker calls a manifest list.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    #[serde(rename = "schemaVersion", deserialize_with = "version_2")]
    _version: (),
    pub(super) manifests: Vec<Descriptor>,
}

/// A manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    #[serde(rename = "schemaVersion", deserialize_with = "version_2")]
    _version: (),
    pub(super) layers: Vec<Descriptor>,
}

/// The description of a blob in a document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    annotations: Option<HashMap<String, String>>,
    pub(super) platform: Option<Platform>,
}

impl Descriptor {
    /// The annotation with this name.
    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

/// The platform of an image.
#[derive(Debug, Deserialize)]
pub(super) struct Platform {
    pub(super) os: String,
    pub(super) architecture: String,
    pub(super) variant: Option<String>,
}

/// A well-formed digest, of any algorithm.
///
/// All of its characters are printable, and a digest of SHA-256 or SHA-512 has the right digits.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(super) struct Digest(String);

impl Digest {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_digest(&text) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is no digest"))
        }
    }
}

/// Whether a text is a digest by the grammar of the specification.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else {
        return false;
    };
    let is_component = |part: &str| {
        let is_part = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        !part.is_empty() && part.bytes().all(is_part)
    };
    let is_encoded = |byte: u8| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte);
    algorithm.split(['+', '.', '_', '-']).all(is_component)
        && !encoded.is_empty()
        && encoded.bytes().all(is_encoded)
        && (Algorithm::named(algorithm).is_none() || parts(text).is_some())
}

/// Reads a version, which must be 2: the specifications define no other.
fn version_2<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match u64::deserialize(deserializer)? {
        2 => Ok(()),
        other => Err(D::Error::custom(format_args!(
            "the schemaVersion is {other}, and only 2 is known"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{from_value, json};

    #[test]
    fn a_descriptor_with_all_fields_and_with_few() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let full: Descriptor = from_value(json!({
            "mediaType": "unknown/type", "digest": digest, "size": u64::MAX, "urls": [1],
            "data": {}, "annotations": {"a": "b"}, "artifactType": 7,
            "platform": {
                "os": "linux", "architecture": "arm", "variant": "v7", "os.version": 1,
                "features": ["sse4"],
            },
        }))
        .unwrap();
        assert_eq!(full.media_type, "unknown/type");
        assert_eq!(full.digest.to_string(), digest);
        assert_eq!(full.size, u64::MAX);
        assert_eq!(full.annotation("a"), Some("b"));
        assert_eq!(full.annotation("b"), None);
        let platform = full.platform.unwrap();
        assert_eq!(platform.os, "linux");
        assert_eq!(platform.architecture, "arm");
        assert_eq!(platform.variant.as_deref(), Some("v7"));

        let few = json!({
            "mediaType": "", "digest": digest, "size": 0, "annotations": null, "platform": null,
        });
        let read: Descriptor = from_value(few.clone()).unwrap();
        assert!(read.platform.is_none() && read.annotation("a").is_none());
        for name in ["mediaType", "digest", "size"] {
            let mut less = few.clone();
            less.as_object_mut().unwrap().remove(name);
            let error = from_value::<Descriptor>(less).unwrap_err().to_string();
            assert_eq!(error, format!("missing field `{name}`"));
        }
        for (name, value) in [
            ("size", json!(-1)),
            ("size", json!("1")),
            ("annotations", json!({"a": 1})),
            ("platform", json!({"os": "linux"})),
        ] {
            let mut wrong = few.clone();
            wrong[name] = value;
            assert!(from_value::<Descriptor>(wrong).is_err(), "{name}");
        }
    }

    #[test]
    fn versions() {
        let check = |version: serde_json::Value, words: &str| {
            let document = json!({"schemaVersion": version, "manifests": [], "layers": []});
            let of_index = from_value::<Index>(document.clone()).unwrap_err();
            let of_manifest = from_value::<Manifest>(document).unwrap_err();
            assert!(of_index.to_string().contains(words), "{of_index}");
            assert!(of_manifest.to_string().contains(words), "{of_manifest}");
        };
        check(json!(1), "the schemaVersion is 1, and only 2");
        check(json!(3), "the schemaVersion is 3, and only 2");
        check(json!("2"), "invalid type");
        check(json!(null), "invalid type");
        let without = json!({"manifests": [], "layers": []});
        let error = from_value::<Index>(without.clone()).unwrap_err();
        assert_eq!(error.to_string(), "missing field `schemaVersion`");
        assert!(from_value::<Manifest>(without).is_err());
        let good = json!({"schemaVersion": 2, "manifests": [], "layers": []});
        assert!(from_value::<Index>(good.clone()).is_ok());
        assert!(from_value::<Manifest>(good).is_ok());
    }

    #[test]
    fn digests() {
        let digits = |count: usize| "0123456789abcdef".repeat(count / 16);
        for good in [
            "foo:bar".to_string(),
            "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8".to_string(),
            "a.b_c-1:A=_-".to_string(),
            format!("sha256:{}", digits(64)),
            format!("sha512:{}", digits(128)),
        ] {
            assert!(is_digest(&good), "{good}");
        }
        for bad in [
            String::new(),
            "foo".to_string(),
            ":".to_string(),
            ":bar".to_string(),
            "foo:".to_string(),
            "foo+:bar".to_string(),
            "_foo:bar".to_string(),
            "Foo:bar".to_string(),
            "foo:bar:bar".to_string(),
            "foo:bar*".to_string(),
            "foo:../bar".to_string(),
            "foo:b\u{1b}r".to_string(),
            "foo:b\u{e4}r".to_string(),
            format!("sha256:{}", digits(128)),
            format!("sha256:{}", digits(64).to_uppercase()),
            format!("sha256:{}g", &digits(64)[1..]),
            format!("sha512:{}", digits(64)),
        ] {
            assert!(!is_digest(&bad), "{bad}");
            let error = Digest::try_from(bad.clone()).unwrap_err();
            assert_eq!(error, format!("{bad:?} is no digest"));
        }
    }

    proptest! {
        #[test]
        fn what_is_a_digest_can_be_printed(text in "\\PC{0,9}|[a-z+.]{1,9}:[ -~\0-\x1f]{0,9}") {
            if is_digest(&text) {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
            }
        }

        #[test]
        fn what_names_a_file_is_a_digest(text in "sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})") {
            prop_assert!(parts(&text).is_some());
            prop_assert!(is_digest(&text));
        }
    }
}
