// SPDX-License-Identifier: GPL-2.0

//! `close`: takes a device down, and all below it that nobody uses any more. What a killed run left is found too,
//! as it is asked of the kernel what there is.

use crate::cli;
use crate::error::{Error, Result, Status};
use crate::mapper::{udev_runs, Info, Mapper};
use crate::mounts::{of_device, unmount_folder};
use crate::plan::{check_name, Kind};
use crate::run_folder::{record_of, RunFolder};
use crate::signals::Signals;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How often, and how long in between, it is asked whether a device is still in use.
const PATIENCE: u32 = 60;
const PAUSE: Duration = Duration::from_millis(50);

/// Closes a device.
///
/// # Errors
///
/// [`Status::Busy`] if it is in use and not to be removed later; [`Status::Device`] if there is nothing of that
/// name, or it is none of this program's.
pub fn run(arguments: &cli::Close) -> Result<()> {
    let name = arguments.name.as_str();
    check_name(name)?;
    let mapper = Mapper::open()?;
    let lock = RunFolder::lock(&Signals::catch()?)?;
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
    // Before anything is taken down: the mount has the device open, and nobody else may.
    if !arguments.deferred && !is_free(&mapper, &info, mount.as_deref())? {
        return Err(Error::new(Status::Busy, in_use(&info, mount.as_deref())?));
    }
    if let Some(folder) = &mount {
        unmount_folder(folder, arguments.deferred)?;
    }
    // Asked before it is gone.
    let below = if arguments.deferred {
        hidden_below(&mapper, &info)?
    } else {
        Vec::new()
    };
    if arguments.deferred {
        mapper.remove_deferred(name)?;
        for name in below {
            mapper.remove_deferred(&name)?;
        }
    } else {
        mapper.remove(name)?;
    }
    lock.forget(name);
    mapper.sweep()?;
    Ok(())
}

/// Whether nobody has a device open but the mount that `open` made. Where udev runs, it looks into a device that
/// was written once its writer has closed it: a user that cannot be seen is given a moment.
fn is_free(mapper: &Mapper, info: &Info, mount: Option<&Path>) -> Result<bool> {
    let own = u32::from(mount.is_some());
    for _ in 0..PATIENCE {
        let others = other_mounts(info, mount)?;
        match mapper.info(&info.name)? {
            Some(now) if now.users > own || !others.is_empty() => {}
            _ => return Ok(true),
        }
        if !udev_runs() || !others.is_empty() || !holders(info).is_empty() {
            return Ok(false);
        }
        sleep(PAUSE);
    }
    Ok(false)
}

/// The mount that `open` made, if it is still there.
fn mount_of(name: &str, info: &Info) -> Result<Option<PathBuf>> {
    let folder = record_of(name)?.map(|record| record.mount);
    let there = of_device(info.number)?;
    Ok(folder.filter(|folder| there.contains(folder)))
}

/// Where else a device is mounted.
fn other_mounts(info: &Info, mount: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut folders = of_device(info.number)?;
    folders.retain(|folder| Some(folder.as_path()) != mount);
    Ok(folders)
}

/// Why a device cannot be removed, as far as can be seen.
fn in_use(info: &Info, mount: Option<&Path>) -> Result<String> {
    let mounts: Vec<String> = other_mounts(info, mount)?
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    let holders = holders(info);
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

/// The names of the devices that have a device open.
fn holders(info: &Info) -> Vec<String> {
    let entries = fs::read_dir(format!("/sys/dev/block/{}/holders", info.number));
    (entries.into_iter().flatten().flatten())
        .map(|entry| {
            let name = fs::read_to_string(entry.path().join("dm/name"));
            name.map_or_else(
                |_| entry.file_name().to_string_lossy().into_owned(),
                |name| name.trim().to_string(),
            )
        })
        .collect()
}

/// The names of all devices below one, nearest first.
fn hidden_below(mapper: &Mapper, info: &Info) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut next = vec![info.name.clone()];
    while let Some(name) = next.pop() {
        for number in mapper.below(&name)? {
            let path = format!("/sys/dev/block/{number}/dm/name");
            let Ok(lower) = fs::read_to_string(path) else {
                continue;
            };
            let lower = lower.trim().to_string();
            let ours = mapper.info(&lower)?.is_some_and(|info| info.is_ours());
            if ours && !found.contains(&lower) {
                found.push(lower.clone());
                next.push(lower);
            }
        }
    }
    Ok(found)
}
