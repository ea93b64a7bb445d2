// SPDX-License-Identifier: GPL-2.0

//! The part of `dump` for a ZFile: its header and trailer as they are, the layout they describe,
//! and the sizes of its stored blocks.
//!
//! It decompresses nothing and refuses nothing: [`Content::open`] has the verdict.

use super::text::Text;
use crate::content::Content;
use crate::error::Result;
use crate::payload::Payload;
use crate::zfile::{crc32c, Zfile};
use overlaybd_format::units::{BlockIndex, Bytes};
use overlaybd_format::zfile::{self, Algorithm, HeaderOutcome, Layout};
use serde::Serialize;
use std::io;

/// A ZFile.
#[derive(Debug, Serialize)]
pub struct ZfileDump {
    /// Its header; null if the ZFile is too short for one.
    pub header: Option<ZfileArea>,
    /// Its trailer; null if the ZFile is too short for one, or needs none and has none.
    pub trailer: Option<ZfileArea>,
    /// Which of them readers use: `header` or `trailer`; null if it does not open.
    pub in_use: Option<&'static str>,
    /// The layout by that one; null if header or trailer are refused.
    pub layout: Option<ZfileLayout>,
    /// Its stored blocks; null if it does not open.
    pub blocks: Option<StoredBlocks>,
}

/// The fields of a ZFile's header or trailer, valid or not, with the names of the format.
#[derive(Debug, Serialize)]
pub struct ZfileArea {
    /// Whether its magic is right.
    pub magic: bool,
    /// The length of the fields.
    pub size: u32,
    /// The flags.
    pub flags: u64,
    /// The names of the known flags that are set: `header`, `data`, `sealed`, `header_overwritten`,
    /// `digest`, `index_compressed`.
    pub flag_names: Vec<&'static str>,
    /// The digest. It has no meaning without its flag.
    pub digest: u32,
    /// The digest that would be right.
    pub computed_digest: u32,
    /// Where the index starts in the ZFile.
    pub index_offset: u64,
    /// The number of blocks.
    pub index_size: u64,
    /// The length of the content.
    pub original_file_size: u64,
    /// The CRC of the index. It has no meaning without the flag of the digest.
    pub index_crc: u32,
    /// The content of a block, in bytes.
    pub block_size: u32,
    /// The number of the algorithm.
    pub algo: u8,
    /// The compression level.
    pub level: u8,
    /// Not 0 if a dictionary was used.
    pub use_dict: u8,
    /// The length of the dictionary.
    pub dict_size: u32,
    /// Not 0 if a CRC follows each block.
    pub verify: u8,
}

/// The layout of a ZFile.
#[derive(Debug, Serialize)]
pub struct ZfileLayout {
    /// `lz4` or `zstd`.
    pub algorithm: &'static str,
    /// The content of a block, in bytes.
    pub block_size: u32,
    /// The number of blocks.
    pub blocks: u32,
    /// The length of the content.
    pub content_bytes: u64,
    /// Where the index starts in the ZFile.
    pub index_offset: u64,
    /// The length of the index.
    pub index_bytes: u64,
    /// The CRC of the index; null if there is none.
    pub index_crc: Option<u32>,
    /// Whether each block has a CRC.
    pub block_checksums: bool,
}

/// The stored blocks of a ZFile, with their CRCs.
#[derive(Debug, Serialize)]
pub struct StoredBlocks {
    /// The length of all blocks.
    pub bytes: u64,
    /// That length divided by the length of the content: less than 1 if the content compresses.
    pub ratio: f64,
    /// The length of the smallest block.
    pub smallest: u32,
    /// The length of the largest block.
    pub largest: u32,
    /// The mean length.
    pub mean: f64,
}

impl ZfileDump {
    /// The header and the trailer of a ZFile; [`None`] if it is none.
    pub(super) fn of(payload: &Payload) -> Result<Option<Self>> {
        const AREA: u64 = zfile::HEADER_LEN as u64;
        if !Content::is_zfile(payload)? {
            return Ok(None);
        }
        let mut dump = Self {
            header: None,
            trailer: None,
            in_use: None,
            layout: None,
            blocks: None,
        };
        let len = payload.len();
        if len < AREA {
            return Ok(Some(dump));
        }
        let (mut header, mut trailer) = ([0; zfile::HEADER_LEN], [0; zfile::HEADER_LEN]);
        payload.read(0, &mut header)?;
        let fields = zfile::HeaderTrailerFields::new(&header, crc32c);
        dump.header = Some(fields.into());
        let has_trailer = len >= 2 * AREA;
        if has_trailer {
            payload.read(len - AREA, &mut trailer)?;
            let trailer = zfile::HeaderTrailerFields::new(&trailer, crc32c);
            if trailer.has_magic || !fields.is_overwritten() {
                dump.trailer = Some(trailer.into());
            }
        }
        let layout = match zfile::open(&header, Bytes::new(len), crc32c) {
            Ok(HeaderOutcome::Complete(layout)) => {
                dump.in_use = Some("header");
                Some(layout)
            }
            Ok(HeaderOutcome::NeedsTrailer(pending)) if has_trailer => {
                dump.in_use = Some("trailer");
                pending.finish(&trailer, crc32c).ok()
            }
            _ => None,
        };
        dump.layout = layout.map(ZfileLayout::from);
        Ok(Some(dump))
    }

