// SPDX-License-Identifier: GPL-2.0

//! The exception store of a writable device: a file with the written chunks in dm-snapshot's own
//! format, after 4096 bytes that name the image it belongs to.
//!
//! dm-snapshot does not check which origin a store belongs to: over another image the device would
//! show a mixture of both. So the first bytes are a text of this program, and a store of another
//! image is refused.

use crate::error::{Error, Result, Status};
use crate::plan::{Key, StoreShape, CHUNK};
use overlaybd_format::units::SECTOR_SIZE;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where dm-snapshot's part starts in the file, in bytes.
pub const STORE_OFFSET: u64 = 4096;

/// The first line of the file.
const TITLE: &str = "overlaybd exception store 1\n";

/// The smallest room for exceptions, in bytes.
const MIN_SIZE: u64 = 64 << 10;

/// dm-snapshot's magic number, at the start of its part once the store was used.
const SNAPSHOT_MAGIC: u32 = 0x7041_6e53;

/// The text after the title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Belongs {
    /// The fingerprint of the image.
    image: String,
    /// The size of the image in bytes.
    virtual_size: u64,
    /// The chunk of dm-snapshot in sectors.
    chunk_sectors: u64,
}

/// What a caller asks for: a file, and its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The file.
    pub path: PathBuf,
    /// The room for exceptions, in bytes; [`None`] for enough to write the whole image.
    pub size: Option<u64>,
}

impl Wanted {
    /// Splits `FILE[:SIZE]`. The text after the last colon is a size if it starts with a digit.
    ///
    /// # Errors
    ///
    /// A size that is too small or too large.
    pub fn parse(text: &str) -> Result<Self> {
        let (path, size) = match text.rsplit_once(':') {
            Some((path, size))
                if !path.is_empty() && size.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                let size = parse_size(size)
                    .filter(|size| *size >= MIN_SIZE)
                    .ok_or_else(|| {
                        Error::refused(format!(
                        "--writable {text}: {size:?} is no size from 64K up, such as 512M or 10G"
                    ))
                    })?;
                (path, Some(size))
            }
            _ => (text, None),
        };
        Ok(Self {
            path: path.into(),
            size,
        })
    }
}

/// A size in bytes, with a suffix K, M, G or T; [`None`] if it is none.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "k" | "KiB" => 10,
        "M" | "m" | "MiB" => 20,
        "G" | "g" | "GiB" => 30,
        "T" | "t" | "TiB" => 40,
        _ => return None,
    };
    let size = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    // Beyond any file system's largest file.
    (size < 1 << 62).then_some(size)
}

/// An exception store, open.
#[derive(Debug)]
pub struct Store {
    file: File,
    path: PathBuf,
    /// Whether this process created it.
    made: bool,
}

