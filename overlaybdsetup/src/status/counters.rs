// SPDX-License-Identifier: GPL-2.0

//! The counters of a status line.

use serde::Serialize;

/// The counters of a layer, or of a whole image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// The memory of indexes, in bytes.
    pub index_bytes: u64,
    /// Failed reads of the layer's device.
    pub read_errors: u64,
    /// Blocks with a wrong checksum.
    pub crc_errors: u64,
    /// Blocks that failed to decompress.
    pub decompress_errors: u64,
    /// Decompressed blocks.
    pub blocks_decompressed: u64,
    /// Reads completed from a cached block.
    pub cache_hits: u64,
}

impl Counters {
    /// The counters of a status line, each a name and a number.
    pub(super) fn of(line: &str) -> Self {
        let value = |name: &str| number_after(line, name);
        Self {
            index_bytes: value("index_bytes"),
            read_errors: value("read_errors"),
            crc_errors: value("crc_errors"),
            decompress_errors: value("decompress_errors"),
            blocks_decompressed: value("blocks_decompressed"),
            cache_hits: value("cache_hits"),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.index_bytes += other.index_bytes;
        self.read_errors += other.read_errors;
        self.crc_errors += other.crc_errors;
        self.decompress_errors += other.decompress_errors;
        self.blocks_decompressed += other.blocks_decompressed;
        self.cache_hits += other.cache_hits;
    }

    pub(super) fn errors(&self) -> String {
        format!(
            "{} read, {} checksum, {} decompression",
            self.read_errors, self.crc_errors, self.decompress_errors
        )
    }

    pub(super) fn reads(&self) -> String {
        format!(
            "{} blocks decompressed, {} cache hits",
            self.blocks_decompressed, self.cache_hits
        )
    }
}

/// The number after a word of a status line; 0 if there is none.
pub(super) fn number_after(line: &str, name: &str) -> u64 {
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == name);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_a_status_line() {
        let line = "lz4 4096 verify blocks 893 index_bytes 2016 read_errors 1 crc_errors 2 \
                    decompress_errors 3 blocks_decompressed 4 cache_hits 5";
        let counters = Counters::of(line);
        assert_eq!(
            counters,
            Counters {
                index_bytes: 2016,
                read_errors: 1,
                crc_errors: 2,
                decompress_errors: 3,
                blocks_decompressed: 4,
                cache_hits: 5,
            }
        );
        assert_eq!(number_after(line, "blocks"), 893);
        assert_eq!(
            number_after("layers 2 segments 17 index_bytes 9", "segments"),
            17
        );
        assert_eq!(Counters::of(""), Counters::default());
    }
}
