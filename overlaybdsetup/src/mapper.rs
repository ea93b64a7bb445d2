// SPDX-License-Identifier: GPL-2.0

//! Device-mapper: makes, asks about and removes devices. It knows tables as text, and nothing of images.
//!
//! Where udev runs, its rules make the nodes in /dev/mapper and each change waits for them; devices below an
//! image are marked so that the rules look no further. Where it does not, the nodes are made here.

use crate::error::{Error, Result, Status};
use crate::executor::{Found, Number, TableLine};
use crate::plan::{node, Device, HIDDEN_PREFIX};
use devicemapper::{DevId, DeviceInfo, DmError, DmFlags, DmName, DmOptions, DmUuid, DM};
use rustix::fs::{makedev, mknodat, FileType, Mode, CWD};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where udev listens, if it runs.
const UDEV: &str = "/run/udev/control";

/// Device-mapper's control device, open.
pub struct Mapper {
    dm: DM,
}

impl std::fmt::Debug for Mapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mapper")
    }
}

/// What the kernel says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its uuid; empty if it has none.
    pub uuid: String,
    /// Its number.
    pub number: Number,
    /// How many have it open: processes, mounts, and devices above it.
    pub users: u32,
    /// Whether it has a table and takes I/O.
    pub live: bool,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether it is removed when its last user closes it.
    pub deferred: bool,
}

impl Mapper {
    /// Opens device-mapper's control device.
    ///
    /// # Errors
    ///
    /// If the kernel has no device-mapper, or the caller may not use it.
    pub fn open() -> Result<Self> {
        let path = Path::new("/dev/mapper/control");
        // The crate's own error has no number.
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

    /// Whether the kernel has a target at this moment.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
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
    /// If the kernel cannot be asked.
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

    /// What the kernel says of a device; [`None`] if there is no such.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub fn info(&self, name: &str) -> Result<Option<Info>> {
        self.ask(&DevId::Name(dm_name(name)?), name)
    }

    /// The same by uuid.
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
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

    /// The numbers of the devices that a device's table, or the one it is about to have, names.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
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
    /// If the kernel cannot be asked.
    pub fn table(&self, name: &str) -> Result<Vec<TableLine>> {
        self.lines(name, DmFlags::DM_STATUS_TABLE)
    }

    /// The status lines of a device's targets.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
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

    /// Looks for a device.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn find(&self, name: &str) -> Result<Option<Found>> {
        Ok(self.info(name)?.map(|info| Found {
            uuid: info.uuid,
            number: info.number,
            live: info.live,
        }))
    }

    /// Makes a device without a table.
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

    /// Gives a device its table.
    ///
    /// # Errors
    ///
    /// What the kernel says, with what it can mean.
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

    /// Lets a device work with the table it was given, and sees to its node.
    ///
    /// # Errors
    ///
    /// What the kernel says.
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

    /// Takes a device down; one that is gone already is fine.
    ///
    /// # Errors
    ///
    /// [`Status::Busy`] if it is in use.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.remove_with(name, DmFlags::empty())
    }

    /// Takes a device down when its last user closes it, which may be now.
    ///
    /// # Errors
    ///
    /// What the kernel says.
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

    /// Removes all devices below images that nobody uses. Returns how many.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked, or one cannot be removed.
    pub fn sweep(&self) -> Result<usize> {
        let mut names: Vec<String> = (self.names()?.into_iter())
            .filter(|name| name.starts_with(HIDDEN_PREFIX))
            .collect();
        let mut removed = 0;
        loop {
            let before = removed;
            let mut used = Vec::new();
            for name in names {
                match self.info(&name)? {
                    Some(info) if !info.is_ours() => {}
                    Some(info) if info.users > 0 => used.push(name),
                    Some(_) => {
                        self.remove(&name)?;
                        removed += 1;
                    }
                    None => {}
                }
            }
            // What was in use may have been by one that is gone now.
            if removed == before || used.is_empty() {
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

    /// Whether this program made it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        crate::plan::Kind::of_uuid(&self.uuid).is_some()
    }
}

fn dm_name(name: &str) -> Result<&DmName> {
    DmName::new(name).map_err(|_| Error::refused(format!("{name:?} is no name of a device")))
}

fn dm_uuid(uuid: &str) -> Result<&DmUuid> {
    DmUuid::new(uuid).map_err(|_| Error::refused(format!("{uuid:?} is no uuid of a device")))
}

/// The number of an error that the kernel returned.
fn errno(error: &DmError) -> Option<Errno> {
    match error {
        DmError::Core(devicemapper::errors::Error::Ioctl(_, _, _, errno)) => {
            Some(Errno::from_raw_os_error(**errno as i32))
        }
        _ => None,
    }
}

/// An error of device-mapper, without what the crate says of its structures.
fn failed(tried: impl std::fmt::Display, error: &DmError) -> Error {
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

/// Makes the node of a device where udev has not.
fn make_node(name: &str, number: Number) -> Result<()> {
    let path = node(name);
    match fs::metadata(&path) {
        Ok(about) if about.rdev() == makedev(number.0, number.1) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {}
        // One of a device that is gone.
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

/// Removes the node of a device that is gone, where udev does not.
fn remove_node(name: &str, gone: bool) {
    if gone && !udev_runs() {
        // It may not have had one yet.
        let _ = fs::remove_file(node(name));
    }
}
