// SPDX-License-Identifier: GPL-2.0

//! The reference of an image in a registry: `[docker://]HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`.
//!
//! A text without a host means Docker Hub, as for docker. Every part has a strict grammar, so that
//! it can stand in a URL and in a command as it is. It asks no registry.

use crate::digest::parts;
use crate::error::{Error, Result};
use std::fmt;

/// The host of Docker Hub in references. No registry answers there.
const HUB: &str = "docker.io";

/// The host where the registry of Docker Hub answers.
const HUB_REGISTRY: &str = "registry-1.docker.io";

/// The longest host and repository together, as the specification of registries has it.
const MAX_NAME: usize = 255;

/// The longest tag.
const MAX_TAG: usize = 128;

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    host: String,
    repository: String,
    version: Version,
}

/// Which image of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    Tag(String),
    Digest(String),
}

impl Reference {
    /// Parses a reference. Without a tag and a digest the tag is "latest"; with both, the digest
    /// counts.
    ///
    /// # Errors
    ///
    /// A text that is no reference, with the part that is wrong.
    pub(super) fn parse(text: &str) -> Result<Self> {
        Self::of(text).map_err(|why| {
            Error::refused(format!(
                "{text:?} is no reference, [docker://]HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]: {why}"
            ))
        })
    }

    fn of(text: &str) -> std::result::Result<Self, String> {
        let rest = text.strip_prefix("docker://").unwrap_or(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        // A port is in front of a '/', and a tag after the last one.
        let path = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[path..].rfind(':') {
            Some(at) => (&rest[..path + at], Some(&rest[path + at + 1..])),
            None => (rest, None),
        };
        let (host, repository) = match name.split_once('/') {
            Some((first, other)) if is_like_host(first) => (first, other.to_string()),
            Some(_) => (HUB, name.to_string()),
            None => (HUB, format!("library/{name}")),
        };
        let host = if host == "index.docker.io" { HUB } else { host };
        // Docker Hub has its official images in a folder that may be left out.
        let repository = if host == HUB && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        if !is_host(host) {
            return Err(format!("{host:?} is no host"));
        }
        if !repository.split('/').all(is_component) {
            return Err(format!("{repository:?} is no repository"));
        }
        if host.len() + repository.len() > MAX_NAME {
            return Err(format!("the name has more than {MAX_NAME} characters"));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("{tag:?} is no tag"));
        }
        let version = match digest {
            Some(digest) if parts(digest).is_none() => {
                return Err(format!("{digest:?} is no digest of sha256 or sha512"));
            }
            Some(digest) => Version::Digest(digest.to_string()),
            None => Version::Tag(tag.unwrap_or("latest").to_string()),
        };
        Ok(Self {
            host: host.to_string(),
            repository,
            version,
        })
    }

    /// The host, with the port if it has one. Credentials are kept under it.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The host where the registry answers, with the port if it has one.
    pub(super) fn registry(&self) -> &str {
        if self.is_hub() {
            HUB_REGISTRY
        } else {
            &self.host
        }
    }

    /// Whether the image is one of Docker Hub.
    pub(super) fn is_hub(&self) -> bool {
        self.host == HUB
    }

    /// The repository, without the host.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag or the digest.
    pub(super) fn version(&self) -> &str {
        match &self.version {
            Version::Tag(text) | Version::Digest(text) => text,
        }
    }

    /// The digest, if the reference has one.
    pub(super) fn digest(&self) -> Option<&str> {
        match &self.version {
            Version::Digest(digest) => Some(digest),
            Version::Tag(_) => None,
        }
    }

