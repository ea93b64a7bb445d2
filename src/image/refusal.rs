// SPDX-License-Identifier: GPL-2.0

//! Why a table line is refused: one variant per check, with the offending value.
//!
//! A refusal is a value: the function that finds it returns it and logs nothing. `ctr_callback`
//! (`src/dm/callbacks.rs`) logs it once and hands its text to device-mapper.

use crate::{
    dm::{
        device::DeviceName,
        target::Refuse, //
    },
    sys::errno,
};
use core::{
    convert::Infallible,
    fmt, //
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};
use overlaybd_format::{
    lsmt,
    units::{
        Bytes,
        Sector,
        Sectors, //
    },
    zfile,
    ErrorKind,
    FormatError, //
};

/// Why a table line whose words live for `'a` is refused.
pub(crate) enum Refusal<'a> {
    /// A small allocation failed.
    OutOfMemory,
    /// The line does not have the arguments that `expected` names.
    ArgumentCount {
        /// The number of arguments.
        count: usize,
        /// What the target takes.
        expected: &'static str,
    },
    /// There are more layers than a stack may have.
    TooManyLayers {
        /// The number of layers.
        count: usize,
    },
    /// A device is missing in the line.
    MissingDevice,
    /// The length of the image on a device is no positive number.
    InvalidLength {
        /// The device, as in the table.
        path: &'a CStr,
    },
    /// A device cannot be opened.
    Lookup {
        /// The device, as in the table.
        path: &'a CStr,
        /// Why.
        errno: Error,
    },
    /// A device is shorter than the image on it.
    ShortDevice {
        /// The device.
        device: DeviceName,
        /// Its length.
        size: Bytes,
        /// The length of the image, from the table.
        len: Bytes,
    },
    /// A device failed a read, or there was no memory to read into.
    Unreadable {
        /// The device.
        device: DeviceName,
        /// The text for `ti->error`.
        what: &'static CStr,
        /// Why.
        errno: Error,
    },
    /// A structure of the image lies beyond the end of the device.
    OutsideDevice {
        /// The device.
        device: DeviceName,
        /// The text for `ti->error`.
        what: &'static CStr,
    },
    /// The image on a device fails a check of its format.
    Malformed {
        /// The device.
        device: DeviceName,
        /// The check.
        error: ImageError,
    },
    /// The table is longer than the image.
    TableTooLong {
        /// The length of the table line.
        table: Sectors,
        /// The length of the image.
        image: Sectors,
    },
    /// The layers cannot be merged.
    Merge(lsmt::MergeError<lsmt::MapError>),
    /// A segment does not fit the logical blocks of the devices.
    Misaligned {
        /// Where the segment starts.
        start: Sector,
        /// The largest logical block, in bytes.
        block: u64,
    },
    /// An index takes more than `max_index_mib`.
    MaxIndex {
        /// The memory for the index.
        bytes: u64,
        /// The limit.
        mib: u32,
    },
    /// An index takes more than `max_total_index_mib` leaves.
    MaxTotalIndex {
        /// The memory for the index.
        bytes: u64,
        /// The memory of all other indexes.
        others: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is no memory for an index.
    IndexMemory {
        /// The memory for the index.
        bytes: u64,
    },
    /// The image is compressed with ZSTD, which this kernel does not have.
    NoZstd {
        /// The device.
        device: DeviceName,
    },
    /// There is no memory for ZSTD.
    ZstdMemory {
        /// The device.
        device: DeviceName,
        /// Why.
        errno: Error,
    },
    /// There is no memory for the buffers of a device.
    BufferMemory {
        /// The device.
        device: DeviceName,
        /// Why.
        errno: Error,
    },
}

/// A check of a format that an image has failed.
pub(crate) enum ImageError {
    /// Of a ZFile.
    Zfile(zfile::OpenError),
    /// Of a layer.
    Lsmt(lsmt::OpenError),
}

impl ImageError {
    fn as_format_error(&self) -> &dyn FormatError {
        match self {
            Self::Zfile(error) => error,
            Self::Lsmt(error) => error,
        }
    }
}

impl From<zfile::OpenError> for ImageError {
    fn from(error: zfile::OpenError) -> Self {
        Self::Zfile(error)
    }
}

impl From<lsmt::OpenError> for ImageError {
    fn from(error: lsmt::OpenError) -> Self {
        Self::Lsmt(error)
    }
}

impl From<Infallible> for ImageError {
    fn from(error: Infallible) -> Self {
        match error {}
    }
}

impl From<AllocError> for Refusal<'_> {
    fn from(_: AllocError) -> Self {
        Self::OutOfMemory
    }
}

