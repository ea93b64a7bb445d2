// SPDX-License-Identifier: GPL-2.0

//! `open`: checks an image, creates its devices and mounts it, or leaves no trace.

use crate::blob::sweep;
use crate::cli;
use crate::error::{Error, Result, Status};
use crate::executor::{make, Watch};
use crate::host::Host;
use crate::image::Image;
use crate::mapper::Mapper;
use crate::module;
use crate::mounts::{check_folder, mount_device, unmount_folder};
use crate::plan::{check_name, node, plan, Device, ImageShape, Wish};
use crate::run_folder::{Record, RunFolder};
use crate::signals::{Guard, Signals};
use crate::source;
use crate::store::{Store, Wanted};
use std::path::{Path, PathBuf};

/// Opens an image and returns the path of its device.
///
/// # Errors
///
/// The step that failed. No device, loop device or mount is left then.
pub fn run(arguments: &cli::Open) -> Result<PathBuf> {
    check_name(&arguments.name)?;
    let folder = arguments.mount.as_deref().map(check_folder).transpose()?;
    let wanted = arguments
        .writable
        .as_deref()
        .map(Wanted::parse)
        .transpose()?;
    let files = source::layers(&arguments.image, Some(&arguments.remote))?;
    let image = Image::open(&files)?;
    let fingerprint = match wanted {
        Some(_) => image.fingerprint()?,
        None => String::new(),
    };

    let mapper = Mapper::open()?;
    module::load(&mapper)?;
    let signals = Signals::catch()?;
    let lock = RunFolder::lock(&signals)?;
    sweep();
    // Checked before a store is created, or a mount recorded, under this name.
    if mapper.info(&arguments.name)?.is_some() {
        return Err(Error::new(
            Status::Busy,
            format!("there is a device {} already", arguments.name),
        ));
    }
    let store = wanted
        .map(|wanted| Store::open(&wanted, &fingerprint, image.virtual_size()))
        .transpose()?;
    let opening = Opening {
        mapper: &mapper,
        lock: &lock,
        image: &image,
        store: store.as_ref(),
        folder: folder.as_deref(),
    };
    let done = opening.devices(arguments, &mut Guard::new(signals.clone()));
    if done.is_err() {
        if let Some(store) = &store {
            store.discard();
        }
    }
    match done {
        Ok(()) => Ok(node(&arguments.name)),
        // A system call that a signal interrupted fails with its own status.
        Err(error) => Err(match signals.check() {
            Ok(()) => error,
            Err(signal) => error.with_status(signal.status()),
        }),
    }
}

/// An image whose devices are about to be created, and all that is known about it.
struct Opening<'a> {
    mapper: &'a Mapper,
    lock: &'a RunFolder,
    image: &'a Image,
    store: Option<&'a Store>,
    folder: Option<&'a Path>,
}

impl Opening<'_> {
    fn devices(&self, arguments: &cli::Open, watch: &mut Guard) -> Result<()> {
        let wish = Wish {
            name: arguments.name.clone(),
            direct_io: !arguments.buffered,
            share: !arguments.no_share,
            store: self.store.map(Store::shape).transpose()?,
        };
        let device = plan(&ImageShape::of(self.image)?, &wish);
        if let (Some(store), Some(user)) = (&wish.store, self.mapper.info_of_uuid(&device.uuid)?) {
            return Err(Error::new(
                Status::Busy,
                format!(
                    "{} is the exception store of {} already",
                    store.path.display(),
                    user.name
                ),
            ));
        }
        let mut host = Host::new(self.mapper, self.image, self.store);
        if let Some(folder) = self.folder {
            let mount = folder.to_path_buf();
            self.lock.write(&device.name, &Record { mount })?;
        }
        let done = self.make(&mut host, &device, watch);
        if done.is_err() && self.folder.is_some() {
            self.lock.forget(&device.name);
        }
        done
    }

    fn make(&self, host: &mut Host<'_>, device: &Device, watch: &mut Guard) -> Result<()> {
        let made = make(host, device, watch)?;
        let Some(folder) = self.folder else {
            return Ok(());
        };
        let path = node(&device.name);
        if let Err(error) = mount_device(&path, folder, device.read_only) {
            return Err(made.undo(host, error));
        }
        if let Err(error) = watch.step("the device mounted") {
            // Lazily: udev or a shell may have it open.
            return Err(match unmount_folder(folder, true) {
                Ok(()) => made.undo(host, error),
                Err(still) => still,
            });
        }
        Ok(())
    }
}
