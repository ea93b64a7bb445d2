// SPDX-License-Identifier: GPL-2.0

//! The fetcher of a blob: a process that answers the reads of a layer from its registry.
//!
//! `open` starts one for each layer that is in a registry, with one end of a socket pair as its
//! standard input. The other end first serves the checks of `open`, then the kernel's nbd driver.
//!
//! ```text
//! the kernel's nbd driver
//!  |   requests of the NBD protocol, on the socket pair
//! server     queues them, and answers them on several threads
//!  |
//! parts      keeps what was fetched in a file, in parts of 128 KiB    prefetch, record
//!  |
//! nbdkit     tries again as long as a read may wait
//!  |   the NBD protocol, on a Unix socket
//! the program nbdkit, whose curl plugin reads ranges of the blob over HTTP
//! ```
//!
//! nbdkit by itself forgets what it fetched when it ends, and cannot bound how long a read waits.
//! The process ends when the kernel closes the socket, which it does when the last device above is
//! removed, and nbdkit ends with it. So nothing has to stop it, and it outlives nothing.
//!
//! Processes that wait for a read free no memory, so the out-of-memory killer takes others first.
//! The process does not lock its memory, which would be the stacks of all threads, in two processes
//! for each layer: its devices are read-only, so the kernel drops what it has of them without a
//! write, and no allocation waits for this process. Only a writable device above reads to write, if
//! that is less than a chunk; the kernel limits what waits to be written, and other memory is left
//! to reclaim. But the programs, their libraries and the cache must not be on a device that they
//! serve.
//!
//! It knows nothing of images and of device-mapper. It never writes to the registry.

mod nbdkit;
mod oom;
mod parts;
mod prefetch;
mod record;
mod report;
mod server;
mod task;

pub use parts::Run;
pub use record::Record;
pub use report::{ask, ask_order, lives, Report};
pub use task::Task;

use crate::error::{Error, Result};
use nbdkit::Nbdkit;
use parts::Parts;
use report::Counters;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Answers the requests on standard input until its other end is closed.
///
/// # Errors
///
/// What keeps the process from starting.
pub fn run(task: &str) -> Result<()> {
    let task: Task = serde_json::from_str(task)
        .map_err(|error| Error::refused(format!("the task of a fetcher: {error}")))?;
    end_where_a_thread_panics();
    // Before nbdkit starts, which inherits it.
    oom::spare();
    // The process must outlive the terminal, and must not keep a file system from being unmounted.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    let done = serve(&task);
    match &done {
        Ok(()) => {
            let _ = fs::remove_dir_all(&task.folder);
        }
        // `open` reads it, and removes the folder.
        Err(error) => {
            let _ = fs::write(task.failure(), error.to_string());
        }
    }
    done
}

/// A thread that panics would leave reads without an answer. The end of the process fails them.
fn end_where_a_thread_panics() {
    panic::set_hook(Box::new(|_| process::abort()));
}

fn serve(task: &Task) -> Result<()> {
    let cannot = |error: io::Error| Error::io("cannot start the fetcher", &error);
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?;
    let counters = Arc::new(Counters::default());
    let parts = Parts::open(&task.blob, task.cache.as_deref())
        .map_err(|error| Error::io("cannot keep what is fetched", &error))?;
    let parts = Arc::new(parts);
    let nbdkit = Arc::new(Nbdkit::new(task, Arc::clone(&counters)));
    report::publish(task, &counters, &parts).map_err(cannot)?;
    let server = {
        let (nbdkit, parts) = (Arc::clone(&nbdkit), Arc::clone(&parts));
        let task = task.clone();
        thread::Builder::new().spawn(move || {
            let socket = UnixStream::from(socket);
            server::serve(&socket, &task, &parts, &*nbdkit, &counters)
        })
    };
    let server = server.map_err(cannot)?;
    if let Some(path) = &task.prefetch {
        // `open` has read it before.
        let runs = Record::read(path).map(|record| record.of(&task.blob.digest));
        let patience = Duration::from_secs(task.patience);
        prefetch::start(runs.unwrap_or_default(), patience, &parts, &nbdkit);
    }
    // nbdkit ends with the thread that started it, so the main thread does.
    nbdkit.keep_running();
    match server.join() {
        Ok(done) => done.map_err(cannot),
        // The process ends where a thread panics.
        Err(_) => process::abort(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{setrlimit, Resource, Rlimit, Signal};
    use std::env;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// The variable that tells this program that it is the child.
    const CHILD: &str = "OVERLAYBDSETUP_CHILD_PANICS";

    #[test]
    fn a_thread_that_panics_ends_the_process() {
        if env::var_os(CHILD).is_some() {
            let none = Rlimit {
                current: Some(0),
                maximum: Some(0),
            };
            // No core file.
            setrlimit(Resource::Core, none).unwrap();
            end_where_a_thread_panics();
            let _ = thread::spawn(|| panic!("told to panic")).join();
            return;
        }
        let test = "fetcher::tests::a_thread_that_panics_ends_the_process";
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", test])
            .env(CHILD, "yes")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    }
}
