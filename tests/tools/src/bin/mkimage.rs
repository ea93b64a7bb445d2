// SPDX-License-Identifier: GPL-2.0

//! Writes images that the set of reference images lacks, and what they must hold.
//!
//! They depend on the seed alone. The writers are those of `overlaybd-image`; nothing here knows
//! the formats.

use clap::{Args, Parser};
use overlaybd_format::zfile::Algorithm;
use overlaybd_image::{LayerWriter, ZfileWriter};
use overlaybd_tools::{Context, Failure, SECTOR};
use std::{
    fmt::Write as _,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Writes images that the set of reference images lacks, and what they must hold.
#[derive(Parser)]
enum Command {
    /// A ZFile of the content given, or of generated content, which FILE.content then holds
    Zfile {
        file: String,
        #[command(flatten)]
        content: Source,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        options: ZfileOptions,
    },
    /// A ZFile of a ZFile of ... of content that compresses well at every level and differs from
    /// block to block, which FILE.content then holds
    ///
    /// Prints 'SECTORS ZFILE-BYTES' for each level, the outermost first.
    Nested {
        file: String,
        #[arg(long)]
        levels: usize,
        /// The length of the content
        #[arg(long)]
        bytes: usize,
        #[command(flatten)]
        options: ZfileOptions,
    },
    /// A sparse file: a ZFile that claims that many blocks, and has none
    Claim {
        file: String,
        #[arg(long)]
        blocks: u64,
        #[command(flatten)]
        options: ZfileOptions,
    },
    /// A layer of that many extents, a sector each, with a sector between them
    Layer {
        file: String,
        #[arg(long)]
        extents: u64,
    },
    /// A layer of an image of that many TiB, in a sparse file that is longer still
    ///
    /// It has a MiB of data at the beginning, in the middle and at the end, which FILE.content
    /// holds one after the other.
    Far {
        file: String,
        #[arg(long)]
        tib: u64,
    },
    /// A stack of layers
    ///
    /// DIR/layers holds them one after the other. DIR/table has a line 'FIRST-SECTOR SECTORS' for
    /// each, the lowest first. DIR/content is what the stack holds. Some part of every layer is
    /// visible.
    Stack {
        dir: PathBuf,
        #[arg(long)]
        layers: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// All extents, and where their data is stored, are multiples of this many sectors
        #[arg(long, default_value_t = 1)]
        unit: u64,
    },
    /// The content as layers that together hold it, each in a ZFile PREFIX.NUMBER
    ///
    /// A layer holds stretches of 64 KiB to 8 MiB, which a seed distributes. Long runs of zeros are
    /// in no layer. Prints 'ZFILE-BYTES LAYER-BYTES' for each, the lowest first.
    Split {
        prefix: String,
        #[arg(long, value_name = "FILE")]
        content: PathBuf,
        #[arg(long)]
        layers: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        options: ZfileOptions,
    },
    /// Layers PREFIX.NUMBER whose merged index has exactly that many segments
    ///
    /// Each segment is in another layer than the one before. Prints the bytes of each layer, then
    /// of the image.
    Segments {
        prefix: String,
        #[arg(long)]
        segments: usize,
        #[arg(long)]
        layers: usize,
        /// A segment has 1 to this many units
        #[arg(long, default_value_t = 3)]
        most: usize,
        /// The unit in bytes: a sector, or more of them
        #[arg(long, default_value_t = PAGE)]
        unit: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// The content of a ZFile.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Generated content of this length
    #[arg(long)]
    bytes: Option<usize>,
    /// That many zeros
    #[arg(long)]
    zeros: Option<usize>,
    /// What a file holds
    #[arg(long, value_name = "FILE")]
    content: Option<PathBuf>,
}

/// How a ZFile is written.
#[derive(Args)]
struct ZfileOptions {
    #[arg(long, default_value_t = 4096)]
    block_size: u32,
    /// ZSTD instead of LZ4
    #[arg(long)]
    zstd: bool,
    /// Without CRCs of blocks
    #[arg(long)]
    no_verify: bool,
    /// Without digests of header and trailer
    #[arg(long)]
    no_digest: bool,
    /// The header is complete, as after the writer has overwritten it
    #[arg(long)]
    overwrite_header: bool,
}

impl ZfileOptions {
    fn writer(&self) -> ZfileWriter {
        let algorithm = if self.zstd {
            Algorithm::Zstd
        } else {
            Algorithm::Lz4
        };
        ZfileWriter::new()
            .algorithm(algorithm)
            .block_size(self.block_size)
            .verify(!self.no_verify)
            .digest(!self.no_digest)
            .overwrite_header(self.overwrite_header)
    }
}

fn main() {
    let command = Command::parse();
    overlaybd_tools::run(|| match command {
        Command::Zfile {
            file,
            content,
            seed,
            options,
        } => zfile(&file, &content, seed, &options),
        Command::Nested {
            file,
            levels,
            bytes,
            options,
        } => nested(&file, levels, bytes, &options),
        Command::Claim {
            file,
            blocks,
            options,
        } => claim(&file, blocks, &options),
        Command::Layer { file, extents } => layer(&file, extents),
        Command::Far { file, tib } => far(&file, tib),
        Command::Stack {
            dir,
            layers,
            seed,
            unit,
        } => stack(&dir, layers, seed, unit),
        Command::Split {
            prefix,
            content,
            layers,
            seed,
            options,
        } => split(&prefix, &content, layers, seed, &options),
        Command::Segments {
            prefix,
            segments: count,
            layers,
            most,
            unit,
            seed,
        } => {
            let mut rng = fastrand::Rng::with_seed(seed);
            let lens: Vec<usize> = (0..count).map(|_| rng.usize(1..=most) * unit).collect();
            segments(&prefix, &lens, layers, &mut rng)
        }
    })
}

fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Failure> {
    let path = path.as_ref();
    std::fs::write(path, bytes).context(path.display())
}

/// Content in stretches of different kinds: zeros, a repeated phrase, noise.
fn content(rng: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8192);
    while bytes.len() < len {
        let stretch = rng.usize(1..8192);
        match rng.u8(0..4) {
            0 => bytes.resize(bytes.len() + stretch, 0),
            1 => {
                let phrase: Vec<u8> = (0..rng.usize(1..100)).map(|_| rng.u8(..)).collect();
                bytes.extend(phrase.iter().cycle().take(stretch));
            }
            _ => bytes.extend((0..stretch).map(|_| rng.u8(..))),
        }
    }
    bytes.truncate(len);
    bytes
}

fn zfile(path: &str, from: &Source, seed: u64, options: &ZfileOptions) -> Result<(), Failure> {
    let content = match *from {
        Source {
            content: Some(ref given),
            ..
        } => std::fs::read(given).context(given.display())?,
        Source {
            zeros: Some(len), ..
        } => vec![0; len],
        Source { bytes, .. } => {
            let len = bytes.ok_or("--bytes is missing")?;
            let content = content(&mut fastrand::Rng::with_seed(seed), len);
            write(format!("{path}.content"), &content)?;
            content
        }
    };
    write(path, &options.writer().write(&content))
}

fn nested(path: &str, levels: usize, len: usize, options: &ZfileOptions) -> Result<(), Failure> {
    let block_size = options.block_size as usize;
    let content: Vec<u8> = (0..len)
        .map(|at| (at / block_size).to_le_bytes()[at % size_of::<usize>()])
        .collect();
    write(format!("{path}.content"), &content)?;
    let writer = options.writer();
    let mut inner = content;
    let mut lines = Vec::new();
    for _ in 0..levels {
        let outer = writer.write(&inner);
        lines.push(format!("{} {}", inner.len() as u64 / SECTOR, outer.len()));
        inner = outer;
        // The device below holds whole sectors.
        inner.resize(inner.len().next_multiple_of(SECTOR as usize), 0);
    }
    for line in lines.iter().rev() {
        println!("{line}");
    }
    write(path, &inner)
}

fn claim(path: &str, blocks: u64, options: &ZfileOptions) -> Result<(), Failure> {
    let (header, trailer, len) = options.writer().claim(blocks);
    let file = std::fs::File::create(path).context(path)?;
    file.write_all_at(&header, 0).context(path)?;
    file.write_all_at(&trailer, len - trailer.len() as u64)
        .context(path)
}

fn layer(path: &str, extents: u64) -> Result<(), Failure> {
    let mut layer = LayerWriter::new(2 * extents * SECTOR);
    for n in 0..extents {
        layer = layer.data(2 * n, &[n as u8; SECTOR as usize]);
    }
    write(path, &layer.write())
}

/// Sectors of the header of a layer.
const AREA: u64 = 8;

fn far(path: &str, tib: u64) -> Result<(), Failure> {
    const MIB: u64 = 1 << 20;
    let size = tib << 40;
    let places = [0, size / 2, size - MIB];
    let bytes = content(
        &mut fastrand::Rng::with_seed(tib),
        places.len() * MIB as usize,
    );
    write(format!("{path}.content"), &bytes)?;
    let mut layer = LayerWriter::new(size);
    for (place, data) in places.iter().zip(bytes.chunks(MIB as usize)) {
        layer = layer.data(place / SECTOR, data);
    }
    let blob = layer.write_with_gap(size / SECTOR);
    let (header, rest) = blob.split_at((AREA * SECTOR) as usize);
    let file = std::fs::File::create(path).context(path)?;
    file.write_all_at(header, 0).context(path)?;
    file.write_all_at(rest, size + header.len() as u64)
        .context(path)
}

/// The units that belong to one layer alone: it has an extent there, and no other layer has.
const OWN: u64 = 2;
/// The units that all layers write to.
const SHARED: u64 = 1024;

fn stack(dir: &Path, layers: u64, seed: u64, unit: u64) -> Result<(), Failure> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let units = layers * OWN + SHARED;
    let bytes = |units: u64| (units * unit * SECTOR) as usize;
    let mut image = vec![0; bytes(units)];
    let (mut blobs, mut table) = (Vec::new(), String::new());
    for number in 0..layers {
        let mut layer = LayerWriter::new(image.len() as u64);
        // Where extents are, in units: the layer's own, then some of the shared ones.
        let mut extents = vec![(number * OWN, 1)];
        let mut at = layers * OWN;
        for _ in 0..6 {
            at += rng.u64(0..SHARED / 8);
            let len = rng.u64(1..32).min(units.saturating_sub(at));
            if len > 0 {
                extents.push((at, len));
            }
            at += len;
        }
        for (at, len) in extents {
            let place = &mut image[bytes(at)..bytes(at + len)];
            if at >= layers * OWN && rng.u8(0..4) == 0 {
                layer = layer.zeros(at * unit, len * unit);
                place.fill(0);
            } else {
                let data = content(&mut rng, place.len());
                layer = layer.data(at * unit, &data);
                place.copy_from_slice(&data);
            }
        }
        // In every fourth layer the data has another order than the index.
        if number % 4 == 3 {
            layer = layer.shuffle(number);
        }
        // The data begins at a unit as well.
        let gap = AREA.next_multiple_of(unit) - AREA;
        let mut blob = layer.write_with_gap(gap);
        let zeros = vec![0; (gap * SECTOR) as usize];
        let header_end = (AREA * SECTOR) as usize;
        blob.splice(header_end..header_end, zeros);
        let sectors = blob.len() as u64 / SECTOR;
        let first = blobs.len() as u64 / SECTOR;
        writeln!(table, "{first} {sectors}").context("table")?;
        // Layers begin on a block boundary of any device.
        blob.resize(blob.len().next_multiple_of(4096), 0);
        blobs.extend(blob);
    }
    std::fs::create_dir_all(dir).context(dir.display())?;
    write(dir.join("layers"), &blobs)?;
    write(dir.join("table"), table.as_bytes())?;
    write(dir.join("content"), &image)
}

