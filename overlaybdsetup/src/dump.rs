// SPDX-License-Identifier: GPL-2.0

//! `dump`: what the headers, trailers and indexes of layer files say, for a person or as JSON.
//!
//! It reads no data: of a compressed layer only the blocks in which its header, index and trailer
//! lie. Whether the data is right is for `verify`. A file with something wrong is shown as far as
//! it makes sense, with the check that refuses it.
//!
//! The structures here are the JSON, an array of [`FileDump`]. Fields are added to it, never
//! renamed. Numbers are decimal, and in bytes where nothing else is said.

use crate::content::{crc32c, in_pieces, Content, Payload, Zfile};
use crate::error::{Error, Result};
use crate::inspect::{Inspection, Verdict};
use overlaybd_format::lsmt::{self, EntryFields};
use overlaybd_format::units::{BlockIndex, Bytes};
use overlaybd_format::zfile::{self, Algorithm, Layout, Opening};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The most entries of an index that are read: more are refused.
const MAX_ENTRIES: u64 = 1_000_000;

/// How wide the names of fields are in text.
const NAME_WIDTH: usize = 20;

/// What is in a file.
#[derive(Debug, Serialize)]
pub struct FileDump {
    /// The file as it is named on the command line.
    pub file: String,
    /// Its length; null if it cannot be opened.
    pub file_bytes: Option<u64>,
    /// Where the layer lies in the file; null if that is not known.
    pub payload: Option<PayloadDump>,
    /// The ZFile; null if it is not compressed.
    pub zfile: Option<ZfileDump>,
    /// The layer; null if there is none, or the ZFile around it does not open.
    pub layer: Option<LayerDump>,
    /// Why a ZFile's content is no layer; null if it is one, or if that is not known.
    pub no_layer: Option<String>,
    /// What is wrong with the file; null if nothing is.
    pub refusal: Option<String>,
}

