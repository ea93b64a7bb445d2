// SPDX-License-Identifier: GPL-2.0

//! `verify`: whether all of an image is right, every check and every block, without any device.
//!
//! It reads all of each file, on all processors, and tells every fault, not only the first. It
//! changes nothing, mends nothing, and asks no kernel: what it accepts, `open` accepts, by the same
//! sources. A ZFile without CRCs of its blocks can have damage that nobody can find: that it has
//! none is told.
//!
//! The structures here are the JSON, a [`Report`]. Fields are added to it, never renamed. Numbers
//! are decimal, and in bytes where nothing else is said.

use crate::content::{Codec, Content, Payload, Zfile};
use crate::dump::plain;
use crate::error::{Error, Result};
use crate::image::hex;
use crate::inspect::{Inspection, Verdict};
use crate::layer::LayerFile;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use overlaybd_format::lsmt::{self, merge, virtual_size, Cursor, Segment, MAX_LAYERS};
use overlaybd_format::units::{BlockIndex, Bytes};
use serde::Serialize;
use sha2::{Digest, Sha256, Sha512};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many bytes of a file a thread takes at once.
const SPAN: u64 = 1 << 20;

/// How many bytes of content a thread takes at once: what compresses well is cut finer.
const CONTENT_SPAN: u64 = 16 << 20;

/// How much is read at once where a longer read failed, to find out where.
const SMALL: usize = 4096;

/// The most faults of a file that are told.
const MAX_FAULTS: usize = 20;

/// The most ranges of sectors that are told of a fault.
const MAX_RANGES: usize = 16;

/// What is found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether all is right.
    pub ok: bool,
    /// Each file, in the order given.
    pub files: Vec<FileReport>,
    /// The image that they make; null if each file is on its own.
    pub image: Option<ImageReport>,
}

/// What is found in a file.
#[derive(Debug, Default, Serialize)]
pub struct FileReport {
    /// The file as it is given.
    pub file: String,
    /// Whether all is right with it.
    pub ok: bool,
    /// Whether it is a `layer` or a `zfile` of other content; null if neither, or it does not open.
    pub kind: Option<&'static str>,
    /// Its length; null if it cannot be opened.
    pub file_bytes: Option<u64>,
    /// The number of its blocks; null if it is not compressed, or does not open.
    pub blocks: Option<u32>,
    /// Whether each block has a CRC, without which damage may not be found; null if it has no
    /// blocks.
    pub block_checksums: Option<bool>,
    /// The length of its content, decompressed; null if it does not open.
    pub content_bytes: Option<u64>,
    /// The digest of the whole file, with the name of the algorithm; null if none is asked for.
    pub digest: Option<String>,
    /// The first faults: those of the file as such, then those of blocks in their order.
    pub faults: Vec<Fault>,
    /// How many faults there are beside those.
    pub more_faults: u64,
}

/// Something wrong with a file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fault {
    /// What is wrong, in words.
    pub what: String,
    /// The number of the block; null if it is not about one.
    pub block: Option<u32>,
    /// Where in the file it is; null if it is not about a place.
    pub offset: Option<u64>,
    /// How many bytes of the file it is about; null if it is not about a place.
    pub bytes: Option<u64>,
    /// The sectors of the image that cannot be read right: if the files are one image, those that
    /// no layer above hides. Null if it is not about the data of a layer, or if its index is not
    /// known.
    pub image_sectors: Option<Vec<SectorRange>>,
    /// How many ranges there are beside those.
    pub more_ranges: usize,
}

/// Sectors of 512 bytes in a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SectorRange {
    /// The first.
    pub start: u64,
    /// How many.
    pub count: u64,
}

/// What is found about the image as a whole.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    /// Whether its layers make an image. They may have faults of their own.
    pub ok: bool,
    /// The number of layers.
    pub layers: usize,
    /// The size of the device; null if not all layers open.
    pub virtual_size: Option<u64>,
    /// The number of extents when all layers are merged; null if they cannot be.
    pub extents: Option<u64>,
    /// What is wrong with it; null if nothing is, or if that is not known.
    pub fault: Option<String>,
}

/// Checks files: the layers of one image, lowest first, if `whole`, or each on its own.
///
/// # Errors
///
/// Once all is told, if anything is wrong; if nothing can be written to `out`.
pub fn run(
    layers: &[LayerFile],
    whole: bool,
    json: bool,
    progress: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let report = Report::of(layers, whole, progress);
    let mut out = BufWriter::new(out);
    let written = if json {
        serde_json::to_writer_pretty(&mut out, &report)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
    } else {
        report.show(&mut out)
    };
    written
        .and_then(|()| out.flush())
        .map_err(|error| Error::io("cannot write what is found", &error))?;
    report.summary()
}

impl Report {
    /// Checks files.
    fn of(layers: &[LayerFile], whole: bool, progress: bool) -> Self {
        let bar = bar(progress);
        let mut files = Vec::new();
        let mut image = None;
        // As many as an image can have, so that there are descriptors for them.
        for batch in layers.chunks(MAX_LAYERS) {
            let subjects = in_parallel(batch.len(), |number| Subject::open(&batch[number]));
            let work = subjects.iter().map(Subject::work).sum::<u64>();
            bar.inc_length(work);
            let queue = Queue::new(&subjects);
            let workers = usize::try_from(work / SPAN).unwrap_or(usize::MAX);
            in_parallel_workers(workers.saturating_add(1), || queue.work(&bar));
            let whole_image = whole && layers.len() <= MAX_LAYERS;
            let mut reports: Vec<FileReport> = subjects
                .iter()
                .map(|subject| subject.report(whole))
                .collect();
            if whole_image {
                image = Some(ImageReport::of(&subjects, &mut reports));
            }
            files.extend(reports);
        }
        bar.finish_and_clear();
        if whole && image.is_none() {
            image = Some(ImageReport::refused(layers.len()));
        }
        let right = image.as_ref().is_none_or(|image| image.ok);
        Self {
            ok: right && !files.is_empty() && files.iter().all(|file| file.ok),
            files,
            image,
        }
    }

