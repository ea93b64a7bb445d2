// SPDX-License-Identifier: GPL-2.0

//! Fills the reports of `status`: from tables and status lines, and from sysfs for loop devices.

use super::counters::{number_after, Counters};
use super::report::{LayerReport, Report, StoreReport};
use crate::blob::report_of;
use crate::error::Result;
use crate::executor::TableLine;
use crate::mapper::{Info, Mapper};
use crate::mounts::of_device;
use crate::plan::{node, Kind};
use crate::sysfs::Number;
use overlaybd_format::units::SECTOR_SIZE;
use std::path::PathBuf;

impl Report {
    /// The report on a device.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
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
                let origin = arguments.next().and_then(dm_name);
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

    /// Adds the layers below the lsmt_target that merges them.
    fn add_layers(&mut self, mapper: &Mapper, merged: &str) -> Result<()> {
        let status = mapper.status(merged)?;
        let line = status.first().map_or("", |line| line.3.as_str());
        self.segments = number_after(line, "segments");
        self.totals.add(&Counters::of(line));
        let table = mapper.table(merged)?;
        let Some((.., arguments)) = table.first() else {
            return Ok(());
        };
        // The arguments are pairs of a device and a length.
        for device in arguments.split_ascii_whitespace().step_by(2) {
            let layer = LayerReport::of(mapper, device)?;
            self.totals.add(&layer.counters);
            self.layers.push(layer);
        }
        Ok(())
    }
}

impl LayerReport {
    /// The report on a layer, by the number that the table above it names.
    fn of(mapper: &Mapper, device: &str) -> Result<Self> {
        let Some(name) = dm_name(device) else {
            return Ok(Self::of_loop(device, 0));
        };
        let table = mapper.table(&name)?;
        let Some((.., target, arguments)) = table.first() else {
            return Ok(Self::default());
        };
        let mut words = arguments.split_ascii_whitespace();
        let lower = words.next().unwrap_or_default();
        if target != "zfile_target" {
            // A linear target joins the file to its last bytes, and its first line names the file.
            // Or it starts where the layer starts in a blob.
            let start = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            return Ok(Self::of_loop(lower, start));
        }
        let mut layer = Self::of(mapper, lower)?;
        layer.users = mapper.info(&name)?.map_or(0, |info| info.users);
        let status = mapper.status(&name)?;
        let line = status.first().map_or("", |line| line.3.as_str());
        let mut words = line.split_ascii_whitespace();
        layer.algorithm = words.next().map(str::to_string);
        layer.block_size = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        layer.verify = words.next() == Some("verify");
        layer.blocks = number_after(line, "blocks");
        layer.counters = Counters::of(line);
        layer.device = Some(name);
        Ok(layer)
    }

    /// The report on a layer that a loop device or a network block device shows from the sector
    /// `start` on.
    fn of_loop(device: &str, start: u64) -> Self {
        Self {
            file: loop_file(device),
            remote: Number::parse(device).and_then(report_of),
            offset: loop_attribute(device, "offset")
                .and_then(|text| text.parse().ok())
                .unwrap_or(start * SECTOR_SIZE),
            direct_io: loop_attribute(device, "dio").as_deref() == Some("1"),
            ..Self::default()
        }
    }
}

impl StoreReport {
    /// The report on a snapshot's store, by its status line: "USED/TOTAL METADATA" in sectors, or a
    /// word for a store that failed.
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

fn dm_name(device: &str) -> Option<String> {
    Number::parse(device)?.dm_name()
}

fn loop_attribute(device: &str, name: &str) -> Option<String> {
    Number::parse(device)?.loop_attribute(name)
}

fn loop_file(device: &str) -> Option<PathBuf> {
    loop_attribute(device, "backing_file").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

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
