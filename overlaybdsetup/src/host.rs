// SPDX-License-Identifier: GPL-2.0

//! The kernel of this machine, for the executor: device-mapper, loop devices over the files of an
//! image, and network block devices over its blobs in a registry.
//!
//! It attaches these devices and never detaches one.

use crate::error::{Error, Result, Status};
use crate::executor::{Found, Kernel, TableLine};
use crate::image::Image;
use crate::mapper::Mapper;
use crate::payload::{Origin, Payload};
use crate::plan::{Backing, Device, Leaf};
use crate::store::Store;
use crate::sysfs::Number;
use loop_device::{LoopControl, LoopDevice, Settings};
use nbd_device::driver::NbdDevice;
use overlaybd_format::units::SECTOR_SIZE;
use rustix::fs::{fcntl_add_seals, memfd_create, MemfdFlags, SealFlags};
use std::fs::File;
use std::io::{self, Write};

/// The kernel of this machine, with the files that an image's loop devices show.
#[derive(Debug)]
pub struct Host<'a> {
    mapper: &'a Mapper,
    image: &'a Image,
    store: Option<&'a Store>,
    /// Opened when the first loop device is attached.
    loops: Option<LoopControl>,
}

impl<'a> Host<'a> {
    /// The kernel, for this image.
    #[must_use]
    pub const fn new(mapper: &'a Mapper, image: &'a Image, store: Option<&'a Store>) -> Self {
        Self {
            mapper,
            image,
            store,
            loops: None,
        }
    }

    fn attach_file(&mut self, file: &File, settings: Settings) -> io::Result<LoopDevice> {
        let control = match &self.loops {
            Some(control) => control,
            None => self.loops.insert(LoopControl::open()?),
        };
        control.attach(file, settings)
    }

    fn payload(&self, number: usize) -> Result<&'a Payload> {
        let layer = self.image.layers().get(number);
        layer
            .map(|layer| layer.content().payload())
            .ok_or_else(|| Error::refused(format!("there is no layer {number}")))
    }
}

/// A leaf that stays attached as long as it is held or in use.
#[derive(Debug)]
pub enum Held {
    /// A loop device.
    Loop(LoopDevice),
    /// A network block device.
    Nbd(NbdDevice),
}

impl Kernel for Host<'_> {
    type Held = Held;

    fn find(&mut self, name: &str) -> Result<Option<Found>> {
        self.mapper.find(name)
    }

    fn attach(&mut self, wanted: &Leaf) -> Result<(Held, Number)> {
        let tail;
        let (file, what): (&File, String) = match wanted.backing {
            Backing::Layer(number) => {
                let payload = self.payload(number)?;
                let Origin::File(file) = payload.origin() else {
                    return Err(not_of(payload));
                };
                (file, payload.path().display().to_string())
            }
            Backing::Blob(number) => {
                let payload = self.payload(number)?;
                let Origin::Blob(blob) = payload.origin() else {
                    return Err(not_of(payload));
                };
                let (device, number) = blob.attach()?;
                return Ok((Held::Nbd(device), number));
            }
            Backing::Tail(number) => {
                let payload = self.payload(number)?;
                tail = tail_of(payload)?;
                (&tail, format!("the end of {}", payload.path().display()))
            }
            Backing::Store => {
                let store = self
                    .store
                    .ok_or_else(|| Error::refused("there is no store"))?;
                (store.file(), store.path().display().to_string())
            }
        };
        let settings = Settings {
            offset: wanted.offset,
            limit: wanted.limit,
            read_only: wanted.read_only,
            direct_io: wanted.direct_io,
        };
        let tried = || format!("cannot make a loop device of {what}");
        let device = self.attach_file(file, settings).map_err(|error| {
            let error = Error::io(tried(), &error);
            match error.status() {
                Status::Device => Error::new(
                    Status::Device,
                    format!("{error}: is there the module loop?"),
                ),
                _ => error,
            }
        })?;
        let (major, minor) = device
            .number()
            .map_err(|error| Error::io(tried(), &error))?;
        Ok((Held::Loop(device), Number(major, minor)))
    }

    fn create(&mut self, device: &Device) -> Result<Number> {
        self.mapper.create(device)
    }

    fn load(&mut self, device: &Device, table: &[TableLine]) -> Result<()> {
        self.mapper.load(device, table)
    }

    fn resume(&mut self, device: &Device) -> Result<()> {
        self.mapper.resume(device)
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        self.mapper.remove(name)
    }
}

/// The error for a plan of another image.
fn not_of(payload: &Payload) -> Error {
    Error::refused(format!(
        "the plan has another kind of device for {}",
        payload.path().display()
    ))
}

/// The bytes after the last whole sector of a payload, as a sealed file in memory of one sector.
fn tail_of(payload: &Payload) -> Result<File> {
    let len = payload.len() % SECTOR_SIZE;
    let mut sector = [0; SECTOR_SIZE as usize];
    let bytes = &mut sector[..usize::try_from(len).unwrap_or_default()];
    payload.read(payload.len() - len, bytes)?;
    let cannot = |error: io::Error| Error::io("cannot make a file in memory", &error);
    let memory = memfd_create(
        "overlaybd-tail",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )
    .map_err(|errno| cannot(errno.into()))?;
    let mut file = File::from(memory);
    file.write_all(&sector).map_err(cannot)?;
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )
    .map_err(|errno| cannot(errno.into()))?;
    Ok(file)
}
