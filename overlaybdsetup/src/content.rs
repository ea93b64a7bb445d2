// SPDX-License-Identifier: GPL-2.0

//! What a layer file holds: the payload, which may lie in a tar, and the content, which may be compressed.
//!
//! What it is is found out from the bytes, in the order of the format's own reader: a tar, else a ZFile, else
//! the bytes themselves. Where the start is that of something else that is known, it is named and refused.

use crate::error::{Error, Result};
use crate::tar::{self, Member};
use overlaybd_format::units::{BlockIndex, Bytes, ContentOffset};
use overlaybd_format::zfile::{
    self, decode, groups_needed, Algorithm, Decompress, Group, JumpTable, JumpTableBuilder, Layout,
    Lz4, Opening, Stored,
};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zstd::bulk::Decompressor;

/// How much of an index is read at once.
const PIECE: u64 = 1 << 20;

/// CRC-32C without inversions, as the formats have it. The library inverts before and after.
#[must_use]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// The bytes of a layer in its file.
///
/// # Invariants
///
/// They lie in the file, as long as that was when it was opened, and start at a multiple of 512.
#[derive(Clone, Debug)]
pub struct Payload {
    file: Arc<File>,
    path: PathBuf,
    file_len: u64,
    place: Member,
    in_tar: bool,
}

impl Payload {
    /// Opens a file and looks for the tar around the layer.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is none, and a tar with something wrong.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot =
            |error: std::io::Error| Error::io(format!("cannot read {}", path.display()), &error);
        let file = File::open(path).map_err(cannot)?;
        let about = file.metadata().map_err(cannot)?;
        if !about.is_file() {
            return Err(Error::new(
                crate::error::Status::Device,
                format!("{} is no regular file", path.display()),
            ));
        }
        let mut payload = Self {
            file: Arc::new(file),
            path: path.to_path_buf(),
            file_len: about.size(),
            place: Member {
                offset: 0,
                len: about.size(),
            },
            in_tar: false,
        };
        let found = tar::first_file(about.size(), |at, buf| payload.read(at, buf))
            .map_err(|error| error.within(path.display()))?;
        if let Some(place) = found {
            payload.place = place;
            payload.in_tar = true;
        }
        Ok(payload)
    }

    /// Reads bytes from `at` of the payload on.
    ///
    /// # Errors
    ///
    /// If they cannot be read, all of them.
    pub fn read(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        let tried = || {
            format!(
                "cannot read {} bytes at {} of {}",
                buf.len(),
                at.saturating_add(self.place.offset),
                self.path.display()
            )
        };
        let inside = at
            .checked_add(buf.len() as u64)
            .is_some_and(|end| end <= self.place.len);
        if !inside {
            return Err(Error::refused(format!("{}: it ends before", tried())));
        }
        let tried = tried();
        self.file
            .read_exact_at(buf, self.place.offset + at)
            .map_err(|error| Error::io(tried, &error))
    }

    /// The file, open for reading.
    #[must_use]
    pub const fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length of the file in bytes, the tar included.
    #[must_use]
    pub const fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Where the payload starts in the file, in bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.place.offset
    }

    /// The length of the payload in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.place.len
    }

    /// Whether there are no bytes in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.place.len == 0
    }

    /// Whether it lies in a tar.
    #[must_use]
    pub const fn in_tar(&self) -> bool {
        self.in_tar
    }

    /// The first bytes, for telling what it is; zeros behind the end.
    fn first_bytes(&self) -> Result<[u8; 24]> {
        let mut bytes = [0; 24];
        let there = self.place.len.min(24);
        self.read(0, &mut bytes[..usize::try_from(there).unwrap_or_default()])?;
        Ok(bytes)
    }
}

/// Decompressors of blocks, with the memory they work in. Each thread has its own.
#[derive(Default)]
pub struct Codec {
    zstd: Option<Decompressor<'static>>,
    /// Blocks as they are stored.
    stored: Vec<u8>,
    /// The content of one of them.
    content: Vec<u8>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codec")
    }
}

/// Zstandard for [`decode`].
struct Zstd<'a>(&'a mut Decompressor<'static>);

impl Decompress for Zstd<'_> {
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0.decompress_to_buffer(compressed, out).ok()
    }
}

/// A ZFile whose header, trailer and index are right.
#[derive(Debug)]
pub struct Zfile {
    payload: Payload,
    table: JumpTable<Vec<Group>>,
    needs_trailer: bool,
}

