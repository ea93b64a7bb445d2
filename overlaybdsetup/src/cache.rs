// SPDX-License-Identifier: GPL-2.0

//! A cache: a folder in which what was fetched of blobs stays, and the commands `cache ls` and
//! `cache prune`.
//!
//! ```text
//! DIR/SOURCE/ALGORITHM/DIGITS/data    the blob, sparse
//! DIR/SOURCE/ALGORITHM/DIGITS/sums    the checksum of each part
//! ```
//!
//! A fetcher holds a shared lock of `data`, and what it locks is not removed. The time of the last
//! use is the time of modification of `sums`. This module does not know what is in the files, and
//! removes nothing but such folders.

use crate::digest::parts;
use crate::error::{Error, Result};
use crate::output::{json, print};
use crate::registry::Blob;
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use serde::Serialize;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file of the blob.
const DATA: &str = "data";

/// The file of the checksums.
const SUMS: &str = "sums";

/// How often to open files that another process removes at the same time.
const TRIES: u32 = 100;

/// A blob in a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Where it came from, as [`Blob::source`] has it.
    pub source: String,
    /// The digest that the registry gave for it.
    pub digest: String,
    /// The room that it takes on the disk, in bytes.
    pub bytes: u64,
    /// When it was last opened, or written, in seconds since 1970.
    pub used: u64,
    /// Whether a fetcher uses it.
    pub in_use: bool,
    #[serde(skip)]
    folder: PathBuf,
}

/// Creates the folder of a cache if it does not exist, and returns its absolute path.
///
/// # Errors
///
/// If it cannot be created.
pub fn create(folder: &Path) -> Result<PathBuf> {
    let cannot = |error: io::Error| Error::io(format!("--cache {}", folder.display()), &error);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(cannot)?;
    folder.canonicalize().map_err(cannot)
}

/// The files of a blob, which exist afterwards: its parts, and their checksums. They are in use as
/// long as the first one is open.
///
/// # Errors
///
/// A folder that cannot be written; a digest that names no file.
pub(crate) fn open(cache: &Path, blob: &Blob) -> io::Result<(File, File)> {
    let (algorithm, digits) = parts(&blob.digest).ok_or(io::ErrorKind::InvalidInput)?;
    let folder = cache
        .join(blob.source())
        .join(algorithm.name())
        .join(digits);
    let mut tried = 0;
    loop {
        tried += 1;
        match open_in(&folder) {
            // It was removed meanwhile.
            Ok(None) if tried < TRIES => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && tried < TRIES => {}
            Ok(None) => return Err(io::ErrorKind::NotFound.into()),
            Ok(Some(files)) => return Ok(files),
            Err(error) => return Err(error),
        }
    }
}

/// The files in a folder; [`None`] if they were removed while they were opened.
fn open_in(folder: &Path) -> io::Result<Option<(File, File)>> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let open = |name: &str| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(name))
    };
    let data = open(DATA)?;
    flock(&data, FlockOperation::LockShared)?;
    let sums = open(SUMS)?;
    sums.set_modified(SystemTime::now())?;
    let there = fs::metadata(folder.join(DATA))?.ino() == data.metadata()?.ino();
    Ok(there.then_some((data, sums)))
}

/// The blobs in a cache, the one that was not used for the longest time first.
///
/// # Errors
///
/// A folder that cannot be read.
pub fn entries(cache: &Path) -> Result<Vec<Entry>> {
    let cannot = |error: io::Error| Error::io(format!("cannot read {}", cache.display()), &error);
    let mut entries = Vec::new();
    for source in folders(cache).map_err(cannot)? {
        for algorithm in folders(&source).map_err(cannot)? {
            for folder in folders(&algorithm).map_err(cannot)? {
                // Anything else is not of a cache.
                entries.extend(entry(&source, &algorithm, folder));
            }
        }
    }
    entries.sort_by(|a, b| (a.used, &a.folder).cmp(&(b.used, &b.folder)));
    Ok(entries)
}

fn entry(source: &Path, algorithm: &Path, folder: PathBuf) -> Option<Entry> {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_string());
    let digest = format!("{}:{}", name(algorithm)?, name(&folder)?);
    parts(&digest)?;
    let data = File::open(folder.join(DATA)).ok()?;
    let sums = fs::metadata(folder.join(SUMS)).ok()?;
    let used = sums.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Entry {
        source: name(source)?,
        digest,
        bytes: (data.metadata().ok()?.blocks() + sums.blocks()) * 512,
        used: used.as_secs(),
        in_use: !is_free(&data),
        folder,
    })
}