/// Where a layer lies in its file.
#[derive(Debug, Serialize)]
pub struct PayloadDump {
    /// Whether it lies in a tar.
    pub in_tar: bool,
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// A ZFile.
#[derive(Debug, Serialize)]
pub struct ZfileDump {
    /// Its header; null if it is too short for one.
    pub header: Option<ZfileArea>,
    /// Its trailer; null if it is too short for one, or needs none and has none.
    pub trailer: Option<ZfileArea>,
    /// Where it says what it is: `header` or `trailer`; null if it does not open.
    pub in_use: Option<&'static str>,
    /// What it says; null if header or trailer are refused.
    pub layout: Option<ZfileLayout>,
    /// Its blocks as they are stored; null if it does not open.
    pub blocks: Option<StoredBlocks>,
}

/// The fields of a ZFile's header or trailer, right or not, by the names of the format.
#[derive(Debug, Serialize)]
pub struct ZfileArea {
    /// Whether its magic is right.
    pub magic: bool,
    /// The length of the fields.
    pub size: u32,
    /// The flags.
    pub flags: u64,
    /// The names of those that have one: `header`, `data`, `sealed`, `header_overwritten`,
    /// `digest`, `index_compressed`.
    pub flag_names: Vec<&'static str>,
    /// The digest. Of no meaning without the flag.
    pub digest: u32,
    /// What the digest would have to be.
    pub computed_digest: u32,
    /// Where the index starts in the ZFile.
    pub index_offset: u64,
    /// The number of blocks.
    pub index_size: u64,
    /// The length of the content.
    pub original_file_size: u64,
    /// The CRC of the index. Of no meaning without the flag of the digest.
    pub index_crc: u32,
    /// How much content a block holds.
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

/// What a ZFile is.
#[derive(Debug, Serialize)]
pub struct ZfileLayout {
    /// `lz4` or `zstd`.
    pub algorithm: &'static str,
    /// How much content a block holds.
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

/// The blocks of a ZFile as they are stored, their CRCs included.
#[derive(Debug, Serialize)]
pub struct StoredBlocks {
    /// The length of all.
    pub bytes: u64,
    /// That by the length of the content: less than 1 if the content was compressible.
    pub ratio: f64,
    /// The length of the smallest.
    pub smallest: u32,
    /// The length of the largest.
    pub largest: u32,
    /// The mean length.
    pub mean: f64,
}

/// A layer.
#[derive(Debug, Serialize)]
pub struct LayerDump {
    /// Its header; null if it cannot be read.
    pub header: Option<LayerArea>,
    /// Its trailer, which is what is read by; null if it cannot be read.
    pub trailer: Option<LayerArea>,
    /// Its index; null if it cannot be read.
    pub index: Option<IndexDump>,
    /// The entries of the index without padding, in its order; null if they are not asked for.
    pub extents: Option<Vec<Extent>>,
}

/// The fields of a layer's header or trailer, right or not, by the names of the format.
#[derive(Debug, Serialize)]
pub struct LayerArea {
    /// Whether its magic is right.
    pub magic: bool,
    /// The length of the fields.
    pub size: u32,
    /// The flags.
    pub flags: u32,
    /// The names of those that have one: `header`, `data`, `sealed`, `gc`, `sparse`, `info_valid`.
    pub flag_names: Vec<&'static str>,
    /// Where the index starts in the layer.
    pub index_offset: u64,
    /// The number of entries of the index, padding included.
    pub index_size: u64,
    /// The size of the image; 0 leaves it to the layers below.
    pub virtual_size: u64,
    /// The name of the layer.
    pub uuid: String,
    /// The name of the layer below when this one was made.
    pub parent_uuid: String,
    /// The version of the format.
    pub version: u8,
    /// The version below that.
    pub sub_version: u8,
    /// What the maker of the layer noted in it.
    pub user_tag: String,
}

/// What the index of a layer holds, right or not.
#[derive(Debug, Default, Serialize)]
pub struct IndexDump {
    /// Where it starts in the layer.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// The number of its entries.
    pub entries: u64,
    /// How many of them are padding.
    pub padding: u64,
    /// How many of them have no sectors.
    pub empty: u64,
    /// How many are extents of data.
    pub data_extents: u64,
    /// The sectors of those.
    pub data_sectors: u64,
    /// The bytes of those.
    pub data_bytes: u64,
    /// How many are extents of zeros, which hide the layers below.
    pub zeroed_extents: u64,
    /// The sectors of those.
    pub zeroed_sectors: u64,
    /// The first sector of the image behind all extents.
    pub end_sector: u64,
    /// The highest tag: above 0 in a layer that was merged of several.
    pub highest_tag: u8,
}

/// An extent, or an entry of no sectors.
#[derive(Debug, Serialize)]
pub struct Extent {
    /// Its first sector in the image.
    pub start: u64,
    /// The number of its sectors.
    pub sectors: u64,
    /// Its first sector in the layer; null if it is zeroed.
    pub source: Option<u64>,
    /// Whether its sectors are zero.
    pub zeroed: bool,
    /// Its tag.
    pub tag: u8,
}

/// Shows what is in files.
///
/// # Errors
///
/// Once all are shown, if one of them is refused; if nothing can be written to `out`.
pub fn run(files: &[PathBuf], json: bool, extents: bool, out: &mut dyn Write) -> Result<()> {
    let cannot = |error: io::Error| Error::io("cannot write what is found", &error);
    let mut out = BufWriter::new(out);
    let mut dumps = Vec::new();
    let mut refusals = Vec::new();
    for (number, path) in files.iter().enumerate() {
        let dump = FileDump::of(path, extents);
        if let Some(refusal) = &dump.refusal {
            refusals.push(format!("{}: {refusal}", dump.file));
        }
        if json {
            dumps.push(dump);
        } else {
            let separated = if number == 0 {
                Ok(())
            } else {
                out.write_all(b"\n")
            };
            separated
                .and_then(|()| dump.show(&mut out))
                .map_err(cannot)?;
        }
    }
    if json {
        serde_json::to_writer_pretty(&mut out, &dumps)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(cannot)?;
    }
    out.flush().map_err(cannot)?;
    match refusals.as_slice() {
        [] => Ok(()),
        [refusal] => Err(Error::refused(refusal.clone())),
        [refusal, ..] => Err(Error::refused(format!(
            "{} files are refused, the first one {refusal}",
            refusals.len()
        ))),
    }
}

impl FileDump {
    /// Reads what there is to say of a file.
    fn of(path: &Path, extents: bool) -> Self {
        let mut dump = Self {
            file: path.display().to_string(),
            file_bytes: None,
            payload: None,
            zfile: None,
            layer: None,
            no_layer: None,
            refusal: None,
        };
        if let Err(error) = dump.fill(path, extents) {
            dump.refusal = Some(error.to_string());
        }
        dump
    }