    /// Writes it as text.
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for file in &self.files {
            file.show(self.image.is_some(), out)?;
        }
        if let Some(image) = &self.image {
            image.show(out)?;
        }
        Ok(())
    }

    /// All of it in a line, if anything is wrong.
    fn summary(&self) -> Result<()> {
        if self.ok {
            return Ok(());
        }
        let bad: Vec<_> = self.files.iter().filter(|file| !file.ok).collect();
        let text = match (bad.as_slice(), &self.image) {
            ([], Some(image)) => image.fault.clone().unwrap_or_default(),
            ([], None) => "there is no file to verify".to_string(),
            ([file], _) => match file.faults.as_slice() {
                [fault] if file.more_faults == 0 => format!("{}: {}", file.file, fault.what),
                _ => format!("{}: {} faults", file.file, file.count()),
            },
            (bad, _) => format!(
                "{} of {} files have something wrong, {} faults in all",
                bad.len(),
                self.files.len(),
                bad.iter().map(|file| file.count()).sum::<u64>()
            ),
        };
        Err(Error::refused(text))
    }
}

impl FileReport {
    /// The number of its faults.
    fn count(&self) -> u64 {
        self.more_faults + self.faults.len() as u64
    }

    fn show(&self, whole: bool, out: &mut dyn Write) -> io::Result<()> {
        let name = plain(&self.file);
        if self.ok {
            let blocks = match self.blocks {
                Some(blocks) => format!("{blocks} blocks"),
                None => "not compressed".to_string(),
            };
            let bytes = self.content_bytes.unwrap_or_default();
            write!(out, "{name}: ok, {blocks}, {bytes} bytes")?;
            if self.digest.is_some() {
                write!(out, ", digest as given")?;
            }
            if self.kind == Some("zfile") {
                write!(out, ", no layer")?;
            }
            if self.block_checksums == Some(false) {
                write!(
                    out,
                    ", without checksums of blocks: not all damage can be found"
                )?;
            }
            return writeln!(out);
        }
        writeln!(out, "{name}: {}", counted(self.count(), "fault"))?;
        for fault in &self.faults {
            let sectors = fault.sectors(whole);
            writeln!(out, "  {}{sectors}", plain(&fault.what))?;
        }
        if self.more_faults > 0 {
            writeln!(out, "  and {} more", counted(self.more_faults, "fault"))?;
        }
        Ok(())
    }
}

impl Fault {
    /// A fault of a file as such.
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ..Self::default()
        }
    }

    /// What of the image is hit, in words.
    fn sectors(&self, whole: bool) -> String {
        let Some(ranges) = &self.image_sectors else {
            return String::new();
        };
        let mut text = String::new();
        for range in ranges {
            let last = range.start + range.count.saturating_sub(1);
            let separator = if text.is_empty() { "" } else { ", " };
            let _ = match range.count {
                1 => write!(text, "{separator}{last}"),
                _ => write!(text, "{separator}{} to {last}", range.start),
            };
        }
        if self.more_ranges > 0 {
            let _ = write!(text, " and {}", counted(self.more_ranges as u64, "range"));
        }
        let one = self.more_ranges == 0 && matches!(ranges.as_slice(), [range] if range.count == 1);
        match (text.as_str(), whole) {
            ("", true) => "; nothing of the image is hit".to_string(),
            ("", false) => "; no extent of the layer is hit".to_string(),
            (text, _) if one => format!("; it hits sector {text} of the image"),
            (text, _) => format!("; it hits sectors {text} of the image"),
        }
    }
}

impl ImageReport {
    /// Merges the layers, and tells which sectors of the image their faults hit.
    fn of(subjects: &[Subject<'_>], reports: &mut [FileReport]) -> Self {
        let mut image = Self {
            ok: false,
            layers: subjects.len(),
            virtual_size: None,
            extents: None,
            fault: None,
        };
        let layers: Option<Vec<_>> = subjects
            .iter()
            .map(|subject| subject.layer.as_ref())
            .collect();
        // Those that do not open have their faults, and of the image nothing is known then.
        let Some(layers) = layers.filter(|layers| !layers.is_empty()) else {
            return image;
        };
        let size = virtual_size(layers.iter().map(|(layer, _)| layer.virtual_size()));
        image.virtual_size = Some(size.get());
        if size.get() == 0 {
            image.fault = Some(
                "no layer says how large the image is: the virtual size is 0 in all of them"
                    .to_string(),
            );
            return image;
        }
        let mut hits: Vec<Hits> = subjects.iter().map(Hits::new).collect();
        let segments: Vec<&[Segment]> = layers
            .iter()
            .map(|(_, segments)| segments.as_slice())
            .collect();
        let mut scratch = vec![Cursor::EMPTY; segments.len()];
        let mut extents = 0;
        let merged = merge(&segments, &mut scratch, |segment| {
            extents += 1;
            if let Some(hits) = hits.get_mut(usize::from(segment.layer())) {
                hits.add(segment, size);
            }
            Ok::<(), Infallible>(())
        });
        match merged {
            Ok(()) => {
                image.ok = true;
                image.extents = Some(extents);
                for (hits, report) in hits.into_iter().zip(reports) {
                    hits.tell(report);
                }
            }
            Err(error) => image.fault = Some(error.to_string()),
        }
        image
    }

    /// An image of too many layers, or of none.
    fn refused(layers: usize) -> Self {
        Self {
            ok: false,
            layers,
            virtual_size: None,
            extents: None,
            fault: Some(format!(
                "an image has 1 to {MAX_LAYERS} layers, not {layers}"
            )),
        }
    }

    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        match (&self.fault, self.virtual_size, self.extents) {
            (Some(fault), ..) => writeln!(out, "image: {fault}"),
            (None, Some(size), Some(extents)) => writeln!(
                out,
                "image: {}, {size} bytes, {extents} extents",
                counted(self.layers as u64, "layer")
            ),
            _ => writeln!(out, "image: not all of its layers open"),
        }
    }
}

/// The sectors of the image that the faults of a layer hit.
struct Hits {
    /// For each fault its sectors in the layer, if it is about some, and those in the image.
    faults: Vec<Option<(Range<u64>, Vec<SectorRange>)>>,
}

impl Hits {
    fn new(subject: &Subject<'_>) -> Self {
        let found = lock(&subject.found);
        Self {
            faults: found
                .faults
                .iter()
                .map(|(_, place, _)| {
                    let sectors = place.start / 512..place.end.div_ceil(512);
                    (!place.is_empty()).then(|| (sectors, Vec::new()))
                })
                .collect(),
        }
    }