/// Whether nothing holds a lock of the file. If so, it is locked until it is closed.
fn is_free(data: &File) -> bool {
    flock(data, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes blobs that no fetcher uses, the one that was not used for the longest time first, until
/// the cache takes no more than `keep` bytes. Returns those that were removed.
///
/// # Errors
///
/// A folder that cannot be read, or from which nothing can be removed.
pub fn prune(cache: &Path, keep: u64) -> Result<Vec<Entry>> {
    let entries = entries(cache)?;
    let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let mut removed = Vec::new();
    for entry in entries {
        if bytes <= keep {
            break;
        }
        let cannot = |error: io::Error| {
            Error::io(format!("cannot remove {}", entry.folder.display()), &error)
        };
        let Ok(data) = File::open(entry.folder.join(DATA)) else {
            continue;
        };
        // The lock is held until the folder is gone.
        if is_free(&data) {
            fs::remove_dir_all(&entry.folder).map_err(cannot)?;
            bytes = bytes.saturating_sub(entry.bytes);
            removed.push(entry);
        }
    }
    Ok(removed)
}

/// `cache ls`.
///
/// # Errors
///
/// Those of [`entries`] and `out`.
pub fn run_ls(cache: &Path, as_json: bool, out: &mut dyn Write) -> Result<()> {
    list(&entries(cache)?, as_json, out)
}

/// `cache prune`.
///
/// # Errors
///
/// Those of [`prune`] and `out`.
pub fn run_prune(cache: &Path, keep: u64, as_json: bool, out: &mut dyn Write) -> Result<()> {
    list(&prune(cache, keep)?, as_json, out)
}

fn list(entries: &[Entry], as_json: bool, out: &mut dyn Write) -> Result<()> {
    print(out, |out| {
        if as_json {
            return json(out, &entries);
        }
        for entry in entries {
            let state = if entry.in_use { "in use" } else { "unused" };
            let (source, digest, bytes) = (&entry.source, &entry.digest, entry.bytes);
            writeln!(out, "{digest}\t{bytes}\t{state}\t{source}")?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Access;
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    fn blob(digit: char, host: &str) -> Blob {
        Blob {
            url: format!("https://{host}/v2/x/blobs/1"),
            digest: format!("sha256:{}", digit.to_string().repeat(64)),
            size: 1 << 20,
            access: Access {
                verify_tls: true,
                header_script: None,
                renew: 0,
            },
        }
    }

    /// Puts a blob into a cache that was last used this many seconds ago.
    fn put(cache: &Path, blob: &Blob, bytes: usize, ago: u64) -> (File, File) {
        let (data, sums) = open(cache, blob).unwrap();
        data.write_all_at(&vec![1; bytes], 0).unwrap();
        let time = SystemTime::now() - Duration::from_secs(ago);
        sums.set_modified(time).unwrap();
        (data, sums)
    }

    #[test]
    fn the_least_recently_used_are_removed() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        drop(put(cache, &blob('a', "x"), 1 << 20, 30));
        drop(put(cache, &blob('b', "x"), 1 << 20, 20));
        drop(put(cache, &blob('c', "x"), 1 << 20, 40));
        let used = put(cache, &blob('d', "x"), 1 << 20, 50);
        let digits = |entries: Vec<Entry>| -> String {
            (entries.iter())
                .map(|entry| entry.digest.chars().last().unwrap())
                .collect()
        };
        let all = entries(cache).unwrap();
        assert_eq!(all.iter().filter(|entry| entry.in_use).count(), 1);
        assert!(all.iter().all(|entry| entry.bytes >= 1 << 20));
        assert_eq!(digits(all), "dcab");
        assert_eq!(digits(prune(cache, u64::MAX).unwrap()), "");
        assert_eq!(digits(prune(cache, 3 << 20).unwrap()), "c");
        assert_eq!(digits(prune(cache, 0).unwrap()), "ab");
        assert_eq!(digits(entries(cache).unwrap()), "d");
        drop(used);
        assert_eq!(digits(prune(cache, 0).unwrap()), "d");
    }

    #[test]
    fn registries_do_not_share() {
        let cache = tempfile::tempdir().unwrap();
        let (one, _) = open(cache.path(), &blob('a', "x")).unwrap();
        let (other, _) = open(cache.path(), &blob('a', "y")).unwrap();
        let (same, _) = open(cache.path(), &blob('a', "x")).unwrap();
        let inode = |file: &File| file.metadata().unwrap().ino();
        assert_ne!(inode(&one), inode(&other));
        assert_eq!(inode(&one), inode(&same));
        let mut wrong = blob('a', "x");
        wrong.digest = "sha256:..".into();
        assert!(open(cache.path(), &wrong).is_err());
    }

    #[test]
    fn other_folders_are_left_alone() {
        let cache = tempfile::tempdir().unwrap();
        let other = cache.path().join("a/sha256/b");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join(DATA), b"x").unwrap();
        fs::write(other.join(SUMS), b"x").unwrap();
        fs::write(cache.path().join("file"), b"x").unwrap();
        assert_eq!(entries(cache.path()).unwrap(), []);
        assert_eq!(prune(cache.path(), 0).unwrap(), []);
        assert!(other.join(DATA).exists());
        assert!(entries(&cache.path().join("none")).is_err());
    }
}
