// SPDX-License-Identifier: GPL-2.0

//! What the programs in `src/bin` share: reading block devices in every way that user space can,
//! and requests to device-mapper without a process for each.
//!
//! | file | what it holds |
//! |---|---|
//! | [`sys`] | system calls as safe functions; the only unsafe code |
//! | [`device`] | a block device (or file) opened for direct or buffered reads |
//! | [`content`] | what a device should hold |
//! | [`reference`](mod@reference) | the same, as a file |
//! | [`holes`] | the ranges of bytes that cannot be read |
//! | [`pattern`] | the bytes that memory holds before a read |
//! | [`judge`] | what a read may leave in memory, and how it may end |
//! | [`sweep`](mod@sweep) | reads of all of a device in order, judged |
//! | [`random`] | reads at random places and in every shape, judged |
//! | [`generated`] | generated images, read through device-mapper and judged |
//! | [`either`](mod@either) | reads of a device that changes between two contents |
//! | [`chaos`] | requests to device-mapper in random order |
//! | [`dm`] | the ioctls of device-mapper |
//! | [`verity`] | the hash tree that dm-verity reads |
//!
//! Only [`generated`] knows that there are images, and nothing is specific to the guest.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod chaos;
pub mod content;
pub mod device;
pub mod dm;
pub mod either;
#[cfg(test)]
mod fake;
pub mod generated;
pub mod holes;
pub mod judge;
pub mod pattern;
pub mod random;
pub mod reference;
pub mod sweep;
pub mod sys;
pub mod verity;

use std::path::Path;

/// Size of a sector in bytes, the unit of the block layer.
pub const SECTOR: u64 = 512;

/// What went wrong, in words for the reader of a case's output.
pub type Failure = String;

/// Puts words before an error.
pub trait Context<T> {
    /// `what` names what failed; the result is `WHAT: ERROR`.
    ///
    /// # Errors
    ///
    /// The same error, with the text.
    fn context(self, what: impl std::fmt::Display) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Context<T> for Result<T, E> {
    fn context(self, what: impl std::fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// Runs the main function of a program and ends the process: on failure with a line and status 1.
pub fn run(main: impl FnOnce() -> Result<(), Failure>) -> ! {
    std::process::exit(match main() {
        Ok(()) => 0,
        Err(failure) => {
            let program = std::env::args_os().next().unwrap_or_default();
            let name = Path::new(&program).file_name().unwrap_or_default();
            eprintln!("{}: {failure}", name.to_string_lossy());
            1
        }
    })
}

/// Runs `work` on each of `items`, all at the same time, and returns the results in their order.
pub fn in_threads<I: Send, T: Send>(
    items: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> Result<T, Failure> + Sync,
) -> Vec<Result<T, Failure>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items
            .into_iter()
            .map(|item| scope.spawn(move || work(item)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        };
        threads.into_iter().map(join).collect()
    })
}
