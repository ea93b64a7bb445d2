// SPDX-License-Identifier: GPL-2.0

//! Fetches what a record names, before it is read.
//!
//! Each request of nbdkit takes at least the delay of the network, so several are under way at a
//! time. They start in the order of the record, which is that of the reads of a start.
//!
//! Reads do not queue behind them: they have threads of their own, and each request has a
//! connection to nbdkit of its own. A read waits for a prefetch only if that fetches the same part.
//! What cannot be fetched is left to the reads.

use super::parts::{Fetch, Parts, Run};
use crate::parallel::in_order;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How many requests are under way at the same time. nbdkit has up to 16 connections to the
/// registry, so at least 12 of them are left to reads.
const FETCHES: usize = 4;

/// The pause after a request that fails: one that fails at once must not be followed by all others
/// at once.
const PAUSE: Duration = Duration::from_millis(500);

/// Fetches the parts of a record on threads that end with the process.
pub(super) fn start<S: Fetch + Send + 'static>(
    runs: Vec<Run>,
    patience: Duration,
    parts: &Arc<Parts>,
    source: &Arc<S>,
) {
    let (parts, source) = (Arc::clone(parts), Arc::clone(source));
    // Without a thread, the reads fetch all.
    let _ = thread::Builder::new().spawn(move || fetch(&runs, patience, &parts, &*source));
}

