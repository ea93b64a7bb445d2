// SPDX-License-Identifier: GPL-2.0

//! `verify`: checks a whole image, every check of `open` and every block, without a device.
//!
//! It reads all of each file, on all processors, and reports every fault, not only the first one.
//! It repairs nothing and does not need the module: it shares the source code of `open`, so `open`
//! accepts what it accepts. Damage in a ZFile without CRCs of its blocks may be undetectable: the
//! report says that there are no CRCs.
//!
//! ```text
//! queue      which piece is checked next
//!  |
//! subject    the checks of one file
//!  |
//! image      the merged layers       hits
//!  |
//! report     the result
//! ```
//!
//! The JSON is a [`Report`]. Fields may be added to it, and are never renamed. Numbers are decimal,
//! and in bytes unless their documentation says otherwise.

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
use subject::{Subject, SPAN};

/// Checks files and prints the result: the layers of one image, lowest first, if `whole`, or else
/// each file by itself.
///
/// # Errors
///
/// After the result is printed, if anything is wrong; an error of `out`.
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

/// Checks files, and returns the result.
fn check(layers: &[LayerFile], whole: bool, progress: bool) -> Report {
    let bar = bar(progress);
    let mut files = Vec::new();
    let mut image = None;
    // One batch has as many files as an image can have: they are all open at once.
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

/// The progress bar, hidden if standard error is no terminal.
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
