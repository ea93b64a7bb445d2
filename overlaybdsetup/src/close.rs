// SPDX-License-Identifier: GPL-2.0

//! `close`: removes a device, and all devices below it that are no longer in use.
//!
//! It asks the kernel which devices exist, so it also finds those that a killed run left. Where the
//! device exists and is complete, it looks at nothing but what is below it.

use crate::blob::{detach, is_failing, sweep};
use crate::cli;
use crate::error::{Error, Result, Status};
use crate::mapper::{udev_runs, Info, Mapper};
use crate::mounts::{of_device, unmount_folder, usage, Usage};
use crate::plan::{check_name, Kind};
use crate::run_folder::{record_of, RunFolder};
use crate::signals::Signals;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How often to check whether a device is still in use.
const PATIENCE: u32 = 60;

/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(50);

/// Closes a device.
///
/// # Errors
///
/// [`Status::Busy`] if it is in use and the removal is not deferred; [`Status::Device`] if there is
/// no such device, or if this program did not create it.
pub fn run(arguments: &cli::Close) -> Result<()> {
    let name = arguments.name.as_str();
    check_name(name)?;
    let mapper = Mapper::open()?;
    let lock = RunFolder::lock(&Signals::catch()?)?;
    sweep();
    let Some(info) = mapper.info(name)? else {
        let record = record_of(name)?;
        lock.forget(name);
        return if mapper.sweep()? > 0 || record.is_some() {
            Ok(())
        } else {
            Err(Error::new(
                Status::Device,
                format!("there is no device {name}"),
            ))
        };
    };
    if !Kind::of_uuid(&info.uuid).is_some_and(Kind::is_named) {
        return Err(Error::new(
            Status::Device,
            format!(
                "{name} is no device of overlaybdsetup (its uuid is {:?})",
                info.uuid
            ),
        ));
    }
    let mount = mount_of(name, &info)?;
    if arguments.force {
        detach_failing(&mapper, name)?;
    }
    // Checked before the next change: only the mount that `open` made may use the device.
    let waits = udev_runs() || arguments.force;
    if !arguments.deferred && !is_free(&mapper, &info, mount.as_deref(), waits)? {
        return Err(Error::new(Status::Busy, in_use(&info, mount.as_deref())?));
    }
    let usage = match &mount {
        _ if arguments.deferred => Usage::Busy,
        Some(folder) => usage(folder)?,
        None => Usage::Idle,
    };
    if usage != Usage::Busy {
        // Reads of processes that were killed may be under way.
        detach_failing(&mapper, name)?;
    }
    if let Some(folder) = mount.filter(|_| usage != Usage::Gone) {
        unmount_folder(&folder, arguments.deferred)?;
    }
    // Listed now: once the device is removed, nothing refers to those below it.
    let below = hidden_below(&mapper, &info)?;
    if arguments.deferred {
        mapper.remove_deferred(name)?;
        for name in &below {
            mapper.remove_deferred(name)?;
        }
    } else {
        mapper.remove(name)?;
    }
    lock.forget(name);
    if info.live {
        // Only these: to ask about all devices would take long on a host with thousands.
        mapper.sweep_among(below)?;
    } else {
        // A killed `open` left it without a table, which would say what is below it.
        mapper.sweep()?;
    }
    // Again: a fetcher that was killed just before may still have been ending.
    sweep();
    Ok(())
}

/// Detaches the network block devices below whose registry does not answer, or whose fetcher has
/// ended: reads under way fail, and the removal does not wait for them. Layers that another image
/// uses are left alone.
fn detach_failing(mapper: &Mapper, name: &str) -> Result<()> {
    for number in mapper.below(name)? {
        if let Some(lower) = number.dm_name() {
            if mapper.info(&lower)?.is_some_and(|info| info.users <= 1) {
                detach_failing(mapper, &lower)?;
            }
        } else if is_failing(number) {
            detach(number)?;
        }
    }
    Ok(())
}

/// Whether a device has no user but the mount that `open` made.
///
/// udev opens a device after a writer closed it, for a moment. So where udev runs, an unknown user
/// is waited for. With `waits` false, none is.
fn is_free(mapper: &Mapper, info: &Info, mount: Option<&Path>, waits: bool) -> Result<bool> {
    let own = u32::from(mount.is_some());
    for _ in 0..PATIENCE {
        let others = other_mounts(info, mount)?;
        match mapper.info(&info.name)? {
            Some(now) if now.users > own || !others.is_empty() => {}
            _ => return Ok(true),
        }
        if !waits || !others.is_empty() || !info.number.holders().is_empty() {
            return Ok(false);
        }
        sleep(PAUSE);
    }
    Ok(false)
}

/// The folder that `open` mounted the device on, if it is still mounted there.
fn mount_of(name: &str, info: &Info) -> Result<Option<PathBuf>> {
    let folder = record_of(name)?.map(|record| record.mount);
    let there = of_device(info.number)?;
    Ok(folder.filter(|folder| there.contains(folder)))
}

/// The other folders that a device is mounted on.
fn other_mounts(info: &Info, mount: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut folders = of_device(info.number)?;
    folders.retain(|folder| Some(folder.as_path()) != mount);
    Ok(folders)
}

/// The error text for a device in use, with its users as far as they are visible.
fn in_use(info: &Info, mount: Option<&Path>) -> Result<String> {
    let mounts: Vec<String> = other_mounts(info, mount)?
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    let holders = info.number.holders();
    let by = if !mounts.is_empty() {
        format!("mounted on {}", mounts.join(", "))
    } else if !holders.is_empty() {
        format!("below {}", holders.join(", "))
    } else {
        "open in a process, or mounted in another mount namespace".to_string()
    };
    Ok(format!(
        "the device {} is in use: {by}; with --deferred it is removed when it no longer is",
        info.name
    ))
}

/// The names of all devices of this program below another one, nearest first.
fn hidden_below(mapper: &Mapper, info: &Info) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut next = vec![info.name.clone()];
    while let Some(name) = next.pop() {
        for number in mapper.below(&name)? {
            let Some(lower) = number.dm_name() else {
                continue;
            };
            let ours = mapper.info(&lower)?.is_some_and(|info| info.is_ours());
            if ours && !found.contains(&lower) {
                found.push(lower.clone());
                next.push(lower);
            }
        }
    }
    Ok(found)
}
