// SPDX-License-Identifier: GPL-2.0

//! Makes images that the set of reference images has none of, and what reading them must give.
//!
//! They depend on the seed alone. The writers are those of `overlaybd-image`; nothing here knows
//! the formats.

use overlaybd_format::zfile::Algorithm;
use overlaybd_image::{LayerWriter, ZfileWriter};
use overlaybd_tools::{
    args::{self, Args},
    Context, Failure, SECTOR,
};
use std::{fmt::Write as _, os::unix::fs::FileExt, path::Path};

const USAGE: &str = "usage:
  mkimage zfile FILE --bytes N|--zeros N|--content FILE [--seed N] [--block-size N] [--zstd]
      [--no-verify] [--no-digest] [--overwrite-header]
      a ZFile of that content, of zeros, or of made-up content, which FILE.content then holds
  mkimage nested FILE --levels N --bytes N [options as above]
      a ZFile of a ZFile of ... of content that compresses well at every level and differs from
      block to block, which FILE.content then holds; prints 'SECTORS ZFILE-BYTES' for each level, the
      outermost first
  mkimage claim FILE --blocks N [--block-size N]
      a ZFile that says it has so many blocks, and has none; a sparse file
  mkimage layer FILE --extents N
      a layer of so many extents, a sector each, with a sector between them
  mkimage stack DIR --layers N [--seed N] [--unit SECTORS]
      a stack of layers: DIR/layers holds them one after the other, DIR/table has a line
      'FIRST-SECTOR SECTORS' for each, the lowest first, DIR/content is what the stack holds.
      Some part of every layer is visible; all extents are multiples of the unit
  mkimage split PREFIX --content FILE --layers N [--seed N] [--block-size N] [--zstd]
      [--no-verify]
      the content as layers that together hold it, in stretches of 64 KiB to 8 MiB by turns of
      chance, each layer in a ZFile PREFIX.NUMBER; prints 'ZFILE-BYTES LAYER-BYTES' for each, the
      lowest first. Long runs of zeros are in no layer
  mkimage segments PREFIX --segments N --layers N [--seed N]
      layers PREFIX.NUMBER whose merged index has exactly so many segments, of 1 to 3 pages: each
      segment is in another layer than the one before. Prints the bytes of each, then of the image";

fn main() {
    args::run(|| {
        let mut args = Args::parse(
            &["zstd", "no-verify", "no-digest", "overwrite-header", "help"],
            &[
                "blocks",
                "bytes",
                "content",
                "seed",
                "block-size",
                "layers",
                "levels",
                "unit",
                "extents",
                "zeros",
                "segments",
            ],
        )?;
        if args.flag("help") {
            println!("{USAGE}");
            return Ok(());
        }
        let command = args.word("the command")?;
        let path = args.word("the path")?;
        match command.as_str() {
            "zfile" => zfile(&path, &args),
            "nested" => nested(&path, &args),
            "claim" => claim(&path, &args),
            "layer" => layer(&path, &args),
            "stack" => stack(Path::new(&path), &args),
            "split" => split(&path, &args),
            "segments" => segments(&path, &args),
            other => Err(format!("there is no command {other}\n{USAGE}")),
        }
    })
}

fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Failure> {
    let path = path.as_ref();
    std::fs::write(path, bytes).context(path.display())
}

/// Bytes of all sorts, in stretches: zeros, a repeated phrase, noise.
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

fn zfile(path: &str, args: &Args) -> Result<(), Failure> {
    let given: Option<String> = args.get("content")?;
    let zeros: Option<usize> = args.get("zeros")?;
    let content = if let Some(given) = &given {
        std::fs::read(given).context(given)?
    } else if let Some(len) = zeros {
        vec![0; len]
    } else {
        let len = args.get("bytes")?.ok_or("--bytes is missing")?;
        let mut rng = fastrand::Rng::with_seed(args.get("seed")?.unwrap_or(1));
        content(&mut rng, len)
    };
    write(path, &zfile_writer(args)?.write(&content))?;
    if given.is_some() || zeros.is_some() {
        return Ok(());
    }
    write(format!("{path}.content"), &content)
}

