// SPDX-License-Identifier: GPL-2.0

//! A config.v1.json, in which containerd's overlaybd snapshotter names the layers of an image.
//!
//! The layers are found by overlaybd's own rules. Nothing is fetched or written, and no layer file
//! is opened: [`Layer::open`] does that.
//!
//! Fields for a resident process are ignored (`resultFile`, `download`, `recordTracePath`), and so
//! are unknown ones.
//!
//! [`Layer::open`]: crate::layer::Layer::open

#[cfg(test)]
mod tests;

use crate::digest;
use crate::error::{is_absence, Error, Result, Status};
use crate::json;
use crate::layer::LayerFile;
use overlaybd_format::lsmt::MAX_LAYERS;
use serde::Deserialize;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of a layer file in a folder, in the order in which overlaybd looks for them.
const IN_FOLDER: [(&str, Origin); 3] = [
    ("overlaybd.commit", Origin::Commit),
    (".commit", Origin::Commit),
    ("overlaybd.sealed", Origin::Sealed),
];

/// The whole config, without the fields that are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    repo_blob_url: Option<String>,
    lowers: Option<Vec<Lower>>,
    upper: Option<Upper>,
    acceleration_layer: Option<bool>,
}

/// A read-only layer.
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

/// The writable layer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Upper {
    data: Option<String>,
    index: Option<String>,
    target: Option<String>,
}

/// The field of a config that leads to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// `file`.
    File,
    /// `dir`, and the file is a committed layer.
    Commit,
    /// `dir`, and the file is a writable layer that was sealed on this machine.
    Sealed,
}

/// The layers of a config, lowest first. Relative paths in it start at the folder of `path`.
///
/// # Errors
///
/// A config that cannot be read, is longer than 16 MiB, or is malformed; one without layers, with
/// more than 255, or with a writable one; a layer that is not on this machine, or is of TurboOCI.
pub fn layers(path: &Path) -> Result<Vec<LayerFile>> {
    let bytes = json::read(path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    layers_in(&bytes, folder).map_err(|error| error.within(path.display()))
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
        // The topmost lower lists blocks to read ahead, and holds nothing of the image.
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

/// The value of a field. An empty text counts as an absent field.
fn given(value: Option<&str>) -> Option<&str> {
    value.filter(|text| !text.is_empty())
}

/// The first of these fields that has a value, with its name.
fn first_given<'a>(
    fields: [(&'static str, &'a Option<String>); 3],
) -> Option<(&'static str, &'a str)> {
    fields
        .into_iter()
        .find_map(|(name, value)| Some((name, given(value.as_deref())?)))
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
    match first_given(fields) {
        None => Ok(()),
        Some((name, value)) => Err(Error::refused(format!(
            "its upper has the {name} {value:?}: only overlaybd writes to such a layer. For a \
             device that can be written there is --writable (dm-snapshot), for a mount overlayfs"
        ))),
    }
}

/// The file of a lower.
fn layer_of(lower: &Lower, folder: &Path, url: Option<&str>) -> Result<LayerFile> {
    let turbo = [
        ("targetFile", &lower.target_file),
        ("targetDigest", &lower.target_digest),
        ("gzipIndex", &lower.gzip_index),
    ];
    if let Some((name, value)) = first_given(turbo) {
        return Err(Error::refused(format!(
            "{name} is {value:?}: a layer of TurboOCI, whose data stays in an ordinary layer; no \
             device can be made of that"
        )));
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
    match fs::metadata(path) {
        Ok(about) => Ok(Some(about.len())),
        Err(error) if is_absence(&error) => Ok(None),
        // Permission denied, for example: the file may exist.
        Err(error) => Err(Error::io(format!("cannot read {}", path.display()), &error)),
    }
}

/// The file that was found, with the size and digest that the config gives for it.
///
/// `size` and `digest` are those of the blob in the registry: the snapshotter takes them from the
/// annotations of the layer. The file overlaybd.commit is one of two things. It may be the blob,
/// which overlaybd downloads in the background and renames once it is checked. Or it is the layer
/// without its tar: containerd unpacked the blob (`ctr rpull --download-blobs`). So a file shorter
/// than `size` may be right, and only a longer one is certainly wrong. A file of another length
/// than the blob does not have the blob's digest.
///
/// overlaybd.sealed is written on this machine and is never a blob. No program writes a size for
/// `file`, and overlaybd does not read one.
fn of_file(
    path: &Path,
    origin: Origin,
    len: u64,
    size: Option<u64>,
    digest: Option<&str>,
) -> LayerFile {
    // The programs that read and write configs use 0 for no size.
    let size = size.filter(|size| *size > 0);
    let may_be_blob = origin != Origin::Sealed && size.is_none_or(|size| size == len);
    LayerFile {
        size: size.filter(|size| origin == Origin::Commit && len >= *size),
        digest: digest
            .filter(|digest| may_be_blob && digest::parts(digest).is_some())
            .map(str::to_string),
        ..LayerFile::new(path)
    }
}

/// The error for a layer that is not on this machine.
fn missing(
    looked_for: &[(PathBuf, Origin)],
    dir: Option<&Path>,
    digest: Option<&str>,
    url: Option<&str>,
) -> Error {
    let mut text = String::new();
    // Writing to a String cannot fail.
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
    // Until a container uses it, a config has the acceleration layer, but does not mark it.
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

/// A text of the config for a message, quoted unless all of its characters are visible ASCII.
fn shown(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        text.to_string()
    } else {
        format!("{text:?}")
    }
}
