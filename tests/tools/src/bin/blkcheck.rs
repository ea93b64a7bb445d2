// SPDX-License-Identifier: GPL-2.0

//! Reads block devices and judges what comes.
//!
//! Everything it reads with is chosen by a seed, which it prints when something is wrong. It never
//! writes to a device, except in `blkcheck modify`, which tries to.

use overlaybd_tools::{
    args::{self, Args},
    device::{Device, Source},
    judge::Content,
    reads::{self, Done, Plan, Reader},
    reference::{Holes, Reference},
    sys::{self, Buffer, RangeIoctl},
    verity, Context, Failure, SECTOR,
};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const USAGE: &str = "usage:
  blkcheck hash DEVICE [--offset BYTES] [--bytes BYTES] [--buffered] [--save FILE]
      prints the sha256 of what the device holds; --save keeps the content
  blkcheck compare DEVICE REFERENCE [--reads N] [--threads N] [--seed N] [--max-bytes N]
      [--max-pieces N] [--unit BYTES] [--until FILE] [--ready FILE] [--direct-only] [--bad OFFSET+BYTES]...
      [--device-offset BYTES] [--reference-offset BYTES] [--bytes BYTES] [--allow-eio]
      random reads, compared with the file; those that touch a --bad range must fail with EIO, and
      leave nothing in memory that is not right; buffered ones near it may fail too
  blkcheck sweep DEVICE REFERENCE [--unit BYTES] [--bad OFFSET+BYTES]...
      reads all units in order: EIO where it is bad, the right bytes elsewhere, and nothing in
      memory that is not right
  blkcheck modify DEVICE
      tries to write, discard, zero and flush, and prints what came of it
  blkcheck verity DEVICE HASHFILE
      writes dm-verity's hash tree and prints the root hash";

