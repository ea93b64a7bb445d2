// SPDX-License-Identifier: GPL-2.0

//! A blob in a registry, on this side of its fetcher: starts the fetcher, reads through it, and
//! gives its socket to the kernel's nbd driver.
//!
//! A fetcher ends when nothing has the other end of its socket: this process, until the blob is
//! dropped, and the kernel, as long as the device is in use. So no fetcher is ever stopped here.

use crate::error::{Error, Result, Status};
use crate::fetcher::{ask, ask_order, lives, Report, Run, Task};
use crate::module::modprobe;
use crate::parallel::lock;
use crate::registry::Blob;
use crate::run_folder::FOLDER;
use crate::sysfs::Number;
use nbd_device::client::Client;
use nbd_device::driver::{Driver, NbdDevice, Settings};
use nbd_device::protocol::READ_ONLY_FLAGS;
use overlaybd_format::units::SECTOR_SIZE;
use rustix::fs::{major, minor};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The hidden subcommand that a fetcher is.
pub(crate) const SUBCOMMAND: &str = "fetch-blob";

/// The start of the text by which the kernel shows what a network block device belongs to. The
/// name of the fetcher's folder follows.
const BACKEND: &str = "overlaybdsetup:";

/// The folder that exists as long as systemd runs.
const SYSTEMD: &str = "/run/systemd/system";

/// The longest read that is sent to a fetcher, in bytes.
const PIECE: usize = 8 << 20;

/// How long a fetcher may take until it runs.
const START: Duration = Duration::from_secs(30);

/// How long the reason of a failure is waited for. nbdkit may write it after the read has failed.
const REASON: Duration = Duration::from_millis(500);

/// How much longer than the fetcher the kernel waits for a read, in seconds. A fetcher that has not
/// answered by then was killed, or hangs.
const GRACE: u64 = 60;

/// What is the same for all blobs of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetching {
    /// The folder in which what was fetched stays, as an absolute path.
    pub cache: Option<PathBuf>,
    /// How long a read waits for the registry, in seconds.
    pub patience: u64,
    /// A record whose parts are fetched first, as an absolute path.
    pub prefetch: Option<PathBuf>,
}

/// A blob that a fetcher answers for.
#[derive(Debug)]
pub struct RemoteBlob {
    task: Task,
    client: Mutex<Client>,
}

impl RemoteBlob {
    /// Starts the fetcher of a blob. Nothing of the blob is read yet.
    ///
    /// # Errors
    ///
    /// If the process cannot be started.
    pub fn open(blob: &Blob, fetching: &Fetching) -> Result<Self> {
        let cannot = |error: io::Error| Error::io("cannot start a fetcher", &error);
        let folder = new_folder(&blob.digest).map_err(cannot)?;
        let task = Task {
            blob: blob.clone(),
            folder: folder.clone(),
            cache: fetching.cache.clone(),
            patience: fetching.patience,
            prefetch: fetching.prefetch.clone(),
        };
        let started = start(&task);
        match started {
            Ok(stream) => Ok(Self {
                task,
                client: Mutex::new(Client::without_handshake(stream)),
            }),
            Err(error) => {
                let _ = fs::remove_dir_all(&folder);
                Err(cannot(error))
            }
        }
    }