    /// The document of the same repository with this digest.
    pub(super) fn with_digest(&self, digest: &str) -> Self {
        Self {
            version: Version::Digest(digest.to_string()),
            ..self.clone()
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.version {
            Version::Tag(_) => ':',
            Version::Digest(_) => '@',
        };
        write!(
            f,
            "{}/{}{mark}{}",
            self.host,
            self.repository,
            self.version()
        )
    }
}

/// Whether the first part of a name is a host, and not a folder of Docker Hub.
fn is_like_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

/// Whether a text is a host name or an address, with a port or without.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) => {
                let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
                return is_address
                    && (after.is_empty() || after.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_label = |label: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(is_letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok_and(|number| number > 0)
}

/// Whether a text can be between two '/' of a repository: lower-case letters and digits, in which
/// one '.', one or two '_', or any number of '-' separate words.
fn is_component(text: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let mut separators = bytes.split(is_letter).filter(|between| !between.is_empty());
    bytes.first().is_some_and(is_letter)
        && bytes.last().is_some_and(is_letter)
        && separators.all(|between| {
            matches!(between, b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(is_word)
        && text
            .bytes()
            .all(|byte| is_word(byte) || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_left_out() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, whole) in [
            ("redis", "docker.io/library/redis:latest".to_string()),
            ("redis:7", "docker.io/library/redis:7".to_string()),
            ("a/b", "docker.io/a/b:latest".to_string()),
            (
                "docker.io/redis",
                "docker.io/library/redis:latest".to_string(),
            ),
            ("index.docker.io/a/b:1", "docker.io/a/b:1".to_string()),
            (
                "docker://redis",
                "docker.io/library/redis:latest".to_string(),
            ),
            ("localhost/a", "localhost/a:latest".to_string()),
            (
                "localhost:5000",
                "docker.io/library/localhost:5000".to_string(),
            ),
            ("h:5000/a/b/c:V1.0-x_", "h:5000/a/b/c:V1.0-x_".to_string()),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_string()),
            (
                "EXAMPLE.org/a__b/c---d",
                "EXAMPLE.org/a__b/c---d:latest".to_string(),
            ),
            (&format!("h.x/a:7@{digest}"), format!("h.x/a@{digest}")),
            (
                &format!("redis@{digest}"),
                format!("docker.io/library/redis@{digest}"),
            ),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), whole);
            assert_eq!(Reference::parse(&whole).unwrap(), reference, "{text}");
        }
        let hub = Reference::parse("a/b").unwrap();
        assert_eq!(
            (hub.host(), hub.registry()),
            ("docker.io", "registry-1.docker.io")
        );
        let other = hub.with_digest(&digest);
        assert_eq!(other.to_string(), format!("docker.io/a/b@{digest}"));
        assert_eq!(other.digest(), Some(digest.as_str()));
        assert_eq!(hub.digest(), None);
    }

    #[test]
    fn what_is_no_reference() {
        let long = format!("h.x/{}", "a".repeat(MAX_NAME));
        let tag = format!("h.x/a:{}", "t".repeat(MAX_TAG + 1));
        for (text, word) in [
            ("", "repository"),
            ("docker://", "repository"),
            ("https://h.x/a", "host"),
            ("h.x/", "repository"),
            ("h.x//a", "repository"),
            ("h.x/a/", "repository"),
            ("h.x/../a", "repository"),
            ("h.x/A", "repository"),
            ("h.x/a..b", "repository"),
            ("h.x/a___b", "repository"),
            ("h.x/a._b", "repository"),
            ("h.x/-a", "repository"),
            ("h.x/a b", "repository"),
            ("h.x/a?b", "repository"),
            ("h.x/a:", "tag"),
            ("h.x/a:.b", "tag"),
            ("h.x/a:b\n", "tag"),
            (&tag, "tag"),
            (&long, "characters"),
            ("h.x/a@", "digest"),
            ("h.x/a@sha256:12", "digest"),
            ("h.x/a@x@y", "digest"),
            ("u:p@h.x/a", "digest"),
            ("h.x:0/a", "host"),
            ("h.x:65536/a", "host"),
            ("h.x:+1/a", "host"),
            ("h.x:/a", "host"),
            ("-h.x/a", "host"),
            ("h..x/a", "host"),
            ("h_.x/a", "host"),
            ("[::1/a", "host"),
            ("[::g]/a", "host"),
            ("[::1]5/a", "host"),
        ] {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{text:?} is no reference")),
                "{error}"
            );
            let why = error.rsplit("]: ").next().unwrap();
            assert!(why.contains(word), "{text}: {why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_a_reference_is_safe_and_stays_itself(
            text in "(docker://)?([a-z.:0-9]{1,9}/)?[a-zA-Z0-9/._:@ %?#-]{0,20}|\\PC{0,20}",
        ) {
            if let Ok(reference) = Reference::parse(&text) {
                let whole = reference.to_string();
                let is_safe =
                    |byte: u8| byte.is_ascii_alphanumeric() || b"/:@._-[]".contains(&byte);
                prop_assert!(whole.bytes().all(is_safe));
                prop_assert!(!whole.contains("/../") && !whole.contains("//"));
                prop_assert_eq!(Reference::parse(&whole).unwrap(), reference);
            }
        }

        #[test]
        fn every_part_is_found(
            host in "[a-z]{1,5}\\.[a-z]{1,5}(:[1-9][0-9]{0,3})?",
            repository in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,4}){0,3}",
            tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
        ) {
            let reference = Reference::parse(&format!("{host}/{repository}:{tag}")).unwrap();
            prop_assert_eq!(reference.host(), host);
            prop_assert_eq!(reference.repository(), repository);
            prop_assert_eq!(reference.version(), tag);
        }
    }
}