impl Store {
    /// Opens the store of an image. Writes a new one if the file does not exist or is empty.
    ///
    /// # Errors
    ///
    /// A file that is no store, belongs to another image, or could not be written in the past.
    pub fn open(wanted: &Wanted, fingerprint: &str, virtual_size: u64) -> Result<Self> {
        let path = &wanted.path;
        let cannot =
            |error: io::Error| Error::io(format!("cannot open {}", path.display()), &error);
        let belongs = Belongs {
            image: fingerprint.to_string(),
            virtual_size,
            chunk_sectors: CHUNK,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let (file, made) = match options.clone().create_new(true).open(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options.open(path).map_err(cannot)?, false)
            }
            Err(error) => return Err(cannot(error)),
        };
        let about = file.metadata().map_err(cannot)?;
        if !about.is_file() {
            return Err(Error::new(
                Status::Device,
                format!("{} is no regular file", path.display()),
            ));
        }
        let store = Self {
            file,
            path: path.clone(),
            made,
        };
        let size = wanted.size;
        let done = if about.size() == 0 {
            store.write_new(&belongs, size.unwrap_or_else(|| enough_for(virtual_size)))
        } else {
            store.check(&belongs, size, about.size())
        };
        match done {
            Ok(()) => Ok(store),
            Err(error) => {
                if made {
                    let _ = fs::remove_file(path);
                }
                Err(error.within(path.display()))
            }
        }
    }

    fn write_new(&self, belongs: &Belongs, size: u64) -> Result<()> {
        let cannot = |error: io::Error| Error::io("cannot make an exception store", &error);
        let json = serde_json::to_string_pretty(belongs)
            .map_err(|error| Error::refused(error.to_string()))?;
        let mut text = format!("{TITLE}{json}\n").into_bytes();
        text.resize(usize::try_from(STORE_OFFSET).unwrap_or_default(), 0);
        self.file
            .set_len(STORE_OFFSET.saturating_add(size.next_multiple_of(4096)))
            .map_err(cannot)?;
        self.file.write_all_at(&text, 0).map_err(cannot)?;
        self.file.sync_all().map_err(cannot)
    }

    fn check(&self, wanted: &Belongs, size: Option<u64>, file_len: u64) -> Result<()> {
        let cannot = |error: io::Error| Error::io("cannot read the exception store", &error);
        let mut text = [0; STORE_OFFSET as usize];
        let mut header = [0; 8];
        if file_len >= STORE_OFFSET + MIN_SIZE {
            self.file.read_exact_at(&mut text, 0).map_err(cannot)?;
            self.file
                .read_exact_at(&mut header, STORE_OFFSET)
                .map_err(cannot)?;
        }
        let Some(json) = text.strip_prefix(TITLE.as_bytes()) else {
            return Err(Error::refused(
                "it is there already and no exception store of this program; \
                 choose a file that does not exist",
            ));
        };
        let end = json
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(json.len());
        let belongs: Belongs = serde_json::from_slice(&json[..end]).map_err(|error| {
            Error::refused(format!("its first bytes cannot be understood: {error}"))
        })?;
        if belongs != *wanted {
            return Err(Error::refused(format!(
                "it belongs to another image: to one of {} bytes with the fingerprint {}, this one \
                 has {} and {}",
                belongs.virtual_size, belongs.image, wanted.virtual_size, wanted.image
            )));
        }
        let [magic, valid] =
            [&header[..4], &header[4..]].map(|word| word.try_into().map_or(0, u32::from_le_bytes));
        if magic == SNAPSHOT_MAGIC && valid == 0 {
            return Err(Error::refused(
                "it could not be written at some time: what it holds can no longer be used; \
                 remove it to start again",
            ));
        }
        // A store grows and never shrinks.
        let wanted_len = size.map_or(0, |size| {
            STORE_OFFSET.saturating_add(size.next_multiple_of(4096))
        });
        if wanted_len > file_len {
            self.file
                .set_len(wanted_len)
                .map_err(|error| Error::io("cannot give it more room", &error))?;
        }
        Ok(())
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The shape that a plan depends on.
    ///
    /// # Errors
    ///
    /// If the attributes of the file cannot be read.
    pub fn shape(&self) -> Result<StoreShape> {
        Ok(StoreShape {
            path: self.path.clone(),
            key: Key::of_file(&self.file).map_err(|error| {
                Error::io(format!("cannot read {}", self.path.display()), &error)
            })?,
            offset: STORE_OFFSET,
        })
    }

    /// Removes the file if this process created it. Called when its device could not be created.
    pub fn discard(&self) {
        if self.made {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The room with which a store cannot run full: all chunks, 16 bytes for each, and the header.
fn enough_for(virtual_size: u64) -> u64 {
    let chunk = CHUNK * SECTOR_SIZE;
    let chunks = virtual_size.div_ceil(chunk);
    let areas = chunks.div_ceil(chunk / 16).saturating_add(1);
    chunks
        .saturating_add(areas)
        .saturating_add(2)
        .saturating_mul(chunk)
        .max(MIN_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(folder: &Path, size: Option<u64>) -> Wanted {
        Wanted {
            path: folder.join("store"),
            size,
        }
    }

    #[test]
    fn a_file_and_a_size() {
        let parse = |text: &str| Wanted::parse(text).map(|wanted| (wanted.path, wanted.size));
        assert_eq!(parse("/a/b"), Ok(("/a/b".into(), None)));
        assert_eq!(parse("/a/b:10G"), Ok(("/a/b".into(), Some(10 << 30))));
        assert_eq!(parse("/a:b/c:65536"), Ok(("/a:b/c".into(), Some(65536))));
        assert_eq!(parse("/a:b"), Ok(("/a:b".into(), None)));
        for bad in ["/a:1K", "/a:0", "/a:10X", "/a:99999999T"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn made_once_and_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&wanted(folder.path(), Some(1 << 20)), "f1", 1 << 30).unwrap();
        let about = store.file().metadata().unwrap();
        assert_eq!(about.size(), 4096 + (1 << 20));
        assert!(about.blocks() * 512 <= 8192);
        let again = Store::open(&wanted(folder.path(), None), "f1", 1 << 30).unwrap();
        assert_eq!(again.shape().unwrap(), store.shape().unwrap());
        // A store that existed before is kept.
        again.discard();
        assert!(folder.path().join("store").exists());
        // It grows and does not shrink.
        for (size, len) in [(2 << 20, 2 << 20), (1 << 20, 2 << 20)] {
            let store = Store::open(&wanted(folder.path(), Some(size)), "f1", 1 << 30).unwrap();
            assert_eq!(store.file().metadata().unwrap().size(), 4096 + len);
        }
        store.discard();
        assert!(!folder.path().join("store").exists());
    }

    #[test]
    fn refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = |print: &str, size| {
            Store::open(&wanted(folder.path(), None), print, size)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        assert_eq!(open("f1", 1 << 20), Ok(()));
        assert!(open("f2", 1 << 20).unwrap_err().contains("another image"));
        assert!(open("f1", 1 << 21).unwrap_err().contains("another image"));

        let file = OpenOptions::new()
            .write(true)
            .open(folder.path().join("store"))
            .unwrap();
        file.write_all_at(&SNAPSHOT_MAGIC.to_le_bytes(), 4096)
            .unwrap();
        assert!(open("f1", 1 << 20)
            .unwrap_err()
            .contains("could not be written"));
        file.write_all_at(&1u32.to_le_bytes(), 4100).unwrap();
        assert_eq!(open("f1", 1 << 20), Ok(()));

        fs::write(folder.path().join("store"), [1; 100_000]).unwrap();
        assert!(open("f1", 1 << 20)
            .unwrap_err()
            .contains("no exception store"));
        fs::write(folder.path().join("store"), b"x").unwrap();
        assert!(open("f1", 1 << 20)
            .unwrap_err()
            .contains("no exception store"));
        // An empty file becomes a new store.
        fs::write(folder.path().join("store"), b"").unwrap();
        assert_eq!(open("f1", 1 << 20), Ok(()));
    }

    #[test]
    fn enough_is_enough() {
        // A header, 262144 chunks, an area of 4096 bytes for every 256 of them.
        let least = 4096 * (1 + (1 << 18) + (1 << 18) / 256);
        assert!(enough_for(1 << 30) >= least);
        assert!(enough_for(1 << 30) < least + 65536);
        assert_eq!(enough_for(512), MIN_SIZE);
    }
}