fn fetch(runs: &[Run], patience: Duration, parts: &Parts, source: &impl Fetch) {
    let requests = parts.requests(runs);
    in_order(requests.len(), FETCHES, |number| {
        let deadline = Instant::now() + patience;
        if parts.prefetch(requests[number], deadline, source).is_err() {
            thread::sleep(PAUSE);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::parts::PART;
    use super::super::report::Counters;
    use super::super::server::serve;
    use super::super::task::Task;
    use super::*;
    use crate::digest::Algorithm;
    use crate::parallel::lock;
    use crate::registry::{Access, Blob};
    use std::io;
    use std::os::unix::net::UnixStream;
    use std::sync::{Condvar, Mutex};

    const LONG: Duration = Duration::from_secs(1000);

    /// How long a test waits before it fails.
    const GIVEN_UP: Duration = Duration::from_secs(30);

    /// A source whose fetches wait until the test lets them end.
    #[derive(Default)]
    struct Gate {
        state: Mutex<State>,
        changed: Condvar,
    }

    #[derive(Default)]
    struct State {
        /// The first part of each fetch and how many they are, in the order of their starts.
        started: Vec<Run>,
        /// How many of them have ended.
        ended: usize,
        /// Whether all may end.
        open: bool,
        /// The parts whose fetches may end.
        let_through: Vec<u64>,
        /// The part that cannot be fetched.
        broken: Option<u64>,
    }

    impl Fetch for Gate {
        fn fetch(&self, at: u64, buf: &mut [u8], _: Instant) -> io::Result<()> {
            let mut state = lock(&self.state);
            let run = (at / PART, (buf.len() as u64).div_ceil(PART));
            state.started.push(run);
            self.changed.notify_all();
            while !state.open && !state.let_through.contains(&run.0) {
                let (next, out) = self.changed.wait_timeout(state, GIVEN_UP).unwrap();
                if out.timed_out() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                state = next;
            }
            state.ended += 1;
            self.changed.notify_all();
            match state.broken {
                Some(part) if part == run.0 => Err(io::ErrorKind::TimedOut.into()),
                _ => Ok(()),
            }
        }

        fn stop(&self) {}
    }

    impl Gate {
        /// Waits until this many fetches have started, and returns all that have.
        fn started(&self, count: usize) -> Vec<Run> {
            let mut state = lock(&self.state);
            while state.started.len() < count {
                let waited = self.changed.wait_timeout(state, GIVEN_UP);
                let (next, out) = waited.unwrap();
                assert!(!out.timed_out(), "{:?} of {count}", next.started);
                state = next;
            }
            state.started.clone()
        }

        /// Lets the fetch of this part end.
        fn let_end(&self, part: u64) {
            lock(&self.state).let_through.push(part);
            self.changed.notify_all();
        }

        /// Lets all fetches end.
        fn open(&self) {
            lock(&self.state).open = true;
            self.changed.notify_all();
        }
    }

    fn blob(parts: u64) -> Blob {
        Blob {
            url: String::new(),
            digest: Algorithm::Sha256.digest(b""),
            size: parts * PART,
            access: Access {
                verify_tls: true,
                header_script: None,
                renew: 1,
            },
        }
    }

    /// The record of every second part, in descending order.
    fn record() -> Vec<Run> {
        (0..10).rev().map(|number| (number * 2, 1)).collect()
    }

    fn sorted(mut runs: Vec<Run>) -> Vec<Run> {
        runs.sort_unstable();
        runs
    }

    #[test]
    fn requests_overlap_and_start_in_the_order_of_the_record() {
        let parts = Arc::new(Parts::open(&blob(20), None).unwrap());
        let gate = Arc::new(Gate::default());
        start(record(), LONG, &parts, &gate);
        // The first ones start at about the same time, so in any order; no other one starts.
        assert_eq!(
            sorted(gate.started(FETCHES)),
            sorted(record()[..FETCHES].into())
        );
        thread::sleep(Duration::from_millis(50));
        assert_eq!(gate.started(FETCHES).len(), FETCHES);
        for number in FETCHES..10 {
            gate.let_end(record()[number - 1].0);
            assert_eq!(
                gate.started(number + 1)[number..],
                record()[number..=number]
            );
        }
        gate.open();
        let deadline = Instant::now() + GIVEN_UP;
        while parts.present() < 10 * PART && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(parts.present(), 10 * PART);
        // All of it is there, so a read fetches nothing.
        let mut buf = [0; 10];
        parts
            .read(18 * PART, &mut buf, Instant::now() + LONG, &*gate)
            .unwrap();
        assert_eq!(gate.started(10).len(), 10);
    }

    #[test]
    fn a_part_that_fails_does_not_end_the_rest() {
        let (parts, gate) = (Parts::open(&blob(20), None).unwrap(), Gate::default());
        lock(&gate.state).broken = Some(18);
        gate.open();
        fetch(&record(), LONG, &parts, &gate);
        assert_eq!(sorted(gate.started(10)), sorted(record()));
        assert_eq!(parts.present(), 9 * PART);
        // The read of that part tries again.
        let mut buf = [0; 10];
        let deadline = Instant::now() + LONG;
        assert!(parts.read(18 * PART, &mut buf, deadline, &gate).is_err());
        lock(&gate.state).broken = None;
        assert!(parts.read(18 * PART, &mut buf, deadline, &gate).is_ok());
    }

    #[test]
    fn each_part_is_fetched_once_also_if_it_is_read_meanwhile() {
        let (parts, gate) = (Parts::open(&blob(20), None).unwrap(), Gate::default());
        let deadline = Instant::now() + LONG;
        thread::scope(|scope| {
            let mut buf = [0; 10];
            let (parts, gate) = (&parts, &gate);
            scope.spawn(move || parts.read(5 * PART, &mut buf, deadline, gate).unwrap());
            gate.started(1);
            scope.spawn(move || fetch(&[(4, 3)], LONG, parts, gate));
            gate.let_end(4);
            // Part 5 is under way, and the prefetch does not wait for it.
            assert_eq!(gate.started(3), [(5, 1), (4, 1), (6, 1)]);
            gate.open();
        });
        assert_eq!(gate.started(3).len(), 3);
        assert_eq!(parts.present(), 3 * PART);
    }

    #[test]
    fn the_end_does_not_wait_for_prefetches_under_way() {
        let parts = Arc::new(Parts::open(&blob(20), None).unwrap());
        let gate = Arc::new(Gate::default());
        start(record(), LONG, &parts, &gate);
        gate.started(FETCHES);
        let (near, far) = UnixStream::pair().unwrap();
        let task = Task {
            blob: blob(20),
            folder: "/nonexistent".into(),
            cache: None,
            patience: 1000,
            prefetch: None,
        };
        drop(near);
        serve(&far, &task, &parts, &*gate, &Counters::default()).unwrap();
        let state = lock(&gate.state);
        assert_eq!((state.started.len(), state.ended), (FETCHES, 0));
    }
}
