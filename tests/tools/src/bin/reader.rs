// SPDX-License-Identifier: GPL-2.0

//! Reads as fast as it can and says how long it took, as one line of JSON.
//!
//! Reads are direct, one at a time for each reader. It looks at no content and chooses no figures.
//!
//! Each reader is a process of its own, on a CPU of its own: in User-mode Linux all threads of a
//! process share one process of the host, which runs one of them at a time. It stands in fio's place
//! because system calls are dear there, and fio makes more of them than reads: on an idle machine it
//! made 9,000 to 17,000 direct 4 KiB reads a second of a ramdisk with one thread (psync) and 20,000 to
//! 23,000 with two, this 58,000 to 68,000 and 122,000 to 139,000. What the device costs would be lost.

use fastrand::Rng;
use overlaybd_tools::{
    args::{self, Args},
    device::{Device, Source},
    dm::Dm,
    sys::Buffer,
    Context, Failure,
};
use std::{
    io::{BufRead, BufReader, IoSliceMut, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const USAGE: &str = "usage:
  reader device PATH --bytes N [--readers N] [--limit BYTES] [--from BYTES] [--total BYTES]
      direct reads of N bytes in order, each reader its own part of the first (or all) LIMIT bytes
      from FROM on, at most TOTAL bytes in all
  reader device PATH --bytes N --seconds S [--readers N] [--limit BYTES] [--seed N]
      direct reads of N bytes at random multiples of N, for so many seconds
  reader create NAME TABLE [--count N]
      makes a device and loads the table N times; only the loading, which runs the target's
      constructor, is timed, and \"ns\" is the time of one. The device is removed
prints {\"ns\": …, \"bytes\": …, \"reads\": …}, and after reads \"cpu\", the seconds all CPUs were busy";

/// What one reader did.
#[derive(Clone, Copy, Default)]
struct Done {
    bytes: u64,
    reads: u64,
}

fn main() {
    args::run(|| {
        let mut args = Args::parse(
            &["help"],
            &[
                "bytes", "readers", "limit", "from", "total", "seconds", "seed", "count", "part",
                "min-size",
            ],
        )?;
        if args.flag("help") {
            println!("{USAGE}");
            return Ok(());
        }
        let command = args.word("the command")?;
        let path = PathBuf::from(args.word("the path or name")?);
        let readers: u64 = args.get("readers")?.unwrap_or(1);
        if readers == 0 {
            return Err("--readers must be 1 or more".into());
        }
        match command.as_str() {
            "device" => match args.get("part")? {
                Some(part) => device(&path, readers, part, &args),
                None => conduct(readers),
            },
            "create" => create(&path.to_string_lossy(), &mut args),
            other => Err(format!("there is no command {other}\n{USAGE}")),
        }
    })
}

/// CPU seconds that all CPUs have been busy since boot.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(1).take(8).enumerate();
    // The fourth is idle, the fifth waits for I/O; user space is told hundredths of a second.
    Ok(ticks
        .filter(|(place, _)| !(3..=4).contains(place))
        .filter_map(|(_, field)| field.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0)
}

/// Starts so many of this program, each with a part of the work, has them begin together, and prints
/// what they did.
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

/// Says that this reader is ready, waits until all are, and says how long `read` took.
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

fn device(path: &Path, readers: u64, number: u64, args: &Args) -> Result<(), Failure> {
    let bytes: u64 = args.get("bytes")?.ok_or("--bytes is missing")?;
    let device = Device::open(path, true)?;
    let from: u64 = args.get("from")?.unwrap_or(0);
    let limit = args.get("limit")?.unwrap_or(device.len()).min(device.len());
    let total: u64 = args.get("total")?.unwrap_or(limit);
    let units = limit.saturating_sub(from) / bytes.max(1);
    if bytes == 0 || units < readers {
        return Err(format!("{} is too short for that", path.display()));
    }
    let seed: u64 = args.get("seed")?.unwrap_or(1);
    let time: Option<f64> = args.get("seconds")?;
    let time = time.map(Duration::from_secs_f64);
    // Written to, so that no page of it is missing when the clock runs.
    let mut buffer = Buffer::new(bytes as usize, true);
    buffer.fill(0xff);
    timed(|| {
        let mut done = Done::default();
        let mut read = |unit: u64| {
            let at = from + unit * bytes;
            let slice = &mut [IoSliceMut::new(&mut buffer[..bytes as usize])];
            let n = device.read(slice, at, false).context(path.display())?;
            if n as u64 != bytes {
                return Err(format!("{} gave {n} bytes at {at}", path.display()));
            }
            done.bytes += bytes;
            done.reads += 1;
            Ok::<(), Failure>(())
        };
        if let Some(time) = time {
            let mut rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(number));
            let start = Instant::now();
            // The clock is a system call in User-mode Linux: looked at now and then only.
            while start.elapsed() < time {
                for _ in 0..32 {
                    read(rng.u64(0..units))?;
                }
            }
        } else {
            let first = units * number / readers;
            let count = (units * (number + 1) / readers - first).min(total / readers / bytes);
            for unit in first..first + count {
                read(unit)?;
            }
        }
        Ok(done)
    })
}

/// Reads nothing: how long a table takes to load, which is when a target reads its index.
fn create(name: &str, args: &mut Args) -> Result<(), Failure> {
    let table = args.word("the table")?;
    let table = table
        .lines()
        .map(str::parse)
        .collect::<Result<Vec<_>, _>>()?;
    let count: u32 = args.get("count")?.unwrap_or(1);
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
