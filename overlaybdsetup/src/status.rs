// SPDX-License-Identifier: GPL-2.0

//! `status` and `list`: what devices there are, what they stand on and what the kernel counts. All of it is asked
//! of the kernel at that moment; nothing is changed.

use crate::cli;
use crate::error::{Error, Result, Status};
use crate::executor::{Number, TableLine};
use crate::mapper::{Info, Mapper};
use crate::mounts::of_device;
use crate::output::{json, print};
use crate::plan::{check_name, node, Kind};
use overlaybd_format::units::SECTOR_SIZE;
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// A device that a caller asked for.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// `image`, or `writable` for one with an exception store.
    pub kind: &'static str,
    /// Its uuid.
    pub uuid: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it can only be read.
    pub read_only: bool,
    /// How many have it open.
    pub users: u32,
    /// Whether it is removed when its last user closes it.
    pub deferred: bool,
    /// Where it is mounted, as far as the caller sees.
    pub mounts: Vec<PathBuf>,
    /// The segments that are left after merging.
    pub segments: u64,
    /// The layers, lowest first.
    pub layers: Vec<LayerReport>,
    /// What the kernel counts, of all layers together.
    pub totals: Counters,
    /// The exception store, if it can be written.
    pub store: Option<StoreReport>,
}

/// A layer of a device.
#[derive(Debug, Default, Serialize)]
pub struct LayerReport {
    /// The name of its device; none if it is not compressed.
    pub device: Option<String>,
    /// How many have that device open.
    pub users: u32,
    /// Its file.
    pub file: Option<PathBuf>,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// Whether the page cache is passed by.
    pub direct_io: bool,
    /// How it is compressed; none if it is not.
    pub algorithm: Option<String>,
    /// The content of a block, in bytes.
    pub block_size: u64,
    /// Whether each block has a checksum.
    pub verify: bool,
    /// How many blocks it has.
    pub blocks: u64,
    /// What the kernel counts.
    #[serde(flatten)]
    pub counters: Counters,
}

/// What the kernel counts of a layer, or of all of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// The memory that indexes take, in bytes.
    pub index_bytes: u64,
    /// Reads of the file that failed.
    pub read_errors: u64,
    /// Blocks that did not match their checksum.
    pub crc_errors: u64,
    /// Blocks that did not decompress.
    pub decompress_errors: u64,
    /// Blocks that were decompressed.
    pub blocks_decompressed: u64,
    /// Reads that were answered from a block kept in memory.
    pub cache_hits: u64,
}

/// The exception store of a device.
#[derive(Debug, Serialize)]
pub struct StoreReport {
    /// Its file.
    pub file: Option<PathBuf>,
    /// `ok`; `full`, where nothing more can be written; or `invalid`, where nothing can be read either.
    pub state: &'static str,
    /// How much of it is used, in bytes.
    pub used_bytes: u64,
    /// How much there is, in bytes.
    pub total_bytes: u64,
}

impl Counters {
    /// The counters of a status line: words and numbers in turns.
    fn of(line: &str) -> Self {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let value = |name: &str| {
            words
                .windows(2)
                .find(|pair| pair[0] == name)
                .and_then(|pair| pair[1].parse().ok())
                .unwrap_or(0)
        };
        Self {
            index_bytes: value("index_bytes"),
            read_errors: value("read_errors"),
            crc_errors: value("crc_errors"),
            decompress_errors: value("decompress_errors"),
            blocks_decompressed: value("blocks_decompressed"),
            cache_hits: value("cache_hits"),
        }
    }

    fn add(&mut self, other: &Self) {
        self.index_bytes += other.index_bytes;
        self.read_errors += other.read_errors;
        self.crc_errors += other.crc_errors;
        self.decompress_errors += other.decompress_errors;
        self.blocks_decompressed += other.blocks_decompressed;
        self.cache_hits += other.cache_hits;
    }
}

/// A number that a status line has behind a word.
fn number_behind(line: &str, name: &str) -> u64 {
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == name);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// `status`.
///
/// # Errors
///
/// [`Status::Device`] if there is no such device; what `out` returns.
pub fn run_status(arguments: &cli::Status, out: &mut dyn Write) -> Result<()> {
    let mapper = Mapper::open()?;
    let reports = match &arguments.name {
        Some(name) => {
            check_name(name)?;
            let info = mapper.info(name)?.filter(is_named).ok_or_else(|| {
                Error::new(
                    Status::Device,
                    format!("{} is no device of overlaybdsetup", node(name).display()),
                )
            })?;
            vec![Report::of(&mapper, &info)?]
        }
        None => all(&mapper)?,
    };
    print(out, |out| match (&arguments.name, arguments.json) {
        (Some(_), true) => json(out, &reports.first()),
        (None, true) => json(out, &reports),
        (_, false) => {
            let text: String = reports.iter().map(Report::text).collect();
            out.write_all(text.as_bytes())
        }
    })
}

