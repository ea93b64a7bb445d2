// SPDX-License-Identifier: GPL-2.0

//! Why a command failed: one line for a person, and an exit status for a script.
//!
//! The exit statuses are those of `veritysetup`, so that a script can call either program.

use rustix::io::Errno;
use std::fmt;
use std::io;

/// The exit status of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Refused: a wrong argument, or something wrong with the image (1).
    Refused,
    /// Not permitted (2).
    Permission,
    /// Out of memory (3).
    Memory,
    /// No such file or device, or one of the wrong kind (4).
    Device,
    /// The device exists already, or is in use (5).
    Busy,
    /// Ended by the signal of this number; all devices are removed (128 + number).
    Signal(u8),
}

impl Status {
    /// The exit status as a number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Permission => 2,
            Self::Memory => 3,
            Self::Device => 4,
            Self::Busy => 5,
            Self::Signal(number) => 128u8.saturating_add(number),
        }
    }

    /// The exit status for a failed system call.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::PERM | Errno::ACCESS) => Self::Permission,
            Some(Errno::NOMEM) => Self::Memory,
            Some(Errno::NOENT | Errno::NODEV | Errno::NOTBLK | Errno::NXIO) => Self::Device,
            Some(Errno::EXIST | Errno::BUSY) => Self::Busy,
            _ => Self::Refused,
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    status: Status,
    text: String,
}

/// The result of most functions of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this exit status.
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// An error with [`Status::Refused`].
    pub fn refused(text: impl Into<String>) -> Self {
        Self::new(Status::Refused, text)
    }

    /// A failed system call, with what was tried: "cannot read /x: No such file or directory".
    pub fn io(tried: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(Status::of_io(error), format!("{tried}: {}", plain(error)))
    }

    /// The same error, prefixed with the file or layer that it is about.
    #[must_use]
    pub fn within(self, place: impl fmt::Display) -> Self {
        Self {
            text: format!("{place}: {}", self.text),
            ..self
        }
    }

    /// The same error with another exit status.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// Its exit status.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }
}

/// Whether an error means that there is no such file. A file without permission is not absent.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The text of a failed system call, without the number that the standard library adds.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_call_is_told_without_its_number() {
        let error = io::Error::from_raw_os_error(2);
        let error = Error::io("cannot read /x", &error).within("layer 3");
        assert_eq!(
            error.to_string(),
            "layer 3: cannot read /x: No such file or directory"
        );
        assert_eq!(error.status(), Status::Device);
        assert_eq!(error.status().code(), 4);
        assert_eq!(Status::Signal(15).code(), 143);
    }
}