fn nested(path: &str, args: &Args) -> Result<(), Failure> {
    let levels: usize = args.get("levels")?.ok_or("--levels is missing")?;
    let len: usize = args.get("bytes")?.ok_or("--bytes is missing")?;
    let block_size: usize = args.get("block-size")?.unwrap_or(4096);
    let content: Vec<u8> = (0..len)
        .map(|at| (at / block_size).to_le_bytes()[at % size_of::<usize>()])
        .collect();
    write(format!("{path}.content"), &content)?;
    let writer = zfile_writer(args)?;
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

/// The writer that the options ask for.
fn zfile_writer(args: &Args) -> Result<ZfileWriter, Failure> {
    let algorithm = if args.flag("zstd") {
        Algorithm::Zstd
    } else {
        Algorithm::Lz4
    };
    Ok(ZfileWriter::new()
        .algorithm(algorithm)
        .block_size(args.get("block-size")?.unwrap_or(4096))
        .verify(!args.flag("no-verify"))
        .digest(!args.flag("no-digest"))
        .overwrite_header(args.flag("overwrite-header")))
}

fn claim(path: &str, args: &Args) -> Result<(), Failure> {
    let blocks = args.get("blocks")?.ok_or("--blocks is missing")?;
    let (header, trailer, len) = zfile_writer(args)?.claim(blocks);
    let file = std::fs::File::create(path).context(path)?;
    file.write_all_at(&header, 0).context(path)?;
    file.write_all_at(&trailer, len - trailer.len() as u64)
        .context(path)
}

fn layer(path: &str, args: &Args) -> Result<(), Failure> {
    let extents: u64 = args.get("extents")?.ok_or("--extents is missing")?;
    let mut layer = LayerWriter::new(2 * extents * SECTOR);
    for n in 0..extents {
        layer = layer.data(2 * n, &[n as u8; SECTOR as usize]);
    }
    write(path, &layer.write())
}

/// What each layer has to itself, in units: an extent of it lies there and in no other layer.
const OWN: u64 = 2;
/// What all layers write to, in units.
const SHARED: u64 = 1024;

fn stack(dir: &Path, args: &Args) -> Result<(), Failure> {
    let layers: u64 = args.get("layers")?.ok_or("--layers is missing")?;
    let unit: u64 = args.get("unit")?.unwrap_or(1);
    let mut rng = fastrand::Rng::with_seed(args.get("seed")?.unwrap_or(1));
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
        // Every fourth layer has its data in another order than its index.
        if number % 4 == 3 {
            layer = layer.shuffle(number);
        }
        let mut blob = layer.write();
        let sectors = blob.len() as u64 / SECTOR;
        let first = blobs.len() as u64 / SECTOR;
        writeln!(table, "{first} {sectors}").context("table")?;
        // Layers begin on a boundary that any device has.
        blob.resize(blob.len().next_multiple_of(4096), 0);
        blobs.extend(blob);
    }
    std::fs::create_dir_all(dir).context(dir.display())?;
    write(dir.join("layers"), &blobs)?;
    write(dir.join("table"), table.as_bytes())?;
    write(dir.join("content"), &image)
}

/// The unit that layers are split in, in bytes: the block of a file system.
const PAGE: usize = 4096;

/// A run of zeros of so many pages is left out of all layers.
const HOLE: usize = 16;

fn split(prefix: &str, args: &Args) -> Result<(), Failure> {
    let from: String = args.get("content")?.ok_or("--content is missing")?;
    let layers: usize = args.get("layers")?.ok_or("--layers is missing")?;
    let mut rng = fastrand::Rng::with_seed(args.get("seed")?.unwrap_or(1));
    let content = std::fs::read(&from).context(&from)?;
    if layers == 0 || content.len() % PAGE != 0 {
        return Err(format!("{from} is not whole pages, or there are no layers"));
    }
    // One layer at a time: each holds a copy of its part.
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
        let file = zfile_writer(args)?.write(&layer);
        write(format!("{prefix}.{number}"), &file)?;
        println!("{} {}", file.len(), layer.len());
    }
    Ok(())
}

fn segments(prefix: &str, args: &Args) -> Result<(), Failure> {
    let count: usize = args.get("segments")?.ok_or("--segments is missing")?;
    let layers: usize = args.get("layers")?.ok_or("--layers is missing")?;
    if layers < 2 {
        return Err("segments of one layer that touch would be merged into one: --layers 2".into());
    }
    let mut rng = fastrand::Rng::with_seed(args.get("seed")?.unwrap_or(1));
    let lens: Vec<usize> = (0..count).map(|_| rng.usize(1..=3) * PAGE).collect();
    let total = lens.iter().sum::<usize>() as u64;
    let noise = content(&mut rng, 1 << 20);
    for number in 0..layers {
        let mut layer = LayerWriter::new(total);
        let mut at = 0;
        for (n, &len) in lens.iter().enumerate() {
            if n % layers == number {
                let from = rng.usize(0..noise.len() - 3 * PAGE);
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
