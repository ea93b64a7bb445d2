// SPDX-License-Identifier: GPL-2.0

//! What a plan depends on: the layers of an image, and what the caller asks for.
//!
//! [`LayerShape::of`] reads the attributes of an open file; everything else is arithmetic.

use super::key::Key;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::layer::Layer;
use crate::payload::{Origin, Payload};
use overlaybd_format::units::SECTOR_SIZE;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The form of a layer's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The layer itself.
    Raw,
    /// A ZFile.
    Zfile {
        /// The length of the content in bytes.
        content_len: u64,
        /// The end of the part that a reader needs. The trailer after it may be unnecessary.
        needed: u64,
    },
}

/// A layer, reduced to what a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// The path of its file, or the URL of its blob, for messages.
    pub path: PathBuf,
    /// Whether it is a blob in a registry.
    pub remote: bool,
    /// The key of the file. Another file, or the same one once it is modified, has another key.
    /// The key of a blob is that of all images from the same registry.
    pub key: Key,
    /// Where the payload starts in the file, in bytes: a multiple of 512.
    pub offset: u64,
    /// The length of the payload in bytes.
    pub len: u64,
    /// The length of the file in bytes.
    pub file_len: u64,
    /// The form of the payload.
    pub form: Form,
}

impl LayerShape {
    /// The shape of an open layer.
    ///
    /// # Errors
    ///
    /// If the attributes of its file cannot be read.
    pub fn of(layer: &Layer) -> Result<Self> {
        let payload = layer.content().payload();
        let form = match layer.content().zfile() {
            None => Form::Raw,
            Some(zfile) => {
                let layout = zfile.layout();
                Form::Zfile {
                    content_len: layout.content_len().get(),
                    needed: if zfile.needs_trailer() {
                        payload.len()
                    } else {
                        layout.index_offset().get() + layout.index_len().get()
                    },
                }
            }
        };
        Ok(Self {
            path: payload.path().to_path_buf(),
            remote: matches!(payload.origin(), Origin::Blob(_)),
            key: key_of(payload)?,
            offset: payload.offset(),
            len: payload.len(),
            file_len: payload.file_len(),
            form,
        })
    }

    /// The length of the whole sectors of the payload, in bytes.
    pub(super) const fn whole(&self) -> u64 {
        self.len - self.len % SECTOR_SIZE
    }

    /// Whether the file contains the last sector of the payload as a whole, as a padded tar does.
    /// Fetchers pad blobs.
    const fn has_all_sectors(&self) -> bool {
        self.remote || self.offset + self.len.next_multiple_of(SECTOR_SIZE) <= self.file_len
    }

    /// Whether a reader needs bytes of the last, partial sector of the file.
    pub(super) const fn needs_tail(&self) -> bool {
        let needed = match self.form {
            Form::Raw => self.len,
            Form::Zfile { needed, .. } => needed,
        };
        needed > self.whole() && !self.has_all_sectors()
    }

    /// The length of the ZFile in the table. A partial last sector that no reader needs is left
    /// out.
    pub(super) const fn zfile_len(&self) -> u64 {
        if self.needs_tail() || self.has_all_sectors() {
            self.len
        } else {
            self.whole()
        }
    }
}

/// The key of the file or blob of a payload.
fn key_of(payload: &Payload) -> Result<Key> {
    let place = [payload.offset(), payload.len()];
    let numbers = |numbers: &[u64]| -> Vec<String> {
        (numbers.iter().chain(&place).map(ToString::to_string)).collect()
    };
    let words = match payload.origin() {
        Origin::File(file) => {
            let about = file.metadata().map_err(|error| {
                Error::io(format!("cannot read {}", payload.path().display()), &error)
            })?;
            numbers(&[
                about.dev(),
                about.ino(),
                about.mtime().cast_unsigned(),
                about.mtime_nsec().cast_unsigned(),
            ])
        }
        Origin::Blob(blob) => {
            let mut words = numbers(&[]);
            words.insert(0, blob.digest().to_string());
            words.insert(0, blob.source());
            words
        }
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(Key::of(&words))
}

/// An image, reduced to what a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// The layers, lowest first.
    pub layers: Vec<LayerShape>,
    /// The size of the image in bytes.
    pub virtual_size: u64,
}

impl ImageShape {
    /// The shape of an open image.
    ///
    /// # Errors
    ///
    /// If the attributes of one of its files cannot be read.
    pub fn of(image: &Image) -> Result<Self> {
        Ok(Self {
            layers: image
                .layers()
                .iter()
                .map(LayerShape::of)
                .collect::<Result<_>>()?,
            virtual_size: image.virtual_size(),
        })
    }
}

/// What the caller asks for beside the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The name of the device.
    pub name: String,
    /// Whether files are read with direct I/O, where their file system supports it.
    pub direct_io: bool,
    /// Whether layers are shared with other images.
    pub share: bool,
    /// The exception store, for a writable device.
    pub store: Option<StoreShape>,
}

/// An exception store, reduced to what a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreShape {
    /// The path of its file, for messages.
    pub path: PathBuf,
    /// The key of the file.
    pub key: Key,
    /// Where the store starts in the file, in bytes.
    pub offset: u64,
}
