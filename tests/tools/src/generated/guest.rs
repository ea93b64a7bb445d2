// SPDX-License-Identifier: GPL-2.0

//! Generated images as devices of the guest, through `zfile_target` and `lsmt_target`.

use super::{
    compare::compare,
    refusal::{settle, Log, Refused},
};
use crate::{device::Device, dm::Dm, sys::Buffer, Context, Failure, SECTOR};
use overlaybd_image::generate::{File, Image, Refusal, Verdict};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    str::FromStr,
};

/// The most layers that an image has.
pub const MAX_LAYERS: usize = 8;

/// A file that holds one file of an image at a time, and the loop device of it: `FILE=DEVICE`.
pub struct Slot {
    file: fs::File,
    len: u64,
    device: String,
}

impl FromStr for Slot {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (path, device) = text
            .split_once('=')
            .ok_or_else(|| format!("'{text}' is not FILE=DEVICE"))?;
        let file = OpenOptions::new().write(true).open(path).context(path)?;
        let len = file.metadata().context(path)?.len();
        Ok(Self {
            file,
            len,
            device: device.into(),
        })
    }
}

impl Slot {
    /// Writes a file to the slot, and garbage after it, which a target that reads too far finds.
    fn put(&self, file: &File) -> Result<(), Failure> {
        let mut bytes = file.bytes.clone();
        bytes.resize(bytes.len() + 8192, 0xdb);
        if bytes.len() as u64 > self.len {
            return Err(format!(
                "a slot has {} bytes, a file {}",
                self.len,
                bytes.len()
            ));
        }
        self.file.write_all_at(&bytes, 0).context("slot")
    }
}

/// A thread that reads images through device-mapper.
pub struct Guest {
    dm: Dm,
    name: String,
    slots: Vec<Slot>,
    memory: Buffer,
    log: Log,
    /// The devices that exist, the oldest first.
    made: Vec<String>,
}

impl Guest {
    /// The thread of that number, which has these slots for itself.
    ///
    /// # Errors
    ///
    /// If there are fewer slots than an image may have layers, or device-mapper or the kernel log
    /// cannot be opened.
    pub fn new(thread: usize, slots: Vec<Slot>) -> Result<Self, Failure> {
        if slots.len() < MAX_LAYERS {
            return Err(format!(
                "{} slots, an image may need {MAX_LAYERS}",
                slots.len()
            ));
        }
        Ok(Self {
            dm: Dm::open()?,
            name: format!("gen{thread}"),
            slots,
            memory: Buffer::new(1 << 20, false),
            log: Log::open()?,
            made: Vec::new(),
        })
    }

    /// Reads an image and compares it with what it must hold, or checks that it is refused. What is
    /// read depends on the seed alone.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(&mut self, image: &Image, seed: u64) -> Result<(), Failure> {
        let checked = self.check_devices(image, seed);
        while let Some(name) = self.made.pop() {
            self.dm.remove(&name)?;
        }
        checked
    }

    fn check_devices(&mut self, image: &Image, seed: u64) -> Result<(), Failure> {
        let refusal = match &image.verdict {
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Reads(_) => None,
        };
        let mut args = String::new();
        let mut last = PathBuf::new();
        for (number, file) in image.files.iter().enumerate() {
            let slot = &self.slots[number];
            slot.put(file)?;
            let mut device = slot.device.clone();
            if file.offset > 0 {
                let sectors = (slot.len - file.offset) / SECTOR;
                let table = format!("0 {sectors} linear {device} {}", file.offset / SECTOR);
                device = self
                    .make(&format!("t{number}"), &table)?
                    .display()
                    .to_string();
            }
            let Some(content) = file.content_len else {
                args += &format!(" {device} {}", file.len);
                continue;
            };
            let sectors = if image.stacked {
                content.div_ceil(SECTOR)
            } else {
                image.sectors
            };
            let table = format!("0 {sectors} zfile_target {device} {}", file.len);
            let refusal = refusal.filter(|refusal| refusal.zfile == Some(number));
            match self.target(&format!("z{number}"), &table, refusal)? {
                Some(node) => last = node,
                None => return Ok(()),
            }
            args += &format!(" {} {content}", last.display());
        }
        if image.stacked {
            let table = format!("0 {} lsmt_target{args}", image.sectors);
            match self.target("s", &table, refusal)? {
                Some(node) => last = node,
                None => return Ok(()),
            }
        }
        let (direct, buffered) = (Device::open(&last, true)?, Device::open(&last, false)?);
        compare(image, &direct, &buffered, &mut self.memory, seed)
    }

    /// Creates the device of a target, unless its table must be refused: see [`settle`].
    fn target(
        &mut self,
        what: &str,
        table: &str,
        refusal: Option<&Refusal>,
    ) -> Result<Option<PathBuf>, Failure> {
        let made = self.make_or(what, table);
        settle(made, refusal, |refused, refusal| {
            self.log.find(refused, refusal)
        })
    }

    fn make(&mut self, what: &str, table: &str) -> Result<PathBuf, Failure> {
        self.make_or(what, table).map_err(|refused| refused.what)
    }

    fn make_or(&mut self, what: &str, table: &str) -> Result<PathBuf, Refused> {
        let name = format!("{}-{what}", self.name);
        let mut node = PathBuf::new();
        let made = self.dm.create(&name).and_then(|created| {
            self.made.push(name.clone());
            node = created;
            self.dm.load(&name, &[table.parse()?])?;
            self.dm.resume(&name)
        });
        match made {
            Ok(()) => Ok(node),
            Err(what) => Err(Refused { node, what }),
        }
    }
}
