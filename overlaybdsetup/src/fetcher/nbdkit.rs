// SPDX-License-Identifier: GPL-2.0

//! The child process nbdkit, whose curl plugin reads a blob over HTTP: starts it, keeps it running,
//! and reads through connections to it.
//!
//! A read that fails is tried again until its deadline, but not before the first one that succeeds:
//! what is wrong from the beginning is an error of `open`. It keeps no byte that it read.

use super::parts::Fetch;
use super::report::Counters;
use super::task::Task;
use crate::parallel::lock;
use nbd_device::client::Client;
use rustix::process::{kill_process, Pid, Signal};
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The first pause between two tries. Each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two tries.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// How long nbdkit may take until it listens.
const START: Duration = Duration::from_secs(20);

/// The pause before nbdkit is started again.
const AGAIN: Duration = Duration::from_secs(1);

/// A blob behind nbdkit.
#[derive(Debug)]
pub(super) struct Nbdkit {
    task: Task,
    counters: Arc<Counters>,
    /// Connections that no read uses.
    idle: Mutex<Vec<Client>>,
    /// Whether a read has succeeded.
    worked: AtomicBool,
    stopped: AtomicBool,
    /// The process.
    process: Mutex<Option<Pid>>,
}

impl Nbdkit {
    pub(super) fn new(task: &Task, counters: Arc<Counters>) -> Self {
        Self {
            task: task.clone(),
            counters,
            idle: Mutex::default(),
            worked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            process: Mutex::default(),
        }
    }

    /// Runs nbdkit, again and again if it ends, until it is stopped.
    pub(super) fn keep_running(&self) {
        while !self.is_stopped() {
            match self.start() {
                Ok(mut child) => {
                    self.hear(&mut child);
                    let status = child.wait();
                    *lock(&self.process) = None;
                    if let (Ok(status), false) = (status, self.is_stopped()) {
                        self.counters.say(&format!("nbdkit ended: {status}"));
                    }
                }
                Err(error) => self.counters.say(&match error.kind() {
                    io::ErrorKind::NotFound => {
                        "nbdkit is not installed: apt install nbdkit".to_string()
                    }
                    _ => format!("nbdkit cannot be run: {error}"),
                }),
            }
            self.counters.starts_failed();
            lock(&self.idle).clear();
            if !self.is_stopped() {
                thread::sleep(AGAIN);
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn start(&self) -> io::Result<Child> {
        let socket = self.task.nbdkit_socket();
        let _ = std::fs::remove_file(&socket);
        let access = &self.task.blob.access;
        let mut command = Command::new("nbdkit");
        command
            .args(["-f", "-r", "--exit-with-parent", "-U"])
            .arg(&socket)
            .arg("curl")
            .arg(format!("url={}", self.task.blob.url))
            .arg(if access.verify_tls {
                "protocols=https"
            } else {
                "protocols=http,https"
            })
            .arg(format!("timeout={}", self.task.patience));
        if !access.verify_tls {
            command.arg("sslverify=false");
        }
        if let Some(script) = &access.header_script {
            command
                .arg(format!("header-script={script}"))
                .arg(format!("header-script-renew={}", access.renew));
        }
        let mut pid = lock(&self.process);
        if self.is_stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        *pid = Some(Pid::from_child(&child));
        Ok(child)
    }

    /// Keeps the last line that nbdkit writes to standard error.
    fn hear(&self, child: &mut Child) {
        let Some(said) = child.stderr.take() else {
            return;
        };
        let counters = Arc::clone(&self.counters);
        let _ = thread::Builder::new().spawn(move || {
            for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                counters.say(line.trim_start_matches("nbdkit: "));
            }
        });
    }

    /// Tries once.
    fn try_once(&self, at: u64, buf: &mut [u8], deadline: Instant) -> io::Result<()> {
        let idle = lock(&self.idle).pop();
        let mut client = match idle {
            Some(client) => client,
            None => self.connect(deadline)?,
        };
        client.set_timeout(Some(left(deadline)))?;
        let read = client.read_at(at, buf)?;
        lock(&self.idle).push(client);
        read.map_err(|failure| io::Error::other(format!("nbdkit: {failure:?}")))
    }

    fn connect(&self, deadline: Instant) -> io::Result<Client> {
        let starts = self.counters.failed_starts();
        let given_up = deadline.min(Instant::now() + START);
        let stream = loop {
            match UnixStream::connect(self.task.nbdkit_socket()) {
                Ok(stream) => break stream,
                // It has not started yet.
                Err(_)
                    if Instant::now() < given_up
                        && self.counters.failed_starts() == starts
                        && !self.is_stopped() =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        };
        stream.set_read_timeout(Some(left(deadline)))?;
        let (client, size) = Client::connect(stream)?;
        let wanted = self.task.blob.size;
        if size != wanted {
            let text = format!("the blob in the registry has {size} bytes, should have {wanted}");
            self.counters.say(&text);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(client)
    }
}

impl Fetch for Nbdkit {
    fn fetch(&self, at: u64, buf: &mut [u8], deadline: Instant) -> io::Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_once(at, buf, deadline) {
                Ok(()) => {
                    self.worked.store(true, Ordering::Relaxed);
                    self.counters.fetched(buf.len() as u64);
                    return Ok(());
                }
                Err(error) => {
                    let worked = self.worked.load(Ordering::Relaxed);
                    let left = deadline.saturating_duration_since(Instant::now());
                    if !worked || self.is_stopped() || left.is_zero() {
                        return Err(error);
                    }
                    self.counters.retried();
                    thread::sleep(pause.min(left));
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(pid) = *lock(&self.process) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The time up to a deadline, for a timeout, which must not be zero.
fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}
