// SPDX-License-Identifier: GPL-2.0

//! Generated layers: any extents, and one damage, which a reader must refuse or must ignore.

use super::{content, errno, naive, Held, Refusal, SECTOR};
use crate::{LayerWriter, Padding};
use fastrand::Rng;

const AREA: usize = 4096;

/// A layer, not wrapped in anything yet.
pub(super) struct Made {
    pub(super) kind: &'static str,
    pub(super) blob: Vec<u8>,
    pub(super) virtual_size: u64,
    /// Why it must be refused, if it must.
    pub(super) refusal: Option<Refusal>,
}

/// Generates a layer of about `largest` sectors, with or without damage.
pub(super) fn make(rng: &mut Rng, largest: usize, damage: bool) -> Made {
    let virtual_size = SECTOR as u64
        * match rng.u8(0..8) {
            // Then the size is that of the layer below.
            0 => 0,
            1 => rng.usize(1..=largest),
            _ => largest,
        } as u64;
    let mut writer = LayerWriter::new(virtual_size);
    let mut at = 0;
    let extents = match rng.u8(0..10) {
        0 => 0,
        1..=7 => rng.usize(1..12),
        _ => rng.usize(12..40),
    };
    for _ in 0..extents {
        // Extents may touch each other; some end after the end of the image.
        if rng.u8(0..3) != 0 {
            at += rng.usize(0..=largest / 4 + 1);
        }
        let sectors = match rng.u8(0..10) {
            0..=6 => rng.usize(1..9),
            7..=8 => rng.usize(9..40),
            _ => rng.usize(40..130),
        };
        if at > largest + 64 {
            break;
        }
        if rng.u8(0..4) == 0 {
            writer = writer.zeros(at as u64, sectors as u64);
        } else {
            writer = writer.data(at as u64, &content::bytes(rng, sectors * SECTOR));
        }
        at += sectors;
    }
    if rng.u8(0..4) == 0 {
        // At the last valid sector, and ending after it.
        writer = writer.zeros((1 << 50) - 2 - rng.u64(0..20_000), 16_383);
    }
    if rng.bool() {
        writer = writer.padding(Padding::Sealed);
    }
    if rng.bool() {
        writer = writer.tag(rng.u8(..));
    }
    if rng.bool() {
        writer = writer.shuffle(rng.u64(..));
    }
    if rng.u8(0..4) == 0 {
        writer = writer.sprinkle_padding(rng.usize(1..5));
    }
    let mut made = Made {
        kind: "undamaged",
        blob: writer.write(),
        virtual_size,
        refusal: None,
    };
    made.leave_alone(rng);
    if damage {
        made.damage(rng);
    }
    made
}

