// SPDX-License-Identifier: GPL-2.0

//! The parts of a blob that were fetched, in a file. Each is fetched once, for all its readers.
//!
//! The file is sparse and as long as the blob. In a cache it stays, with the CRC-32C of each part
//! beside it. Nothing is flushed: after a crash of the machine a part may be there without its
//! checksum, or the other way round. So a part that an earlier process wrote is used only if its
//! checksum is right, and is fetched again otherwise.
//!
//! It compares no digest: a digest is of the whole blob. It also keeps the order in which parts
//! were first read, which is what a prefetch of the same image needs.

use crate::cache;
use crate::parallel::lock;
use crate::registry::Blob;
use rustix::fs::{Mode, OFlags, CWD};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// The length of a part in bytes. The last one of a blob is shorter.
pub(super) const PART: u64 = 128 << 10;

/// The most parts that are fetched by one request.
const MAX_PARTS: u64 = 8;

/// The folder of the file of a fetcher without a cache.
const TEMPORARY: &str = "/var/tmp";

/// How many sequences of reads are known at a time.
const SEQUENCES: usize = 8;

/// Where missing bytes come from.
pub(super) trait Fetch: Sync {
    /// Fills `buf` with the bytes of the blob from `at` on.
    ///
    /// # Errors
    ///
    /// If that fails until `deadline`.
    fn fetch(&self, at: u64, buf: &mut [u8], deadline: Instant) -> io::Result<()>;

    /// Makes all fetches fail, those under way soon.
    fn stop(&self);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not in the file.
    Absent,
    /// Written by an earlier process, with this checksum.
    Stored(u32),
    /// A thread fetches or checks it.
    Busy,
    /// In the file.
    Ready,
}

/// The parts that were read, each in the order in which it was first read.
#[derive(Debug)]
struct Order {
    numbers: Vec<u64>,
    /// Whether the part of this number was read.
    read: Vec<bool>,
}

/// Consecutive parts: the number of the first one, and how many they are.
pub type Run = (u64, u64);

/// What a thread has to do for a part.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// Nothing: it is in the file.
    Ready,
    /// Compare it with this checksum.
    Check(u32),
    /// Fetch the parts before this number.
    Fetch(u64),
}

/// The parts of a blob.
#[derive(Debug)]
pub(super) struct Parts {
    data: File,
    /// The checksums of the parts in a cache.
    sums: Option<File>,
    /// The length of the blob in bytes.
    len: u64,
    states: Mutex<Vec<State>>,
    order: Mutex<Order>,
    /// Sequences of fetches, the one that was used last at the end: the next part of each, and how
    /// many parts to fetch then.
    sequences: Mutex<VecDeque<Run>>,
    /// Told when a part is no longer busy.
    changed: Condvar,
}