    /// Adds what is hit of a segment, up to the end of the image.
    fn add(&mut self, segment: Segment, size: Bytes) {
        if segment.zeroed() {
            return;
        }
        let (start, source) = (segment.start().get(), segment.source().get());
        let image_end = size.whole_sectors().get();
        for (sectors, hit) in self.faults.iter_mut().flatten() {
            let from = sectors.start.max(source);
            let end = sectors.end.min(source + segment.len().get());
            if from >= end {
                continue;
            }
            let first = start + (from - source);
            let last = (start + (end - source)).min(image_end);
            if let Some(count) = last.checked_sub(first).filter(|count| *count > 0) {
                hit.push(SectorRange {
                    start: first,
                    count,
                });
            }
        }
    }

    /// Adds what is hit to the faults.
    fn tell(self, report: &mut FileReport) {
        for (fault, hit) in report.faults.iter_mut().zip(self.faults) {
            let Some((_, hit)) = hit else { continue };
            let mut joined: Vec<SectorRange> = Vec::new();
            for range in hit {
                match joined.last_mut() {
                    Some(last) if last.start + last.count == range.start => {
                        last.count += range.count;
                    }
                    _ => joined.push(range),
                }
            }
            fault.more_ranges = joined.len().saturating_sub(MAX_RANGES);
            joined.truncate(MAX_RANGES);
            fault.image_sectors = Some(joined);
        }
    }
}

/// A digest that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The algorithm of a digest as images have it: a name, a colon, hexadecimal digits.
    fn of(digest: &str) -> Result<Self> {
        let none = || Error::refused(format!("{digest:?} is no digest"));
        let (name, digits) = digest.split_once(':').ok_or_else(none)?;
        let (algorithm, len) = match name {
            "sha256" => (Self::Sha256, 64),
            "sha512" => (Self::Sha512, 128),
            _ => {
                return Err(Error::refused(format!(
                    "no digest of the kind {name:?} can be checked: sha256 and sha512 can"
                )))
            }
        };
        let right = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() == len && digits.bytes().all(right) {
            Ok(algorithm)
        } else {
            Err(none())
        }
    }
}

/// Where a fault comes among the others: those of the file as such first.
type Order = (bool, u64);

/// What is found wrong with a file so far.
#[derive(Default)]
struct Found {
    /// The first faults by their order, each with its place in the content, empty if it has none.
    faults: Vec<(Order, Range<u64>, Fault)>,
    /// How many more there are.
    more: u64,
    digest: Option<String>,
}

impl Found {
    fn add(&mut self, order: Order, place: Range<u64>, fault: Fault) {
        let at = self.faults.partition_point(|(other, ..)| *other <= order);
        self.faults.insert(at, (order, place, fault));
        if self.faults.len() > MAX_FAULTS {
            self.faults.truncate(MAX_FAULTS);
            self.more += 1;
        }
    }

    fn add_plain(&mut self, what: impl Into<String>) {
        self.add((false, 0), 0..0, Fault::new(what));
    }
}

/// A file that is checked.
struct Subject<'a> {
    file: &'a LayerFile,
    payload: Option<Payload>,
    content: Option<Content>,
    layer: Option<(lsmt::Layer, Vec<Segment>)>,
    /// Why it is none, if the content opens.
    no_layer: Option<Error>,
    /// Whether it is a ZFile of other content.
    other: bool,
    digest: Option<Algorithm>,
    found: Mutex<Found>,
}

impl<'a> Subject<'a> {
    /// Opens a file, and checks all but its data.
    fn open(file: &'a LayerFile) -> Self {
        let mut subject = Self {
            file,
            payload: None,
            content: None,
            layer: None,
            no_layer: None,
            other: false,
            digest: None,
            found: Mutex::default(),
        };
        if let Err(error) = subject.fill() {
            subject.found().add_plain(error.to_string());
        }
        subject
    }

    fn fill(&mut self) -> Result<()> {
        let payload = self.payload.insert(Payload::open(&self.file.path)?).clone();
        if let Some(size) = self.file.size.filter(|size| *size != payload.file_len()) {
            self.found().add_plain(format!(
                "it has {} bytes, should have {size}: not downloaded to its end, or another file",
                payload.file_len()
            ));
        }
        if let Some(digest) = &self.file.digest {
            match Algorithm::of(digest) {
                Ok(algorithm) => self.digest = Some(algorithm),
                Err(error) => self.found().add_plain(error.to_string()),
            }
        }
        let content = Content::open(payload)?;
        let compressed = content.zfile().is_some();
        match Inspection::new(&content).verdict {
            Verdict::Layer(lsmt, segments) => self.layer = Some((lsmt, segments)),
            Verdict::Refused(error) => self.no_layer = Some(error),
            Verdict::Other(why) if compressed => {
                self.no_layer = Some(Error::refused(format!("it is no layer: {why}")));
                self.other = true;
            }
            // There is nothing to be read of it.
            Verdict::Other(why) => {
                return Err(Error::refused(format!(
                    "it is neither a ZFile nor a layer: {why}"
                )))
            }
        }
        self.content = Some(content);
        Ok(())
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        lock(&self.found)
    }

    /// How many bytes are read of it.
    fn work(&self) -> u64 {
        let hashed = match (&self.payload, self.digest) {
            (Some(payload), Some(_)) => payload.file_len(),
            _ => 0,
        };
        let read = match &self.content {
            Some(Content::Zfile(zfile)) => stored_bytes(zfile),
            Some(Content::Raw(payload)) if self.digest.is_none() => payload.len(),
            _ => 0,
        };
        hashed + read
    }

    /// Checks blocks of a ZFile.
    fn check_blocks(&self, zfile: &Zfile, first: BlockIndex, last: BlockIndex, codec: &mut Codec) {
        let layout = zfile.layout();
        let checked = zfile.all_blocks(first, last, codec, |block, stored, content| {
            if let Err(error) = content {
                let start = layout.block_size().start_of(block).get();
                let len = layout.block_len(block).unwrap_or_default() as u64;
                let fault = Fault {
                    what: error.to_string(),
                    block: Some(block.get()),
                    offset: Some(zfile.payload().offset() + stored.offset.get()),
                    bytes: Some(stored.len.into()),
                    ..Fault::default()
                };
                self.found().add((true, start), start..start + len, fault);
            }
            Ok(())
        });
        if let Err(error) = checked {
            self.found().add_plain(error.to_string());
        }
    }

