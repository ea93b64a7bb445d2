// SPDX-License-Identifier: GPL-2.0

//! Writes LSMT layers of every kind that a reader must read.

const AREA: usize = 4096;
const SECTOR: usize = 512;

const HEADER: u32 = 1 << 0;
const DATA: u32 = 1 << 1;
const SEALED: u32 = 1 << 2;

/// The start of an entry that pads the index.
const PADDING_START: u64 = (1 << 50) - 1;

/// The longest entry of data that writers write.
const MAX_ENTRY: u64 = 8192;

/// The bytes after the last entry of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Padding entries up to a multiple of 256, as in a committed layer.
    Committed,
    /// Bytes of any content up to the next sector, as in a sealed writable layer.
    Sealed,
}

/// Writes one layer, with extents in any order. It does not check whether they overlap.
#[derive(Clone, Debug)]
pub struct LayerWriter {
    virtual_size: u64,
    extents: Vec<Extent>,
    padding: Padding,
    tag: u8,
    shuffle: Option<u64>,
    sprinkle: usize,
}

#[derive(Clone, Debug)]
struct Extent {
    start: u64,
    sectors: u64,
    /// [`None`] for zeros.
    data: Option<Vec<u8>>,
}

impl LayerWriter {
    /// A layer that asks for an image of this size in bytes.
    #[must_use]
    pub const fn new(virtual_size: u64) -> Self {
        Self {
            virtual_size,
            extents: Vec::new(),
            padding: Padding::Committed,
            tag: 0,
            shuffle: None,
            sprinkle: 0,
        }
    }

    /// Adds data from sector `start` of the image on: whole sectors, cut into entries of at most
    /// 8192 of them.
    ///
    /// # Panics
    ///
    /// If it is not a whole number of sectors.
    #[must_use]
    pub fn data(mut self, start: u64, data: &[u8]) -> Self {
        assert_eq!(data.len() % SECTOR, 0, "data comes in whole sectors");
        let mut start = start;
        for piece in data.chunks(MAX_ENTRY as usize * SECTOR) {
            let sectors = (piece.len() / SECTOR) as u64;
            self.extents.push(Extent {
                start,
                sectors,
                data: Some(piece.to_vec()),
            });
            start += sectors;
        }
        self
    }

    /// Adds an entry of zeros: at most 16383 sectors.
    #[must_use]
    pub fn zeros(mut self, start: u64, sectors: u64) -> Self {
        self.extents.push(Extent {
            start,
            sectors,
            data: None,
        });
        self
    }

    /// The bytes after the last entry.
    #[must_use]
    pub const fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// The tag of every entry, which readers ignore.
    #[must_use]
    pub const fn tag(mut self, tag: u8) -> Self {
        self.tag = tag;
        self
    }

    /// Stores the data in another order than in the image, with garbage between.
    #[must_use]
    pub const fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle = Some(seed);
        self
    }

    /// Writes a padding entry before every `every`-th entry.
    #[must_use]
    pub const fn sprinkle_padding(mut self, every: usize) -> Self {
        self.sprinkle = every;
        self
    }

    /// The layer.
    #[must_use]
    pub fn write(self) -> Vec<u8> {
        self.write_with_gap(0)
    }

    /// The layer with a gap of that many sectors, which no entry refers to, after its header. The
    /// result lacks the gap.
    #[must_use]
    pub fn write_with_gap(mut self, gap: u64) -> Vec<u8> {
        self.extents.sort_by_key(|extent| extent.start);
        let mut blob = vec![0; AREA];
        let sources = self.place_data(&mut blob);

        let mut entries = Vec::new();
        for (number, (extent, source)) in self.extents.iter().zip(sources).enumerate() {
            if self.sprinkle != 0 && number % self.sprinkle == 0 {
                entries.push(entry(PADDING_START, 0, 0, false, 0));
            }
            let zeroed = extent.data.is_none();
            entries.push(entry(
                extent.start,
                extent.sectors,
                source + gap,
                zeroed,
                self.tag,
            ));
        }
        let index_offset = blob.len() as u64 + gap * SECTOR as u64;
        let header_flags = match self.padding {
            Padding::Committed => {
                let padding = entry(PADDING_START, 0, 0, false, 0);
                entries.resize(entries.len().next_multiple_of(256), padding);
                HEADER | DATA | SEALED
            }
            Padding::Sealed => HEADER | DATA,
        };
        blob.extend(entries.concat());
        blob.resize(blob.len().next_multiple_of(SECTOR), 0xa5);

        let header = area(header_flags, 0, 0, self.virtual_size);
        blob[..AREA].copy_from_slice(&header);
        blob.extend(area(
            DATA | SEALED,
            index_offset,
            entries.len() as u64,
            self.virtual_size,
        ));
        blob
    }

    /// Writes the data, and returns the offset of each extent's data in the blob.
    fn place_data(&self, blob: &mut Vec<u8>) -> Vec<u64> {
        let mut order: Vec<usize> = (0..self.extents.len()).collect();
        if let Some(seed) = self.shuffle {
            let mut random = seed | 1;
            for last in (1..order.len()).rev() {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                order.swap(last, (random >> 33) as usize % (last + 1));
            }
        }
        let mut sources = vec![0; self.extents.len()];
        for number in order {
            if self.shuffle.is_some() {
                blob.extend([0xee; SECTOR]);
            }
            sources[number] = (blob.len() / SECTOR) as u64;
            if let Some(data) = &self.extents[number].data {
                blob.extend(data);
            }
        }
        sources
    }
}

fn entry(start: u64, sectors: u64, source: u64, zeroed: bool, tag: u8) -> [u8; 16] {
    let place = start | sectors << 50;
    let content = source | u64::from(zeroed) << 55 | u64::from(tag) << 56;
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&place.to_le_bytes());
    entry[8..].copy_from_slice(&content.to_le_bytes());
    entry
}

fn area(flags: u32, index_offset: u64, index_size: u64, virtual_size: u64) -> [u8; AREA] {
    let mut area = [0; AREA];
    area[..8].copy_from_slice(b"LSMT\0\x01\x02\0");
    area[8..24]
        .copy_from_slice(b"\x65\x7e\x63\xd2\x94\x44\x08\x4c\xa2\xd2\xc8\xec\x4f\xcf\xae\x8a");
    area[24..28].copy_from_slice(&390u32.to_le_bytes());
    area[28..32].copy_from_slice(&flags.to_le_bytes());
    area[32..40].copy_from_slice(&index_offset.to_le_bytes());
    area[40..48].copy_from_slice(&index_size.to_le_bytes());
    area[48..56].copy_from_slice(&virtual_size.to_le_bytes());
    area[56..92].copy_from_slice(b"00000000-0000-0000-0000-000000000000");
    area[132] = 1;
    area[133] = 1;
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_layer_is_header_and_trailer() {
        assert_eq!(LayerWriter::new(512).write().len(), 8192);
    }

    #[test]
    fn committed_and_sealed_sizes() {
        let layer = LayerWriter::new(1 << 20).data(0, &[1; 1024]).zeros(9, 1);
        let committed = layer.clone().write();
        assert_eq!(committed.len(), 4096 + 1024 + 4096 + 4096);
        let sealed = layer.padding(Padding::Sealed).write();
        assert_eq!(sealed.len(), 4096 + 1024 + 512 + 4096);
    }
}