impl Made {
    /// The offsets of the header and the trailer.
    fn trailer(&self) -> usize {
        self.blob.len() - AREA
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.blob[at..at + 8].try_into().expect("eight bytes"))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.blob[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Changes some bytes that no reader uses.
    fn leave_alone(&mut self, rng: &mut Rng) {
        let trailer = self.trailer();
        for area in [0, trailer] {
            // The size of the structure, the uuids, levels and versions, the message.
            for (from, to) in [(24, 28), (56, 130), (130, 134), (134, 390), (390, AREA)] {
                if rng.u8(0..8) == 0 {
                    rng.fill(&mut self.blob[area + from..area + to]);
                }
            }
            if rng.u8(0..8) == 0 {
                self.blob[area + 28] |= rng.u8(..) & !7;
                rng.fill(&mut self.blob[area + 29..area + 32]);
            }
        }
        // Only the trailer has the flag "sealed" and the offset of the index.
        if rng.u8(0..8) == 0 {
            self.blob[28] ^= 4;
            rng.fill(&mut self.blob[32..56]);
        }
    }

    /// Damages one thing.
    fn damage(&mut self, rng: &mut Rng) {
        let trailer = self.trailer();
        let index = self.word(trailer + 32);
        let count = self.word(trailer + 40);
        let live = naive::entries(&self.blob);
        let (message, errno) = match rng.u8(0..15) {
            0 => {
                self.blob[rng.usize(0..24)] ^= 1 << rng.u8(0..8);
                ("LSMT header: wrong magic", errno::EINVAL)
            }
            1 => {
                self.blob[28] &= !1;
                ("LSMT header: not marked as header", errno::EINVAL)
            }
            2 => {
                self.blob[28] &= !2;
                ("LSMT header: not marked as data file", errno::EINVAL)
            }
            3 => {
                self.blob[trailer + rng.usize(0..24)] ^= 1 << rng.u8(0..8);
                ("LSMT trailer: wrong magic", errno::EINVAL)
            }
            4 => {
                self.blob[trailer + 28] |= 1;
                ("LSMT trailer: marked as header", errno::EINVAL)
            }
            5 => {
                self.blob[trailer + 28] &= !2;
                ("LSMT trailer: not marked as data file", errno::EINVAL)
            }
            6 => {
                self.blob[trailer + 28] &= !4;
                ("LSMT trailer: not sealed", errno::EINVAL)
            }
            7 => {
                let size = self.virtual_size + rng.u64(1..512);
                self.put(trailer + 48, &size.to_le_bytes());
                ("LSMT: virtual size is not a multiple of 512", errno::EINVAL)
            }
            8 => {
                let count = *rng
                    .choice(&[1_000_001, 1 << 28, (1 << 60) + 1, u64::MAX])
                    .expect("there are some");
                self.put(trailer + 40, &count.to_le_bytes());
                ("LSMT index: too many entries", errno::EFBIG)
            }
            9 => {
                let count = count + 1 + rng.u64(0..1000) + (trailer as u64 - index) / 16;
                self.put(trailer + 40, &count.to_le_bytes());
                ("LSMT index: outside of the layer", errno::EINVAL)
            }
            10 => {
                let far = [
                    0,
                    8,
                    4095,
                    trailer as u64 + 1,
                    1 << 40,
                    u64::MAX - 15,
                    u64::MAX,
                ];
                let offset = *rng.choice(&far).expect("there are some");
                self.put(trailer + 32, &offset.to_le_bytes());
                ("LSMT index: outside of the layer", errno::EINVAL)
            }
            11 => {
                let cut = SECTOR * rng.usize(1..=8);
                self.blob.truncate(self.blob.len() - cut);
                if self.blob.len() < 2 * AREA {
                    ("LSMT: too short for header and trailer", errno::EINVAL)
                } else {
                    ("LSMT trailer: wrong magic", errno::EINVAL)
                }
            }
            12 => {
                let more = self.blob.len() + SECTOR * rng.usize(1..=20);
                self.blob.resize(more, rng.u8(..));
                ("LSMT trailer: wrong magic", errno::EINVAL)
            }
            13 if live.len() > 1 => {
                // An entry that starts before the previous one ends.
                let number = rng.usize(1..live.len());
                let before = live[number - 1];
                let start = rng.u64(before.start..before.start + before.len);
                let at = self.place_of(number);
                let place = start | live[number].len << 50;
                self.put(at, &place.to_le_bytes());
                ("LSMT index: entries out of order", errno::EINVAL)
            }
            _ if live.iter().any(|entry| !entry.zeroed) => {
                // Data in the header, in the index or far after it.
                let data: Vec<usize> = (0..live.len())
                    .filter(|number| !live[*number].zeroed)
                    .collect();
                let number = *rng.choice(&data).expect("there is one");
                let entry = live[number];
                let end = index / SECTOR as u64;
                let source = match rng.u8(0..4) {
                    0 => rng.u64(0..8),
                    1 => end - entry.len + rng.u64(1..=entry.len),
                    2 => end + rng.u64(0..100),
                    _ => (1 << 55) - 1 - rng.u64(0..16_384),
                };
                let at = self.place_of(number) + 8;
                let content = source | self.word(at) & !((1 << 55) - 1);
                self.put(at, &content.to_le_bytes());
                ("LSMT index: data outside of the layer", errno::EINVAL)
            }
            _ => {
                self.kind = "layer without index";
                return;
            }
        };
        self.kind = message;
        self.refusal = Some(Refusal {
            zfile: None,
            message,
            errno,
        });
    }

    /// The offset of the entry `number` in the blob, padding not counted.
    fn place_of(&self, number: usize) -> usize {
        let trailer = self.trailer();
        let (index, count) = (self.word(trailer + 32), self.word(trailer + 40));
        let places = (0..count).map(|entry| (index + 16 * entry) as usize);
        let padding = (1 << 50) - 1;
        let mut live = places.filter(|at| self.word(*at) & padding != padding);
        live.nth(number).expect("there are as many")
    }
}

/// Why a layer must be refused, if it is read through its ZFile: a reader finds a block that it
/// cannot read before a damage after it.
pub(super) fn refusal(held: &Held, wrong: Option<&Refusal>) -> Option<Refusal> {
    let unreadable = |message| {
        Some(Refusal {
            zfile: None,
            message,
            errno: errno::EIO,
        })
    };
    let len = held.bytes.len();
    if wrong.is_some() || len < 2 * AREA {
        // At most one thing is wrong.
        return wrong.cloned();
    }
    let trailer = len - AREA;
    if held.is_bad(0..AREA) {
        return unreadable("Cannot read the layer header");
    }
    if held.is_bad(trailer..len) {
        return unreadable("Cannot read the layer trailer");
    }
    let word = |at: usize| {
        let bytes = held.bytes[at..at + 8].try_into();
        bytes.map_or(0, u64::from_le_bytes) as usize
    };
    let (index, count) = (word(trailer + 32), word(trailer + 40));
    if held.is_bad(index..index + 16 * count) {
        return unreadable("Cannot read the layer index");
    }
    None
}

/// Paints the content of a layer over an image.
pub(super) fn paint(held: &Held, image: &mut [u8], bad: &mut [bool]) {
    for entry in naive::entries(&held.bytes) {
        for number in 0..entry.len {
            let Some(at) = usize::try_from(entry.start + number)
                .ok()
                .filter(|at| *at < bad.len())
            else {
                break;
            };
            let sector = &mut image[at * SECTOR..(at + 1) * SECTOR];
            if entry.zeroed {
                sector.fill(0);
                bad[at] = false;
            } else {
                let source = (entry.source + number) as usize;
                sector.copy_from_slice(&held.bytes[source * SECTOR..(source + 1) * SECTOR]);
                bad[at] = held.bad[source];
            }
        }
    }
}
