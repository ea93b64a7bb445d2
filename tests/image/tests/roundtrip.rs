// SPDX-License-Identifier: GPL-2.0

//! The readers read what the writers of this crate write, for every shape: all block sizes, with
//! and without CRC, digests and tar, data in any order inside the blob.

use overlaybd_format::units::BlockIndex;
use overlaybd_format::zfile::{Algorithm, JumpTableBuilder};
use overlaybd_image::{
    crc32c, Blob, LayerWriter, Padding, ReadAt, Stack, Wrapper, ZfileReader, ZfileWriter,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, Index};

const BLOCK_SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/// Content of every kind: compressible, incompressible, zero, in runs of any length.
fn content(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let run = (0u8..4, 1usize..most / 4, any::<u64>());
    vec(run, 1..6).prop_map(|runs| {
        let mut bytes = Vec::new();
        for (kind, len, seed) in runs {
            let mut random = seed | 1;
            bytes.extend((0..len).map(|at| match kind {
                0 => 0,
                1 => at.to_le_bytes()[0] & 7,
                2 => seed.to_le_bytes()[0],
                _ => {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random.to_le_bytes()[0]
                }
            }));
        }
        bytes
    })
}

fn writer() -> impl Strategy<Value = ZfileWriter> {
    let algorithm = select(vec![Algorithm::Lz4, Algorithm::Zstd]);
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    (select(&BLOCK_SIZES[..]), algorithm, switches).prop_map(
        |(block_size, algorithm, (verify, digest, overwrite))| {
            ZfileWriter::new()
                .block_size(block_size)
                .algorithm(algorithm)
                .verify(verify)
                .digest(digest)
                .overwrite_header(overwrite)
        },
    )
}

fn wrapper() -> impl Strategy<Value = Option<Wrapper>> {
    select(vec![None, Some(Wrapper::Pax), Some(Wrapper::Ustar)])
}

fn wrap(wrapper: Option<Wrapper>, bytes: Vec<u8>) -> Vec<u8> {
    match wrapper {
        Some(wrapper) => wrapper.wrap(&bytes),
        None => bytes,
    }
}

#[test]
fn every_block_size_and_switch() {
    let content: Vec<u8> = (0..300_001u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0] & (at >> 14) as u8)
        .collect();
    for block_size in BLOCK_SIZES {
        for algorithm in [Algorithm::Lz4, Algorithm::Zstd] {
            for switches in 0..8 {
                let file = ZfileWriter::new()
                    .block_size(block_size)
                    .algorithm(algorithm)
                    .verify(switches & 1 != 0)
                    .digest(switches & 2 != 0)
                    .overwrite_header(switches & 4 != 0)
                    .write(&content);
                let zfile = ZfileReader::open(file).unwrap();
                assert_eq!(zfile.layout().block_size().get(), block_size);
                assert_eq!(zfile.layout().verify(), switches & 1 != 0);
                assert_eq!(zfile.layout().index_crc().is_some(), switches & 2 != 0);
                assert_eq!(zfile.read_all().unwrap(), content);
            }
        }
    }
}