    /// Reads bytes of a layer that is not compressed.
    fn check_bytes(&self, payload: &Payload, start: u64, memory: &mut [u8]) {
        if payload.read(start, memory).is_ok() {
            return;
        }
        // Where it is.
        for (number, piece) in (0..).zip(memory.chunks_mut(SMALL)) {
            let at = start + number * SMALL as u64;
            let len = piece.len() as u64;
            if let Err(error) = payload.read(at, piece) {
                let fault = Fault {
                    what: error.to_string(),
                    offset: Some(payload.offset() + at),
                    bytes: Some(len),
                    ..Fault::default()
                };
                self.found().add((true, at), at..at + len, fault);
            }
        }
    }

    /// Computes the digest of the whole file, and compares it.
    fn check_digest<D: Digest>(
        &self,
        name: &str,
        payload: &Payload,
        memory: &mut Vec<u8>,
        bar: &ProgressBar,
    ) {
        let mut hash = D::new();
        let mut failure = None;
        let mut at = 0;
        while at < payload.file_len() {
            let len = SPAN.min(payload.file_len() - at);
            let piece = room(memory, len);
            match payload.file().read_exact_at(piece, at) {
                Ok(()) => hash.update(&*piece),
                Err(error) => {
                    failure.get_or_insert(error);
                    // Of a layer that is not compressed this is all the reading there is.
                    let Some(Content::Raw(payload)) = &self.content else {
                        break;
                    };
                    let end = (at + len).min(payload.offset() + payload.len());
                    let start = at.max(payload.offset());
                    if let Some(len) = end.checked_sub(start).filter(|len| *len > 0) {
                        self.check_bytes(payload, start - payload.offset(), room(memory, len));
                    }
                }
            }
            at += len;
            bar.inc(len);
        }
        let wanted = self.file.digest.as_deref().unwrap_or_default();
        let mut found = self.found();
        if let Some(error) = failure {
            let error = Error::io("its digest cannot be computed", &error);
            found.add_plain(error.to_string());
            return;
        }
        let digest = format!("{name}:{}", hex(&hash.finalize()));
        if digest != wanted {
            found.add_plain(format!("its digest is {digest}, should be {wanted}"));
        }
        found.digest = Some(digest);
    }

    /// All that is found, once all is checked.
    fn report(&self, whole: bool) -> FileReport {
        let mut found = self.found();
        // What keeps it from being opened as a layer may be a block that is told already.
        if let Some(error) = &self.no_layer {
            let text = error.to_string();
            let told = found.faults.iter().any(|(_, _, fault)| fault.what == text);
            if !told && (whole || !self.other) {
                found.add_plain(text);
            }
        }
        let zfile = self.content.as_ref().and_then(Content::zfile);
        let mut report = FileReport {
            file: self.file.path.display().to_string(),
            ok: found.faults.is_empty(),
            kind: match (&self.layer, self.other) {
                (Some(_), _) => Some("layer"),
                (None, true) => Some("zfile"),
                (None, false) => None,
            },
            file_bytes: self.payload.as_ref().map(Payload::file_len),
            blocks: zfile.map(|zfile| zfile.layout().block_count()),
            block_checksums: zfile.map(|zfile| zfile.layout().verify()),
            content_bytes: self.content.as_ref().map(Content::len),
            digest: found.digest.clone(),
            faults: found
                .faults
                .iter()
                .map(|(_, _, fault)| fault.clone())
                .collect(),
            more_faults: found.more,
        };
        drop(found);
        if let (Some((_, segments)), false) = (&self.layer, whole) {
            let mut hits = Hits::new(self);
            for segment in segments {
                hits.add(*segment, Bytes::new(u64::MAX));
            }
            hits.tell(&mut report);
        }
        report
    }
}

/// How many bytes the blocks of a ZFile are stored in.
fn stored_bytes(zfile: &Zfile) -> u64 {
    let last = zfile.layout().block_count().saturating_sub(1);
    zfile
        .table()
        .span(BlockIndex::new(0), BlockIndex::new(last))
        .map_or(0, |(_, len)| len.get())
}

/// A piece of work.
enum Job<'a> {
    Digest(&'a Subject<'a>, &'a Payload, Algorithm),
    Blocks(&'a Subject<'a>, &'a Zfile, BlockIndex, BlockIndex),
    Bytes(&'a Subject<'a>, &'a Payload, u64, u64),
}

/// The work that is left, file by file, so that what reads a file twice finds it in memory: first
/// its digest, which one thread computes while the others check its blocks.
struct Queue<'a> {
    subjects: &'a [Subject<'a>],
    next: Mutex<Next>,
}

/// Where the work that is left starts.
#[derive(Default)]
struct Next {
    subject: usize,
    hashed: bool,
    /// The first block, or byte.
    at: u64,
}

impl<'a> Queue<'a> {
    fn new(subjects: &'a [Subject<'a>]) -> Self {
        Self {
            subjects,
            next: Mutex::default(),
        }
    }

    /// Takes the next piece of work; [`None`] if there is none left.
    fn take(&self) -> Option<Job<'a>> {
        let mut next = lock(&self.next);
        loop {
            let subject = self.subjects.get(next.subject)?;
            if let (false, Some(payload), Some(algorithm)) =
                (next.hashed, &subject.payload, subject.digest)
            {
                next.hashed = true;
                return Some(Job::Digest(subject, payload, algorithm));
            }
            match &subject.content {
                Some(Content::Zfile(zfile)) => {
                    if let Some((first, last)) = span_from(zfile, next.at) {
                        next.at = u64::from(last.get()) + 1;
                        return Some(Job::Blocks(subject, zfile, first, last));
                    }
                }
                // With a digest all of it is read for that.
                Some(Content::Raw(payload)) if subject.digest.is_none() => {
                    let start = next.at;
                    let len = SPAN.min(payload.len().saturating_sub(start));
                    if len > 0 {
                        next.at = start + len;
                        return Some(Job::Bytes(subject, payload, start, len));
                    }
                }
                _ => (),
            }
            *next = Next {
                subject: next.subject + 1,
                ..Next::default()
            };
        }
    }

    /// Does work until there is none left.
    fn work(&self, bar: &ProgressBar) {
        let (mut codec, mut memory) = (Codec::default(), Vec::new());
        while let Some(job) = self.take() {
            match job {
                Job::Digest(subject, payload, Algorithm::Sha256) => {
                    subject.check_digest::<Sha256>("sha256", payload, &mut memory, bar);
                }
                Job::Digest(subject, payload, Algorithm::Sha512) => {
                    subject.check_digest::<Sha512>("sha512", payload, &mut memory, bar);
                }
                Job::Blocks(subject, zfile, first, last) => {
                    subject.check_blocks(zfile, first, last, &mut codec);
                    let span = zfile.table().span(first, last);
                    bar.inc(span.map_or(0, |(_, len)| len.get()));
                }
                Job::Bytes(subject, payload, start, len) => {
                    subject.check_bytes(payload, start, room(&mut memory, len));
                    bar.inc(len);
                }
            }
        }
    }
}

