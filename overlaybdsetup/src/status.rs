// SPDX-License-Identifier: GPL-2.0

//! `status` and `list`: which devices exist, what they consist of, and what the kernel counts.
//!
//! All of it comes from the kernel at that moment; nothing is changed.

mod counters;
mod query;
mod report;

pub use counters::Counters;
pub use report::{LayerReport, Report, StoreReport};

use crate::cli;
use crate::error::{Error, Result, Status};
use crate::mapper::{Info, Mapper};
use crate::output::{json, print};
use crate::plan::{check_name, node, Kind};
use std::io::Write;

/// `status`.
///
/// # Errors
///
/// [`Status::Device`] if there is no such device; an error of `out`.
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
/// If a request to the kernel fails; an error of `out`.
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

/// The reports on all devices that `open` made by name, sorted by name.
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