    /// As far as it goes.
    fn fill(&mut self, path: &Path, extents: bool) -> Result<()> {
        let payload = Payload::open(path)?;
        self.file_bytes = Some(payload.file_len());
        self.payload = Some(PayloadDump {
            in_tar: payload.in_tar(),
            offset: payload.offset(),
            bytes: payload.len(),
        });
        // Of a ZFile that is refused its header and trailer are shown all the same.
        self.zfile = ZfileDump::of(&payload)?;
        let content = Content::open(payload)?;
        if let (Some(dump), Some(zfile)) = (&mut self.zfile, content.zfile()) {
            dump.blocks = Some(StoredBlocks::of(zfile));
        }
        let inspection = Inspection::new(&content);
        if inspection.is_layer() {
            self.layer = Some(LayerDump::of(&inspection, &content, extents));
        }
        match inspection.verdict {
            Verdict::Layer(..) => Ok(()),
            Verdict::Refused(error) => Err(error),
            Verdict::Other(why) if self.zfile.is_some() => {
                self.no_layer = Some(why);
                Ok(())
            }
            Verdict::Other(why) => Err(Error::refused(format!(
                "it is neither a ZFile nor a layer: {why}"
            ))),
        }
    }

    /// Writes it as text.
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut text = Text(out);
        writeln!(text.0, "{}", plain(&self.file))?;
        text.bytes("File", self.file_bytes)?;
        if let Some(payload) = &self.payload {
            if payload.in_tar {
                let place = format!("{} bytes at {}", payload.bytes, payload.offset);
                text.line("Payload in a tar", place)?;
            }
        }
        if let Some(zfile) = &self.zfile {
            zfile.show(&mut text)?;
        }
        if let Some(layer) = &self.layer {
            layer.show(&mut text)?;
        }
        for (name, why) in [("NO LAYER", &self.no_layer), ("REFUSED", &self.refusal)] {
            if let Some(why) = why {
                writeln!(text.0)?;
                text.line(name, plain(why))?;
            }
        }
        Ok(())
    }
}

impl ZfileDump {
    /// The header and the trailer of a ZFile; [`None`] if it is none.
    fn of(payload: &Payload) -> Result<Option<Self>> {
        const AREA: u64 = zfile::AREA_LEN as u64;
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
        let (mut header, mut trailer) = ([0; zfile::AREA_LEN], [0; zfile::AREA_LEN]);
        payload.read(0, &mut header)?;
        let fields = zfile::AreaFields::new(&header, crc32c);
        dump.header = Some(fields.into());
        let has_trailer = len >= 2 * AREA;
        if has_trailer {
            payload.read(len - AREA, &mut trailer)?;
            let trailer = zfile::AreaFields::new(&trailer, crc32c);
            if trailer.has_magic || !fields.is_overwritten() {
                dump.trailer = Some(trailer.into());
            }
        }
        let layout = match zfile::open(&header, Bytes::new(len), crc32c) {
            Ok(Opening::Complete(layout)) => {
                dump.in_use = Some("header");
                Some(layout)
            }
            Ok(Opening::NeedsTrailer(pending)) if has_trailer => {
                dump.in_use = Some("trailer");
                pending.finish(&trailer, crc32c).ok()
            }
            _ => None,
        };
        dump.layout = layout.map(ZfileLayout::from);
        Ok(Some(dump))
    }