/// `list`.
///
/// # Errors
///
/// If the kernel cannot be asked; what `out` returns.
pub fn run_list(arguments: &cli::List, out: &mut dyn Write) -> Result<()> {
    let reports = all(&Mapper::open()?)?;
    print(out, |out| {
        if arguments.json {
            return json(out, &reports);
        }
        for report in &reports {
            let (name, layers) = (&report.name, report.layers.len());
            writeln!(out, "{name}\t{}\t{}\t{layers}", report.kind, report.size)?;
        }
        Ok(())
    })
}

fn is_named(info: &Info) -> bool {
    Kind::of_uuid(&info.uuid).is_some_and(Kind::is_named)
}

/// All devices that callers asked for, by name.
fn all(mapper: &Mapper) -> Result<Vec<Report>> {
    let mut names = mapper.names()?;
    names.sort();
    let mut reports = Vec::new();
    for name in names {
        if let Some(info) = mapper.info(&name)?.filter(is_named) {
            reports.push(Report::of(mapper, &info)?);
        }
    }
    Ok(reports)
}

impl Report {
    /// What there is to say of a device.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn of(mapper: &Mapper, info: &Info) -> Result<Self> {
        let table = mapper.table(&info.name)?;
        let size = table.iter().map(|line| line.1).sum::<u64>() * SECTOR_SIZE;
        let mut report = Self {
            name: info.name.clone(),
            path: node(&info.name),
            kind: match Kind::of_uuid(&info.uuid) {
                Some(Kind::Writable) => "writable",
                _ => "image",
            },
            uuid: info.uuid.clone(),
            size,
            read_only: info.read_only,
            users: info.users,
            deferred: info.deferred,
            mounts: of_device(info.number)?,
            segments: 0,
            layers: Vec::new(),
            totals: Counters::default(),
            store: None,
        };
        if let Some((.., target, arguments)) = table.first() {
            let mut arguments = arguments.split_ascii_whitespace();
            if target == "snapshot" {
                let origin = arguments.next().and_then(dm_name_of);
                let store = arguments.next().unwrap_or_default();
                report.store = Some(StoreReport::of(&mapper.status(&info.name)?, store));
                if let Some(origin) = origin {
                    report.add_layers(mapper, &origin)?;
                }
            } else {
                report.add_layers(mapper, &info.name)?;
            }
        }
        Ok(report)
    }

    /// Adds the layers below the device that merges them.
    fn add_layers(&mut self, mapper: &Mapper, merged: &str) -> Result<()> {
        let status = mapper.status(merged)?;
        let line = status.first().map_or("", |line| line.3.as_str());
        self.segments = number_behind(line, "segments");
        self.totals.add(&Counters::of(line));
        let table = mapper.table(merged)?;
        let Some((.., arguments)) = table.first() else {
            return Ok(());
        };
        // Devices and lengths in turns.
        for device in arguments.split_ascii_whitespace().step_by(2) {
            let layer = LayerReport::of(mapper, device)?;
            self.totals.add(&layer.counters);
            self.layers.push(layer);
        }
        Ok(())
    }

    /// What is printed.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {:<12} {value}", format!("{name}:"));
        };
        line("kind", self.kind.to_string());
        line("uuid", self.uuid.clone());
        line("size", format!("{} bytes", self.size));
        let mode = if self.read_only {
            "read-only"
        } else {
            "read-write"
        };
        line("mode", mode.to_string());
        for folder in &self.mounts {
            line("mounted", folder.display().to_string());
        }
        if let Some(store) = &self.store {
            let file = store.file.as_ref();
            line(
                "store",
                file.map(|file| file.display().to_string())
                    .unwrap_or_default(),
            );
            line("store state", store.state.to_string());
            if store.state == "ok" {
                line(
                    "store used",
                    format!("{} of {} bytes", store.used_bytes, store.total_bytes),
                );
            }
        }
        line("segments", self.segments.to_string());
        line("index", format!("{} bytes", self.totals.index_bytes));
        line("errors", self.totals.errors());
        line("reads", self.totals.reads());
        for (number, layer) in self.layers.iter().enumerate() {
            line(&format!("layer {}", number + 1), layer.text());
        }
        let used = match (self.users, self.deferred) {
            (0, _) => "is not in use",
            (_, false) => "is in use",
            (_, true) => "is in use, and removed when it no longer is",
        };
        format!("{} {used}.\n{text}", self.path.display())
    }
}

impl Counters {
    fn errors(&self) -> String {
        format!(
            "{} read, {} checksum, {} decompression",
            self.read_errors, self.crc_errors, self.decompress_errors
        )
    }

    fn reads(&self) -> String {
        format!(
            "{} blocks decompressed, {} cache hits",
            self.blocks_decompressed, self.cache_hits
        )
    }
}

