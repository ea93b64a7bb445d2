// SPDX-License-Identifier: GPL-2.0

//! Device-mapper: creates, queries and removes devices. It handles tables as text, and knows
//! nothing of images.
//!
//! Where udev runs, its rules create the nodes in /dev/mapper, and each change waits for them.
//! Devices below an image are marked, so that the rules create the node and nothing else. Where
//! udev does not run, this module creates the nodes.

use crate::error::{Error, Result, Status};
use crate::executor::{Found, TableLine};
use crate::parallel::in_parallel_waits;
use crate::plan::{node, Device, Kind, HIDDEN_PREFIX};
use crate::sysfs::Number;
use devicemapper::{DevId, DeviceInfo, DmError, DmFlags, DmName, DmOptions, DmUuid, DM};
use rustix::fs::{makedev, mknodat, FileType, Mode, CWD};
use rustix::io::Errno;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The socket of udev, which exists as long as udev runs.
const UDEV: &str = "/run/udev/control";

/// The control device of device-mapper, open.
pub struct Mapper {
    dm: DM,
}

impl fmt::Debug for Mapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mapper")
    }
}

/// The state of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its uuid; empty if it has none.
    pub uuid: String,
    /// Its number.
    pub number: Number,
    /// The number of its users: processes, mounts, and devices above it.
    pub users: u32,
    /// Whether it has a table and takes I/O.
    pub live: bool,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether it is removed when its last user closes it.
    pub deferred: bool,
}

impl Mapper {
    /// Opens the control device of device-mapper.
    ///
    /// # Errors
    ///
    /// If the kernel has no device-mapper, or the caller may not use it.
    pub fn open() -> Result<Self> {
        let path = Path::new("/dev/mapper/control");
        // Opened once by itself: the error of `DM::new` has no errno.
        fs::File::open(path).map_err(|error| match Status::of_io(&error) {
            Status::Permission => Error::io(format!("cannot open {}", path.display()), &error),
            _ => Error::new(
                Status::Device,
                format!(
                    "cannot open {}: {error}: there is no device-mapper; try: modprobe dm-mod",
                    path.display()
                ),
            ),
        })?;
        let dm = DM::new().map_err(|error| failed("open device-mapper", &error))?;
        Ok(Self { dm })
    }