    fn show(&self, text: &mut Text<'_>) -> io::Result<()> {
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
        for (name, area) in [
            ("ZFile header", &self.header),
            ("ZFile trailer", &self.trailer),
        ] {
            if let Some(area) = area {
                text.title(name)?;
                area.show(text)?;
            }
        }
        Ok(())
    }
}

impl From<zfile::AreaFields> for ZfileArea {
    fn from(fields: zfile::AreaFields) -> Self {
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
    fn of(zfile: &Zfile) -> Self {
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

impl LayerDump {
    fn of(inspection: &Inspection, content: &Content, extents: bool) -> Self {
        let fields = |area: &[u8; lsmt::AREA_LEN]| lsmt::AreaFields::new(area);
        let trailer = inspection.trailer.as_deref().map(fields);
        let index = trailer
            .filter(|trailer| trailer.has_magic)
            .and_then(|trailer| read_index(&trailer, content, extents).ok().flatten());
        let (index, extents) = match index {
            Some((index, extents)) => (Some(index), extents),
            None => (None, None),
        };
        Self {
            header: inspection.header.as_deref().map(|area| fields(area).into()),
            trailer: trailer.map(LayerArea::from),
            index,
            extents,
        }
    }

    fn show(&self, text: &mut Text<'_>) -> io::Result<()> {
        if let Some(index) = &self.index {
            text.title("Layer")?;
            index.show(text)?;
        }
        for (name, area) in [
            ("Layer header", &self.header),
            ("Layer trailer", &self.trailer),
        ] {
            if let Some(area) = area {
                text.title(name)?;
                area.show(text)?;
            }
        }
        if let Some(extents) = &self.extents {
            text.title("Extents, in sectors")?;
            writeln!(
                text.0,
                "{:>16} {:>8} {:>18} {:>4}",
                "start", "sectors", "in the layer at", "tag"
            )?;
            for extent in extents {
                let source = match extent.source {
                    Some(source) => source.to_string(),
                    None => "zeroed".to_string(),
                };
                let (start, sectors, tag) = (extent.start, extent.sectors, extent.tag);
                writeln!(text.0, "{start:>16} {sectors:>8} {source:>18} {tag:>4}")?;
            }
        }
        Ok(())
    }
}

impl From<lsmt::AreaFields> for LayerArea {
    fn from(fields: lsmt::AreaFields) -> Self {
        Self {
            magic: fields.has_magic,
            size: fields.size,
            flags: fields.flags,
            flag_names: fields.flag_names().collect(),
            index_offset: fields.index_offset,
            index_size: fields.index_size,
            virtual_size: fields.virtual_size,
            uuid: up_to_nul(&fields.uuid),
            parent_uuid: up_to_nul(&fields.parent_uuid),
            version: fields.version,
            sub_version: fields.sub_version,
            user_tag: up_to_nul(&fields.user_tag),
        }
    }
}

impl LayerArea {
    fn show(&self, text: &mut Text<'_>) -> io::Result<()> {
        text.magic(self.magic)?;
        text.line("Size", self.size)?;
        text.flags(self.flags.into(), &self.flag_names)?;
        text.line("Index offset", self.index_offset)?;
        text.line("Index size", format!("{} entries", self.index_size))?;
        text.bytes("Virtual size", Some(self.virtual_size))?;
        text.line("UUID", plain(&self.uuid))?;
        text.line("Parent UUID", plain(&self.parent_uuid))?;
        text.line("Version", format!("{}.{}", self.version, self.sub_version))?;
        text.line("User tag", plain(&self.user_tag))
    }
}

impl IndexDump {
    fn add(&mut self, entry: &EntryFields) {
        self.entries += 1;
        if entry.is_padding() {
            self.padding += 1;
            return;
        }
        self.highest_tag = self.highest_tag.max(entry.tag);
        let sectors = entry.len.get();
        if sectors == 0 {
            self.empty += 1;
            return;
        }
        self.end_sector = self.end_sector.max(entry.start.get() + sectors);
        if entry.zeroed {
            self.zeroed_extents += 1;
            self.zeroed_sectors += sectors;
        } else {
            self.data_extents += 1;
            self.data_sectors += sectors;
            self.data_bytes += sectors * 512;
        }
    }

    fn show(&self, text: &mut Text<'_>) -> io::Result<()> {
        let (entries, bytes, offset) = (self.entries, self.bytes, self.offset);
        text.line(
            "Index",
            format!("{entries} entries, {bytes} bytes at {offset}"),
        )?;
        text.line("Padding", format!("{} entries", self.padding))?;
        text.line("Without sectors", format!("{} entries", self.empty))?;
        text.line(
            "Data",
            format!(
                "{} extents, {} sectors, {} bytes",
                self.data_extents, self.data_sectors, self.data_bytes
            ),
        )?;
        text.line(
            "Zeroed",
            format!(
                "{} extents, {} sectors",
                self.zeroed_extents, self.zeroed_sectors
            ),
        )?;
        text.line("Ends before sector", self.end_sector)?;
        text.line("Highest tag", self.highest_tag)
    }
}

/// The index as it stands; [`None`] if it is not inside of the layer, or too long for any.
fn read_index(
    trailer: &lsmt::AreaFields,
    content: &Content,
    extents: bool,
) -> Result<Option<(IndexDump, Option<Vec<Extent>>)>> {
    let (offset, entries) = (trailer.index_offset, trailer.index_size);
    let bytes = entries.saturating_mul(EntryFields::LEN as u64);
    let inside = offset
        .checked_add(bytes)
        .is_some_and(|end| end <= content.len());
    if entries > MAX_ENTRIES || !inside {
        return Ok(None);
    }
    let mut index = IndexDump {
        offset,
        bytes,
        ..IndexDump::default()
    };
    let mut listed = extents.then(Vec::new);
    let mut codec = crate::content::Codec::default();
    in_pieces(bytes, |at, piece| {
        content.read(offset + at, piece, &mut codec)?;
        // A piece holds whole entries: its length is a power of two, but for the last one.
        for entry in piece.chunks_exact(EntryFields::LEN) {
            let Some(entry) = entry.first_chunk().map(EntryFields::new) else {
                continue;
            };
            index.add(&entry);
            if let (Some(listed), false) = (&mut listed, entry.is_padding()) {
                listed.push(Extent {
                    start: entry.start.get(),
                    sectors: entry.len.get(),
                    source: (!entry.zeroed).then(|| entry.source.get()),
                    zeroed: entry.zeroed,
                    tag: entry.tag,
                });
            }
        }
        Ok(())
    })?;
    Ok(Some((index, listed)))
}

/// Lines of a name and a value.
struct Text<'a>(&'a mut dyn Write);

impl Text<'_> {
    fn title(&mut self, title: &str) -> io::Result<()> {
        writeln!(self.0, "\n{title}")
    }

    fn line(&mut self, name: &str, value: impl Display) -> io::Result<()> {
        let line = format!("{:<NAME_WIDTH$} {value}", format!("{name}:"));
        writeln!(self.0, "{}", line.trim_end())
    }

    fn option(&mut self, name: &str, value: Option<impl Display>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.line(name, value))
    }