impl LayerReport {
    /// What there is to say of a layer by the number of its device.
    fn of(mapper: &Mapper, device: &str) -> Result<Self> {
        let Some(name) = dm_name_of(device) else {
            return Ok(Self::of_loop(device));
        };
        let table = mapper.table(&name)?;
        let Some((.., target, arguments)) = table.first() else {
            return Ok(Self::default());
        };
        let lower = arguments
            .split_ascii_whitespace()
            .next()
            .unwrap_or_default();
        if target != "zfile_target" {
            // Whole sectors and the end of a file: the first line has the file.
            return Ok(Self::of_loop(lower));
        }
        let mut layer = Self::of(mapper, lower)?;
        layer.users = mapper.info(&name)?.map_or(0, |info| info.users);
        let status = mapper.status(&name)?;
        let line = status.first().map_or("", |line| line.3.as_str());
        let mut words = line.split_ascii_whitespace();
        layer.algorithm = words.next().map(str::to_string);
        layer.block_size = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        layer.verify = words.next() == Some("verify");
        layer.blocks = number_behind(line, "blocks");
        layer.counters = Counters::of(line);
        layer.device = Some(name);
        Ok(layer)
    }

    fn of_loop(device: &str) -> Self {
        Self {
            file: loop_file(device),
            offset: loop_attribute(device, "offset")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            direct_io: loop_attribute(device, "dio").as_deref() == Some("1"),
            ..Self::default()
        }
    }

    fn text(&self) -> String {
        let file = self.file.as_ref();
        let mut text = file
            .map(|file| file.display().to_string())
            .unwrap_or_default();
        if self.offset > 0 {
            let _ = write!(text, " at {}", self.offset);
        }
        match &self.algorithm {
            Some(algorithm) => {
                let _ = write!(
                    text,
                    ", {algorithm} {}{}: {}; errors: {}",
                    self.block_size,
                    if self.verify { ", checksums" } else { "" },
                    self.counters.reads(),
                    self.counters.errors()
                );
            }
            None => text.push_str(", not compressed"),
        }
        text
    }
}

impl StoreReport {
    /// What a snapshot's status line and its store say: "USED/TOTAL METADATA" in sectors, or a word.
    fn of(status: &[TableLine], store: &str) -> Self {
        let line = status.first().map_or("", |line| line.3.as_str());
        let numbers = line
            .split_ascii_whitespace()
            .next()
            .and_then(|word| word.split_once('/'))
            .and_then(|(used, total)| Some((used.parse().ok()?, total.parse().ok()?)));
        let state = match (numbers, line) {
            (Some(_), _) => "ok",
            (None, "Overflow") => "full",
            (None, _) => "invalid",
        };
        let (used, total): (u64, u64) = numbers.unwrap_or((0, 0));
        Self {
            file: loop_file(store),
            state,
            used_bytes: used * SECTOR_SIZE,
            total_bytes: total * SECTOR_SIZE,
        }
    }
}

/// The name of a device of device-mapper by its number, MAJOR:MINOR; [`None`] if it is none.
fn dm_name_of(device: &str) -> Option<String> {
    let number = parse_number(device)?;
    let name = fs::read_to_string(format!("/sys/dev/block/{number}/dm/name")).ok()?;
    Some(name.trim().to_string())
}

fn parse_number(device: &str) -> Option<Number> {
    let (major, minor) = device.split_once(':')?;
    Some(Number(major.parse().ok()?, minor.parse().ok()?))
}

fn loop_attribute(device: &str, name: &str) -> Option<String> {
    let number = parse_number(device)?;
    let text = fs::read_to_string(format!("/sys/dev/block/{number}/loop/{name}")).ok()?;
    Some(text.trim_end_matches('\n').to_string())
}

fn loop_file(device: &str) -> Option<PathBuf> {
    loop_attribute(device, "backing_file").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_a_status_line() {
        let line = "lz4 4096 verify blocks 893 index_bytes 2016 read_errors 1 crc_errors 2 \
                    decompress_errors 3 blocks_decompressed 4 cache_hits 5";
        let counters = Counters::of(line);
        assert_eq!(
            counters,
            Counters {
                index_bytes: 2016,
                read_errors: 1,
                crc_errors: 2,
                decompress_errors: 3,
                blocks_decompressed: 4,
                cache_hits: 5,
            }
        );
        assert_eq!(number_behind(line, "blocks"), 893);
        assert_eq!(
            number_behind("layers 2 segments 17 index_bytes 9", "segments"),
            17
        );
        assert_eq!(Counters::of(""), Counters::default());
    }

    #[test]
    fn states_of_a_store() {
        let state = |line: &str| {
            let report = StoreReport::of(&[(0, 8, "snapshot".into(), line.into())], "");
            (report.state, report.used_bytes, report.total_bytes)
        };
        assert_eq!(state("24/2048 16"), ("ok", 24 * 512, 2048 * 512));
        assert_eq!(state("Overflow"), ("full", 0, 0));
        assert_eq!(state("Invalid"), ("invalid", 0, 0));
    }
}