    /// Whether the kernel has a target now.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    pub fn has_target(&self, target: &str) -> Result<bool> {
        let targets = self
            .dm
            .list_versions()
            .map_err(|error| failed("list the targets", &error))?;
        Ok(targets.iter().any(|(name, ..)| name == target))
    }

    /// The names of all devices.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    pub fn names(&self) -> Result<Vec<String>> {
        let devices = self
            .dm
            .list_devices()
            .map_err(|error| failed("list the devices", &error))?;
        Ok(devices
            .into_iter()
            .map(|(name, ..)| name.as_ref().to_string())
            .collect())
    }

    /// The state of the device with this name; [`None`] if there is none.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    pub fn info(&self, name: &str) -> Result<Option<Info>> {
        self.ask(&DevId::Name(dm_name(name)?), name)
    }

    /// The state of the device with this uuid; [`None`] if there is none.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    pub fn info_of_uuid(&self, uuid: &str) -> Result<Option<Info>> {
        self.ask(&DevId::Uuid(dm_uuid(uuid)?), uuid)
    }

    fn ask(&self, id: &DevId<'_>, what: &str) -> Result<Option<Info>> {
        match self.dm.device_info(id) {
            Ok(info) => Ok(Some(Info::of(&info))),
            Err(error) if errno(&error) == Some(Errno::NXIO) => Ok(None),
            Err(error) => Err(failed(format!("ask about {what}"), &error)),
        }
    }

    /// The numbers of the devices that a device's live table refers to.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    pub fn below(&self, name: &str) -> Result<Vec<Number>> {
        let devices = self
            .dm
            .table_deps(&DevId::Name(dm_name(name)?), DmOptions::default())
            .map_err(|error| failed(format!("ask what is below {name}"), &error))?;
        Ok(devices
            .into_iter()
            .map(|device| Number(device.major, device.minor))
            .collect())
    }

    /// A device's table.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    pub fn table(&self, name: &str) -> Result<Vec<TableLine>> {
        self.lines(name, DmFlags::DM_STATUS_TABLE)
    }

    /// The status lines of a device's targets.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    pub fn status(&self, name: &str) -> Result<Vec<TableLine>> {
        self.lines(name, DmFlags::DM_NOFLUSH)
    }

    fn lines(&self, name: &str, flags: DmFlags) -> Result<Vec<TableLine>> {
        let options = DmOptions::default().set_flags(flags);
        self.dm
            .table_status(&DevId::Name(dm_name(name)?), options)
            .map(|(_, lines)| lines)
            .map_err(|error| failed(format!("ask for the status of {name}"), &error))
    }

    /// Looks for a device by its name.
    ///
    /// # Errors
    ///
    /// If the request to the kernel fails.
    pub fn find(&self, name: &str) -> Result<Option<Found>> {
        Ok(self.info(name)?.map(|info| Found {
            uuid: info.uuid,
            number: info.number,
            live: info.live,
        }))
    }

    /// Creates a device without a table.
    ///
    /// # Errors
    ///
    /// [`Status::Busy`] if the name or the uuid is taken.
    pub fn create(&self, device: &Device) -> Result<Number> {
        let mut options = DmOptions::default();
        if device.read_only {
            options = options.set_flags(DmFlags::DM_READONLY);
        }
        self.dm
            .device_create(
                dm_name(&device.name)?,
                Some(dm_uuid(&device.uuid)?),
                options,
            )
            .map(|info| Info::of(&info).number)
            .map_err(|error| failed(format!("create the device {}", device.name), &error))
    }

    /// Loads the table of a device.
    ///
    /// # Errors
    ///
    /// The error of the kernel, with a hint at the cause.
    pub fn load(&self, device: &Device, table: &[TableLine]) -> Result<()> {
        let mut options = DmOptions::default();
        if device.read_only {
            options = options.set_flags(DmFlags::DM_READONLY);
        }
        let id = DevId::Name(dm_name(&device.name)?);
        match self.dm.table_load(&id, table, options) {
            Ok(_) => Ok(()),
            Err(error) => {
                let target = table.first().map_or("", |line| line.2.as_str());
                let hint = match errno(&error) {
                    Some(Errno::FBIG) => {
                        "the index takes more memory than one target may have: see the parameter \
                         max_index_mib of dm_overlaybd"
                    }
                    Some(Errno::NOMEM) => {
                        "there is not the memory for the index: see the parameter \
                         max_total_index_mib of dm_overlaybd"
                    }
                    _ => "the kernel log says why: dmesg | tail",
                };
                let error = failed(
                    format!("load the table of {} ({target})", device.name),
                    &error,
                );
                Err(Error::new(error.status(), format!("{error}: {hint}")))
            }
        }
    }

    /// Resumes a device with the loaded table, and creates its node where udev does not.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn resume(&self, device: &Device) -> Result<()> {
        let id = DevId::Name(dm_name(&device.name)?);
        let options = if device.kind.is_named() {
            DmOptions::default()
        } else {
            DmOptions::private()
        };
        let info = self
            .dm
            .device_suspend(&id, options)
            .map_err(|error| failed(format!("start the device {}", device.name), &error))?;
        make_node(&device.name, Info::of(&info).number)
    }

    /// Removes a device. A device that does not exist is no error.
    ///
    /// # Errors
    ///
    /// [`Status::Busy`] if it is in use.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.remove_with(name, DmFlags::empty())
    }

    /// Removes a device when its last user closes it, or now if it has none.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn remove_deferred(&self, name: &str) -> Result<()> {
        self.remove_with(name, DmFlags::DM_DEFERRED_REMOVE)
    }

    fn remove_with(&self, name: &str, flags: DmFlags) -> Result<()> {
        let options = DmOptions::default().set_flags(flags);
        match self.dm.device_remove(&DevId::Name(dm_name(name)?), options) {
            Ok(_) => {}
            Err(error) if errno(&error) == Some(Errno::NXIO) => {}
            Err(error) => return Err(failed(format!("remove the device {name}"), &error)),
        }
        remove_node(name, self.info(name)?.is_none());
        Ok(())
    }

    /// Removes all devices below images that have no user. Returns how many.
    ///
    /// # Errors
    ///
    /// If a request to the kernel fails.
    pub fn sweep(&self) -> Result<usize> {
        self.sweep_among(self.names()?)
    }

    /// Removes those of these devices that are below images and have no user, or have none after
    /// others of them are removed. Returns how many.
    ///
    /// # Errors
    ///
    /// If a request to the kernel fails.
    pub fn sweep_among(&self, mut names: Vec<String>) -> Result<usize> {
        names.retain(|name| name.starts_with(HIDDEN_PREFIX));
        let mut removed = 0;
        loop {
            let (mut used, mut unused) = (Vec::new(), Vec::new());
            for name in names {
                match self.info(&name)? {
                    Some(info) if !info.is_ours() => {}
                    Some(info) if info.users > 0 => used.push(name),
                    Some(_) => unused.push(name),
                    None => {}
                }
            }
            // The kernel waits in each removal until no processor looks at the device.
            in_parallel_waits(unused.len(), |number| self.remove(&unused[number]))
                .into_iter()
                .collect::<Result<()>>()?;
            removed += unused.len();
            // A removed device may have been the last user of another one.
            if unused.is_empty() || used.is_empty() {
                return Ok(removed);
            }
            names = used;
        }
    }
}