fn main() {
    args::run(|| {
        let mut args = Args::parse(
            &["allow-eio", "buffered", "direct-only", "help"],
            &[
                "offset",
                "bytes",
                "save",
                "reads",
                "threads",
                "seed",
                "max-bytes",
                "max-pieces",
                "until",
                "ready",
                "bad",
                "device-offset",
                "reference-offset",
                "unit",
            ],
        )?;
        if args.flag("help") {
            println!("{USAGE}");
            return Ok(());
        }
        let command = args.word("the command")?;
        let device = PathBuf::from(args.word("the device")?);
        match command.as_str() {
            "hash" => hash(&device, &args),
            "compare" => compare(&device, &mut args),
            "sweep" => sweep(&device, &mut args),
            "modify" => modify(&device),
            "verity" => hash_tree(&device, &mut args),
            other => Err(format!("there is no command {other}\n{USAGE}")),
        }
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn holes(args: &Args) -> Result<Holes, Failure> {
    let mut holes = Holes::default();
    for text in args.all("bad") {
        holes.add(text)?;
    }
    Ok(holes)
}

fn hash(path: &Path, args: &Args) -> Result<(), Failure> {
    let device = Device::open(path, !args.flag("buffered"))?;
    let offset = args.get("offset")?.unwrap_or(0);
    let bytes = args
        .get("bytes")?
        .unwrap_or(device.len().saturating_sub(offset));
    let save: Option<PathBuf> = args.get("save")?;
    let save = save
        .map(|path| File::create(&path).context(path.display()))
        .transpose()?;
    let mut sha256 = Sha256::new();
    device.scan(offset, bytes, |at, data| {
        sha256.update(data);
        let Some(file) = &save else { return Ok(()) };
        // Zeros are left out: the file gets its length below, and takes no memory for them.
        for (n, piece) in data.chunks(65536).enumerate() {
            if piece.iter().any(|&byte| byte != 0) {
                let at = at - offset + n as u64 * 65536;
                file.write_all_at(piece, at).context("--save")?;
            }
        }
        Ok(())
    })?;
    if let Some(file) = &save {
        file.set_len(bytes).context("--save")?;
    }
    println!("{}", hex(&sha256.finalize()));
    Ok(())
}

fn compare(path: &Path, args: &mut Args) -> Result<(), Failure> {
    let file = PathBuf::from(args.word("the reference")?);
    let skip = args.get("reference-offset")?.unwrap_or(0);
    let reference = Reference::open(&file, skip, args.get("bytes")?)?;
    if reference.is_empty() {
        return Err(format!("{} is empty", file.display()));
    }
    let until = args.get("until")?;
    let unit = args.get("unit")?.unwrap_or(SECTOR);
    let plan = Plan {
        reads: match args.get("reads")? {
            Some(reads) => reads,
            None if until.is_some() => u64::MAX,
            None => return Err("--reads or --until is missing".into()),
        },
        ready: args.get("ready")?,
        until,
        unit,
        max_bytes: args.get("max-bytes")?.unwrap_or(384 << 10),
        max_pieces: args.get("max-pieces")?.unwrap_or(8),
        device_offset: args.get("device-offset")?.unwrap_or(0),
        holes: holes(args)?,
        allow_eio: args.flag("allow-eio"),
        direct_only: args.flag("direct-only"),
    };
    if unit == 0
        || unit % SECTOR != 0
        || plan.max_bytes < unit
        || plan.max_pieces == 0
        || plan.device_offset % unit != 0
    {
        return Err("--unit, --max-bytes, --max-pieces or --device-offset is not possible".into());
    }
    let seed: u64 = args.get("seed")?.unwrap_or_else(|| fastrand::u64(..));
    let threads: u64 = args.get("threads")?.unwrap_or(1);
    let results: Vec<Result<Done, Failure>> = std::thread::scope(|scope| {
        let run = |thread| {
            let (reference, plan) = (&reference, &plan);
            scope.spawn(move || Reader::new(path, reference, plan, seed + thread)?.run())
        };
        let threads: Vec<_> = (0..threads).map(run).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Done, Failure>>| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        };
        threads.into_iter().map(join).collect()
    });
    let mut done = Done::default();
    for (thread, result) in results.into_iter().enumerate() {
        done.add(result.map_err(|failure| {
            format!("{}: seed {seed} thread {thread} {failure}", path.display())
        })?);
    }
    println!(
        "reads {} bytes {} failed {} nowait_answered {} nowait_refused {} seed {seed}",
        done.reads, done.bytes, done.failed, done.nowait_answered, done.nowait_refused
    );
    Ok(())
}

fn sweep(path: &Path, args: &mut Args) -> Result<(), Failure> {
    let file = PathBuf::from(args.word("the reference")?);
    let reference = Reference::open(&file, 0, None)?;
    let device = Device::open(path, true)?;
    let unit: u64 = args.get("unit")?.unwrap_or(SECTOR);
    if unit == 0 || unit % SECTOR != 0 {
        return Err("--unit is not whole sectors".into());
    }
    let (good, bad) =
        reads::sweep(&device, &reference, &holes(args)?, unit).context(path.display())?;
    println!("good {good} bad {bad}");
    Ok(())
}

/// A thing to do to a device.
type Attempt<'a> = (&'static str, Box<dyn Fn() -> io::Result<()> + 'a>);

fn modify(path: &Path) -> Result<(), Failure> {
    let open = |flags: OFlags| {
        let mut options = File::options();
        options
            .read(true)
            .write(true)
            .custom_flags(flags.bits() as i32);
        options.open(path).context(path.display())
    };
    let (direct, buffered) = (open(OFlags::DIRECT)?, open(OFlags::empty())?);
    let mut memory = Buffer::new(65536, false);
    memory.fill(0xee);
    let range = |what| sys::range_ioctl(&direct, what, 0, 4096);
    let attempts: [Attempt<'_>; 8] = [
        // First, because it also reports what an earlier write could not do.
        ("flush", Box::new(|| direct.sync_all())),
        (
            "direct-write",
            Box::new(|| direct.write_all_at(&memory[..4096], 0)),
        ),
        (
            "long-direct-write",
            Box::new(|| direct.write_all_at(&memory[..65536], 512)),
        ),
        (
            "buffered-write",
            Box::new(|| {
                buffered.write_all_at(&memory[..4096], 0)?;
                buffered.sync_all()
            }),
        ),
        ("discard", Box::new(|| range(RangeIoctl::Discard))),
        (
            "secure-discard",
            Box::new(|| range(RangeIoctl::SecureDiscard)),
        ),
        ("zero-out", Box::new(|| range(RangeIoctl::ZeroOut))),
        (
            "one-sector-write",
            Box::new(|| direct.write_all_at(&memory[..512], 0)),
        ),
    ];
    for (name, attempt) in attempts {
        match attempt() {
            Ok(()) => println!("{name} done"),
            Err(error) => println!("{name} {}", sys::errno_name(&error)),
        }
    }
    Ok(())
}

fn hash_tree(path: &Path, args: &mut Args) -> Result<(), Failure> {
    let file = PathBuf::from(args.word("the hash file")?);
    let (root, tree) = verity::tree(&Device::open(path, true)?)?;
    std::fs::write(&file, tree).context(file.display())?;
    println!("{}", hex(&root));
    Ok(())
}
