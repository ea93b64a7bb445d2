// SPDX-License-Identifier: GPL-2.0

//! Answers the requests of the kernel's nbd driver: one thread reads them, others answer them in
//! the order in which they are done.
//!
//! The export is the blob, with zeros up to the next multiple of 512 bytes. The driver has a
//! bounded number of requests under way, and so has the queue. A read fails when it has waited as
//! long as the task says since it arrived.

use super::parts::{Fetch, Parts};
use super::report::Counters;
use super::task::Task;
use crate::parallel::lock;
use nbd_device::protocol::{Command, Failure, Reply, Request, MAX_READ};
use overlaybd_format::units::SECTOR_SIZE;
use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many requests are answered at the same time.
const WORKERS: usize = 16;

/// The requests that no thread has taken yet.
#[derive(Default)]
struct Queue {
    requests: VecDeque<(Request, Instant)>,
    closed: bool,
}

/// Answers requests until the other end closes the socket, or asks for the end.
///
/// # Errors
///
/// Bytes that are no request, and errors of the socket.
pub(super) fn serve(
    socket: &UnixStream,
    task: &Task,
    parts: &Parts,
    source: &impl Fetch,
    counters: &Counters,
) -> io::Result<()> {
    let (queue, more) = (&Mutex::new(Queue::default()), &Condvar::new());
    let out = &Mutex::new(socket);
    let patience = Duration::from_secs(task.patience);
    let blob_len = task.blob.size;
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(move || {
                while let Some((request, arrived)) = next(queue, more) {
                    let read = answer(&request, blob_len, |at, buf| {
                        parts.read(at, buf, arrived + patience, source)
                    });
                    match &read {
                        Ok(data) => counters.read(data.len() as u64),
                        Err(_) => counters.failed(),
                    }
                    let reply = Reply {
                        failure: read.as_ref().err().copied(),
                        cookie: request.cookie,
                    };
                    let data = read.unwrap_or_default();
                    // Where this fails, the next request cannot be read either.
                    let _ = reply.write(&data, &mut *lock(out));
                }
            });
        }
        let done = receive(&mut &*socket, queue, more);
        lock(queue).closed = true;
        more.notify_all();
        // Nothing waits for the answers any more.
        source.stop();
        match done {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(()),
        }
    })
}

/// Reads requests into the queue until the socket ends.
fn receive(socket: &mut &UnixStream, queue: &Mutex<Queue>, more: &Condvar) -> io::Result<()> {
    loop {
        let request = Request::read(socket)?;
        if request.command == Command::Disconnect {
            return Ok(());
        }
        lock(queue).requests.push_back((request, Instant::now()));
        more.notify_one();
    }
}

/// Waits for a request; [`None`] at the end.
fn next(queue: &Mutex<Queue>, more: &Condvar) -> Option<(Request, Instant)> {
    let mut queue = lock(queue);
    loop {
        if queue.closed {
            return None;
        }
        if let Some(request) = queue.requests.pop_front() {
            return Some(request);
        }
        queue = more.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

/// The bytes that a request wants.
fn answer(
    request: &Request,
    blob_len: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> Result<Vec<u8>, Failure> {
    let end = request.offset.checked_add(u64::from(request.len));
    let inside = end.is_some_and(|end| end <= blob_len.next_multiple_of(SECTOR_SIZE));
    if request.command != Command::Read || !inside || request.len > MAX_READ {
        return Err(Failure::Invalid);
    }
    let mut data = vec![0; usize::try_from(request.len).unwrap_or_default()];
    let there = usize::try_from(blob_len.saturating_sub(request.offset)).unwrap_or(usize::MAX);
    let there = there.min(data.len());
    // After the end of the blob there are zeros.
    let (bytes, _) = data.split_at_mut(there);
    if !bytes.is_empty() {
        read(request.offset, bytes).map_err(|_| Failure::Io)?;
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::registry::{Access, Blob};
    use nbd_device::client::Client;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Each byte is the lowest one of its place, except where reads fail.
    #[derive(Default)]
    struct Pattern {
        hangs: AtomicBool,
        stopped: AtomicBool,
    }

    impl Fetch for Pattern {
        fn fetch(&self, at: u64, buf: &mut [u8], deadline: Instant) -> io::Result<()> {
            while self.hangs.load(Ordering::Relaxed) {
                if Instant::now() > deadline || self.stopped.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                thread::sleep(Duration::from_millis(1));
            }
            for (place, byte) in (at..).zip(buf) {
                *byte = place.to_le_bytes()[0];
            }
            Ok(())
        }

        fn stop(&self) {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    fn task(size: u64) -> Task {
        Task {
            blob: Blob {
                url: String::new(),
                digest: Algorithm::Sha256.digest(b""),
                size,
                access: Access {
                    verify_tls: true,
                    header_script: None,
                    renew: 1,
                },
            },
            folder: "/nonexistent".into(),
            cache: None,
            patience: 1,
            prefetch: None,
        }
    }

    #[test]
    fn requests_are_answered_until_the_socket_is_closed() {
        let (near, far) = UnixStream::pair().unwrap();
        let (task, source, counters) = (task(300_001), Pattern::default(), Counters::default());
        let parts = Parts::open(&task.blob, None).unwrap();
        thread::scope(|scope| {
            let server = scope.spawn(|| serve(&far, &task, &parts, &source, &counters));
            let mut client = Client::without_handshake(near);
            let mut buf = [0xee; 1000];
            let mut check = |at: u64, len: usize, wanted: Result<(), Failure>| {
                assert_eq!(client.read_at(at, &mut buf[..len]).unwrap(), wanted);
                if wanted.is_ok() {
                    for (place, byte) in (at..).zip(&buf[..len]) {
                        let there = place < task.blob.size;
                        assert_eq!(*byte, if there { place.to_le_bytes()[0] } else { 0 });
                    }
                }
            };
            check(5, 1000, Ok(()));
            check(300_000, 32, Ok(()));
            // The last sector is padded, and nothing follows it.
            check(300_032, 0, Ok(()));
            check(300_000, 33, Err(Failure::Invalid));
            check(u64::MAX, 2, Err(Failure::Invalid));
            source.hangs.store(true, Ordering::Relaxed);
            let started = Instant::now();
            check(150_000, 100, Err(Failure::Io));
            assert!(started.elapsed() >= Duration::from_secs(1));
            source.hangs.store(false, Ordering::Relaxed);
            check(150_000, 100, Ok(()));
            drop(client);
            assert!(server.join().unwrap().is_ok());
        });
    }

    #[test]
    fn the_end_does_not_wait_for_reads_under_way() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let (mut task, source, counters) = (task(4096), Pattern::default(), Counters::default());
        task.patience = 1000;
        let parts = Parts::open(&task.blob, None).unwrap();
        source.hangs.store(true, Ordering::Relaxed);
        thread::scope(|scope| {
            let server = scope.spawn(|| serve(&far, &task, &parts, &source, &counters));
            for cookie in 0..40 {
                let request = Request {
                    command: Command::Read,
                    cookie,
                    offset: 0,
                    len: 512,
                };
                request.write(&mut near).unwrap();
            }
            drop(near);
            assert!(server.join().unwrap().is_ok());
        });
    }

    #[test]
    fn writes_are_refused() {
        let request = Request {
            command: Command::Other(1),
            cookie: 0,
            offset: 0,
            len: 512,
        };
        let read = |_: u64, _: &mut [u8]| Ok(());
        assert_eq!(answer(&request, 4096, read), Err(Failure::Invalid));
    }
}