impl Info {
    fn of(info: &DeviceInfo) -> Self {
        let device = info.device();
        let flags = info.flags();
        Self {
            name: info.name().map(|name| name.to_string()).unwrap_or_default(),
            uuid: info.uuid().map(|uuid| uuid.to_string()).unwrap_or_default(),
            number: Number(device.major, device.minor),
            users: u32::try_from(info.open_count()).unwrap_or(0),
            live: flags.contains(DmFlags::DM_ACTIVE_PRESENT)
                && !flags.contains(DmFlags::DM_SUSPEND),
            read_only: flags.contains(DmFlags::DM_READONLY),
            deferred: flags.contains(DmFlags::DM_DEFERRED_REMOVE),
        }
    }

    /// Whether this program created it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        Kind::of_uuid(&self.uuid).is_some()
    }
}

fn dm_name(name: &str) -> Result<&DmName> {
    DmName::new(name).map_err(|_| Error::refused(format!("{name:?} is no name of a device")))
}

fn dm_uuid(uuid: &str) -> Result<&DmUuid> {
    DmUuid::new(uuid).map_err(|_| Error::refused(format!("{uuid:?} is no uuid of a device")))
}

/// The errno of an error that the kernel returned.
fn errno(error: &DmError) -> Option<Errno> {
    match error {
        DmError::Core(devicemapper::errors::Error::Ioctl(_, _, _, errno)) => {
            Some(Errno::from_raw_os_error(**errno as i32))
        }
        _ => None,
    }
}

/// A failed request to device-mapper, without the structures that the crate prints.
fn failed(tried: impl fmt::Display, error: &DmError) -> Error {
    let tried = format!("cannot {tried}");
    match errno(error) {
        Some(errno) => Error::io(tried, &io::Error::from(errno)),
        None => Error::refused(format!("{tried}: {error}")),
    }
}

/// Whether udev runs.
#[must_use]
pub fn udev_runs() -> bool {
    Path::new(UDEV).exists()
}

/// Creates the node of a device, unless udev has.
fn make_node(name: &str, number: Number) -> Result<()> {
    let path = node(name);
    match fs::metadata(&path) {
        Ok(about) if about.rdev() == makedev(number.0, number.1) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {}
        // The node of a removed device.
        _ => {
            let _ = fs::remove_file(&path);
        }
    }
    mknodat(
        CWD,
        &path,
        FileType::BlockDevice,
        Mode::RUSR | Mode::WUSR,
        makedev(number.0, number.1),
    )
    .map_err(|errno| Error::io(format!("cannot make {}", path.display()), &errno.into()))
}

/// Removes the node of a removed device where udev does not run.
fn remove_node(name: &str, gone: bool) {
    if gone && !udev_runs() {
        // The device may have had no node yet.
        let _ = fs::remove_file(node(name));
    }
}
