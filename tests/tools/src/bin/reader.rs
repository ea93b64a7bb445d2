// SPDX-License-Identifier: GPL-2.0

//! Reads as fast as it can and prints how long it took, as one line of JSON.
//!
//! Reads are direct. Each reader does one at a time, or with `--depth` several, by `io_uring`. The
//! program looks at no content.
//!
//! Each reader is a process of its own, on a CPU of its own: in User-mode Linux all threads of a
//! process share one process of the host, which runs one of them at a time. The program stands in
//! for fio because system calls are costly there, and fio does more of them than reads: on an idle
//! machine fio (psync) did 9,000 to 17,000 direct 4 KiB reads a second of a ramdisk with one thread
//! and 20,000 to 23,000 with two, this program 58,000 to 68,000 and 122,000 to 139,000. With fio
//! the cost of the device would not show.

use clap::{Args, Parser};
use fastrand::Rng;
use overlaybd_tools::{
    device::{Device, Source},
    dm::{table, Dm},
    sys::{queue, Buffer},
    Context, Failure,
};
use std::{
    io::{BufRead, BufReader, IoSliceMut, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Reads as fast as it can and prints how long it took
///
/// Prints {"ns": ..., "bytes": ..., "reads": ...}, and after reads "cpu", the seconds that all CPUs
/// were busy.
#[derive(Parser)]
enum Task {
    /// Reads a device directly: in order, each reader its own part, or at random
    Device(Reads),
    /// Creates a device, loads its table again and again, and removes the device
    ///
    /// Only the loads are timed, which run the target's constructor; "ns" is the time of one.
    Create {
        name: String,
        /// The table, its lines separated by newlines
        table: String,
        /// How often to load it
        #[arg(long, default_value_t = 1)]
        count: u32,
    },
}

#[derive(Args)]
struct Reads {
    /// The device
    path: PathBuf,
    /// The length of each read
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    bytes: u64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    readers: u64,
    /// How many reads each reader has under way
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    depth: u32,
    /// Where the part of the device that is read ends, in bytes; at the end if this is missing
    #[arg(long)]
    limit: Option<u64>,
    /// Where it begins
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The most bytes that all readers read in order
    #[arg(long)]
    total: Option<u64>,
    /// Reads at random multiples of --bytes for this time
    #[arg(long)]
    seconds: Option<f64>,
    /// Chooses the random multiples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of this reader, which the first process starts
    #[arg(long, hide = true)]
    part: Option<u64>,
}

/// What one reader did.
#[derive(Clone, Copy, Default)]
struct Done {
    bytes: u64,
    reads: u64,
}

fn main() {
    let task = Task::parse();
    overlaybd_tools::run(|| match task {
        Task::Device(reads) => match reads.part {
            Some(part) => device(&reads, part),
            None => conduct(reads.readers),
        },
        Task::Create { name, table, count } => create(&name, &table, count),
    })
}

/// The seconds that all CPUs together have been busy since boot.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(1).take(8).enumerate();
    // The fourth field is idle time, the fifth waits for I/O. The unit is a hundredth of a second.
    Ok(ticks
        .filter(|(place, _)| !(3..=4).contains(place))
        .filter_map(|(_, field)| field.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0)
}

/// Starts a process of this program for each reader, lets them begin together, and prints the sum
/// of what they did.
fn conduct(readers: u64) -> Result<(), Failure> {
    let program = std::env::current_exe().context("this program")?;
    let mut children = Vec::new();
    for number in 0..readers {
        let child = Command::new("taskset")
            .args(["-c", &number.to_string()])
            .arg(&program)
            .args(std::env::args_os().skip(1))
            .args(["--part", &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("taskset")?;
        children.push(child);
    }
    let mut outputs = Vec::new();
    for child in &mut children {
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line).context("a reader")?;
        if line != "ready\n" {
            return Err("a reader could not begin".into());
        }
        outputs.push(output);
    }
    let before = cpu_seconds()?;
    for child in &mut children {
        let input = child.stdin.as_mut().ok_or("no input")?;
        input.write_all(b"\n").context("a reader")?;
    }
    let (mut ns, mut bytes, mut reads) = (0, 0, 0);
    for output in &mut outputs {
        let mut line = String::new();
        output.read_line(&mut line).context("a reader")?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().and_then(Result::ok).ok_or("a reader failed");
        ns = ns.max(next()?);
        bytes += next()?;
        reads += next()?;
    }
    let cpu = cpu_seconds()? - before;
    for mut child in children {
        child.wait().context("a reader")?;
    }
    println!("{{\"ns\": {ns}, \"bytes\": {bytes}, \"reads\": {reads}, \"cpu\": {cpu:.2}}}");
    Ok(())
}

/// Prints that this reader is ready, waits until all are, then prints how long `read` took.
fn timed(read: impl FnOnce() -> Result<Done, Failure>) -> Result<(), Failure> {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("stdin")?;
    let start = Instant::now();
    let done = read()?;
    let ns = start.elapsed().as_nanos();
    println!("{ns} {} {}", done.bytes, done.reads);
    Ok(())
}

/// The places that one reader reads from, one after the other.
enum Places {
    InOrder(std::ops::Range<u64>),
    AtRandom {
        rng: Rng,
        units: u64,
        start: Instant,
        time: Duration,
        /// How often to go on without a look at the clock
        unwatched: u32,
    },
}

impl Iterator for Places {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        match self {
            Self::InOrder(range) => range.next(),
            Self::AtRandom {
                rng,
                units,
                start,
                time,
                unwatched,
            } => {
                // The clock is a system call in User-mode Linux: read it once in 32 reads.
                if *unwatched == 0 {
                    if start.elapsed() >= *time {
                        return None;
                    }
                    *unwatched = 32;
                }
                *unwatched -= 1;
                Some(rng.u64(0..*units))
            }
        }
    }
}

fn device(args: &Reads, number: u64) -> Result<(), Failure> {
    let &Reads {
        bytes,
        readers,
        depth,
        from,
        seed,
        ..
    } = args;
    let path = &args.path;
    let device = Device::open(path, true)?;
    let limit = args.limit.unwrap_or(device.len()).min(device.len());
    let total = args.total.unwrap_or(limit);
    let units = limit.saturating_sub(from) / bytes;
    if units < readers {
        return Err(format!("{} is too short for that", path.display()));
    }
    let time = args.seconds.map(Duration::from_secs_f64);
    // Written to, so that no page fault occurs while the clock runs.
    let mut buffer = Buffer::new(bytes as usize * depth as usize, true);
    buffer.fill(0xff);
    timed(|| {
        let mut places = if let Some(time) = time {
            Places::AtRandom {
                rng: Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(number)),
                units,
                start: Instant::now(),
                time,
                unwatched: 0,
            }
        } else {
            let first = units * number / readers;
            let count = (units * (number + 1) / readers - first).min(total / readers / bytes);
            Places::InOrder(first..first + count)
        }
        .map(|unit| from + unit * bytes);
        let reads = if depth > 1 {
            let how = queue::Reads {
                bytes: bytes as u32,
                depth,
                polled: false,
            };
            device.read_at_once(&mut buffer, how, || places.next(), |_, _| Ok(()))?
        } else {
            let mut reads = 0;
            for at in places {
                let slice = &mut [IoSliceMut::new(&mut buffer[..bytes as usize])];
                let n = device.read(slice, at, false).context(path.display())?;
                if n as u64 != bytes {
                    return Err(format!("{} gave {n} bytes at {at}", path.display()));
                }
                reads += 1;
            }
            reads
        };
        Ok(Done {
            bytes: reads * bytes,
            reads,
        })
    })
}

/// Times the loads of a table, in which a target reads its index.
fn create(name: &str, text: &str, count: u32) -> Result<(), Failure> {
    let table = table(text)?;
    let dm = Dm::open()?;
    dm.create(name)?;
    let mut elapsed = Duration::ZERO;
    let mut loaded = Ok(());
    for _ in 0..count {
        let start = Instant::now();
        loaded = dm.load(name, &table);
        elapsed += start.elapsed();
        if loaded.is_err() {
            break;
        }
        dm.clear(name)?;
    }
    dm.remove(name)?;
    loaded.context(name)?;
    let ns = elapsed.as_nanos() / u128::from(count.max(1));
    println!("{{\"ns\": {ns}, \"bytes\": 0, \"reads\": {count}}}");
    Ok(())
}
