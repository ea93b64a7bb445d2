// SPDX-License-Identifier: GPL-2.0

//! A file under verification: its open parts, the checks of its bytes, and the faults found.
//!
//! It does not choose the next piece or the thread: the queue does. No fault stops it, and it
//! writes nothing.

use super::hits::Hits;
use super::report::{Fault, FileReport};
use crate::content::Content;
use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::inspect::{neither, Inspection, Verdict};
use crate::layer::LayerFile;
use crate::parallel::lock;
use crate::payload::Payload;
use crate::zfile::{Codec, Zfile};
use indicatif::ProgressBar;
use overlaybd_format::lsmt::{self, Segment};
use overlaybd_format::units::{BlockIndex, Bytes};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

/// The length of a piece of a file that one thread reads, in bytes.
pub(super) const SPAN: u64 = 1 << 20;

/// The length of the reads that locate the fault after a longer read failed.
const SMALL: usize = 4096;

/// The most faults in the report on a file.
pub(super) const MAX_FAULTS: usize = 20;

/// The order of faults: those of the whole file first, then by their place in the content.
type Order = (bool, u64);

/// The result of the checks so far.
#[derive(Default)]
struct Found {
    /// The first faults in order, each with its place in the content, empty if it has none.
    faults: Vec<(Order, Range<u64>, Fault)>,
    /// The number of further faults.
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

/// A file under verification.
pub(super) struct Subject<'a> {
    file: &'a LayerFile,
    pub(super) payload: Option<Payload>,
    pub(super) content: Option<Content>,
    pub(super) layer: Option<(lsmt::Layer, Vec<Segment>)>,
    /// Why the content is no layer, if the file opens.
    no_layer: Option<Error>,
    /// Whether it is a ZFile whose content is no layer.
    other: bool,
    /// The algorithm of the given digest, if there is one that can be checked.
    pub(super) digest: Option<Algorithm>,
    found: Mutex<Found>,
}

impl<'a> Subject<'a> {
    /// Opens a file, and checks all but its data.
    pub(super) fn open(file: &'a LayerFile) -> Self {
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
        let payload = self.payload.insert(self.file.payload()?).clone();
        if let Err(error) = self.file.check_len(&payload) {
            self.found().add_plain(error.to_string());
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
            // The file has no content to check.
            Verdict::Other(why) => return Err(neither(&why)),
        }
        self.content = Some(content);
        Ok(())
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        lock(&self.found)
    }

    /// The number of bytes that the checks read.
    pub(super) fn work(&self) -> u64 {
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
    pub(super) fn check_blocks(
        &self,
        zfile: &Zfile,
        first: BlockIndex,
        last: BlockIndex,
        codec: &mut Codec,
    ) {
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
    pub(super) fn check_bytes(&self, payload: &Payload, start: u64, memory: &mut [u8]) {
        if payload.read(start, memory).is_ok() {
            return;
        }
        // Smaller reads locate the fault.
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
    pub(super) fn check_digest(
        &self,
        algorithm: Algorithm,
        payload: &Payload,
        memory: &mut Vec<u8>,
        bar: &ProgressBar,
    ) {
        let mut hash = algorithm.hasher();
        let mut failure = None;
        let mut at = 0;
        while at < payload.file_len() {
            let len = SPAN.min(payload.file_len() - at);
            let piece = room(memory, len);
            match payload.read_file(at, piece) {
                Ok(()) => hash.update(piece),
                Err(error) => {
                    failure.get_or_insert(error);
                    // The bytes of a layer that is not compressed are read only here.
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
        let digest = algorithm.finish(hash);
        if digest != wanted {
            found.add_plain(format!("its digest is {digest}, should be {wanted}"));
        }
        found.digest = Some(digest);
    }

    /// The report on the file, after all checks.
    pub(super) fn report(&self, whole: bool) -> FileReport {
        let mut found = self.found();
        // A bad block that keeps the layer from opening may be among the faults already.
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
            let mut hits = self.hits();
            for segment in segments {
                hits.add(*segment, Bytes::new(u64::MAX));
            }
            hits.tell(&mut report);
        }
        report
    }

    /// The hits of its faults, without any segment yet. Called after all checks.
    pub(super) fn hits(&self) -> Hits {
        let found = self.found();
        Hits::new(found.faults.iter().map(|(_, place, _)| place.clone()))
    }
}

/// The length of the stored blocks of a ZFile, in bytes.
fn stored_bytes(zfile: &Zfile) -> u64 {
    let last = zfile.layout().block_count().saturating_sub(1);
    zfile
        .table()
        .span(BlockIndex::new(0), BlockIndex::new(last))
        .map_or(0, |(_, len)| len.get())
}

/// The first `len` bytes of `memory`, which grows if needed. Their content is undefined.
pub(super) fn room(memory: &mut Vec<u8>, len: u64) -> &mut [u8] {
    let len = usize::try_from(len).unwrap_or_default();
    memory.resize(memory.len().max(len), 0);
    &mut memory[..len]
}