impl Zfile {
    fn open(payload: Payload) -> Result<Self> {
        let refused = |error: zfile::OpenError| Error::refused(error.to_string());
        let mut area = [0; zfile::AREA_LEN];
        let there = payload.len().min(area.len() as u64);
        payload.read(0, &mut area[..usize::try_from(there).unwrap_or_default()])?;
        let opening = zfile::open(&area, Bytes::new(payload.len()), crc32c).map_err(refused)?;
        let (layout, needs_trailer) = match opening {
            Opening::Complete(layout) => (layout, false),
            Opening::NeedsTrailer(pending) => {
                payload.read(pending.offset().get(), &mut area)?;
                (pending.finish(&area, crc32c).map_err(refused)?, true)
            }
        };
        let mut groups = Vec::new();
        let needed = groups_needed(layout.block_count());
        groups.try_reserve_exact(needed).map_err(|_| {
            Error::new(
                crate::error::Status::Memory,
                format!("no memory for the index of {} blocks", layout.block_count()),
            )
        })?;
        groups.resize(needed, Group::EMPTY);
        let mut builder = JumpTableBuilder::new(layout, groups, crc32c).map_err(refused)?;
        in_pieces(layout.index_len().get(), |at, piece| {
            payload.read(layout.index_offset().get() + at, piece)?;
            builder.push(piece).map_err(refused)
        })?;
        let table = builder.finish().map_err(refused)?;
        Ok(Self {
            payload,
            table,
            needs_trailer,
        })
    }

