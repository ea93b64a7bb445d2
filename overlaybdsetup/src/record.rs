// SPDX-License-Identifier: GPL-2.0

//! `record`: what was read of the layers of a device that are in a registry.
//!
//! The fetchers of the layers know it. Nothing is changed: recording goes on.

use crate::blob::order_of;
use crate::error::{Error, Result, Status};
use crate::fetcher::{Record, Run};
use crate::mapper::Mapper;
use crate::output::{json, print};
use crate::plan::{check_name, Kind};
use std::io::Write;

/// Prints the record of a device.
///
/// # Errors
///
/// [`Status::Device`] if there is no such device, or no layer of it is in a registry; an error of
/// `out`.
pub fn run(name: &str, out: &mut dyn Write) -> Result<()> {
    check_name(name)?;
    let mapper = Mapper::open()?;
    let ours = (mapper.info(name)?)
        .is_some_and(|info| Kind::of_uuid(&info.uuid).is_some_and(Kind::is_named));
    let mut blobs = Vec::new();
    if ours {
        add(&mapper, name, &mut blobs)?;
    }
    if blobs.is_empty() {
        return Err(Error::new(
            Status::Device,
            format!("{name} is no device with layers in a registry"),
        ));
    }
    print(out, |out| json(out, &Record::new(blobs)))
}

/// Adds what was read below a device.
fn add(mapper: &Mapper, name: &str, blobs: &mut Vec<(String, Vec<Run>)>) -> Result<()> {
    for number in mapper.below(name)? {
        match number.dm_name() {
            Some(lower) => add(mapper, &lower, blobs)?,
            None => blobs.extend(order_of(number)),
        }
    }
    Ok(())
}
