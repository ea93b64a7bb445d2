// SPDX-License-Identifier: GPL-2.0

//! What the programs in `src/bin` share: reading block devices in every way user space can, and
//! talking to device-mapper without starting a process each time.
//!
//! | file | what it is |
//! |---|---|
//! | [`sys`] | the system calls std does not offer; the only unsafe code |
//! | [`device`] | a block device (or file) opened for direct or buffered reads |
//! | [`reference`] | what a device should hold |
//! | [`judge`] | what a read may leave in memory, and how it may end |
//! | [`reads`] | reads in order and random reads in every shape, compared with a reference |
//! | [`dm`] | device-mapper's ioctls |
//! | [`verity`] | the hash tree dm-verity wants |
//! | [`args`] | the command line |
//!
//! Nothing here knows what an OverlayBD image is, and nothing is specific to the guest.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod args;
pub mod device;
pub mod dm;
pub mod judge;
pub mod reads;
pub mod reference;
pub mod sys;
pub mod verity;

/// Size of a sector in bytes, the unit of the block layer.
pub const SECTOR: u64 = 512;

/// What goes wrong, in words for whoever reads the case's output.
pub type Failure = String;

/// Puts words in front of an error.
pub trait Context<T> {
    /// `what` names what was being done, `TEXT: error` is the result.
    ///
    /// # Errors
    ///
    /// The same as before, with the text.
    fn context(self, what: impl std::fmt::Display) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl std::fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}