impl Refuse for Refusal<'_> {
    fn message(&self) -> &'static CStr {
        match self {
            Self::OutOfMemory => c"Out of memory",
            Self::ArgumentCount { .. } => c"Invalid argument count",
            Self::TooManyLayers { .. } => c"Too many layers",
            Self::MissingDevice => c"Missing device",
            Self::InvalidLength { .. } => c"Invalid length in bytes",
            Self::Lookup { .. } => c"Device lookup failed",
            Self::ShortDevice { .. } => c"Device is shorter than the given length",
            Self::Unreadable { what, .. } | Self::OutsideDevice { what, .. } => what,
            Self::Malformed { error, .. } => error.as_format_error().message(),
            Self::TableTooLong { .. } => c"Table is longer than the image",
            Self::Merge(_) => c"Layers cannot be merged",
            Self::Misaligned { .. } => c"Segments are not aligned to the device's logical blocks",
            Self::MaxIndex { .. } => c"Index is larger than max_index_mib",
            Self::MaxTotalIndex { .. } => c"Indexes are larger than max_total_index_mib",
            Self::IndexMemory { .. } => c"Cannot allocate the index",
            Self::NoZstd { .. } => c"ZFile: this kernel has no ZSTD",
            Self::ZstdMemory { .. } => c"Cannot allocate ZSTD workspaces",
            Self::BufferMemory { .. } => c"Cannot allocate buffers",
        }
    }

    fn errno(&self) -> Error {
        match self {
            Self::OutOfMemory | Self::MaxTotalIndex { .. } | Self::IndexMemory { .. } => ENOMEM,
            Self::Lookup { errno, .. }
            | Self::Unreadable { errno, .. }
            | Self::ZstdMemory { errno, .. }
            | Self::BufferMemory { errno, .. } => *errno,
            Self::Malformed { error, .. } => match error.as_format_error().kind() {
                ErrorKind::Malformed => EINVAL,
                ErrorKind::Unsupported => errno::unsupported(),
                ErrorKind::TooLarge => EFBIG,
            },
            Self::MaxIndex { .. } => EFBIG,
            Self::NoZstd { .. } => errno::unsupported(),
            Self::ArgumentCount { .. }
            | Self::TooManyLayers { .. }
            | Self::MissingDevice
            | Self::InvalidLength { .. }
            | Self::ShortDevice { .. }
            | Self::OutsideDevice { .. }
            | Self::TableTooLong { .. }
            | Self::Merge(_)
            | Self::Misaligned { .. } => EINVAL,
        }
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::ArgumentCount { count, expected } => {
                write!(f, "{count} arguments instead of {expected}")
            }
            Self::TooManyLayers { count } => {
                write!(f, "{count} layers, there may be {}", lsmt::MAX_LAYERS)
            }
            Self::MissingDevice => f.write_str("a device and its length in bytes are expected"),
            Self::InvalidLength { path } => write!(
                f,
                "the length of {} must be a positive number of bytes",
                text(path)
            ),
            Self::Lookup { path, .. } => write!(f, "cannot open {}", text(path)),
            Self::ShortDevice { device, size, len } => {
                write!(f, "{device} has {size} bytes, the table says {len}")
            }
            Self::Unreadable { device, errno, .. } => {
                write!(f, "{device}: reading failed ({})", errno.to_errno())
            }
            Self::OutsideDevice { device, .. } => {
                write!(f, "{device}: lies beyond the end of the device")
            }
            Self::Malformed { device, error } => {
                write!(f, "{device}: {}", error.as_format_error())
            }
            Self::TableTooLong { table, image } => {
                write!(f, "the table has {table} sectors, the image {image}")
            }
            Self::Merge(error) => write!(f, "merging the layers failed: {error}"),
            Self::Misaligned { start, block } => write!(
                f,
                "the segment at sector {start} does not fit logical blocks of {block} bytes"
            ),
            Self::MaxIndex { bytes, mib } => {
                write!(f, "the index takes {bytes} bytes, max_index_mib is {mib}")
            }
            Self::MaxTotalIndex {
                bytes,
                others,
                limit,
            } => write!(
                f,
                "the index takes {bytes} bytes, other indexes {others}, together they may take \
                 {limit}"
            ),
            Self::IndexMemory { bytes } => write!(f, "no memory for an index of {bytes} bytes"),
            Self::NoZstd { device } => write!(f, "{device}: compressed with ZSTD"),
            Self::ZstdMemory { device, .. } => {
                write!(f, "{device}: no memory for ZSTD workspaces")
            }
            Self::BufferMemory { device, .. } => write!(f, "{device}: no memory for buffers"),
        }
    }
}

/// A word of the table, for the log.
fn text(path: &CStr) -> &str {
    path.to_str().unwrap_or("?")
}
