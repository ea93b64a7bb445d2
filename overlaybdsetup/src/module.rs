// SPDX-License-Identifier: GPL-2.0

//! The kernel module with the targets: loads it with modprobe if the kernel does not have them.

use crate::error::{Error, Result, Status};
use crate::mapper::Mapper;
use std::process::{Command, Stdio};

/// The module's name.
const MODULE: &str = "dm-overlaybd";

/// The targets in it.
const TARGETS: [&str; 2] = ["zfile_target", "lsmt_target"];

/// Makes sure that the kernel has the targets.
///
/// # Errors
///
/// [`Status::Device`] if the module cannot be loaded, with the reason and with how to install it.
pub fn load(mapper: &Mapper) -> Result<()> {
    if there(mapper)? {
        return Ok(());
    }
    let said = modprobe(MODULE);
    if there(mapper)? {
        return Ok(());
    }
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    Err(Error::new(
        Status::Device,
        format!(
            "the kernel has no zfile_target and lsmt_target: modprobe {MODULE}: {said}\n\
             Install the package dm-overlaybd-modules-{release} or dm-overlaybd-dkms, or load the \
             module that was built for this kernel: insmod {MODULE}.ko"
        ),
    ))
}

fn there(mapper: &Mapper) -> Result<bool> {
    for target in TARGETS {
        if !mapper.has_target(target)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Loads a module with modprobe, and returns what modprobe printed.
pub(crate) fn modprobe(module: &str) -> String {
    let run = Command::new("modprobe")
        .arg(module)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(output) if output.status.success() => "it is loaded".into(),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            match said.trim().lines().last() {
                Some(line) if !line.is_empty() => line.trim_start_matches("modprobe: ").to_string(),
                _ => output.status.to_string(),
            }
        }
        Err(error) => format!("it cannot be run: {error}"),
    }
}
