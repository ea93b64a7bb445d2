// SPDX-License-Identifier: GPL-2.0

//! Work on all processors, and waits at the same time, on threads that end before the call returns.
//!
//! It keeps no threads and no queue, and never stops early.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// The most threads that wait at the same time.
const WAITS: usize = 64;

/// Calls `work` on one thread per processor, at most `most` times in all. Each call works until
/// nothing is left to do.
pub(crate) fn in_parallel_workers(most: usize, work: impl Fn() + Sync) {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    on_threads(workers.min(most), work);
}

/// Calls `work` on `workers` threads, or on fewer if they cannot be created: any of them can do all
/// that is left to do.
fn on_threads(workers: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 1..workers {
            let _ = thread::Builder::new().spawn_scoped(scope, &work);
        }
        work();
    });
}

/// The results of `make` for the numbers below `count`, in order.
pub(crate) fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    in_order(count, workers, make)
}

/// The same for what waits and does not compute: many at once, whatever the number of processors.
pub(crate) fn in_parallel_waits<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    in_order(count, WAITS, make)
}

/// The same on at most `workers` threads. The numbers are given out in order.
pub(crate) fn in_order<T: Send>(
    count: usize,
    workers: usize,
    make: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::with_capacity(count));
    on_threads(workers.min(count), || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            break;
        }
        let one = make(number);
        lock(&made).push((number, one));
    });
    let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, one)| one).collect()
}

/// Locks a mutex. A panicked thread leaves no data in an inconsistent state under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn threads_keep_the_order() {
        let made = in_parallel(1000, |number| number * 2);
        assert_eq!(made, (0..1000).map(|number| number * 2).collect::<Vec<_>>());
        assert!(in_parallel(0, |number| number).is_empty());
        let waited = in_parallel_waits(1000, |number| number * 2);
        assert_eq!(waited, made);
    }

    #[test]
    fn waits_overlap() {
        // Each waits for the other: one after the other they would never end.
        let both = Barrier::new(2);
        let leaders = in_parallel_waits(2, |_| both.wait().is_leader());
        assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
    }
}