/// The unit of [`split`] in bytes: the block of a file system.
const PAGE: usize = 4096;

/// A run of zeros of this many pages is in no layer.
const HOLE: usize = 16;

fn split(
    prefix: &str,
    from: &Path,
    layers: usize,
    seed: u64,
    options: &ZfileOptions,
) -> Result<(), Failure> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let content = std::fs::read(from).context(from.display())?;
    if layers == 0 || content.len() % PAGE != 0 {
        let from = from.display();
        return Err(format!("{from} is not whole pages, or there are no layers"));
    }
    // One layer at a time, because each copies its part.
    let pages = content.len() / PAGE;
    let mut stretches = Vec::new();
    let mut at = 0;
    while at < pages {
        let len = (16 << rng.u32(0..8)).min(pages - at);
        stretches.push((rng.usize(0..layers), at..at + len));
        at += len;
    }
    let page = |n: usize| &content[n * PAGE..(n + 1) * PAGE];
    for number in 0..layers {
        let mut layer = LayerWriter::new(content.len() as u64);
        for (_, stretch) in stretches.iter().filter(|(owner, _)| *owner == number) {
            let mut start = stretch.start;
            while start < stretch.end {
                // Data up to the next hole, or to the end of the stretch.
                let mut zeros = 0;
                let mut end = start;
                while end < stretch.end && zeros < HOLE {
                    let empty = page(end).iter().all(|&byte| byte == 0);
                    zeros = if empty { zeros + 1 } else { 0 };
                    end += 1;
                }
                let data = start..if zeros == HOLE { end - HOLE } else { end };
                if !data.is_empty() {
                    let sector = (start * PAGE) as u64 / SECTOR;
                    layer = layer.data(sector, &content[data.start * PAGE..data.end * PAGE]);
                }
                start = end;
                while start < stretch.end && page(start).iter().all(|&byte| byte == 0) {
                    start += 1;
                }
            }
        }
        let layer = layer.write();
        let file = options.writer().write(&layer);
        write(format!("{prefix}.{number}"), &file)?;
        println!("{} {}", file.len(), layer.len());
    }
    Ok(())
}

fn segments(
    prefix: &str,
    lens: &[usize],
    layers: usize,
    rng: &mut fastrand::Rng,
) -> Result<(), Failure> {
    if layers < 2 {
        return Err("segments of one layer that touch would be merged into one: --layers 2".into());
    }
    let total = lens.iter().sum::<usize>() as u64;
    let longest = lens.iter().max().copied().unwrap_or_default();
    let noise = content(rng, (1 << 20) + longest);
    for number in 0..layers {
        let mut layer = LayerWriter::new(total);
        let mut at = 0;
        for (n, &len) in lens.iter().enumerate() {
            if n % layers == number {
                let from = rng.usize(0..noise.len() - longest);
                layer = layer.data(at / SECTOR, &noise[from..from + len]);
            }
            at += len as u64;
        }
        let blob = layer.write();
        write(format!("{prefix}.{number}"), &blob)?;
        println!("{}", blob.len());
    }
    println!("{total}");
    Ok(())
}