    pub(super) fn show(&self, text: &mut Text<'_>) -> io::Result<()> {
        text.title("ZFile")?;
        if let Some(layout) = &self.layout {
            layout.show(text)?;
        }
        if let Some(blocks) = &self.blocks {
            let share = blocks.ratio * 100.0;
            let stored = format!("{} bytes, {share:.1} % of the content", blocks.bytes);
            text.line("Stored blocks", stored)?;
            let sizes = format!(
                "{} to {} bytes, {:.1} on average",
                blocks.smallest, blocks.largest, blocks.mean
            );
            text.line("Stored block", sizes)?;
        }
        text.option("Read by", self.in_use)?;
        text.part("ZFile header", self.header.as_ref(), ZfileArea::show)?;
        text.part("ZFile trailer", self.trailer.as_ref(), ZfileArea::show)
    }
}

impl From<zfile::HeaderTrailerFields> for ZfileArea {
    fn from(fields: zfile::HeaderTrailerFields) -> Self {
        Self {
            magic: fields.has_magic,
            size: fields.size,
            flags: fields.flags,
            flag_names: fields.flag_names().collect(),
            digest: fields.digest,
            computed_digest: fields.computed_digest,
            index_offset: fields.index_offset,
            index_size: fields.index_size,
            original_file_size: fields.original_file_size,
            index_crc: fields.index_crc,
            block_size: fields.block_size,
            algo: fields.algo,
            level: fields.level,
            use_dict: fields.use_dict,
            dict_size: fields.dict_size,
            verify: fields.verify,
        }
    }
}

impl ZfileArea {
    fn show(&self, text: &mut Text<'_>) -> io::Result<()> {
        text.magic(self.magic)?;
        text.line("Size", self.size)?;
        text.flags(self.flags, &self.flag_names)?;
        let (stored, computed) = (self.digest, self.computed_digest);
        let has_digest = self.flag_names.contains(&"digest");
        let digest = match (has_digest, stored == computed) {
            (false, _) => format!("{stored:#010x}, not in use"),
            (true, true) => format!("{stored:#010x}, right"),
            (true, false) => format!("{stored:#010x}, WRONG, computed {computed:#010x}"),
        };
        text.line("Digest", digest)?;
        text.line("Index offset", self.index_offset)?;
        text.line("Index size", format!("{} blocks", self.index_size))?;
        text.bytes("Original file size", Some(self.original_file_size))?;
        let unused = if has_digest { "" } else { ", not in use" };
        text.line("Index CRC", format!("{:#010x}{unused}", self.index_crc))?;
        text.bytes("Block size", Some(self.block_size.into()))?;
        let name = match self.algo {
            0 => "MINI_LZO",
            1 => "LZ4",
            2 => "Zstandard",
            _ => "unknown",
        };
        text.line("Algorithm", format!("{} ({name})", self.algo))?;
        text.line("Level", self.level)?;
        text.line("Use dictionary", self.use_dict)?;
        text.bytes("Dictionary size", Some(self.dict_size.into()))?;
        text.line("Verify", self.verify)
    }
}

impl From<Layout> for ZfileLayout {
    fn from(layout: Layout) -> Self {
        Self {
            algorithm: match layout.algorithm() {
                Algorithm::Lz4 => "lz4",
                Algorithm::Zstd => "zstd",
            },
            block_size: layout.block_size().get(),
            blocks: layout.block_count(),
            content_bytes: layout.content_len().get(),
            index_offset: layout.index_offset().get(),
            index_bytes: layout.index_len().get(),
            index_crc: layout.index_crc(),
            block_checksums: layout.verify(),
        }
    }
}

impl ZfileLayout {
    fn show(&self, text: &mut Text<'_>) -> io::Result<()> {
        text.line("Algorithm", self.algorithm)?;
        text.bytes("Block size", Some(self.block_size.into()))?;
        text.line("Blocks", self.blocks)?;
        text.bytes("Content", Some(self.content_bytes))?;
        let of_index = match self.index_crc {
            Some(crc) => format!("CRC {crc:#010x}"),
            None => "no CRC".to_string(),
        };
        let (bytes, offset) = (self.index_bytes, self.index_offset);
        text.line("Index", format!("{bytes} bytes at {offset}, {of_index}"))?;
        let of_blocks = if self.block_checksums { "yes" } else { "no" };
        text.line("Block checksums", of_blocks)
    }
}

impl StoredBlocks {
    pub(super) fn of(zfile: &Zfile) -> Self {
        let (first, last) = (BlockIndex::new(0), BlockIndex::new(u32::MAX));
        let (mut bytes, mut smallest, mut largest) = (0, u32::MAX, 0);
        for (_, stored) in zfile.table().blocks(first, last) {
            bytes += u64::from(stored.len);
            smallest = smallest.min(stored.len);
            largest = largest.max(stored.len);
        }
        let layout = zfile.layout();
        Self {
            bytes,
            ratio: bytes as f64 / layout.content_len().get() as f64,
            smallest,
            largest,
            mean: bytes as f64 / f64::from(layout.block_count()),
        }
    }
}
