// SPDX-License-Identifier: GPL-2.0

//! Which image of an index is meant: by its name, or by the platform of this machine.

use super::document::{Descriptor, Index};
use crate::error::{Error, Result};
use crate::output::plain;
use std::env::consts::ARCH;

/// The annotations of a descriptor that name an image in an index.
pub(super) const NAMES: [&str; 2] = [
    "org.opencontainers.image.ref.name",
    "io.containerd.image.name",
];

/// The media types of the images that an index lists, in the forms of OCI and of Docker.
pub(crate) const IMAGES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// The image of this name, or the only one.
///
/// One image may be listed several times, under several names. Several images of one name are for
/// several platforms.
pub(super) fn by_name<'a>(index: &'a Index, reference: Option<&str>) -> Result<&'a Descriptor> {
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

/// The image of an index inside another document: the only one, or the one for this machine.
pub(super) fn chosen(index: &Index) -> Result<&Descriptor> {
    match images_of(index).as_slice() {
        [] => Err(no_image(index)),
        [only] if only.platform.is_none() => Ok(only),
        images => by_platform(images),
    }
}

/// The first image for this machine. The specification says that the first one counts.
fn by_platform<'a>(images: &[&'a Descriptor]) -> Result<&'a Descriptor> {
    let machine = match ARCH {
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
            "no image for linux/{machine} in it, but for {}. By its digest any can be named: with \
             --manifest, or after the '@' of a reference",
            listed(others)
        ))
    })
}

/// The images of an index. The specification says that other entries are ignored.
fn images_of(index: &Index) -> Vec<&Descriptor> {
    let is_image = |one: &&Descriptor| IMAGES.contains(&one.media_type.as_str());
    index.manifests.iter().filter(is_image).collect()
}

/// The error for an index without an image.
fn no_image(index: &Index) -> Error {
    let others = index.manifests.iter();
    let others = listed(others.map(|one| plain(&one.media_type)));
    Error::refused(match others.as_str() {
        "" => "no image in it".to_string(),
        others => format!("no image in it, only {others}"),
    })
}

/// The names of an image in an index.
fn names_of(image: &Descriptor) -> impl Iterator<Item = &str> {
    NAMES.iter().filter_map(|name| image.annotation(name))
}

/// An image for a message: its names, or its digest.
fn shown(image: &Descriptor) -> String {
    let names = listed(names_of(image).map(|name| format!("{name:?}")));
    if names.is_empty() {
        format!("{} without a name", image.digest)
    } else {
        names
    }
}

/// The platform of an image for a message.
fn platform_of(image: &Descriptor) -> String {
    let Some(platform) = &image.platform else {
        return format!("no platform ({})", image.digest);
    };
    let text = format!("{}/{}", platform.os, platform.architecture);
    let text = match &platform.variant {
        Some(variant) => format!("{text}/{variant}"),
        None => text,
    };
    plain(&text)
}

/// Texts separated by commas, each once.
fn listed(texts: impl Iterator<Item = String>) -> String {
    let mut list: Vec<String> = Vec::new();
    for text in texts {
        if !list.contains(&text) {
            list.push(text);
        }
    }
    list.join(", ")
}
