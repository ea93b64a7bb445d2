// SPDX-License-Identifier: GPL-2.0

//! The work on open files, divided into pieces that threads take from a queue.
//!
//! It checks nothing itself, and starts no threads.

use super::subject::{room, Subject, SPAN};
use crate::content::Content;
use crate::digest::Algorithm;
use crate::parallel::lock;
use crate::payload::Payload;
use crate::zfile::{Codec, Zfile};
use indicatif::ProgressBar;
use overlaybd_format::units::BlockIndex;
use std::sync::Mutex;

/// The most content of a piece, in bytes. It makes pieces of well-compressed content shorter.
const CONTENT_SPAN: u64 = 16 << 20;

/// A piece of work.
enum Job<'a> {
    Digest(&'a Subject<'a>, &'a Payload, Algorithm),
    Blocks(&'a Subject<'a>, &'a Zfile, BlockIndex, BlockIndex),
    Bytes(&'a Subject<'a>, &'a Payload, u64, u64),
}

/// The remaining work, file by file, so that the second read of a file finds it in the page cache:
/// one thread computes its digest while the others check its blocks.
pub(super) struct Queue<'a> {
    subjects: &'a [Subject<'a>],
    next: Mutex<Next>,
}

/// The start of the remaining work.
#[derive(Default)]
struct Next {
    subject: usize,
    hashed: bool,
    /// The next block of a ZFile, or the next byte of another file.
    at: u64,
}

impl<'a> Queue<'a> {
    pub(super) fn new(subjects: &'a [Subject<'a>]) -> Self {
        Self {
            subjects,
            next: Mutex::default(),
        }
    }

    /// Takes the next piece of work; [`None`] if none is left.
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
                // The digest, if one is given, already reads the whole file.
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

    /// Takes and does pieces of work until none is left.
    pub(super) fn work(&self, bar: &ProgressBar) {
        let (mut codec, mut memory) = (Codec::default(), Vec::new());
        while let Some(job) = self.take() {
            match job {
                Job::Digest(subject, payload, algorithm) => {
                    subject.check_digest(algorithm, payload, &mut memory, bar);
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

/// The first and last block of the piece that starts with the block `first`; [`None`] after the
/// last block.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{noise, Files};
    use overlaybd_image::ZfileWriter;

    #[test]
    fn spans_are_all_blocks_in_order() {
        let files = Files::new();
        let mut bytes = vec![0; 40 << 20];
        bytes[..3 << 20].copy_from_slice(&noise(3 << 20));
        for block_size in [512, 4096, 65536] {
            let zfile = ZfileWriter::new().block_size(block_size).write(&bytes);
            let file = files.write("z", &zfile);
            let content = Content::open(Payload::open(&file).unwrap()).unwrap();
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
}