/// The blocks from the one of this number on that are taken at once; [`None`] if there are none.
fn span_from(zfile: &Zfile, first: u64) -> Option<(BlockIndex, BlockIndex)> {
    let layout = zfile.layout();
    let first = u32::try_from(first).ok()?;
    let most = CONTENT_SPAN / u64::from(layout.block_size().get());
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let end = layout.block_count().min(first.saturating_add(most));
    let (first, limit) = (BlockIndex::new(first), BlockIndex::new(end.checked_sub(1)?));
    let mut bytes = 0;
    let last = zfile
        .table()
        .blocks(first, limit)
        .take_while(|(block, stored)| {
            bytes += u64::from(stored.len);
            bytes <= SPAN || *block == first
        })
        .last()?
        .0;
    Some((first, last))
}

/// Memory of this length, of any content.
fn room(memory: &mut Vec<u8>, len: u64) -> &mut [u8] {
    let len = usize::try_from(len).unwrap_or_default();
    memory.resize(memory.len().max(len), 0);
    &mut memory[..len]
}

/// Calls `work` on all processors, at most `most` times, each time on a thread of its own.
fn in_parallel_workers(most: usize, work: impl Fn() + Sync) {
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(most);
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(&work);
        }
        work();
    });
}

/// What `make` makes of each number below `count`, in order.
fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::with_capacity(count));
    in_parallel_workers(count, || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            break;
        }
        let one = make(number);
        lock(&made).push((number, one));
    });
    let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, one)| one).collect()
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number of things: "1 fault", "2 faults".
fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// What shows on the terminal how far it is.
fn bar(progress: bool) -> ProgressBar {
    if !progress || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = "[{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;
    use overlaybd_image::{fix_digest, Corpus, LayerWriter, ReadAt, Wrapper, ZfileWriter};
    use overlaybd_image::{Verdict as Wanted, ZfileReader};
    use serde_json::Value;
    use std::fs::{self, OpenOptions};

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, bytes: &[u8]) -> LayerFile {
            let path = self.0.path().join(name);
            fs::write(&path, bytes).unwrap();
            LayerFile::new(path)
        }
    }

    /// What cannot be compressed, so that blocks have about the length of their content.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_le_bytes()[7]
        };
        (0..len).map(|_| next()).collect()
    }

    /// Sectors 0 to 2047 and 4000 to 4799 of noise: 320 blocks and the areas around them.
    fn layer() -> Vec<u8> {
        let noise = noise(2848 * 512);
        LayerWriter::new(16 << 20)
            .data(0, &noise[..2048 * 512])
            .data(4000, &noise[2048 * 512..])
            .write()
    }

    /// Where a block is in a ZFile.
    fn place(zfile: &[u8], block: u32) -> usize {
        let reader = ZfileReader::open(zfile.to_vec()).unwrap();
        let stored = reader.table().stored(BlockIndex::new(block)).unwrap();
        usize::try_from(stored.offset.get()).unwrap()
    }

    fn check(files: &[LayerFile], whole: bool) -> (Value, Result<()>) {
        let mut out = Vec::new();
        let result = run(files, whole, true, false, &mut out);
        (serde_json::from_slice(&out).unwrap(), result)
    }

    fn text(files: &[LayerFile], whole: bool) -> (String, Result<()>) {
        let mut out = Vec::new();
        let result = run(files, whole, false, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        let folder = files.first().and_then(|file| file.path.parent());
        let folder = folder.map_or(String::new(), |folder| format!("{}/", folder.display()));
        (text.replace(&folder, ""), result)
    }

    /// The texts of the faults of a file.
    fn faults(report: &Value, file: usize) -> Vec<&str> {
        let faults = report["files"][file]["faults"].as_array().unwrap();
        faults
            .iter()
            .map(|fault| fault["what"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn good_files_of_each_kind() {
        let files = Files::new();
        let layer = layer();
        let lz4 = ZfileWriter::new().write(&layer);
        let zstd = ZfileWriter::new()
            .algorithm(overlaybd_format::zfile::Algorithm::Zstd)
            .block_size(65536)
            .overwrite_header(true)
            .write(&layer);
        let old = ZfileWriter::new().verify(false).digest(false).write(&layer);
        let all = [
            files.write("raw", &layer),
            files.write("raw.tar", &Wrapper::Ustar.wrap(&layer)),
            files.write("lz4", &lz4),
            files.write("zstd.tar", &Wrapper::Pax.wrap(&zstd)),
            files.write("old", &old),
            files.write("other", &ZfileWriter::new().write(&[7; 5001])),
        ];
        let (text, result) = text(&all, false);
        result.unwrap();
        let (len, blocks) = (layer.len(), layer.len() / 4096);
        assert_eq!(
            text,
            format!(
                "raw: ok, not compressed, {len} bytes\n\
                 raw.tar: ok, not compressed, {len} bytes\n\
                 lz4: ok, {blocks} blocks, {len} bytes\n\
                 zstd.tar: ok, {} blocks, {len} bytes\n\
                 old: ok, {blocks} blocks, {len} bytes, without checksums of blocks: \
                 not all damage can be found\n\
                 other: ok, 2 blocks, 5001 bytes, no layer\n",
                layer.len().div_ceil(65536)
            )
        );
        let (report, result) = check(&all, false);
        result.unwrap();
        assert_eq!(report["ok"], true);
        assert_eq!(report["image"], Value::Null);
        assert_eq!(report["files"][2]["kind"], "layer");
        assert_eq!(report["files"][2]["file_bytes"], lz4.len());
        assert_eq!(report["files"][5]["kind"], "zfile");
        assert_eq!(report["files"][0]["blocks"], Value::Null);
    }

    #[test]
    fn damaged_blocks_are_all_told_with_what_they_hit() {
        let files = Files::new();
        let mut zfile = ZfileWriter::new().write(&layer());
        for block in [200, 3, 257] {
            let at = place(&zfile, block);
            zfile[at + 100] ^= 1;
        }
        let tar = files.write("z", &Wrapper::Pax.wrap(&zfile));
        let (report, result) = check(std::slice::from_ref(&tar), false);
        let name = tar.path.display();
        let error = result.unwrap_err();
        assert_eq!(error.status(), Status::Refused);
        assert_eq!(error.to_string(), format!("{name}: 3 faults"));
        assert_eq!(report["ok"], false);
        let file = &report["files"][0];
        assert_eq!(file["kind"], "layer");
        assert_eq!(file["more_faults"], 0);
        let sectors = [(3, 16, 8), (200, 1592, 8), (257, 4000, 8)];
        for (fault, (block, start, count)) in file["faults"].as_array().unwrap().iter().zip(sectors)
        {
            assert_eq!(fault["block"], block);
            let what = fault["what"].as_str().unwrap();
            let begin = format!("ZFile block: wrong CRC (block {block}: ");
            assert!(what.starts_with(&begin), "{what}");
            let at = 1536 + place(&zfile, block) as u64;
            assert_eq!(fault["offset"], at);
            assert!(what.contains(&format!("at {at} of the file")), "{what}");
            assert!(fault["bytes"].as_u64().unwrap() > 4096);
            assert_eq!(fault["image_sectors"][0]["start"], start);
            assert_eq!(fault["image_sectors"][0]["count"], count);
            assert_eq!(fault["image_sectors"].as_array().unwrap().len(), 1);
        }
        let (text, _) = text(&[tar], false);
        assert!(text.starts_with("z: 3 faults\n  ZFile block: wrong CRC (block 3: "));
        assert!(text.contains("; it hits sectors 16 to 23 of the image\n"));
    }

    #[test]
    fn what_a_layer_above_hides_is_not_hit() {
        let files = Files::new();
        let mut zfile = ZfileWriter::new().write(&layer());
        for block in [1, 3, 200] {
            let at = place(&zfile, block);
            zfile[at + 100] ^= 1;
        }
        // Of block 3, sectors 16 to 23, it leaves the second, and of 200, 1592 to 1599, none.
        let upper = LayerWriter::new(0)
            .data(16, &[1; 512])
            .zeros(18, 14)
            .data(1500, &noise(100 * 512))
            .write();
        let small = LayerWriter::new(7 * 512).write();
        let below = files.write("below", &zfile);
        let upper = files.write("upper", &upper);
        let (report, result) = check(&[below.clone(), upper.clone()], true);
        result.unwrap_err();
        assert_eq!(report["image"]["ok"], true);
        assert_eq!(report["image"]["layers"], 2);
        assert_eq!(report["image"]["virtual_size"], 16 << 20);
        assert_eq!(report["image"]["extents"], 8);
        let hit = |number: usize| {
            report["files"][0]["faults"][number]["image_sectors"]
                .as_array()
                .unwrap()
        };
        assert_eq!(
            (&hit(0)[0]["start"], &hit(0)[0]["count"]),
            (&0.into(), &8.into())
        );
        assert_eq!(
            (&hit(1)[0]["start"], &hit(1)[0]["count"]),
            (&17.into(), &1.into())
        );
        assert_eq!((hit(1).len(), hit(2).len()), (1, 0));
        let (text, _) = text(&[below.clone(), upper.clone()], true);
        assert!(text.contains("; it hits sector 17 of the image\n"));
        assert!(text.contains("; nothing of the image is hit\n"));
        assert!(
            text.ends_with(
                "\nupper: ok, not compressed, 64000 bytes\n\
                                image: 2 layers, 16777216 bytes, 8 extents\n"
            ),
            "{text}"
        );
        // What is behind the end of the image is in none.
        let (report, _) = check(&[below, files.write("small", &small)], true);
        let faults = report["files"][0]["faults"].as_array().unwrap();
        assert_eq!(faults[0]["image_sectors"][0]["count"], 7);
        assert_eq!(faults[1]["image_sectors"].as_array().unwrap().len(), 0);
    }

    #[test]
    fn a_block_of_many_extents() {
        let files = Files::new();
        // The second block has each second sector of the image from 2000 on, the first two in a
        // row. In front of it and behind it is other data.
        let mut layer = LayerWriter::new(4 << 20)
            .data(1000, &[7; 61440])
            .data(2000, &[8; 512])
            .data(2001, &[9; 512])
            .data(5000, &[7; 131_072]);
        for sector in 2..100u8 {
            layer = layer.data(2000 + u64::from(sector) * 2, &[sector; 512]);
        }
        let mut zfile = ZfileWriter::new().block_size(65536).write(&layer.write());
        let at = place(&zfile, 1);
        zfile[at + 9] ^= 1;
        let (report, _) = check(&[files.write("z", &zfile)], false);
        let fault = &report["files"][0]["faults"][0];
        let ranges = fault["image_sectors"].as_array().unwrap();
        assert_eq!(ranges.len(), MAX_RANGES);
        assert_eq!(ranges[0]["count"], 2);
        assert_eq!(ranges[1]["start"], 2004);
        assert_eq!(fault["more_ranges"], 100 - MAX_RANGES);
    }

    #[test]
    fn the_first_faults_are_told_and_the_others_counted() {
        let files = Files::new();
        let mut zfile = ZfileWriter::new().write(&layer());
        for block in 50..350 {
            let at = place(&zfile, block);
            zfile[at + 100] ^= 1;
        }
        let mut file = files.write("z", &zfile);
        file.size = Some(7);
        let (report, result) = check(&[file.clone()], false);
        assert!(result.unwrap_err().to_string().ends_with(": 301 faults"));
        let told = report["files"][0]["faults"].as_array().unwrap();
        assert_eq!(told.len(), MAX_FAULTS);
        assert_eq!(report["files"][0]["more_faults"], 301 - MAX_FAULTS);
        let what = told[0]["what"].as_str().unwrap();
        assert!(what.ends_with("should have 7: not downloaded to its end, or another file"));
        for (block, fault) in (50..).zip(&told[1..]) {
            assert_eq!(fault["block"], block);
        }
        assert!(text(&[file], false)
            .0
            .ends_with("\n  and 281 faults more\n"));
    }

    #[test]
    fn digests() {
        let files = Files::new();
        let zfile = ZfileWriter::new().write(&layer());
        let contents = [layer(), Wrapper::Pax.wrap(&zfile), zfile, Vec::new()];
        for (number, bytes) in contents.iter().enumerate() {
            let sha256 = format!("sha256:{}", hex(&Sha256::digest(bytes)));
            let sha512 = format!("sha512:{}", hex(&Sha512::digest(bytes)));
            let mut file = files.write(&number.to_string(), bytes);
            let empty = bytes.is_empty();
            for digest in [sha256, sha512] {
                file.digest = Some(digest.clone());
                file.size = Some(bytes.len() as u64);
                let (report, result) = check(&[file.clone()], false);
                assert_eq!(report["files"][0]["digest"], digest);
                assert_eq!(result.is_err(), empty, "{result:?}");
                let mut wrong = digest.clone();
                wrong.replace_range(7..9, if &wrong[7..9] == "00" { "11" } else { "00" });
                file.digest = Some(wrong.clone());
                let (report, result) = check(&[file.clone()], false);
                result.unwrap_err();
                let told = format!("its digest is {digest}, should be {wrong}");
                assert!(faults(&report, 0).contains(&told.as_str()));
            }
        }
        let mut file = files.write("ok", &layer());
        file.digest = Some(format!("sha256:{}", hex(&Sha256::digest(layer()))));
        assert!(text(&[file], false)
            .0
            .ends_with(" bytes, digest as given\n"));
    }

    #[test]
    fn digests_that_are_none_are_refused_by_name() {
        let files = Files::new();
        let mut file = files.write("a", &layer());
        let short = format!("sha256:{}", "0".repeat(63));
        let upper = format!("sha256:{}", "A".repeat(64));
        let md5 = format!("md5:{}", "0".repeat(32));
        for (digest, wanted) in [
            (short.as_str(), "is no digest"),
            (upper.as_str(), "is no digest"),
            ("sha256", "\"sha256\" is no digest"),
            (
                md5.as_str(),
                "no digest of the kind \"md5\" can be checked: sha256 and sha512 can",
            ),
        ] {
            file.digest = Some(digest.to_string());
            let (report, result) = check(&[file.clone()], false);
            let error = result.unwrap_err().to_string();
            assert!(error.ends_with(wanted), "{error}");
            assert_eq!(faults(&report, 0).len(), 1);
            assert_eq!(report["files"][0]["digest"], Value::Null);
        }
    }

    #[test]
    fn what_does_not_open_is_one_fault() {
        let files = Files::new();
        let zfile = ZfileWriter::new().write(&layer());
        let tar = Wrapper::Ustar.wrap(&zfile);
        let mut digest = files.write("digest", &zfile[..zfile.len() - 1]);
        digest.digest = Some(format!("sha256:{}", hex(&Sha256::digest(&zfile))));
        let all = [
            LayerFile::new(files.0.path().join("none")),
            files.write("cut", &zfile[..zfile.len() - 1]),
            files.write("cut.tar", &tar[..10_000]),
            files.write("text", b"some text"),
            files.write("zeros", &[0; 100_000]),
            files.write("good", &zfile),
            digest,
        ];
        let (report, result) = check(&all, false);
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "6 of 7 files have something wrong, 7 faults in all");
        let starts = [
            "cannot read",
            "ZFile trailer: wrong magic",
            "",
            "it is neither a ZFile nor a layer: LSMT: too short",
            "it is neither a ZFile nor a layer: LSMT header: wrong magic",
        ];
        for (number, start) in starts.iter().enumerate() {
            let told = faults(&report, number);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(start), "{told:?}");
            assert_eq!(report["files"][number]["kind"], Value::Null);
        }
        assert!(faults(&report, 2)[0].contains("is cut"));
        assert_eq!(report["files"][5]["ok"], true);
        // That it is damaged is said of a file that does not open, too.
        assert!(faults(&report, 6)[1].starts_with("its digest is sha256:"));
    }

    #[test]
    fn files_that_make_no_image() {
        let files = Files::new();
        let empty = files.write("empty", &LayerWriter::new(0).write());
        let fault = |files: &[LayerFile]| {
            let (report, result) = check(files, true);
            assert_eq!(report["ok"], false);
            assert_eq!(report["image"]["ok"], false);
            (report, result.unwrap_err().to_string())
        };
        let (_, error) = fault(&[empty.clone(), empty.clone()]);
        assert!(error.starts_with("no layer says how large"), "{error}");
        let (report, error) = fault(&[]);
        assert_eq!(error, "an image has 1 to 255 layers, not 0");
        assert_eq!(report["image"]["fault"], error);
        let (report, error) = fault(&vec![empty.clone(); 256]);
        assert_eq!(error, "an image has 1 to 255 layers, not 256");
        assert_eq!(report["files"].as_array().unwrap().len(), 256);
        assert_eq!(report["files"][255]["ok"], true);
        let most = vec![files.write("sized", &LayerWriter::new(512).write()); 255];
        check(&most, true).1.unwrap();
        let other = files.write("other", &ZfileWriter::new().write(&[7; 10_000]));
        let (report, error) = fault(&[most[0].clone(), other.clone()]);
        assert!(
            error.contains(": it is no layer: LSMT header: wrong"),
            "{error}"
        );
        assert_eq!(report["files"][0]["ok"], true);
        assert_eq!(report["image"]["fault"], Value::Null);
        let (text, _) = text(&[other], true);
        assert!(text.ends_with("\nimage: not all of its layers open\n"));
        // Without an image nobody asks for layers.
        assert_eq!(check(&[], false).1.unwrap_err().status(), Status::Refused);
    }

    #[test]
    fn a_block_that_keeps_a_layer_from_opening_is_told_once() {
        let files = Files::new();
        let good = ZfileWriter::new().write(&layer());
        let last = u32::try_from(layer().len() / 4096 - 1).unwrap();
        for block in [0, last - 1, last] {
            let mut zfile = good.clone();
            let at = place(&zfile, block);
            zfile[at + 9] ^= 1;
            for whole in [false, true] {
                let (report, result) = check(&[files.write("z", &zfile)], whole);
                result.unwrap_err();
                assert_eq!(faults(&report, 0).len(), 1);
                assert_eq!(report["files"][0]["faults"][0]["block"], block);
            }
        }
    }

    /// A file that lost its end since it was opened reads as one on a bad disk does.
    #[test]
    fn what_cannot_be_read_is_told_by_its_place() {
        let files = Files::new();
        let layer = layer();
        let zfile = ZfileWriter::new().write(&layer);
        for (bytes, left, count) in [(&layer, 1_400_000, 18), (&zfile, 1_450_000, 7)] {
            for digest in [false, true] {
                let mut file = files.write("f", bytes);
                file.digest = digest.then(|| format!("sha256:{}", "0".repeat(64)));
                let subjects = [Subject::open(&file)];
                let lost = OpenOptions::new().write(true).open(&file.path).unwrap();
                lost.set_len(left).unwrap();
                Queue::new(&subjects).work(&ProgressBar::hidden());
                let report = subjects[0].report(false);
                let (unreadable, places): (Vec<_>, Vec<_>) = report
                    .faults
                    .iter()
                    .partition(|fault| fault.offset.is_none());
                assert_eq!(unreadable.len(), usize::from(digest));
                assert_eq!(places.len(), count, "{}", bytes.len());
                for fault in places {
                    assert!(fault.offset.unwrap() + fault.bytes.unwrap() > left);
                    assert!(fault.what.starts_with("cannot read "), "{}", fault.what);
                    assert!(fault.image_sectors.is_some());
                }
                for fault in unreadable {
                    let start = "its digest cannot be computed: ";
                    assert!(fault.what.starts_with(start), "{}", fault.what);
                }
            }
        }
    }

    #[test]
    fn spans_are_all_blocks_in_order() {
        let files = Files::new();
        let mut bytes = vec![0; 40 << 20];
        bytes[..3 << 20].copy_from_slice(&noise(3 << 20));
        for block_size in [512, 4096, 65536] {
            let zfile = ZfileWriter::new().block_size(block_size).write(&bytes);
            let file = files.write("z", &zfile);
            let content = Content::open(Payload::open(&file.path).unwrap()).unwrap();
            let zfile = content.zfile().unwrap();
            let mut next = 0;
            let mut spans = 0;
            while let Some((first, last)) = span_from(zfile, next) {
                assert_eq!(u64::from(first.get()), next);
                let (_, len) = zfile.table().span(first, last).unwrap();
                assert!(len.get() <= SPAN);
                next = u64::from(last.get()) + 1;
                assert!((next - u64::from(first.get())) * u64::from(block_size) <= CONTENT_SPAN);
                spans += 1;
            }
            assert_eq!(next, u64::from(zfile.layout().block_count()));
            assert!((5..9).contains(&spans), "{spans}");
        }
    }

    #[test]
    fn threads_keep_the_order() {
        let made = in_parallel(1000, |number| number * 2);
        assert_eq!(made, (0..1000).map(|number| number * 2).collect::<Vec<_>>());
        assert!(in_parallel(0, |number| number).is_empty());
    }

    /// Writes an image of the corpus to a file.
    fn take(files: &Files, corpus: &Corpus, name: &str) -> LayerFile {
        let image = corpus.image(name);
        let mut bytes = vec![0; usize::try_from(image.len()).unwrap()];
        image.read_at(0, &mut bytes).unwrap();
        files.write(&name.replace('/', "_"), &bytes)
    }

    fn agrees(corpus: &Corpus) {
        let manifest = &corpus.manifest;
        for row in &manifest.malformed {
            let files = Files::new();
            let file = take(&files, corpus, &row.file);
            let (report, result) = check(std::slice::from_ref(&file), false);
            let label = format!("{} ({}): {result:?}", row.file, row.what);
            assert_eq!(result.is_ok(), row.verdict == Wanted::Reads, "{label}");
            assert_eq!(report["ok"], row.verdict == Wanted::Reads, "{label}");
            let block = &report["files"][0]["faults"][0]["block"];
            let of_a_block = row.verdict == Wanted::BlockError;
            assert_eq!(!block.is_null(), of_a_block, "{label}");
            // What dump says of it, which reads no data, is the same but for damaged data.
            let mut out = Vec::new();
            let dump = crate::dump::run(&[file.path], true, true, &mut out);
            match (row.verdict, dump) {
                (Wanted::Reads, dump) => dump.unwrap(),
                (Wanted::Rejected, dump) => assert_eq!(dump, result, "{label}"),
                (Wanted::BlockError, _) => (),
            }
        }
        for row in &manifest.zfiles {
            let files = Files::new();
            let (report, result) = check(&[take(&files, corpus, &row.file)], false);
            if row.content_bytes == 0 {
                assert_eq!(faults(&report, 0), ["ZFile: content is empty"]);
                continue;
            }
            result.unwrap();
            let file = &report["files"][0];
            // One of them is a layer, the one that is made once for all images.
            let layer = row.file.starts_with("legacy/");
            let kind = if layer { "layer" } else { "zfile" };
            assert_eq!(file["kind"], kind, "{}", row.file);
            assert_eq!(file["content_bytes"], row.content_bytes, "{}", row.file);
            assert_eq!(file["block_checksums"], row.verify, "{}", row.file);
        }
        for row in &manifest.layers {
            let files = Files::new();
            let (report, result) = check(&[take(&files, corpus, &row.file)], false);
            result.unwrap();
            let file = &report["files"][0];
            assert_eq!(file["kind"], "layer", "{}", row.file);
            assert_eq!(file["content_bytes"], row.content_bytes, "{}", row.file);
            assert_eq!(file["blocks"].is_null(), !row.zfile, "{}", row.file);
        }
        for row in &manifest.stacks {
            let files = Files::new();
            let layers: Vec<_> = row
                .layers
                .iter()
                .map(|name| take(&files, corpus, name))
                .collect();
            let (report, result) = check(&layers, true);
            result.unwrap();
            assert_eq!(report["image"]["virtual_size"], row.virtual_size);
            if let Some(segments) = row.merged_segments {
                assert_eq!(report["image"]["extents"], segments);
            }
        }
    }

    #[test]
    fn the_committed_images_have_the_verdicts_of_their_manifest() {
        agrees(&Corpus::committed());
    }

    /// The larger set, where it is there.
    #[test]
    fn the_reference_images_have_the_verdicts_of_their_manifest() {
        agrees(&Corpus::find());
    }

    #[test]
    fn an_index_of_a_zfile_that_lies_is_found_by_its_blocks() {
        let files = Files::new();
        let mut zfile = ZfileWriter::new().write(&layer());
        // Two lengths of which each is possible, in the wrong order.
        let end = zfile.len() - 512;
        let index = end - 4 * (layer().len() / 4096);
        zfile[index..index + 8].rotate_left(4);
        let crc = crate::content::crc32c(0, &zfile[index..end]);
        zfile[end + 64..end + 68].copy_from_slice(&crc.to_le_bytes());
        fix_digest(&mut zfile[end..]);
        let (report, _) = check(&[files.write("z", &zfile)], false);
        assert_eq!(report["files"][0]["faults"][0]["block"], 0);
        assert_eq!(report["files"][0]["faults"][1]["block"], 1);
        assert_eq!(faults(&report, 0).len(), 2);
    }
}
