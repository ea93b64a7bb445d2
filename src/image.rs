// SPDX-License-Identifier: GPL-2.0

//! What the constructors of both targets do alike: read arguments, open lower devices, and refuse
//! an image for what is wrong with it.

use crate::dm::{
    errno,
    Args,
    CtrError,
    LowerDevice,
    ReadError,
    Setup, //
};
use kernel::prelude::*;
use overlaybd_format::{
    units::{
        Bytes,
        Sectors, //
    },
    ErrorKind,
    FormatError, //
};

/// A lower device and how much of it the image takes, as given in a table.
pub(crate) struct Source {
    /// The device.
    pub(crate) device: LowerDevice,
    /// The length of the image on it, from its first byte on; the device is at least as long.
    pub(crate) len: Bytes,
}

impl Source {
    /// Takes `<device> <bytes>` from the arguments.
    pub(crate) fn from_args(setup: &mut Setup<'_>, args: &mut Args<'_>) -> Result<Self, CtrError> {
        let Some(path) = args.word() else {
            return Err(setup.refuse(
                c"Missing device",
                EINVAL,
                format_args!("a device and its length in bytes are expected"),
            ));
        };
        let name = path.to_str().unwrap_or("?");
        let Some(len) = args.number().map(Bytes::new).filter(|len| len.get() > 0) else {
            return Err(setup.refuse(
                c"Invalid length in bytes",
                EINVAL,
                format_args!("the length of {name} must be a positive number of bytes"),
            ));
        };
        let device = setup.open(path)?;
        let size = device.size();
        if len > size {
            return Err(setup.refuse(
                c"Device is shorter than the given length",
                EINVAL,
                format_args!("{device} has {size} bytes, the table says {len}"),
            ));
        }
        Ok(Self { device, len })
    }

    /// Reads one structure of the image, `what` to whoever loads the table.
    pub(crate) fn area<const N: usize>(
        &self,
        setup: &Setup<'_>,
        what: &'static CStr,
        at: Bytes,
    ) -> Result<KBox<[u8; N]>, CtrError> {
        self.device
            .read_array(at)
            .map_err(|error| self.unreadable(setup, what, error))
    }

    /// Reads an index of the image, `what` to whoever loads the table, in pieces.
    pub(crate) fn index<E: FormatError>(
        &self,
        setup: &Setup<'_>,
        what: &'static CStr,
        at: Bytes,
        len: Bytes,
        consume: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), CtrError> {
        self.device
            .read(at, len, consume)
            .map_err(|error| self.unreadable(setup, what, error))
    }

    /// The refusal of a table because of what is wrong with this image.
    pub(crate) fn malformed(&self, setup: &Setup<'_>, fault: &impl FormatError) -> CtrError {
        let errno = match fault.kind() {
            ErrorKind::Malformed => EINVAL,
            ErrorKind::Unsupported => errno::unsupported(),
            ErrorKind::TooLarge => EFBIG,
        };
        setup.refuse(
            fault.message(),
            errno,
            format_args!("{}: {fault}", self.device),
        )
    }

    /// The refusal of a table because this device cannot be read.
    fn unreadable<E: FormatError>(
        &self,
        setup: &Setup<'_>,
        what: &'static CStr,
        error: ReadError<E>,
    ) -> CtrError {
        let device = &self.device;
        match error {
            ReadError::Refused(fault) => self.malformed(setup, &fault),
            ReadError::Io(errno) => setup.refuse(
                what,
                errno,
                format_args!("{device}: reading failed ({})", errno.to_errno()),
            ),
            ReadError::Outside => setup.refuse(
                what,
                EINVAL,
                format_args!("{device}: lies beyond the end of the device"),
            ),
        }
    }
}

/// Refuses a table that is longer than the image.
pub(crate) fn check_table_len(setup: &Setup<'_>, image: Sectors) -> Result<(), CtrError> {
    let table = setup.len();
    if table > image {
        return Err(setup.refuse(
            c"Table is longer than the image",
            EINVAL,
            format_args!("the table has {table} sectors, the image {image}"),
        ));
    }
    Ok(())
}
