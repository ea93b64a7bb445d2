// SPDX-License-Identifier: GPL-2.0

//! An image: its layers, opened and checked together, its size and its fingerprint.
//!
//! It does not merge the layers: the kernel does, and `verify`.

use crate::digest::hex;
use crate::error::{Error, Result};
use crate::layer::{Layer, LayerFile};
use crate::parallel::{in_parallel, in_parallel_waits};
use crate::payload::in_pieces;
use crate::zfile::Codec;
use overlaybd_format::lsmt::{virtual_size, HEADER_LEN, MAX_LAYERS};
use overlaybd_format::units::Bytes;
use sha2::{Digest, Sha256};

/// How many bytes at each end of a layer's data go into the fingerprint of an image.
const SAMPLE: u64 = 64 << 10;

/// An image whose layers are all open and valid.
#[derive(Debug)]
pub struct Image {
    layers: Vec<Layer>,
    virtual_size: u64,
}

impl Image {
    /// Opens layer files, lowest first, on all processors.
    ///
    /// # Errors
    ///
    /// What is wrong with the lowest bad layer, with its number and file; too many layers, or none;
    /// a virtual size of 0 in all layers.
    pub fn open(files: &[LayerFile]) -> Result<Self> {
        check_count(files.len())?;
        let open = |number: usize| Layer::open(&files[number]);
        let opened = if files.iter().any(|file| file.remote.is_some()) {
            in_parallel_waits(files.len(), open)
        } else {
            in_parallel(files.len(), open)
        };
        let layers = (opened.into_iter().enumerate())
            .map(|(number, layer)| layer.map_err(|error| error.within(place(number, files.len()))))
            .collect::<Result<Vec<Layer>>>()?;
        let size = virtual_size(layers.iter().map(|layer| layer.lsmt().virtual_size()));
        check_size(size)?;
        Ok(Self {
            layers,
            virtual_size: size.get(),
        })
    }

    /// The layers, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The size of the image in bytes: a multiple of 512, above 0.
    #[must_use]
    pub const fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// A hash that distinguishes this image from others: 64 hexadecimal digits.
    ///
    /// It covers the header, index, trailer and both ends of the data of each layer, and the index
    /// of each ZFile. It does not cover all data, which would have to be read. The same image in
    /// other files has the same fingerprint.
    ///
    /// # Errors
    ///
    /// If a layer cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(b"overlaybd image 1\0");
        for (number, layer) in self.layers.iter().enumerate() {
            add_layer(layer, &mut hash)
                .map_err(|error| error.within(place(number, self.layers.len())))?;
        }
        Ok(hex(&hash.finalize()))
    }
}

/// Adds a layer to the fingerprint.
fn add_layer(layer: &Layer, hash: &mut Sha256) -> Result<()> {
    let content = layer.content();
    let mut codec = Codec::default();
    hash.update(content.len().to_le_bytes());
    if let Some(zfile) = content.zfile() {
        let layout = zfile.layout();
        in_pieces(layout.index_len().get(), |at, piece| {
            zfile
                .payload()
                .read(layout.index_offset().get() + at, piece)?;
            hash.update(&*piece);
            Ok(())
        })?;
    }
    let header = HEADER_LEN as u64;
    let index = layer.lsmt().index_offset().get();
    let first_end = index.min(header + SAMPLE);
    let last_start = first_end.max(index.saturating_sub(SAMPLE));
    for (start, end) in [(0, first_end), (last_start, content.len())] {
        in_pieces(end.saturating_sub(start), |at, piece| {
            content.read(start + at, piece, &mut codec)?;
            hash.update(&*piece);
            Ok(())
        })?;
    }
    Ok(())
}

/// Refuses a number of layers that no image can have.
pub(crate) fn check_count(layers: usize) -> Result<()> {
    if (1..=MAX_LAYERS).contains(&layers) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "an image has 1 to {MAX_LAYERS} layers, not {layers}"
    )))
}

/// Refuses the size of an image if it is 0 in all layers.
pub(crate) fn check_size(size: Bytes) -> Result<()> {
    if size.get() > 0 {
        return Ok(());
    }
    Err(Error::refused(
        "no layer says how large the image is: the virtual size is 0 in all of them",
    ))
}

/// A layer for a message. The lowest is number 1.
fn place(number: usize, of: usize) -> String {
    format!("layer {} of {of}", number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Files;
    use overlaybd_image::{LayerWriter, Wrapper, ZfileWriter};

    fn base(byte: u8) -> Vec<u8> {
        LayerWriter::new(1 << 20).data(0, &[byte; 8192]).write()
    }

    #[test]
    fn all_kinds_of_layers_together() {
        let files = Files::new();
        let zfile = ZfileWriter::new().write(&base(1));
        let image = Image::open(&[
            files.layer("0", &zfile),
            files.layer("1", &Wrapper::Pax.wrap(&zfile)),
            files.layer("2", &LayerWriter::new(0).write()),
        ])
        .unwrap();
        assert_eq!(image.virtual_size(), 1 << 20);
        assert_eq!(image.layers().len(), 3);
    }

    #[test]
    fn the_lowest_bad_layer_is_named() {
        let files = Files::new();
        let mut cut = base(2);
        cut.truncate(5000);
        let error = Image::open(&[
            files.layer("good", &base(1)),
            files.layer("cut", &cut),
            files.layer("none", b"nothing"),
        ])
        .unwrap_err()
        .to_string();
        assert!(error.starts_with("layer 2 of 3: "), "{error}");
        assert!(error.contains("/cut: LSMT"), "{error}");
    }

    #[test]
    fn an_image_without_a_size_is_refused() {
        let files = Files::new();
        let error = Image::open(&[files.layer("0", &LayerWriter::new(0).write())]).unwrap_err();
        assert!(error.to_string().contains("virtual size is 0"), "{error}");
        assert!(Image::open(&[]).is_err());
    }

    #[test]
    fn the_fingerprint_is_of_the_content() {
        let files = Files::new();
        let print = |file: &LayerFile| {
            Image::open(std::slice::from_ref(file))
                .unwrap()
                .fingerprint()
                .unwrap()
        };
        let first = print(&files.layer("a", &base(1)));
        assert_eq!(first, print(&files.layer("b", &base(1))));
        assert_eq!(
            first,
            print(&files.layer("tar", &Wrapper::Ustar.wrap(&base(1))))
        );
        assert_ne!(first, print(&files.layer("c", &base(2))));
        assert_eq!(first.len(), 64);
    }
}
