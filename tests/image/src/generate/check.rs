// SPDX-License-Identifier: GPL-2.0

//! Reads a generated image on the host, by `overlaybd_format`, and compares.

use super::{Expected, File, Image, Refusal, Verdict, SECTOR};
use crate::{load_layer, map_of, Error, ReadAt, Slice, ZfileReader};
use overlaybd_format::lsmt::{merge, virtual_size, Cursor, Extent, SegmentMap};
use overlaybd_format::units::Sector;

/// The device that a layer's device-mapper target would show.
#[derive(Debug)]
enum Device<'a> {
    Raw(Slice<&'a [u8]>),
    Zfile(ZfileReader<Slice<&'a [u8]>>),
}

impl ReadAt for Device<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Zfile(content) => content.len(),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Raw(bytes) => bytes.read_at(offset, buf),
            Self::Zfile(content) => content.read_at(offset, buf),
        }
    }
}

/// Reads an image in every way that the host has.
///
/// # Errors
///
/// The first difference.
pub fn check(image: &Image) -> Result<(), String> {
    match (open(image), &image.verdict) {
        (Ok(_), Verdict::Refused(refusal)) => {
            Err(format!("opened, should be: {}", refusal.message))
        }
        (Err(found), Verdict::Reads(_)) => Err(format!("refused: {}", found.message)),
        (Err(found), Verdict::Refused(wanted)) => {
            if found.message.starts_with(wanted.message)
                && (found.zfile, found.errno) == (wanted.zfile, wanted.errno)
            {
                Ok(())
            } else {
                Err(format!("refused with {found:?}, should be {wanted:?}"))
            }
        }
        (Ok(opened), Verdict::Reads(expected)) => opened.compare(expected),
    }
}

/// How an image was refused.
#[derive(Debug)]
struct Found {
    zfile: Option<usize>,
    message: String,
    errno: i32,
}

impl Found {
    fn new(zfile: Option<usize>, error: &Error) -> Self {
        use overlaybd_format::{ErrorKind, FormatError};
        let kind = match error {
            Error::Zfile(error) => Some(error.kind()),
            Error::Layer(error) => Some(error.kind()),
            _ => None,
        };
        let errno = match kind {
            None => super::errno::EIO,
            Some(ErrorKind::Malformed) => super::errno::EINVAL,
            Some(ErrorKind::Unsupported) => super::errno::EOPNOTSUPP,
            Some(ErrorKind::TooLarge) => super::errno::EFBIG,
        };
        Self {
            zfile,
            message: error.to_string(),
            errno,
        }
    }
}

struct Opened<'a> {
    devices: Vec<Device<'a>>,
    map: Option<SegmentMap<Vec<u32>>>,
}

fn open(image: &Image) -> Result<Opened<'_>, Found> {
    let mut devices = Vec::new();
    for (number, file) in image.files.iter().enumerate() {
        let File {
            bytes, offset, len, ..
        } = file;
        let bytes = Slice::new(bytes.as_slice(), *offset, *len);
        devices.push(if file.content_len.is_some() {
            let opened = ZfileReader::open(bytes);
            Device::Zfile(opened.map_err(|error| Found::new(Some(number), &error))?)
        } else {
            Device::Raw(bytes)
        });
    }
    let too_long = |zfile| {
        let Refusal { message, errno, .. } = super::TOO_LONG;
        Found {
            zfile,
            message: message.into(),
            errno,
        }
    };
    if !image.stacked {
        if image.sectors > devices[0].len().div_ceil(SECTOR as u64) {
            return Err(too_long(Some(0)));
        }
        return Ok(Opened { devices, map: None });
    }
    let mut layers = Vec::new();
    let mut sizes = Vec::new();
    for device in &devices {
        let (layer, segments) = load_layer(device).map_err(|error| match error {
            // The kernel names the part that it could not read.
            Error::Block(_) => Found {
                zfile: None,
                message: unreadable(device).into(),
                errno: super::errno::EIO,
            },
            other => Found::new(None, &other),
        })?;
        sizes.push(layer.virtual_size());
        layers.push(segments);
    }
    if image.sectors > virtual_size(sizes.into_iter()).whole_sectors().get() {
        return Err(too_long(None));
    }
    let mut merged = Vec::new();
    let mut scratch = vec![Cursor::EMPTY; layers.len()];
    merge(&layers, &mut scratch, |segment| {
        merged.push(segment);
        Ok::<(), std::convert::Infallible>(())
    })
    .map_err(|error| error.to_string())
    .and_then(|()| map_of(&merged).map_err(|error| error.to_string()))
    .map(|map| Opened {
        devices,
        map: Some(map),
    })
    .map_err(|message| Found {
        zfile: None,
        message,
        errno: super::errno::EINVAL,
    })
}

fn unreadable(device: &Device<'_>) -> &'static str {
    let mut area = [0; 4096];
    if device.read_at(0, &mut area).is_err() {
        "Cannot read the layer header"
    } else if device.read_at(device.len() - 4096, &mut area).is_err() {
        "Cannot read the layer trailer"
    } else {
        "Cannot read the layer index"
    }
}

impl Opened<'_> {
    /// Reads sector by sector, and long stretches.
    fn compare(&self, expected: &Expected) -> Result<(), String> {
        let sectors = expected.bytes.len() / SECTOR;
        for len in [1, 7, 128] {
            for start in (0..sectors).step_by(len) {
                let range = start..sectors.min(start + len);
                let mut found = vec![0x5a; range.len() * SECTOR];
                match (
                    self.read(start as u64, &mut found),
                    expected.readable(&range),
                ) {
                    (Ok(()), false) => return Err(format!("sectors {range:?} read, should not")),
                    (Err(error), true) => return Err(format!("sectors {range:?}: {error}")),
                    (Err(Error::Block(_)), false) => {}
                    (Err(error), false) => {
                        return Err(format!(
                            "sectors {range:?}: {error}, should be a block's error"
                        ))
                    }
                    (Ok(()), true) => {
                        let wanted = &expected.bytes[range.start * SECTOR..range.end * SECTOR];
                        if found != wanted {
                            return Err(format!("sectors {range:?} are wrong"));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn read(&self, sector: u64, out: &mut [u8]) -> Result<(), Error> {
        let Some(map) = &self.map else {
            // The last sector is filled up with zeros.
            let device = &self.devices[0];
            let offset = sector * SECTOR as u64;
            let rest = usize::try_from(device.len() - offset).unwrap_or(usize::MAX);
            let (content, behind) = out.split_at_mut(rest.min(out.len()));
            behind.fill(0);
            return device.read_at(offset, content);
        };
        let (mut sector, mut out) = (sector, out);
        while !out.is_empty() {
            let run = map.lookup(Sector::new(sector));
            let len = usize::try_from(run.len().get()).unwrap_or(usize::MAX);
            let len = len.min(out.len() / SECTOR);
            let (now, rest) = out.split_at_mut(len * SECTOR);
            match run {
                Extent::Data { layer, source, .. } => {
                    let device = &self.devices[usize::from(layer)];
                    device.read_at(source.get() * SECTOR as u64, now)?;
                }
                Extent::Zero { .. } => now.fill(0),
            }
            sector += len as u64;
            out = rest;
        }
        Ok(())
    }
}