    fn bytes(&mut self, name: &str, bytes: Option<u64>) -> io::Result<()> {
        self.option(name, bytes.map(|bytes| format!("{bytes} bytes")))
    }

    fn magic(&mut self, right: bool) -> io::Result<()> {
        self.line("Magic", if right { "right" } else { "WRONG" })
    }

    fn flags(&mut self, flags: u64, names: &[&str]) -> io::Result<()> {
        self.line("Flags", format!("{flags:#x} ({})", names.join(", ")))
    }
}

/// A field of text, up to its NUL.
fn up_to_nul(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// A text of a file, or its name, as a terminal may see it: control characters are spelled out.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let spelled = c.is_control().then(|| c.escape_default());
            let itself = (!c.is_control()).then_some(c);
            spelled.into_iter().flatten().chain(itself)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use overlaybd_image::{fix_digest, LayerWriter, Wrapper, ZfileWriter};
    use serde_json::Value;
    use std::fs;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    /// 24 sectors of data, 7 zeroed ones.
    fn layer() -> LayerWriter {
        LayerWriter::new(1 << 20)
            .data(8, &[1; 8192])
            .data(100, &[2; 4096])
            .zeros(40, 7)
    }

    fn text(files: &[PathBuf], extents: bool) -> (String, Result<()>) {
        let mut out = Vec::new();
        let result = run(files, false, extents, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    fn json(files: &[PathBuf], extents: bool) -> (Value, Result<()>) {
        let mut out = Vec::new();
        let result = run(files, true, extents, &mut out);
        (serde_json::from_slice(&out).unwrap(), result)
    }

    /// The only file of a dump, which is refused for a reason that starts so.
    fn refused(file: PathBuf, reason: &str) -> Value {
        let name = file.display().to_string();
        let (mut dump, result) = json(&[file], false);
        let dump = dump[0].take();
        let refusal = dump["refusal"].as_str().unwrap();
        assert!(refusal.starts_with(reason), "{refusal}");
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), format!("{name}: {refusal}"));
        assert_eq!(error.status(), crate::error::Status::Refused);
        dump
    }

    #[test]
    fn a_layer_that_is_not_compressed() {
        let files = Files::new();
        let bytes = layer().tag(3).write();
        let (dump, result) = json(&[files.write("a", &bytes)], true);
        result.unwrap();
        let dump = &dump[0];
        assert_eq!(dump["file_bytes"], bytes.len());
        assert_eq!(dump["payload"]["in_tar"], false);
        assert_eq!(dump["zfile"], Value::Null);
        assert_eq!(dump["refusal"], Value::Null);
        let index = &dump["layer"]["index"];
        assert_eq!(index["offset"], 4096 + 12288);
        assert_eq!(index["entries"], 256);
        assert_eq!(index["padding"], 253);
        assert_eq!(index["empty"], 0);
        assert_eq!(index["data_extents"], 2);
        assert_eq!(index["data_sectors"], 24);
        assert_eq!(index["data_bytes"], 12288);
        assert_eq!(index["zeroed_extents"], 1);
        assert_eq!(index["zeroed_sectors"], 7);
        assert_eq!(index["end_sector"], 108);
        assert_eq!(index["highest_tag"], 3);
        let header = &dump["layer"]["header"];
        assert_eq!(header["flag_names"].as_array().unwrap().len(), 3);
        let trailer = &dump["layer"]["trailer"];
        assert_eq!(trailer["uuid"], "00000000-0000-0000-0000-000000000000");
        assert_eq!(trailer["parent_uuid"], "");
        assert_eq!(trailer["virtual_size"], 1 << 20);
        assert_eq!(trailer["index_size"], 256);
        let extents = dump["layer"]["extents"].as_array().unwrap();
        assert_eq!(extents.len(), 3);
        assert_eq!(extents[0]["start"], 8);
        assert_eq!(extents[0]["sectors"], 16);
        assert_eq!(extents[0]["source"], 8);
        assert_eq!(extents[1]["source"], Value::Null);
        assert_eq!(extents[1]["zeroed"], true);
        assert_eq!(extents[2]["tag"], 3);
    }

    #[test]
    fn a_zfile_in_a_tar() {
        let files = Files::new();
        let content = layer().write();
        for (algorithm, name) in [(Algorithm::Lz4, "lz4"), (Algorithm::Zstd, "zstd")] {
            let zfile = ZfileWriter::new().algorithm(algorithm).write(&content);
            let (dump, result) = json(&[files.write(name, &Wrapper::Pax.wrap(&zfile))], false);
            result.unwrap();
            let dump = &dump[0];
            assert_eq!(dump["payload"]["in_tar"], true);
            assert_eq!(dump["payload"]["offset"], 1536);
            assert_eq!(dump["payload"]["bytes"], zfile.len());
            let found = &dump["zfile"];
            assert_eq!(found["in_use"], "trailer");
            assert_eq!(found["header"]["flags"], 0x13);
            assert_eq!(found["header"]["index_size"], 0);
            assert_eq!(found["trailer"]["flags"], 0x16);
            assert_eq!(
                found["trailer"]["digest"],
                found["trailer"]["computed_digest"]
            );
            let layout = &found["layout"];
            assert_eq!(layout["algorithm"], name);
            assert_eq!(layout["block_size"], 4096);
            assert_eq!(layout["content_bytes"], content.len());
            let count = content.len().div_ceil(4096);
            assert_eq!(layout["blocks"], count);
            assert_eq!(layout["block_checksums"], true);
            let blocks = &found["blocks"];
            let stored = zfile.len() - 1024 - 4 * count;
            assert_eq!(blocks["bytes"], stored);
            assert_eq!(blocks["mean"], stored as f64 / count as f64);
            assert_eq!(blocks["ratio"], stored as f64 / content.len() as f64);
            let smallest = blocks["smallest"].as_u64().unwrap();
            let largest = blocks["largest"].as_u64().unwrap();
            assert!(4 < smallest && smallest < largest && largest < 4096);
            assert_eq!(dump["layer"]["index"]["data_extents"], 2);
            assert_eq!(dump["layer"]["extents"], Value::Null);
        }
    }

    #[test]
    fn a_header_that_says_it_all_needs_no_trailer() {
        let files = Files::new();
        let zfile = ZfileWriter::new()
            .overwrite_header(true)
            .verify(false)
            .write(&layer().write());
        let whole = files.write("whole", &zfile);
        let cut = files.write("cut", &zfile[..zfile.len() - 512]);
        let (dump, result) = json(&[whole, cut], false);
        result.unwrap();
        for number in [0, 1] {
            assert_eq!(dump[number]["zfile"]["in_use"], "header");
            assert_eq!(dump[number]["zfile"]["layout"]["block_checksums"], false);
        }
        assert_eq!(dump[0]["zfile"]["trailer"]["magic"], true);
        assert_eq!(dump[1]["zfile"]["trailer"], Value::Null);
    }

    #[test]
    fn other_content_is_no_refusal_but_as_it_is() {
        let files = Files::new();
        let other = [7; 10_000];
        let (dump, result) = json(&[files.write("z", &ZfileWriter::new().write(&other))], true);
        result.unwrap();
        let why = dump[0]["no_layer"].as_str().unwrap();
        assert!(why.starts_with("LSMT header: wrong magic"), "{why}");
        assert_eq!(dump[0]["layer"], Value::Null);
        let short = ZfileWriter::new().write(&[7; 100]);
        let (dump, result) = json(&[files.write("s", &short)], true);
        result.unwrap();
        let why = dump[0]["no_layer"].as_str().unwrap();
        assert!(why.starts_with("LSMT: too short"), "{why}");
        let reason = "it is neither a ZFile nor a layer: LSMT header: wrong magic";
        let dump = refused(files.write("raw", &other), reason);
        assert_eq!(dump["file_bytes"], 10_000);
        refused(files.write("gz", b"\x1f\x8b and more"), "it is a gzip file");
        refused(files.0.path().join("none"), "cannot read");
    }

    #[test]
    fn no_data_is_read() {
        let files = Files::new();
        let content = layer().write();
        let mut zfile = ZfileWriter::new().write(&content);
        let (dump, _) = json(&[files.write("good", &zfile)], false);
        // The second block, behind the header of the layer.
        let first = zfile.len() - 512 - 4 * content.len().div_ceil(4096);
        let len = u32::from_le_bytes(zfile[first..first + 4].try_into().unwrap());
        let second = 512 + len as usize;
        zfile[second + 10] ^= 1;
        let (damaged, result) = json(&[files.write("good", &zfile)], false);
        result.unwrap();
        assert_eq!(damaged, dump);
        // The first block, with the header in it.
        zfile[600] ^= 1;
        let dump = refused(
            files.write("bad", &zfile),
            "ZFile block: wrong CRC (block 0:",
        );
        assert_eq!(dump["layer"]["header"], Value::Null);
        assert_eq!(dump["layer"]["trailer"]["magic"], true);
        assert_eq!(dump["layer"]["index"]["data_extents"], 2);
    }

    #[test]
    fn what_is_refused_is_shown_as_far_as_it_goes() {
        let files = Files::new();
        let zfile = ZfileWriter::new().write(&layer().write());

        let mut bad = zfile.clone();
        let at = bad.len() - 512;
        bad[at + 64] ^= 1;
        fix_digest(&mut bad[at..]);
        let dump = refused(files.write("crc", &bad), "ZFile index: wrong CRC");
        assert_eq!(dump["zfile"]["layout"]["block_size"], 4096);
        assert_eq!(dump["zfile"]["blocks"], Value::Null);

        let mut bad = zfile.clone();
        bad[76] = 9;
        let dump = refused(files.write("digest", &bad), "ZFile header: wrong digest");
        assert_eq!(dump["zfile"]["header"]["algo"], 9);
        assert_eq!(dump["zfile"]["trailer"]["algo"], 1);
        assert_eq!(dump["zfile"]["layout"], Value::Null);

        let cut = &zfile[..zfile.len() - 100];
        let dump = refused(files.write("cut", cut), "ZFile trailer: wrong magic");
        assert_eq!(dump["zfile"]["header"]["magic"], true);
        assert_eq!(dump["zfile"]["trailer"]["magic"], false);
        let dump = refused(files.write("short", &zfile[..100]), "ZFile: too short");
        assert_eq!(dump["zfile"]["header"], Value::Null);

        let good = layer().write();
        let mut bad = good.clone();
        let index = 4096 + 12288;
        let (first, second) = bad[index..index + 32].split_at_mut(16);
        first.swap_with_slice(second);
        let dump = refused(files.write("order", &bad), "LSMT index: entries out of");
        assert_eq!(dump["layer"]["index"]["data_extents"], 2);

        let mut bad = good.clone();
        bad[3] ^= 1;
        let dump = refused(files.write("magic", &bad), "LSMT header: wrong magic");
        assert_eq!(dump["layer"]["header"]["magic"], false);
        assert_eq!(dump["layer"]["index"]["data_extents"], 2);

        // An index that is not inside is not read, and so is one that no reader takes.
        for (at, bytes) in [(32, u64::MAX), (40, 1 << 60), (40, 1_000_001)] {
            let mut bad = good.clone();
            let trailer = bad.len() - 4096;
            bad[trailer + at..][..8].copy_from_slice(&bytes.to_le_bytes());
            let dump = refused(files.write("index", &bad), "LSMT index: ");
            assert_eq!(dump["layer"]["index"], Value::Null);
            assert_eq!(dump["layer"]["trailer"]["magic"], true);
        }
    }

    #[test]
    fn one_bad_file_does_not_keep_others_from_being_shown() {
        let files = Files::new();
        let good = files.write("good", &layer().write());
        let bad = files.write("bad", b"none");
        let (dump, result) = json(&[bad.clone(), good.clone(), bad.clone()], false);
        assert_eq!(dump.as_array().unwrap().len(), 3);
        assert_eq!(dump[1]["refusal"], Value::Null);
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("2 files are refused, the first one "));
        let (text, result) = text(&[bad, good], false);
        result.unwrap_err();
        assert!(text.contains("\nREFUSED:             it is neither"));
        assert!(text.contains("\nData:                2 extents, 24 sectors, 12288 bytes\n"));
    }

    #[test]
    fn text_is_aligned_and_harmless() {
        let files = Files::new();
        let mut bytes = layer().write();
        for area in [0, bytes.len() - 4096] {
            bytes[area + 134..][..13].copy_from_slice(b"a \"tag\"\x1b[31m\xff");
        }
        let zfile = ZfileWriter::new().digest(false).write(&bytes);
        let (text, result) = text(&[files.write("a\nb", &zfile)], true);
        result.unwrap();
        assert!(text.lines().next().unwrap().ends_with("a\\nb"));
        assert!(text.contains("\nUser tag:            a \"tag\"\\u{1b}[31m\u{fffd}\n"));
        assert!(text.contains("\nFlags:               0x7ffea4640b46 (data, sealed)\n"));
        assert!(text.contains(", not in use\n"));
        assert!(text.contains("               8       16                  8    0\n"));
        assert!(text.contains("              40        7             zeroed    0\n"));
        for line in text.lines() {
            assert_eq!(line, line.trim_end());
            if let Some((name, value)) = line.split_once(": ") {
                assert!(name.len() < NAME_WIDTH, "{line}");
                let at = line.len() - value.trim_start().len();
                assert_eq!(at, NAME_WIDTH + 1, "{line}");
            }
        }
    }
}