impl Parts {
    /// Opens the file of a blob in a cache, or a file that nothing else can open.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written.
    pub(super) fn open(blob: &Blob, cache: Option<&Path>) -> io::Result<Self> {
        let count = blob.size.div_ceil(PART);
        let count = usize::try_from(count).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut states = vec![State::Absent; count];
        let (data, sums) = match cache {
            None => (temporary()?, None),
            Some(cache) => {
                let (data, sums) = cache::open(cache, blob)?;
                let mut known = vec![0; count.saturating_mul(4)];
                // Where the file ends earlier, nothing is known.
                let mut filled = 0;
                while let Some(rest) = known.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                    match sums.read_at(rest, filled as u64)? {
                        0 => break,
                        count => filled += count,
                    }
                }
                for (state, sum) in states.iter_mut().zip(known.chunks_exact(4)) {
                    match sum.try_into().map_or(0, u32::from_le_bytes) {
                        0 => {}
                        sum => *state = State::Stored(sum),
                    }
                }
                (data, Some(sums))
            }
        };
        if data.metadata()?.len() != blob.size {
            data.set_len(blob.size)?;
        }
        Ok(Self {
            data,
            sums,
            len: blob.size,
            states: Mutex::new(states),
            order: Mutex::new(Order {
                numbers: Vec::new(),
                read: vec![false; count],
            }),
            sequences: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// How many bytes are in the file, as far as is known.
    pub(super) fn present(&self) -> u64 {
        let states = lock(&self.states);
        let present = |state: &State| matches!(state, State::Ready | State::Stored(_));
        (0..)
            .zip(states.iter())
            .filter(|(_, state)| present(state))
            .map(|(number, _)| self.len_of(number..number + 1) as u64)
            .sum()
    }

    /// Fills `buf` with the bytes of the blob from `at` on. Both lie within the blob.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or missing bytes cannot be fetched until `deadline`.
    pub(super) fn read(
        &self,
        at: u64,
        buf: &mut [u8],
        deadline: Instant,
        source: &impl Fetch,
    ) -> io::Result<()> {
        let end = at + buf.len() as u64;
        self.note(at / PART..end.div_ceil(PART));
        let mut number = at / PART;
        while number * PART < end {
            let claim = self.claim(number, end.div_ceil(PART), deadline)?;
            match claim {
                Claim::Ready => {
                    let (start, wanted) = wanted(buf, at, number * PART, PART);
                    self.data.read_exact_at(wanted, start)?;
                    number += 1;
                }
                // The next claim is for a part that is ready or absent.
                Claim::Check(sum) => self.check(number, sum),
                Claim::Fetch(next) => {
                    self.fetch(number..next, at, buf, deadline, source)?;
                    number = next;
                }
            }
        }
        Ok(())
    }

    /// The requests that fetch what a record names: each part once, in the order of the record, and
    /// adjacent parts together, up to the longest request, also where they were not read together.
    /// Those beyond the blob are ignored.
    pub(super) fn requests(&self, runs: &[Run]) -> Vec<Run> {
        let count = self.len.div_ceil(PART);
        let within = |run: &Run| run.0.min(count)..run.0.saturating_add(run.1).min(count);
        let mut wanted = vec![false; index(count)];
        for run in runs {
            let numbers = within(run);
            wanted[index(numbers.start)..index(numbers.end)].fill(true);
        }
        let mut requests = Vec::new();
        for number in runs.iter().flat_map(within) {
            let (mut first, mut next) = (number, number);
            while next < count && next - first < MAX_PARTS && mem::take(&mut wanted[index(next)]) {
                next += 1;
            }
            // Files are also read backwards.
            while (1..MAX_PARTS).contains(&(next - first))
                && first > 0
                && mem::take(&mut wanted[index(first - 1)])
            {
                first -= 1;
            }
            if next > first {
                requests.push((first, next - first));
            }
        }
        requests
    }

    /// Fetches the parts of a run that are not in the file, and that no other thread fetches.
    ///
    /// # Errors
    ///
    /// If they cannot be fetched until `deadline`.
    pub(super) fn prefetch(
        &self,
        run: Run,
        deadline: Instant,
        source: &impl Fetch,
    ) -> io::Result<()> {
        let (mut number, end) = (run.0, run.0 + run.1);
        while number < end {
            // Without the sequences of reads: it fetches no more than the record names.
            let claim = claim_at(&mut lock(&self.states), number, end)?;
            match claim {
                None | Some(Claim::Ready) => number += 1,
                Some(Claim::Check(sum)) => self.check(number, sum),
                Some(Claim::Fetch(next)) => {
                    let start = number * PART;
                    self.fetch(number..next, start, &mut [], deadline, source)?;
                    // Also where the file could not be written: it is tried once.
                    number = next;
                }
            }
        }
        Ok(())
    }

    /// Keeps the order in which parts are first read.
    fn note(&self, numbers: Range<u64>) {
        let mut order = lock(&self.order);
        for number in numbers {
            if let Some(read @ false) = order.read.get_mut(index(number)) {
                *read = true;
                order.numbers.push(number);
            }
        }
    }

    /// The parts that were read, in the order in which they were first read.
    pub(super) fn order(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for number in &lock(&self.order).numbers {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == *number => *count += 1,
                _ => runs.push((*number, 1)),
            }
        }
        runs
    }

    /// Waits until a part is not busy, and makes it busy unless it is ready.
    fn claim(&self, number: u64, end: u64, deadline: Instant) -> io::Result<Claim> {
        let mut states = lock(&self.states);
        loop {
            let absent = states.get(index(number)) == Some(&State::Absent);
            let ahead = if absent { self.sequence_at(number) } else { 0 };
            let claim = claim_at(&mut states, number, end.max(number + ahead))?;
            if let Some(claim) = claim {
                if let Claim::Fetch(next) = claim {
                    self.expect(next, ahead * 2);
                }
                return Ok(claim);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            states = self
                .changed
                .wait_timeout(states, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// How many parts to fetch from this one on, at least: a sequence of fetches doubles it each
    /// time, so that reads in order do not wait for an answer for each part.
    fn sequence_at(&self, number: u64) -> u64 {
        let mut sequences = lock(&self.sequences);
        let found = sequences.iter().position(|(next, _)| *next == number);
        let sequence = found.and_then(|at| sequences.remove(at));
        sequence.map_or(1, |(_, count)| count)
    }

    /// Notes where a sequence goes on, and how many parts to fetch then.
    fn expect(&self, next: u64, count: u64) {
        let mut sequences = lock(&self.sequences);
        if sequences.len() == SEQUENCES {
            sequences.pop_front();
        }
        sequences.push_back((next, count.min(MAX_PARTS)));
    }

    /// Ends the time in which parts are busy.
    fn finish(&self, numbers: Range<u64>, state: State) {
        let mut states = lock(&self.states);
        for number in numbers {
            if let Some(one) = states.get_mut(index(number)) {
                *one = state;
            }
        }
        self.changed.notify_all();
    }

    /// Compares a part that an earlier process wrote with its checksum.
    fn check(&self, number: u64, sum: u32) {
        let mut part = vec![0; self.len_of(number..number + 1)];
        let read = self.data.read_exact_at(&mut part, number * PART);
        let right = read.is_ok() && crc32c::crc32c(&part) == sum;
        let state = if right { State::Ready } else { State::Absent };
        self.finish(number..number + 1, state);
    }

    /// Fetches parts, copies what `buf` wants of them, and writes them to the file.
    fn fetch(
        &self,
        numbers: Range<u64>,
        at: u64,
        buf: &mut [u8],
        deadline: Instant,
        source: &impl Fetch,
    ) -> io::Result<()> {
        let start = numbers.start * PART;
        let mut bytes = vec![0; self.len_of(numbers.clone())];
        if let Err(error) = source.fetch(start, &mut bytes, deadline) {
            self.finish(numbers, State::Absent);
            return Err(error);
        }
        let (from, wanted) = wanted(buf, at, start, bytes.len() as u64);
        let from = usize::try_from(from - start).unwrap_or_default();
        let len = wanted.len();
        wanted.copy_from_slice(&bytes[from..from + len]);
        // A full disk is no reason for a read to fail.
        let state = match self.store(numbers.start, &bytes) {
            Ok(()) => State::Ready,
            Err(_) => State::Absent,
        };
        self.finish(numbers, state);
        Ok(())
    }

    /// Writes parts, then their checksums.
    fn store(&self, first: u64, bytes: &[u8]) -> io::Result<()> {
        self.data.write_all_at(bytes, first * PART)?;
        let Some(sums) = &self.sums else {
            return Ok(());
        };
        let of_parts: Vec<u8> = bytes
            .chunks(usize::try_from(PART).unwrap_or(usize::MAX))
            // A part whose checksum is 0 counts as absent.
            .flat_map(|part| crc32c::crc32c(part).to_le_bytes())
            .collect();
        sums.write_all_at(&of_parts, first * 4)
    }

    /// The length of parts in bytes.
    fn len_of(&self, numbers: Range<u64>) -> usize {
        let end = (numbers.end * PART).min(self.len);
        usize::try_from(end.saturating_sub(numbers.start * PART)).unwrap_or_default()
    }
}

/// Makes a part busy, and with it the absent ones that follow it before `end`, unless it is ready;
/// [`None`] if it is busy already.
fn claim_at(states: &mut [State], number: u64, end: u64) -> io::Result<Option<Claim>> {
    let state = states
        .get_mut(index(number))
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(match *state {
        State::Busy => None,
        State::Ready => Some(Claim::Ready),
        State::Stored(sum) => {
            *state = State::Busy;
            Some(Claim::Check(sum))
        }
        State::Absent => {
            let end = end.min(number + MAX_PARTS);
            let mut next = number;
            while next < end && states.get(index(next)) == Some(&State::Absent) {
                states[index(next)] = State::Busy;
                next += 1;
            }
            Some(Claim::Fetch(next))
        }
    })
}

/// The place of a part in lists of all parts.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The part of `buf`, which starts at `at` of the blob, that lies in `len` bytes from `start` on,
/// and where it starts in the blob.
fn wanted(buf: &mut [u8], at: u64, start: u64, len: u64) -> (u64, &mut [u8]) {
    let from = at.max(start);
    let to = (at + buf.len() as u64).min(start + len).max(from);
    let in_buf = |place: u64| usize::try_from(place - at).unwrap_or_default();
    (from, &mut buf[in_buf(from)..in_buf(to)])
}

/// A file without a name.
fn temporary() -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::registry::Access;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    /// A source that counts.
    struct Bytes {
        bytes: Vec<u8>,
        fetched: AtomicUsize,
        broken: AtomicBool,
        pause: Duration,
    }

    impl Bytes {
        fn new(len: usize) -> Self {
            Self {
                bytes: (0..len).map(|at| (at / 7 % 251) as u8).collect(),
                fetched: AtomicUsize::new(0),
                broken: AtomicBool::new(false),
                pause: Duration::ZERO,
            }
        }

        fn blob(&self) -> Blob {
            Blob {
                url: String::new(),
                digest: Algorithm::Sha256.digest(&self.bytes),
                size: self.bytes.len() as u64,
                access: Access {
                    verify_tls: true,
                    header_script: None,
                    renew: 1,
                },
            }
        }
    }

    impl Fetch for Bytes {
        fn fetch(&self, at: u64, buf: &mut [u8], _: Instant) -> io::Result<()> {
            thread::sleep(self.pause);
            if self.broken.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.fetched.fetch_add(buf.len(), Ordering::Relaxed);
            let at = usize::try_from(at).unwrap();
            buf.copy_from_slice(&self.bytes[at..at + buf.len()]);
            Ok(())
        }

        fn stop(&self) {}
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn check(parts: &Parts, source: &Bytes, at: usize, len: usize) {
        let mut buf = vec![0xee; len];
        parts.read(at as u64, &mut buf, soon(), source).unwrap();
        assert!(buf == source.bytes[at..at + len], "{len} bytes at {at}");
    }

    #[test]
    fn each_part_is_fetched_once() {
        let part = PART as usize;
        let source = Bytes::new(3 * part + 1000);
        let parts = Parts::open(&source.blob(), None).unwrap();
        check(&parts, &source, part - 1, 2);
        assert_eq!(source.fetched.load(Ordering::Relaxed), 2 * part);
        check(&parts, &source, 0, source.bytes.len());
        check(&parts, &source, 3 * part + 999, 1);
        check(&parts, &source, 100, 0);
        assert_eq!(source.fetched.load(Ordering::Relaxed), source.bytes.len());
        assert_eq!(parts.present(), source.bytes.len() as u64);
        let mut buf = [0];
        let after = source.bytes.len().next_multiple_of(part) as u64;
        assert!(parts.read(after, &mut buf, soon(), &source).is_err());
    }

    #[test]
    fn reads_in_order_fetch_more_at_a_time() {
        let part = PART as usize;
        let source = Bytes::new(40 * part);
        let parts = Parts::open(&source.blob(), None).unwrap();
        let mut fetched = Vec::new();
        for number in 0..16 {
            let before = source.fetched.load(Ordering::Relaxed);
            check(&parts, &source, number * part, part);
            fetched.push((source.fetched.load(Ordering::Relaxed) - before) / part);
        }
        assert_eq!(fetched, [1, 2, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 8]);
        // Reads in no order fetch no more than they want.
        source.fetched.store(0, Ordering::Relaxed);
        check(&parts, &source, 30 * part, part);
        check(&parts, &source, 26 * part, part);
        assert_eq!(source.fetched.load(Ordering::Relaxed), 2 * part);
    }

    #[test]
    fn what_was_read_is_prefetched_in_that_order() {
        let part = PART as usize;
        let source = Bytes::new(20 * part + 1);
        let parts = Parts::open(&source.blob(), None).unwrap();
        check(&parts, &source, 5 * part + 1, part);
        check(&parts, &source, 20 * part, 1);
        check(&parts, &source, 0, 10);
        check(&parts, &source, part, 10);
        check(&parts, &source, 5 * part, 1);
        let order = parts.order();
        assert_eq!(order, [(5, 2), (20, 1), (0, 2)]);

        source.fetched.store(0, Ordering::Relaxed);
        let next = Parts::open(&source.blob(), None).unwrap();
        for run in next.requests(&order) {
            next.prefetch(run, soon(), &source).unwrap();
        }
        assert_eq!(source.fetched.load(Ordering::Relaxed), 4 * part + 1);
        assert_eq!(next.present(), 4 * PART + 1);
        check(&next, &source, 5 * part, 2 * part);
        assert_eq!(source.fetched.load(Ordering::Relaxed), 4 * part + 1);
        assert_eq!(next.order(), [(5, 2)]);
    }

    #[test]
    fn requests_join_what_is_adjacent() {
        let source = Bytes::new(20 * PART as usize + 1);
        let parts = Parts::open(&source.blob(), None).unwrap();
        // The parts around 4 were read after it, and some much later.
        assert_eq!(
            parts.requests(&[(4, 1), (0, 1), (5, 2), (20, 1), (3, 1), (7, 1), (4, 2)]),
            [(3, 5), (0, 1), (20, 1)]
        );
        // Backwards, and more than the longest request.
        let backwards: Vec<Run> = (0..12).rev().map(|number| (number, 1)).collect();
        assert_eq!(parts.requests(&backwards), [(4, 8), (0, 4)]);
        // A long run is several requests, and no part is in two.
        assert_eq!(
            parts.requests(&[(10, 1), (0, 21)]),
            [(10, 8), (0, 8), (8, 2), (18, 3)]
        );
        // A record of another blob.
        let other = [(19, u64::MAX), (u64::MAX, u64::MAX), (100, 3), (3, 0)];
        assert_eq!(parts.requests(&other), [(19, 2)]);
        assert_eq!(parts.requests(&[]), []);
    }

    #[test]
    fn a_fetch_that_fails_is_tried_again_by_the_next_read() {
        let source = Bytes::new(300_000);
        let parts = Parts::open(&source.blob(), None).unwrap();
        source.broken.store(true, Ordering::Relaxed);
        let mut buf = [0; 10];
        let error = parts.read(5, &mut buf, soon(), &source).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        source.broken.store(false, Ordering::Relaxed);
        check(&parts, &source, 5, 10);
    }

    #[test]
    fn what_was_fetched_stays_and_is_checked() {
        let part = PART as usize;
        let source = Bytes::new(5 * part + 1);
        let cache = tempfile::tempdir().unwrap();
        let open = || Parts::open(&source.blob(), Some(cache.path())).unwrap();
        check(&open(), &source, part, 2 * part);
        let fetched = source.fetched.load(Ordering::Relaxed);
        assert_eq!(fetched, 2 * part);
        let again = open();
        assert_eq!(again.present(), 2 * PART);
        check(&again, &source, part, 2 * part);
        assert_eq!(source.fetched.load(Ordering::Relaxed), fetched);
        drop(again);

        // A part that was not written, and a checksum that was not.
        let blob = source.blob();
        let (data, sums) = cache::open(cache.path(), &blob).unwrap();
        data.write_all_at(&[0; 100], PART + 50).unwrap();
        sums.write_all_at(&[0; 4], 8).unwrap();
        let again = open();
        check(&again, &source, 0, source.bytes.len());
        assert_eq!(
            source.fetched.load(Ordering::Relaxed),
            fetched + source.bytes.len()
        );
        // A truncated file of data.
        data.set_len(10).unwrap();
        check(&open(), &source, 0, source.bytes.len());
    }

    #[test]
    fn many_readers_and_one_fetch_for_each_part() {
        let mut source = Bytes::new(4_000_001);
        source.pause = Duration::from_millis(5);
        let source = &source;
        let parts = &Parts::open(&source.blob(), None).unwrap();
        thread::scope(|scope| {
            for thread in 0..8usize {
                scope.spawn(move || {
                    for step in 0..200usize {
                        let at = (thread * 7_919 + step * 104_729) % 3_900_000;
                        check(parts, source, at, (step * 997) % 100_001);
                    }
                });
            }
        });
        assert!(source.fetched.load(Ordering::Relaxed) <= source.bytes.len());
    }

    #[test]
    fn a_reader_that_waits_for_another_ends_at_its_deadline() {
        let mut source = Bytes::new(100_000);
        source.pause = Duration::from_millis(400);
        let (source, parts) = (&source, &Parts::open(&source.blob(), None).unwrap());
        thread::scope(|scope| {
            scope.spawn(move || check(parts, source, 0, 10));
            thread::sleep(Duration::from_millis(100));
            let mut buf = [0; 10];
            let deadline = Instant::now() + Duration::from_millis(50);
            let error = parts.read(0, &mut buf, deadline, source).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