#[test]
fn incompressible_blocks_grow() {
    let mut random = 88_172_645_463_325_252u64;
    let content: Vec<u8> = (0..200_000)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()[0]
        })
        .collect();
    for block_size in BLOCK_SIZES {
        let file = ZfileWriter::new().block_size(block_size).write(&content);
        let zfile = ZfileReader::open(file).unwrap();
        let first = zfile.table().stored(BlockIndex::new(0)).unwrap();
        assert!(first.len > block_size && first.len <= zfile.layout().max_stored_len());
        assert_eq!(zfile.read_all().unwrap(), content);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn zfile_reads_anywhere(
        content in content(200_000),
        writer in writer(),
        wrapper in wrapper(),
        reads in vec((any::<Index>(), any::<Index>()), 8),
    ) {
        let file = wrap(wrapper, writer.write(&content));
        let blob = Blob::open(file).unwrap();
        prop_assert_eq!(blob.len(), content.len() as u64);
        for (from, len) in reads {
            let from = from.index(content.len());
            let len = len.index(content.len() - from + 1);
            let mut found = vec![0x5a; len];
            blob.read_at(from as u64, &mut found).unwrap();
            prop_assert!(found == content[from..from + len]);
        }
        let mut one = [0];
        prop_assert!(blob.read_at(content.len() as u64, &mut one).is_err());
    }

    #[test]
    fn the_index_in_any_pieces(
        content in content(100_000),
        writer in writer(),
        cuts in vec(1usize..700, 1..20),
    ) {
        let file = writer.write(&content);
        let zfile = ZfileReader::open(file.clone()).unwrap();
        let layout = *zfile.layout();
        let start = layout.index_offset().get() as usize;
        let mut rest = &file[start..start + layout.index_len().get() as usize];
        let mut memory = vec![overlaybd_format::zfile::Group::EMPTY; 1000];
        let mut builder = JumpTableBuilder::new(layout, &mut memory[..], crc32c).unwrap();
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            builder.push(piece).unwrap();
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let table = builder.finish().unwrap();
        for block in (0..layout.block_count()).map(BlockIndex::new) {
            prop_assert_eq!(table.stored(block), zfile.table().stored(block));
        }
    }

    /// The builder takes whole groups of entries at once where it can: the table or the error is
    /// the same as with one entry at a time.
    #[test]
    fn an_index_of_anything_in_any_pieces(
        blocks in 1usize..400,
        writer in writer(),
        wrong in vec((any::<Index>(), any::<Index>()), 0..3),
        surplus in prop_oneof![3 => Just(0isize), 1 => -70isize..70],
        room in prop_oneof![2 => Just(usize::MAX), 1 => 0usize..5000],
        cuts in vec(1usize..700, 1..20),
    ) {
        let file = writer.block_size(512).write(&vec![0; blocks * 512]);
        let layout = *ZfileReader::open(file.clone()).unwrap().layout();
        let start = layout.index_offset().get() as usize;
        let mut lens: Vec<u32> = file[start..start + layout.index_len().get() as usize]
            .chunks(4)
            .map(|entry| u32::from_le_bytes(entry.try_into().unwrap()))
            .collect();
        let (min, max) = (layout.min_stored_len(), layout.max_stored_len());
        let values = [min, max, min - 1, max + 1, 1 << 16, 1 << 31, u32::MAX];
        for (at, value) in wrong {
            let at = at.index(lens.len());
            lens[at] = values[value.index(values.len())];
        }
        lens.resize(lens.len().saturating_add_signed(surplus), min);
        let index: Vec<u8> = lens.iter().flat_map(|len| len.to_le_bytes()).collect();
        let take = |pieces: &mut dyn Iterator<Item = usize>| {
            let memory = vec![overlaybd_format::zfile::Group::EMPTY; 1000];
            let mut builder = JumpTableBuilder::new(layout, memory, crc32c)?;
            let mut rest = index.as_slice();
            while !rest.is_empty() {
                let piece = pieces.next().unwrap_or(room).min(rest.len()).max(1);
                let (piece, behind) = rest.split_at(piece);
                builder.push(piece)?;
                rest = behind;
            }
            let table = builder.finish()?;
            let blocks = (0..layout.block_count()).map(BlockIndex::new);
            Ok::<Vec<_>, overlaybd_format::zfile::OpenError>(
                blocks.map(|block| table.stored(block)).collect(),
            )
        };
        let wanted = take(&mut std::iter::repeat(4));
        prop_assert_eq!(&take(&mut std::iter::empty()), &wanted);
        prop_assert_eq!(&take(&mut cuts.into_iter()), &wanted);
    }

    /// A damaged file is refused or read, and never crashes the reader.
    #[test]
    fn any_byte_of_a_zfile_may_be_wrong(
        content in content(20_000),
        writer in writer(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        in_areas in any::<bool>(),
    ) {
        let mut file = writer.write(&content);
        for (at, value) in damage {
            let at = if in_areas {
                // Header, or trailer and most of the index.
                let at = at.index(192);
                if at < 96 { at } else { file.len() - 512 + at - 96 }
            } else {
                at.index(file.len())
            };
            file[at] = value;
        }
        if let Ok(zfile) = ZfileReader::open(file) {
            for at in (0..zfile.len()).step_by(zfile.layout().block_size().to_usize()) {
                let mut byte = [0];
                let _ = zfile.read_at(at, &mut byte);
            }
        }
    }
}

/// The extents of one layer: gap, sectors, zeroed.
fn extents() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
    vec((0u64..12, 1u64..16, any::<bool>()), 0..12)
}

