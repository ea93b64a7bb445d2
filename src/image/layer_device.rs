// SPDX-License-Identifier: GPL-2.0

//! A lower device and the length of the image on it: a pair of arguments of a table line.

use super::refusal::{
    ImageError,
    Refusal, //
};
use crate::dm::{
    args::Args,
    constructor::Setup,
    device::{
        LowerDevice,
        ReadError, //
    }, //
};
use kernel::prelude::*;
use overlaybd_format::units::{
    Bytes,
    Sectors, //
};

/// A lower device that holds a ZFile or a layer.
pub(crate) struct LayerDevice {
    /// The device.
    pub(crate) device: LowerDevice,
    /// The length of the image, which starts at the first byte of the device. The device is at
    /// least as long.
    pub(crate) len: Bytes,
}

impl LayerDevice {
    /// Takes `<device> <bytes>` from the arguments.
    pub(crate) fn from_args<'a>(
        setup: &mut Setup<'_>,
        args: &mut Args<'a>,
    ) -> Result<Self, Refusal<'a>> {
        let path = args.word().ok_or(Refusal::MissingDevice)?;
        let len = args
            .number()
            .map(Bytes::new)
            .filter(|len| len.get() > 0)
            .ok_or(Refusal::InvalidLength { path })?;
        let device = setup
            .open(path)
            .map_err(|errno| Refusal::Lookup { path, errno })?;
        let size = device.size();
        if len > size {
            return Err(Refusal::ShortDevice {
                device: device.name(),
                size,
                len,
            });
        }
        Ok(Self { device, len })
    }

    /// Reads one structure of the image. `what` is the `ti->error` text on failure.
    pub(crate) fn read_struct<'a, const N: usize>(
        &self,
        what: &'static CStr,
        at: Bytes,
    ) -> Result<KBox<[u8; N]>, Refusal<'a>> {
        self.device
            .read_array(at)
            .map_err(|error| self.unreadable(what, error))
    }

    /// Reads an index of the image and calls `consume` with its bytes, in pieces. `what` is the
    /// `ti->error` text on failure.
    pub(crate) fn read_index<'a, E: Into<ImageError>>(
        &self,
        what: &'static CStr,
        at: Bytes,
        len: Bytes,
        consume: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Refusal<'a>> {
        self.device
            .read(at, len, consume)
            .map_err(|error| self.unreadable(what, error))
    }

    /// The refusal of the image on this device.
    pub(crate) fn malformed<'a>(&self, error: impl Into<ImageError>) -> Refusal<'a> {
        Refusal::Malformed {
            device: self.device.name(),
            error: error.into(),
        }
    }

    /// The refusal of a device that cannot be read.
    fn unreadable<'a, E: Into<ImageError>>(
        &self,
        what: &'static CStr,
        error: ReadError<E>,
    ) -> Refusal<'a> {
        let device = self.device.name();
        match error {
            ReadError::Refused(error) => self.malformed(error),
            ReadError::Io(errno) => Refusal::Unreadable {
                device,
                what,
                errno,
            },
            ReadError::Outside => Refusal::OutsideDevice { device, what },
        }
    }
}

/// Refuses a table that is longer than the image.
pub(crate) fn check_table_len<'a>(setup: &Setup<'_>, image: Sectors) -> Result<(), Refusal<'a>> {
    let table = setup.len();
    if table > image {
        return Err(Refusal::TableTooLong { table, image });
    }
    Ok(())
}
