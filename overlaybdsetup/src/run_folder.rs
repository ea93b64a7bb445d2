// SPDX-License-Identifier: GPL-2.0

//! /run/overlaybdsetup: a lock, so that one process at a time creates or removes devices, and a
//! file for each device that `open` mounted, with the mount point. All other state is the kernel's.
//! The folders of fetchers are there too: `blob` creates them.

use crate::error::{Error, Result};
use crate::signals::Signals;
use rustix::fs::{flock, FlockOperation, Mode};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// The folder.
pub(crate) const FOLDER: &str = "/run/overlaybdsetup";

/// The pause before the lock is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// The folder, with the lock held.
#[derive(Debug)]
pub struct RunFolder {
    /// Locked as long as it is open.
    _lock: File,
}

/// The record of a device that was mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The mount point.
    pub mount: PathBuf,
}

impl RunFolder {
    /// Creates the folder if it does not exist, and waits for the lock.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or a signal arrives.
    pub fn lock(signals: &Signals) -> Result<Self> {
        let cannot = |error: io::Error| Error::io(format!("cannot lock {FOLDER}"), &error);
        let made = fs::DirBuilder::new().mode(0o755).create(FOLDER);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(cannot(error))
            }
            _ => {}
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode((Mode::RUSR | Mode::WUSR).bits())
            .open(Path::new(FOLDER).join(".lock"))
            .map_err(cannot)?;
        loop {
            signals.check()?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _lock: lock }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => sleep(PAUSE),
                Err(errno) => return Err(cannot(errno.into())),
            }
        }
    }

    /// Records where a device is about to be mounted.
    ///
    /// # Errors
    ///
    /// If the file system is full.
    pub fn write(&self, name: &str, record: &Record) -> Result<()> {
        let path = file_of(name);
        let text = serde_json::to_string(record)
            .map_err(|error| Error::refused(format!("cannot write {}: {error}", path.display())))?;
        let new = path.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            Error::io(format!("cannot write {}", path.display()), &error)
        })
    }

    /// Removes the record of a device.
    pub fn forget(&self, name: &str) {
        let _ = fs::remove_file(file_of(name));
    }
}

/// The record of a device; [`None`] if there is none.
///
/// # Errors
///
/// If it cannot be read.
pub fn record_of(name: &str) -> Result<Option<Record>> {
    let path = file_of(name);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Error::refused(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("cannot read {}", path.display()), &error)),
    }
}

fn file_of(name: &str) -> PathBuf {
    // Names of devices have no slash. The ending keeps the file apart from the lock.
    Path::new(FOLDER).join(format!("{name}.json"))
}
