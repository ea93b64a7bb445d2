// SPDX-License-Identifier: GPL-2.0

//! Requests to device-mapper in random order, from several threads and with reads under way.
//!
//! All good tables have the same content, so every read that succeeds must return it. Any request
//! may be refused. The process ends only when all reads have ended and every device is removed: a
//! request or a read that never returns is for the caller to notice.

use crate::{
    device::{Device, Source},
    dm::{Dm, Line},
    in_threads,
    sys::Buffer,
    Context, Failure, SECTOR,
};
use std::{
    io::{IoSliceMut, Write as _},
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        Mutex,
    },
    thread::sleep,
    time::{Duration, Instant},
};

/// The devices, by number. A rename moves one to a number that no other device has.
const NAMES: usize = 6;

/// The longest read in sectors.
const LONGEST: u64 = 200;

/// What to do.
pub struct Chaos {
    /// The names of devices begin with it.
    pub name: String,
    /// Tables with the same content.
    pub good: Vec<Vec<Line>>,
    /// Tables that are refused.
    pub bad: Vec<Vec<Line>>,
    /// What every device with a table holds.
    pub content: Vec<u8>,
    /// How long.
    pub time: Duration,
    /// Chooses the requests and the reads.
    pub seed: u64,
}

/// What was done.
#[derive(Default, Debug)]
pub struct Done {
    /// Requests that the kernel has served.
    pub served: u64,
    /// Requests that it has refused.
    pub refused: u64,
    /// Reads that have succeeded, and were right.
    pub reads: u64,
    /// Reads that have failed.
    pub failed: u64,
}

impl Done {
    fn add(&mut self, other: &Self) {
        self.served += other.served;
        self.refused += other.refused;
        self.reads += other.reads;
        self.failed += other.failed;
    }

    fn count(&mut self, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.served += 1,
            Err(_) => self.refused += 1,
        }
    }
}

/// A run, which its threads share.
struct Run<'a> {
    dm: &'a Dm,
    plan: &'a Chaos,
    /// The nodes of the devices that were created. One may be gone, or be another device's.
    nodes: Mutex<Vec<PathBuf>>,
    over: AtomicBool,
}

impl Chaos {
    /// Sends requests from two threads and reads from three, then removes all devices.
    ///
    /// # Errors
    ///
    /// A read that is wrong, a good table that is refused, a bad one that is loaded, or a device
    /// that cannot be removed at the end.
    pub fn run(&self, dm: &Dm) -> Result<Done, Failure> {
        let run = Run {
            dm,
            plan: self,
            nodes: Mutex::default(),
            over: AtomicBool::new(false),
        };
        let end = Instant::now() + self.time;
        let results = in_threads(0..5, |thread| {
            let rng = fastrand::Rng::with_seed(self.seed + thread);
            match thread {
                0 | 1 => {
                    let done = run.requests(rng, end);
                    run.over.store(true, Ordering::Relaxed);
                    // A read waits for as long as its device is suspended.
                    run.resume_all();
                    done
                }
                _ => run.reads(rng),
            }
        });
        let mut done = Done::default();
        for result in results {
            done.add(&result?);
        }
        for number in 0..NAMES {
            let name = self.name_of(number);
            match dm.remove(&name) {
                Err(what) if !what.contains("os error 6") => return Err(what),
                _ => {}
            }
        }
        Ok(done)
    }

    fn name_of(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }
}

