// SPDX-License-Identifier: GPL-2.0

//! The part of `dump` for a layer: its header and trailer as they are, and its index.
//!
//! It reads no data and refuses nothing: [`Inspection`] has the verdict.

use super::text::Text;
use crate::content::Content;
use crate::error::Result;
use crate::inspect::Inspection;
use crate::output::plain;
use crate::payload::in_pieces;
use crate::zfile::Codec;
use overlaybd_format::lsmt::{self, EntryFields};
use serde::Serialize;
use std::io;

/// The most entries of an index that are read. Readers refuse more.
const MAX_ENTRIES: u64 = 1_000_000;

/// A layer.
#[derive(Debug, Serialize)]
pub struct LayerDump {
    /// Its header; null if it cannot be read.
    pub header: Option<LayerArea>,
    /// Its trailer, which readers use; null if it cannot be read.
    pub trailer: Option<LayerArea>,
    /// Its index; null if it cannot be read.
    pub index: Option<IndexDump>,
    /// The entries of the index without padding, in its order; null without `--extents`.
    pub extents: Option<Vec<Extent>>,
}

/// The fields of a layer's header or trailer, valid or not, with the names of the format.
#[derive(Debug, Serialize)]
pub struct LayerArea {
    /// Whether its magic is right.
    pub magic: bool,
    /// The length of the fields.
    pub size: u32,
    /// The flags.
    pub flags: u32,
    /// The names of the known flags that are set: `header`, `data`, `sealed`, `gc`, `sparse`,
    /// `info_valid`.
    pub flag_names: Vec<&'static str>,
    /// Where the index starts in the layer.
    pub index_offset: u64,
    /// The number of entries of the index, padding included.
    pub index_size: u64,
    /// The size of the image; 0 takes it from the layers below.
    pub virtual_size: u64,
    /// The uuid of the layer.
    pub uuid: String,
    /// The uuid of the layer below when this one was created.
    pub parent_uuid: String,
    /// The version of the format.
    pub version: u8,
    /// The minor version of the format.
    pub sub_version: u8,
    /// The text that the creator of the layer put in it.
    pub user_tag: String,
}

/// The index of a layer, valid or not.
#[derive(Debug, Default, Serialize)]
pub struct IndexDump {
    /// Where it starts in the layer.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// The number of padding entries.
    pub padding: u64,
    /// The number of entries without sectors.
    pub empty: u64,
    /// The number of extents of data.
    pub data_extents: u64,
    /// The sectors of these extents.
    pub data_sectors: u64,
    /// The bytes of these extents.
    pub data_bytes: u64,
    /// The number of extents of zeros, which hide the layers below.
    pub zeroed_extents: u64,
    /// The sectors of these extents.
    pub zeroed_sectors: u64,
    /// The first sector of the image after all extents.
    pub end_sector: u64,
    /// The highest tag; above 0 in a layer that was merged from several.
    pub highest_tag: u8,
}

/// An extent, or an entry without sectors.
#[derive(Debug, Serialize)]
pub struct Extent {
    /// Its first sector in the image.
    pub start: u64,
    /// The number of its sectors.
    pub sectors: u64,
    /// Its first sector in the layer; null if it is zeroed.
    pub source: Option<u64>,
    /// Whether it is zeroed.
    pub zeroed: bool,
    /// Its tag.
    pub tag: u8,
}

impl LayerDump {
    pub(super) fn of(inspection: &Inspection, content: &Content, extents: bool) -> Self {
        let fields = |area: &[u8; lsmt::HEADER_LEN]| lsmt::HeaderTrailerFields::new(area);
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

    pub(super) fn show(&self, text: &mut Text<'_>) -> io::Result<()> {
        text.part("Layer", self.index.as_ref(), IndexDump::show)?;
        text.part("Layer header", self.header.as_ref(), LayerArea::show)?;
        text.part("Layer trailer", self.trailer.as_ref(), LayerArea::show)?;
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

impl From<lsmt::HeaderTrailerFields> for LayerArea {
    fn from(fields: lsmt::HeaderTrailerFields) -> Self {
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

/// The index as it is; [`None`] if it is not inside the layer, or longer than any valid index.
fn read_index(
    trailer: &lsmt::HeaderTrailerFields,
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
    let mut codec = Codec::default();
    in_pieces(bytes, |at, piece| {
        content.read(offset + at, piece, &mut codec)?;
        // A piece contains whole entries: the length of all but the last is a power of two.
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

/// A text field, up to its NUL.
fn up_to_nul(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
