// SPDX-License-Identifier: GPL-2.0

//! Generates images of every shape and with every damage, and the correct result of reading each.
//! An image depends only on a seed and its number, so a test that fails can generate it again.
//!
//! The correct result is known from the generation: layers are painted one over the other, and the
//! consequence of a damage is known, or is found by naive means. The readers under test are
//! never used here, except in [`check()`], which compares.
//!
//! ```
//! use overlaybd_image::generate::{Image, Verdict};
//!
//! let image = Image::new(7, 12);
//! overlaybd_image::generate::check(&image).unwrap();
//! if let Verdict::Reads(expected) = &image.verdict {
//!     assert_eq!(expected.bytes.len() as u64, image.sectors * 512);
//! }
//! ```

mod check;
mod content;
mod layer;
mod naive;
mod zfile;

pub use check::check;

use crate::Wrapper;
use fastrand::Rng;
use std::fmt;
use std::ops::Range;

const SECTOR: usize = 512;

/// A generated image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its damage, or "undamaged": to count images by.
    pub kind: &'static str,
    /// Whether its files are layers. If not, there is one file, a ZFile of any content.
    pub stacked: bool,
    /// The files, the lowest layer first.
    pub files: Vec<File>,
    /// The length of a device with this image, in sectors.
    pub sectors: u64,
    /// The correct result of reading it.
    pub verdict: Verdict,
}

/// A file of an image.
#[derive(Clone, Debug)]
pub struct File {
    /// All bytes, with the tar around it.
    pub bytes: Vec<u8>,
    /// The offset of the payload in bytes: a multiple of 512.
    pub offset: u64,
    /// The length of the payload in the table.
    pub len: u64,
    /// The length of its content in bytes, if it is a ZFile.
    pub content_len: Option<u64>,
}

/// The correct result of reading an image.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It does not open.
    Refused(Refusal),
    /// It opens.
    Reads(Expected),
}

/// How an image is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The ZFile that is refused; [`None`] if the stack is refused.
    pub zfile: Option<usize>,
    /// The message.
    pub message: &'static str,
    /// The error number.
    pub errno: i32,
}

/// The result of reading an image that opens.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its content, up to the end of the device. Where it cannot be read, it has no meaning.
    pub bytes: Vec<u8>,
    /// The sectors that cannot be read, as ranges in order that do not touch.
    pub unreadable: Vec<Range<usize>>,
}

impl Expected {
    fn new(bytes: Vec<u8>, bad: &[bool]) -> Self {
        let mut unreadable: Vec<Range<usize>> = Vec::new();
        for at in (0..bad.len()).filter(|at| bad[*at]) {
            match unreadable.last_mut() {
                Some(range) if range.end == at => range.end += 1,
                _ => unreadable.push(at..at + 1),
            }
        }
        Self { bytes, unreadable }
    }

    /// Whether all of these sectors can be read.
    #[must_use]
    pub fn readable(&self, sectors: &Range<usize>) -> bool {
        let next = self
            .unreadable
            .partition_point(|range| range.end <= sectors.start);
        self.unreadable
            .get(next)
            .is_none_or(|range| range.start >= sectors.end)
    }
}

/// Error numbers, as Linux has them.
mod errno {
    pub(super) const EIO: i32 = 5;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const EFBIG: i32 = 27;
    pub(super) const EOPNOTSUPP: i32 = 95;
}

/// The table asks for more than the image has.
const TOO_LONG: Refusal = Refusal {
    zfile: None,
    message: "Table is longer than the image",
    errno: errno::EINVAL,
};

/// The content of a blob that is read through its ZFile, if it is in one.
struct Held {
    bytes: Vec<u8>,
    /// For each sector, whether it cannot be read.
    bad: Vec<bool>,
}

impl Held {
    fn good(bytes: Vec<u8>) -> Self {
        let bad = vec![false; bytes.len().div_ceil(SECTOR)];
        Self { bytes, bad }
    }

    /// Whether any of these bytes cannot be read.
    fn is_bad(&self, bytes: Range<usize>) -> bool {
        self.bad[bytes.start / SECTOR..bytes.end.div_ceil(SECTOR)].contains(&true)
    }
}