impl Run<'_> {
    fn resume_all(&self) {
        for number in 0..NAMES {
            let _ = self.dm.resume(&self.plan.name_of(number));
        }
    }

    fn requests(&self, mut rng: fastrand::Rng, end: Instant) -> Result<Done, Failure> {
        let mut done = Done::default();
        while Instant::now() < end && !self.over.load(Ordering::Relaxed) {
            let result = self.request(&mut rng).inspect_err(|_| {
                self.over.store(true, Ordering::Relaxed);
            })?;
            done.count(result);
        }
        Ok(done)
    }

    /// One request. The outer error is one that must not be.
    fn request(&self, rng: &mut fastrand::Rng) -> Result<Result<(), Failure>, Failure> {
        let dm = self.dm;
        let name = self.plan.name_of(rng.usize(0..NAMES));
        Ok(match rng.u8(0..20) {
            0..3 => dm.create(&name).map(|node| {
                if let Ok(mut nodes) = self.nodes.lock() {
                    nodes.retain(|other| *other != node);
                    nodes.push(node);
                }
            }),
            3..8 => {
                let table = &self.plan.good[rng.usize(0..self.plan.good.len())];
                let loaded = dm.load(&name, table);
                match loaded {
                    // There is no such device, or another thread is removing it.
                    Err(ref what) if !what.contains("os error 6") => {
                        return Err(format!("a good table was refused: {what}"))
                    }
                    _ => loaded,
                }
            }
            8 if !self.plan.bad.is_empty() => {
                let table = &self.plan.bad[rng.usize(0..self.plan.bad.len())];
                let loaded = dm.load(&name, table);
                if loaded.is_ok() {
                    return Err("a bad table was loaded".into());
                }
                loaded
            }
            9 => dm.clear(&name),
            10 | 11 => dm.suspend(&name, rng.bool()),
            12..15 => dm.resume(&name),
            15 => dm.rename(&name, &self.plan.name_of(rng.usize(0..NAMES))),
            16 => dm.message(&name, 0, "a message that no target knows"),
            17 => dm.status(&name, rng.bool(), rng.usize(1..5) * 64).map(drop),
            _ => dm.remove(&name),
        })
    }

    fn reads(&self, mut rng: fastrand::Rng) -> Result<Done, Failure> {
        let mut done = Done::default();
        let mut buffer = Buffer::new((LONGEST * SECTOR) as usize, false);
        while !self.over.load(Ordering::Relaxed) {
            let node = {
                let nodes = self.nodes.lock().map_err(|_| "a thread panicked")?;
                (!nodes.is_empty()).then(|| nodes[rng.usize(0..nodes.len())].clone())
            };
            let opened = node.and_then(|node| Device::open(&node, true).ok());
            let Some(device) = opened else {
                sleep(Duration::from_millis(1));
                continue;
            };
            for _ in 0..rng.u8(1..8) {
                match self.read(&device, &mut rng, &mut buffer) {
                    Ok(true) => done.reads += 1,
                    Ok(false) => done.failed += 1,
                    Err(what) => {
                        self.over.store(true, Ordering::Relaxed);
                        return Err(what);
                    }
                }
            }
        }
        Ok(done)
    }

    /// One read. Whether it has succeeded; an error if it is wrong.
    fn read(
        &self,
        device: &Device,
        rng: &mut fastrand::Rng,
        buffer: &mut Buffer,
    ) -> Result<bool, Failure> {
        let sectors = self.plan.content.len() as u64 / SECTOR;
        let count = rng.u64(1..=LONGEST.min(sectors));
        let at = rng.u64(0..=sectors - count) * SECTOR;
        let len = (count * SECTOR) as usize;
        let read = device.read(&mut [IoSliceMut::new(&mut buffer[..len])], at, rng.bool());
        // A device without a table has no sectors.
        let Ok(read @ 1..) = read else {
            return Ok(false);
        };
        let wanted = &self.plan.content[at as usize..][..read];
        if buffer[..read] != *wanted {
            return Err(format!("{read} bytes at {at} are wrong"));
        }
        Ok(true)
    }
}

impl Done {
    /// Prints the counts in one line.
    ///
    /// # Errors
    ///
    /// If it cannot be printed.
    pub fn print(&self, seed: u64) -> Result<(), Failure> {
        let Self {
            served,
            refused,
            reads,
            failed,
        } = self;
        writeln!(
            std::io::stdout(),
            "served {served} refused {refused} reads {reads} failed {failed} seed {seed}"
        )
        .context("output")
    }
}
