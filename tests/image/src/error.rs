// SPDX-License-Identifier: GPL-2.0

//! Why a file or an image cannot be read.

use overlaybd_format::{lsmt, zfile};
use std::fmt;
use std::io;

/// Why a file or an image cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    Io(io::Error),
    /// A ZFile does not open.
    Zfile(zfile::OpenError),
    /// A block of a ZFile cannot be read.
    Block(zfile::BlockError),
    /// A layer does not open.
    Layer(lsmt::OpenError),
    /// Layers cannot be merged.
    Merge(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Zfile(error) => error.fmt(f),
            Self::Block(error) => error.fmt(f),
            Self::Layer(error) => error.fmt(f),
            Self::Merge(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<zfile::OpenError> for Error {
    fn from(error: zfile::OpenError) -> Self {
        Self::Zfile(error)
    }
}

impl From<zfile::BlockError> for Error {
    fn from(error: zfile::BlockError) -> Self {
        Self::Block(error)
    }
}

impl From<lsmt::OpenError> for Error {
    fn from(error: lsmt::OpenError) -> Self {
        Self::Layer(error)
    }
}