    /// Fills `buf` with the bytes of the blob from `at` on.
    ///
    /// # Errors
    ///
    /// The reason that the fetcher gives.
    pub fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        for (number, piece) in (0..).zip(buf.chunks_mut(PIECE)) {
            self.read_piece(at + number * PIECE as u64, piece)?;
        }
        Ok(())
    }

    fn read_piece(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        match lock(&self.client).read_at(at, buf) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::other(self.reason())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(io::Error::other("its fetcher has ended"))
            }
            Err(error) => Err(error),
        }
    }

    /// Why the last read has failed.
    fn reason(&self) -> String {
        let given_up = Instant::now() + REASON;
        loop {
            let said = ask(&self.task.folder).map(|report| report.last_error);
            match said {
                Some(said) if !said.is_empty() => return said,
                _ if Instant::now() > given_up => return "the registry does not answer".into(),
                _ => sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Gives the blob to the kernel as a network block device. Nothing may read it here afterwards.
    ///
    /// # Errors
    ///
    /// [`Status::Device`] if the kernel has no nbd driver; the error of the kernel.
    pub fn attach(&self) -> Result<(NbdDevice, Number)> {
        let tried = || format!("cannot make a network block device of {}", self.url());
        let cannot = |error: io::Error| Error::io(tried(), &error);
        let driver = driver()?;
        let name = self.task.folder.file_name().unwrap_or_default();
        let settings = Settings {
            size: self.size().next_multiple_of(SECTOR_SIZE),
            flags: READ_ONLY_FLAGS,
            timeout: self.task.patience + GRACE,
            backend: &format!("{BACKEND}{}", name.to_string_lossy()),
        };
        let device = driver
            .attach(lock(&self.client).stream(), settings)
            .map_err(cannot)?;
        let number = device.number().map_err(cannot)?;
        Ok((device, Number(major(number), minor(number))))
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.task.blob.url
    }

    /// Where its bytes come from, as [`Blob::source`] has it.
    #[must_use]
    pub fn source(&self) -> String {
        self.task.blob.source()
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.task.blob.digest
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.task.blob.size
    }
}

/// Starts a fetcher, and returns the other end of its socket.
///
/// Where systemd runs, the fetcher has a scope of its own, so that it does not end with the session
/// of the caller. By default, scopes end at the beginning of a shutdown. This one does not: a
/// writable device writes what it has not written yet when its file system is unmounted, and reads
/// layers for that. A systemd that cannot make a scope, in a container for example, is no reason to
/// fail.
fn start(task: &Task) -> io::Result<UnixStream> {
    let program = std::env::current_exe()?;
    if Path::new(SYSTEMD).is_dir() {
        let name = task.folder.file_name().unwrap_or_default();
        let mut command = Command::new("systemd-run");
        command
            .args(["--scope", "--quiet", "--collect"])
            .args(["--property=DefaultDependencies=no", "--unit"])
            .arg(format!("overlaybdsetup-{}", name.to_string_lossy()))
            .arg("--")
            .arg(&program);
        if let Ok(stream) = start_by(command, task) {
            return Ok(stream);
        }
    }
    start_by(Command::new(program), task)
}

/// Starts a fetcher by a command, to which the subcommand is added, and waits until it runs.
fn start_by(mut command: Command, task: &Task) -> io::Result<UnixStream> {
    let (near, far) = UnixStream::pair()?;
    let mut child = command
        .arg(SUBCOMMAND)
        .arg(serde_json::to_string(task)?)
        .stdin(Stdio::from(OwnedFd::from(far)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // The command has the other end too, until it is dropped.
    drop(command);
    let given_up = Instant::now() + START;
    while !task.report_socket().exists() {
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(task.failure());
            let text = said.unwrap_or_else(|_| format!("it has ended: {status}"));
            return Err(io::Error::other(text));
        }
        if Instant::now() > given_up {
            let _ = child.kill();
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(Duration::from_millis(2));
    }
    Ok(near)
}

/// A new folder for the sockets of a fetcher.
fn new_folder(digest: &str) -> io::Result<PathBuf> {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755).create(FOLDER)?;
    let fetchers = fetchers();
    builder.mode(0o700).create(&fetchers)?;
    let digits = digest.rsplit(':').next().unwrap_or_default();
    let folder = fetchers.join(format!(
        "{}-{}-{}",
        digits.get(..12).unwrap_or(digits),
        std::process::id(),
        STARTED.fetch_add(1, Ordering::Relaxed)
    ));
    builder.recursive(false).create(&folder)?;
    Ok(folder)
}

/// The folder with the folders of fetchers.
fn fetchers() -> PathBuf {
    Path::new(FOLDER).join("fetchers")
}

/// Removes what killed fetchers left.
pub(crate) fn sweep() {
    for entry in fs::read_dir(fetchers()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let starter = name.to_string_lossy();
        let starter = starter.split('-').nth(1).unwrap_or_default();
        // A process that still runs may be about to use it.
        if !Path::new("/proc").join(starter).exists() && !lives(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The report of the fetcher behind a network block device; [`None`] for any other device, and if
/// the fetcher does not answer.
pub(crate) fn report_of(device: Number) -> Option<Report> {
    ask(&folder_of(device)?)
}

/// Whether reads of a network block device wait or fail: its fetcher reports that the last try has
/// failed, or has ended. False for any other device.
pub(crate) fn is_failing(device: Number) -> bool {
    folder_of(device).is_some_and(|folder| match ask(&folder) {
        Some(report) => report.failing,
        None => !lives(&folder),
    })
}

/// What was read of the blob behind a network block device; [`None`] as for [`report_of`].
pub(crate) fn order_of(device: Number) -> Option<(String, Vec<Run>)> {
    ask_order(&folder_of(device)?)
}

/// The folder of the fetcher behind a network block device.
fn folder_of(device: Number) -> Option<PathBuf> {
    let backend = device.nbd_backend()?;
    let name = backend.strip_prefix(BACKEND)?;
    // Only a name: a path would lead elsewhere.
    (!name.contains('/') && !name.starts_with('.')).then(|| fetchers().join(name))
}

/// Connects to the nbd driver, and loads its module if needed.
pub(crate) fn driver() -> Result<Driver> {
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut opened = Driver::open();
    let mut said = String::new();
    if opened.as_ref().is_err_and(absent) {
        said = modprobe("nbd");
        opened = Driver::open();
    }
    opened.map_err(|error| {
        if absent(&error) {
            return Error::new(
                Status::Device,
                format!("the kernel has no nbd driver: modprobe nbd: {said}"),
            );
        }
        Error::io("cannot use the nbd driver", &error)
    })
}

/// Detaches a network block device: its reads fail.
///
/// # Errors
///
/// The error of the kernel.
pub(crate) fn detach(device: Number) -> Result<()> {
    let Some(index) = device.nbd_index() else {
        return Ok(());
    };
    let detached = driver()?.detach(index);
    detached.map_err(|error| Error::io(format!("cannot detach /dev/nbd{index}"), &error))
}