/// How a layer is written.
fn layer_shape() -> impl Strategy<Value = LayerShape> {
    let zfile = prop_oneof![Just(None), writer().prop_map(Some)];
    let shuffle = prop_oneof![Just(None), any::<u64>().prop_map(Some)];
    (
        extents(),
        any::<bool>(),
        any::<u8>(),
        shuffle,
        0usize..4,
        zfile,
        wrapper(),
    )
        .prop_map(
            |(extents, sealed, tag, shuffle, sprinkle, zfile, wrapper)| LayerShape {
                extents,
                sealed,
                tag,
                shuffle,
                sprinkle,
                zfile,
                wrapper,
            },
        )
}

#[derive(Clone, Debug)]
struct LayerShape {
    extents: Vec<(u64, u64, bool)>,
    sealed: bool,
    tag: u8,
    shuffle: Option<u64>,
    sprinkle: usize,
    zfile: Option<ZfileWriter>,
    wrapper: Option<Wrapper>,
}

const IMAGE_SECTORS: u64 = 400;

impl LayerShape {
    /// Writes the layer, and paints it over the expected image.
    fn write(&self, number: usize, image: &mut [u8]) -> Vec<u8> {
        let mut layer = LayerWriter::new(IMAGE_SECTORS * 512)
            .tag(self.tag)
            .sprinkle_padding(self.sprinkle);
        if self.sealed {
            layer = layer.padding(Padding::Sealed);
        }
        if let Some(seed) = self.shuffle {
            layer = layer.shuffle(seed);
        }
        let mut at = 0;
        for (gap, sectors, zeroed) in &self.extents {
            at += gap;
            let place = at as usize * 512..(at + sectors) as usize * 512;
            if *zeroed {
                layer = layer.zeros(at, *sectors);
                image[place].fill(0);
            } else {
                let data: Vec<u8> = place
                    .clone()
                    .map(|byte| ((byte / 512) as u8).wrapping_mul(7) ^ (number as u8 + 1))
                    .collect();
                layer = layer.data(at, &data);
                image[place].copy_from_slice(&data);
            }
            at += sectors;
        }
        let blob = layer.write();
        let blob = match &self.zfile {
            Some(zfile) => zfile.write(&blob),
            None => blob,
        };
        wrap(self.wrapper, blob)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_stack_of_any_layers(
        shapes in vec(layer_shape(), 1..7),
        reads in vec((0..IMAGE_SECTORS, 1u64..50), 8),
    ) {
        let mut image = vec![0; IMAGE_SECTORS as usize * 512];
        let files: Vec<Vec<u8>> = shapes
            .iter()
            .enumerate()
            .map(|(number, shape)| shape.write(number, &mut image))
            .collect();
        let stack = Stack::open(files).unwrap();
        prop_assert!(stack.read_all().unwrap() == image);
        for (sector, sectors) in reads {
            let from = sector as usize * 512;
            let to = (sector + sectors).min(IMAGE_SECTORS) as usize * 512;
            let mut found = vec![0x5a; to - from];
            stack.read_at(from as u64, &mut found).unwrap();
            prop_assert!(found == image[from..to]);
        }
    }

    /// A damaged layer is refused or read, and never crashes the reader.
    #[test]
    fn any_byte_of_a_layer_may_be_wrong(
        shape in layer_shape(),
        damage in vec((any::<Index>(), any::<u8>()), 1..5),
    ) {
        let shape = LayerShape { zfile: None, wrapper: None, ..shape };
        let mut image = vec![0; IMAGE_SECTORS as usize * 512];
        let mut file = shape.write(0, &mut image);
        // The fields of header and trailer, and the index, are in these ranges.
        let end = file.len();
        for (at, value) in damage {
            let at = at.index(64 + 4096 + 64);
            let at = match at {
                0..64 => at,
                64..128 => end - 4096 + at - 64,
                _ => (end - 4096).saturating_sub(at - 127),
            };
            file[at] = value;
        }
        if let Ok(stack) = Stack::open([file]) {
            for at in (0..stack.len().min(IMAGE_SECTORS * 512)).step_by(512) {
                let mut sector = [0; 512];
                stack.read_at(at, &mut sector).unwrap();
            }
        }
    }
}
