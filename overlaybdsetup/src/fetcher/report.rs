// SPDX-License-Identifier: GPL-2.0

//! What a fetcher counts, and the socket on which it reports to `status` and `open`.
//!
//! The socket is in the fetcher's folder: a process that connects reads one JSON document.

use super::parts::{Parts, Run};
use super::task::Task;
use crate::output::plain;
use crate::parallel::lock;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The name of the socket in the folder.
pub(super) const SOCKET: &str = "report.sock";

/// How long a fetcher may take to answer.
const WAIT: Duration = Duration::from_secs(5);

/// The longest report that is read, in bytes.
const MAX_LEN: u64 = 64 << 20;

/// The counters of a fetcher.
#[derive(Debug, Default)]
pub(super) struct Counters {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    retries: AtomicU64,
    failed_reads: AtomicU64,
    failing: AtomicBool,
    failed_starts: AtomicU64,
    said: Mutex<String>,
}

impl Counters {
    /// A read of the kernel was answered.
    pub(super) fn read(&self, bytes: u64) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A read of the kernel has failed.
    pub(super) fn failed(&self) {
        self.failed_reads.fetch_add(1, Ordering::Relaxed);
        self.failing.store(true, Ordering::Relaxed);
    }

    /// Bytes came from the registry.
    pub(super) fn fetched(&self, bytes: u64) {
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
    }

    /// A try has failed, and the next one follows.
    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.failing.store(true, Ordering::Relaxed);
    }

    /// nbdkit has ended, or could not be started.
    pub(super) fn starts_failed(&self) {
        self.failed_starts.fetch_add(1, Ordering::SeqCst);
    }

    /// How often nbdkit has ended, or could not be started.
    pub(super) fn failed_starts(&self) -> u64 {
        self.failed_starts.load(Ordering::SeqCst)
    }

    /// Keeps the reason of a failure.
    pub(super) fn say(&self, text: &str) {
        *lock(&self.said) = plain(text);
    }
}

/// What a fetcher reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The fetcher's process.
    pub pid: u32,
    /// The URL of the blob.
    pub url: String,
    /// The digest of the blob.
    pub digest: String,
    /// The length of the blob in bytes.
    pub size: u64,
    /// The folder of the cache.
    pub cache: Option<PathBuf>,
    /// How long a read waits for the registry, in seconds.
    pub patience: u64,
    /// The number of reads that were answered.
    pub reads: u64,
    /// Their length in bytes.
    pub read_bytes: u64,
    /// The bytes that came from the registry.
    pub fetched_bytes: u64,
    /// The bytes that are on this machine.
    pub present_bytes: u64,
    /// The tries that failed and were followed by another one.
    pub retries: u64,
    /// The reads that failed.
    pub failed_reads: u64,
    /// Whether the last try has failed.
    pub failing: bool,
    /// Why the last failure happened; empty if nothing has failed.
    pub last_error: String,
}

/// The document that a fetcher sends.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    report: Report,
    /// The parts that were read, in the order in which they were first read.
    order: Vec<Run>,
}

/// Listens, and reports on a thread that ends with the process.
pub(super) fn publish(task: &Task, counters: &Arc<Counters>, parts: &Arc<Parts>) -> io::Result<()> {
    let listener = UnixListener::bind(task.report_socket())?;
    let (task, counters, parts) = (task.clone(), Arc::clone(counters), Arc::clone(parts));
    thread::Builder::new().spawn(move || {
        for stream in listener.incoming() {
            let answer = Answer {
                report: report(&task, &counters, &parts),
                order: parts.order(),
            };
            // The process that asked may be gone.
            if let (Ok(mut stream), Ok(text)) = (stream, serde_json::to_vec(&answer)) {
                let _ = stream.set_write_timeout(Some(WAIT));
                let _ = stream.write_all(&text);
            }
        }
    })?;
    Ok(())
}

fn report(task: &Task, counters: &Counters, parts: &Parts) -> Report {
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Report {
        pid: std::process::id(),
        url: task.blob.url.clone(),
        digest: task.blob.digest.clone(),
        size: task.blob.size,
        cache: task.cache.clone(),
        patience: task.patience,
        reads: value(&counters.reads),
        read_bytes: value(&counters.read_bytes),
        fetched_bytes: value(&counters.fetched_bytes),
        present_bytes: parts.present(),
        retries: value(&counters.retries),
        failed_reads: value(&counters.failed_reads),
        failing: counters.failing.load(Ordering::Relaxed),
        last_error: lock(&counters.said).clone(),
    }
}

/// Whether a fetcher listens in a folder.
#[must_use]
pub fn lives(folder: &Path) -> bool {
    UnixStream::connect(folder.join(SOCKET)).is_ok()
}

/// The report of the fetcher in a folder; [`None`] if it does not answer.
#[must_use]
pub fn ask(folder: &Path) -> Option<Report> {
    Some(answer_of(folder)?.report)
}

/// The digest of the blob of the fetcher in a folder, and the parts of it that were read, in the
/// order in which they were first read; [`None`] if the fetcher does not answer.
#[must_use]
pub fn ask_order(folder: &Path) -> Option<(String, Vec<Run>)> {
    let answer = answer_of(folder)?;
    Some((answer.report.digest, answer.order))
}

fn answer_of(folder: &Path) -> Option<Answer> {
    let stream = UnixStream::connect(folder.join(SOCKET)).ok()?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    let mut text = Vec::new();
    stream.take(MAX_LEN).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