    /// The file it is in.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Where things are in it.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        self.table.layout()
    }

    /// Where each block is.
    #[must_use]
    pub const fn table(&self) -> &JumpTable<Vec<Group>> {
        &self.table
    }

    /// Whether a reader needs the trailer, and with it the very last byte: the header does not say it all.
    #[must_use]
    pub const fn needs_trailer(&self) -> bool {
        self.needs_trailer
    }

    /// Decompresses the blocks from `first` to `last`, both included, and hands each to `each`.
    ///
    /// # Errors
    ///
    /// A block that cannot be read or has something wrong, by its number and its place in the file, once
    /// those before it are handed out.
    pub fn blocks(
        &self,
        first: BlockIndex,
        last: BlockIndex,
        codec: &mut Codec,
        mut each: impl FnMut(BlockIndex, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.all_blocks(first, last, codec, |block, _, content| {
            each(block, content?)
        })
    }

    /// Decompresses the blocks from `first` to `last`, both included, and hands each to `each`, with its place
    /// in the ZFile: its content, or what is wrong with it. A bad block does not end it.
    ///
    /// # Errors
    ///
    /// What `each` returns ends it; blocks that there are not.
    pub fn all_blocks(
        &self,
        first: BlockIndex,
        last: BlockIndex,
        codec: &mut Codec,
        mut each: impl FnMut(BlockIndex, Stored, Result<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        let layout = *self.layout();
        let no_block = || Error::refused(format!("there are no blocks {first} to {last}"));
        let (start, len) = self.table.span(first, last).ok_or_else(no_block)?;
        let len = usize::try_from(len.get()).map_err(|_| no_block())?;
        let Codec {
            zstd,
            stored,
            content,
        } = codec;
        // What is longer is left as it is: a buffer that is used again is not cleared each time.
        stored.resize(stored.len().max(len), 0);
        content.resize(content.len().max(layout.block_size().to_usize()), 0);
        let whole = self.payload.read(start.get(), &mut stored[..len]);
        let mut rest = &mut stored[..len];
        for (block, place) in self.table.blocks(first, last) {
            let len = usize::try_from(place.len).map_err(|_| no_block())?;
            let (bytes, behind) = std::mem::take(&mut rest)
                .split_at_mut_checked(len)
                .ok_or_else(no_block)?;
            rest = behind;
            let out = layout
                .block_len(block)
                .and_then(|len| content.get_mut(..len))
                .ok_or_else(no_block)?;
            let read = match &whole {
                Ok(()) => Ok(()),
                Err(error) if first == last => Err(error.clone()),
                // Which of them it is.
                Err(_) => self.payload.read(place.offset.get(), bytes),
            };
            let decoded = read.and_then(|()| self.decode(block, place, bytes, out, zstd));
            each(block, place, decoded.map(|()| &*out))?;
        }
        Ok(())
    }

    fn decode(
        &self,
        block: BlockIndex,
        place: Stored,
        bytes: &[u8],
        out: &mut [u8],
        zstd: &mut Option<Decompressor<'static>>,
    ) -> Result<()> {
        let layout = self.layout();
        let decoded = match layout.algorithm() {
            Algorithm::Lz4 => decode(layout, block, bytes, out, crc32c, &mut Lz4),
            Algorithm::Zstd => {
                let zstd = match zstd {
                    Some(zstd) => zstd,
                    None => zstd.insert(
                        Decompressor::new()
                            .map_err(|error| Error::io("no memory to decompress with", &error))?,
                    ),
                };
                decode(layout, block, bytes, out, crc32c, &mut Zstd(zstd))
            }
        };
        decoded.map_err(|error| {
            Error::refused(format!(
                "{error} (its {} bytes are at {} of the file)",
                place.len,
                self.payload.offset() + place.offset.get()
            ))
        })
    }

    fn read(&self, at: u64, buf: &mut [u8], codec: &mut Codec) -> Result<()> {
        let layout = self.layout();
        let size = layout.block_size();
        let past_end = || Error::refused(format!("the content ends before byte {at}"));
        let Some(more) = (buf.len() as u64).checked_sub(1) else {
            return Ok(());
        };
        let last = at.checked_add(more).ok_or_else(past_end)?;
        if last >= layout.content_len().get() {
            return Err(past_end());
        }
        let (first_block, mut skip) = size.of(ContentOffset::new(at)).ok_or_else(past_end)?;
        let (last_block, _) = size.of(ContentOffset::new(last)).ok_or_else(past_end)?;
        let mut filled = 0;
        self.blocks(first_block, last_block, codec, |_, content| {
            let wanted = content.get(skip..).unwrap_or_default();
            let wanted = &wanted[..wanted.len().min(buf.len() - filled)];
            buf[filled..filled + wanted.len()].copy_from_slice(wanted);
            filled += wanted.len();
            skip = 0;
            Ok(())
        })
    }
}

/// What a layer file holds, decompressed.
#[derive(Debug)]
pub enum Content {
    /// The bytes of the payload themselves.
    Raw(Payload),
    /// The content of a ZFile.
    Zfile(Box<Zfile>),
}

impl Content {
    /// Whether a payload starts as a ZFile does.
    pub(crate) fn is_zfile(payload: &Payload) -> Result<bool> {
        // Both halves of the magic are checked by what opens it: with one wrong it is no layer of any kind.
        Ok(payload.first_bytes()?.starts_with(b"ZFile\0\x01\0"))
    }

    /// Finds out what a payload is, and opens it.
    ///
    /// # Errors
    ///
    /// A ZFile with something wrong in header, trailer or index, and what is known not to be a layer. The
    /// errors do not name the file.
    pub fn open(payload: Payload) -> Result<Self> {
        if Self::is_zfile(&payload)? {
            return Ok(Self::Zfile(Box::new(Zfile::open(payload)?)));
        }
        let start = payload.first_bytes()?;
        let other = match start {
            [0x1f, 0x8b, ..] => {
                Some("a gzip file: an ordinary layer of a container image, not converted")
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                Some("a Zstandard file: an ordinary layer of a container image, not converted")
            }
            [b'{', ..] => Some("a text in JSON: for a config file there is --config"),
            _ => None,
        };
        match other {
            Some(what) => Err(Error::refused(format!("it is {what}"))),
            None => Ok(Self::Raw(payload)),
        }
    }

    /// The file it is in.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        match self {
            Self::Raw(payload) => payload,
            Self::Zfile(zfile) => zfile.payload(),
        }
    }

    /// The ZFile it is in, if it is in one.
    #[must_use]
    pub fn zfile(&self) -> Option<&Zfile> {
        match self {
            Self::Raw(_) => None,
            Self::Zfile(zfile) => Some(zfile),
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Raw(payload) => payload.len(),
            Self::Zfile(zfile) => zfile.layout().content_len().get(),
        }
    }

    /// Whether there are no bytes in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads bytes from `at` on.
    ///
    /// # Errors
    ///
    /// If they cannot be read, all of them.
    pub fn read(&self, at: u64, buf: &mut [u8], codec: &mut Codec) -> Result<()> {
        match self {
            Self::Raw(payload) => payload.read(at, buf),
            Self::Zfile(zfile) => zfile.read(at, buf, codec),
        }
    }
}

/// Cuts `len` bytes into pieces and hands each to `each`, with its place, in memory that it fills.
pub(crate) fn in_pieces(
    len: u64,
    mut each: impl FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut memory = vec![0; usize::try_from(len.min(PIECE)).unwrap_or_default()];
    let mut done = 0;
    while done < len {
        let now = usize::try_from((len - done).min(PIECE)).unwrap_or_default();
        each(done, &mut memory[..now])?;
        done += now as u64;
    }
    Ok(())
}
