// SPDX-License-Identifier: GPL-2.0

//! `verify`: whether all of an image is right, every check and every block, without any device.
//!
//! It reads all of each file, on all processors, and tells every fault, not only the first. It
//! changes nothing, mends nothing, and asks no kernel: what it accepts, `open` accepts, by the same
//! sources. A ZFile without CRCs of its blocks can have damage that nobody can find: that it has
//! none is told.
//!
//! ```text
//! queue      what is checked next
//!  |
//! subject    the checks of a file    digest
//!  |
//! image      the layers merged       hits
//!  |
//! report     what is told
//! ```
//!
//! The JSON is a [`Report`]. Fields are added to it, never renamed. Numbers are decimal, and in
//! bytes where nothing else is said.

mod digest;
mod hits;
mod image;
mod queue;
mod report;
mod subject;
#[cfg(test)]
mod tests;

pub use report::{Fault, FileReport, ImageReport, Report, SectorRange};

use crate::error::Result;
use crate::layer::LayerFile;
use crate::output::{self, print};
use crate::parallel::{in_parallel, in_parallel_workers};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use overlaybd_format::lsmt::MAX_LAYERS;
use queue::Queue;
use std::io::{self, IsTerminal, Write};
use subject::Subject;

/// How many bytes of a file a thread takes at once.
const SPAN: u64 = 1 << 20;

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
    let report = check(layers, whole, progress);
    print(out, |out| {
        if json {
            output::json(out, &report)
        } else {
            report.show(out)
        }
    })?;
    report.summary()
}

/// Checks files, and tells all that is found.
fn check(layers: &[LayerFile], whole: bool, progress: bool) -> Report {
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
    Report {
        ok: right && !files.is_empty() && files.iter().all(|file| file.ok),
        files,
        image,
    }
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