impl Image {
    /// Image `number` of `seed`.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut rng = Rng::with_seed(rng.u64(..) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if rng.u8(0..100) < 45 {
            Self::single(&mut rng)
        } else {
            Self::stack(&mut rng)
        }
    }

    /// A ZFile of any content.
    fn single(rng: &mut Rng) -> Self {
        let shape = zfile::Shape::new(rng);
        let len = shape.content_len(rng);
        let content = content::bytes(rng, len);
        let damage = if rng.u8(0..10) < 6 {
            zfile::Damage::Anything
        } else {
            zfile::Damage::Nothing
        };
        let made = zfile::make(rng, shape, zfile::Content::Any, content, damage);
        let file = wrap(rng, made.bytes, made.len, Some(made.content_len));
        let sectors = made.content_len.div_ceil(SECTOR as u64);
        let (sectors, fits) = table_len(rng, sectors);
        let (kind, verdict) = match made.outcome {
            Err(refusal) => (made.kind, Verdict::Refused(refusal.of_zfile(0))),
            Ok(_) if !fits => ("table too long", Verdict::Refused(TOO_LONG.of_zfile(0))),
            Ok(mut held) => {
                held.bytes.resize(sectors as usize * SECTOR, 0);
                held.bad.truncate(sectors as usize);
                let expected = Expected::new(held.bytes, &held.bad);
                (made.kind, Verdict::Reads(expected))
            }
        };
        Self {
            kind,
            stacked: false,
            files: vec![file],
            sectors,
            verdict,
        }
    }

    /// Layers: undamaged, one of them damaged anywhere, or all of them in their data.
    fn stack(rng: &mut Rng) -> Self {
        let count = match rng.u8(0..10) {
            0..=1 => 1,
            2..=6 => rng.usize(2..=4),
            _ => rng.usize(5..=8),
        };
        let (damaged, data) = match rng.u8(0..10) {
            0..=3 => (rng.usize(0..count), false),
            4..=6 => (count, true),
            _ => (count, false),
        };
        let largest = rng.usize(8..=400);
        let mut kind = "undamaged";
        let mut files = Vec::new();
        let mut refusal = None;
        let mut layers = Vec::new();
        for number in 0..count {
            let zfile = rng.u8(0..3) != 0;
            // A layer that is not compressed can only be damaged as a layer.
            let damage_layer = number == damaged && (!zfile || rng.bool());
            let made = layer::make(rng, largest, damage_layer);
            if damage_layer {
                kind = made.kind;
            }
            let (bytes, len, content_len, held) = if zfile {
                let damage = match number == damaged && !damage_layer {
                    true => zfile::Damage::Anything,
                    false if data => zfile::Damage::Data,
                    false => zfile::Damage::Nothing,
                };
                let shape = zfile::Shape::new(rng);
                let compressed = zfile::make(rng, shape, zfile::Content::Layer, made.blob, damage);
                if compressed.kind != "undamaged" {
                    kind = compressed.kind;
                }
                let content_len = Some(compressed.content_len);
                (
                    compressed.bytes,
                    compressed.len,
                    content_len,
                    compressed.outcome,
                )
            } else {
                let len = made.blob.len() as u64;
                (made.blob.clone(), len, None, Ok(Held::good(made.blob)))
            };
            files.push(wrap(rng, bytes, len, content_len));
            // All ZFiles are opened before the first layer.
            match held {
                Err(found) => refusal = Some(found.of_zfile(number)),
                Ok(held) => layers.push((held, made.refusal, made.virtual_size)),
            }
        }
        let size = layers
            .iter()
            .rev()
            .map(|layer| layer.2)
            .find(|size| *size > 0);
        let size = size.unwrap_or(0);
        let (sectors, fits) = table_len(rng, size / SECTOR as u64);
        let refusal = refusal.or_else(|| {
            layers
                .iter()
                .find_map(|(held, refusal, _)| layer::refusal(held, refusal.as_ref()))
        });
        let verdict = match refusal {
            Some(refusal) => Verdict::Refused(refusal),
            None if !fits => {
                kind = "table too long";
                Verdict::Refused(TOO_LONG)
            }
            None => {
                let mut bytes = vec![0; sectors as usize * SECTOR];
                let mut bad = vec![false; sectors as usize];
                for (held, ..) in &layers {
                    layer::paint(held, &mut bytes, &mut bad);
                }
                Verdict::Reads(Expected::new(bytes, &bad))
            }
        };
        Self {
            kind,
            stacked: true,
            files,
            sectors,
            verdict,
        }
    }
}

impl Refusal {
    fn of_zfile(mut self, number: usize) -> Self {
        self.zfile = Some(number);
        self
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.stacked { "stack" } else { "ZFile" };
        write!(f, "{what}, {}, {} sectors:", self.kind, self.sectors)?;
        for file in &self.files {
            let File { offset, len, .. } = file;
            match file.content_len {
                Some(content) => write!(f, " [ZFile of {content} in {len} bytes at {offset}]")?,
                None => write!(f, " [{len} bytes at {offset}]")?,
            }
        }
        match &self.verdict {
            Verdict::Refused(refusal) => write!(f, "; must be refused: {}", refusal.message),
            Verdict::Reads(expected) if expected.unreadable.is_empty() => {
                f.write_str("; must read")
            }
            Verdict::Reads(expected) => {
                write!(f, "; unreadable sectors: {:?}", expected.unreadable)
            }
        }
    }
}

/// The length of a device for an image of `sectors` sectors, and whether it is valid: mostly all of
/// them, sometimes fewer, rarely one more.
fn table_len(rng: &mut Rng, sectors: u64) -> (u64, bool) {
    match rng.u8(0..50) {
        0 => (sectors + 1, false),
        1..=8 if sectors > 1 => (rng.u64(1..sectors), true),
        _ if sectors == 0 => (1, false),
        _ => (sectors, true),
    }
}

/// A file with or without a tar around it. `len` is its length in the table, which may be wrong.
fn wrap(rng: &mut Rng, bytes: Vec<u8>, len: u64, content_len: Option<u64>) -> File {
    let (bytes, offset) = match rng.u8(0..12) {
        0 => (Wrapper::Pax.wrap(&bytes), 1536),
        1 => (Wrapper::Ustar.wrap(&bytes), 512),
        _ => (bytes, 0),
    };
    File {
        bytes,
        offset,
        len,
        content_len,
    }
}
