// SPDX-License-Identifier: GPL-2.0

//! Reads block devices and checks what comes.
//!
//! A seed chooses all that it does; it prints the seed when something is wrong. It never writes to
//! a device, except in `blkcheck modify`, which tries to.

use clap::{Args, Parser};
use overlaybd_tools::{
    content::{compare as compare_bytes, Content},
    device::{Device, Source},
    either::either,
    holes::Holes,
    in_threads,
    pattern::Pattern,
    random::{Done, Plan, Reader},
    reference::Reference,
    sweep::sweep,
    sys::{self, queue::Reads, Buffer, RangeIoctl},
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

/// Reads block devices and checks what comes.
#[derive(Parser)]
enum Command {
    /// Prints the SHA-256 of what the device holds
    Hash(Hash),
    /// Reads at random and compares with a file
    ///
    /// Reads that touch a --bad range must fail with EIO and leave nothing in memory that is not
    /// right; buffered reads near it may fail too.
    Compare(Compare),
    /// Reads all units in order and compares with a file
    ///
    /// Units that touch a --bad range must fail with EIO and leave nothing in memory that is not
    /// right.
    Sweep(Sweep),
    /// Reads at random by io_uring, several reads at once, and compares with a file
    Queued(Queued),
    /// Reads at random while another thread writes to the memory that is read into
    ///
    /// All reads must succeed and leave the memory behind them as it was. What they read is chance.
    Overwritten(Overwritten),
    /// Reads at random from a device that changes between the contents of two files
    ///
    /// Every sector must be that of one of them, and some must be of each.
    Either(Either),
    /// Tries to write, discard, zero and flush, and prints the result of each
    Modify {
        /// The device
        device: PathBuf,
    },
    /// Writes the hash tree that dm-verity reads, and prints the root hash
    Verity {
        /// The device
        device: PathBuf,
        /// The file to write
        hashes: PathBuf,
    },
}

#[derive(Args)]
struct Hash {
    /// The device
    device: PathBuf,
    /// Where to begin, in bytes
    #[arg(long, default_value_t = 0)]
    offset: u64,
    /// How much to read, instead of all
    #[arg(long)]
    bytes: Option<u64>,
    /// Reads through the page cache
    #[arg(long)]
    buffered: bool,
    /// Keeps the content in this file
    #[arg(long)]
    save: Option<PathBuf>,
}

#[derive(Args)]
struct Compare {
    /// The device
    device: PathBuf,
    /// The file with what it should hold
    reference: PathBuf,
    /// How many reads each thread does
    #[arg(long, required_unless_present = "until")]
    reads: Option<u64>,
    /// Ends once this file exists
    #[arg(long)]
    until: Option<PathBuf>,
    /// Creates this file after the first read
    #[arg(long)]
    ready: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Chooses what is read, instead of chance
    #[arg(long)]
    seed: Option<u64>,
    /// The longest read
    #[arg(long, default_value_t = 384 << 10)]
    max_bytes: u64,
    /// The most pieces of memory of a direct read
    #[arg(long, default_value_t = 8)]
    max_pieces: usize,
    /// The unit of direct reads, in bytes
    #[arg(long, default_value_t = SECTOR)]
    unit: u64,
    /// Does no buffered reads and none with RWF_NOWAIT
    #[arg(long)]
    direct_only: bool,
    /// Does only direct reads with RWF_NOWAIT, and repeats those that are declined
    #[arg(long, conflicts_with = "direct_only")]
    nowait_only: bool,
    /// A range of the reference that cannot be read
    #[arg(long, value_name = "OFFSET+BYTES")]
    bad: Vec<String>,
    /// Any read may fail with EIO
    #[arg(long)]
    allow_eio: bool,
    /// Where the reference begins on the device
    #[arg(long, default_value_t = 0)]
    device_offset: u64,
    /// Where the reference begins in its file
    #[arg(long, default_value_t = 0)]
    reference_offset: u64,
    /// The length of the reference, instead of up to the end of its file
    #[arg(long)]
    bytes: Option<u64>,
}

#[derive(Args)]
struct Either {
    /// The device
    device: PathBuf,
    /// The files, of the same length
    #[arg(num_args = 2)]
    references: Vec<PathBuf>,
    /// Ends once this file exists
    #[arg(long)]
    until: PathBuf,
    /// Creates this file after the first read
    #[arg(long)]
    ready: PathBuf,
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Chooses what is read
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct Sweep {
    /// The device
    device: PathBuf,
    /// The file with what it should hold
    reference: PathBuf,
    /// The length of each read, in bytes
    #[arg(long, default_value_t = SECTOR)]
    unit: u64,
    /// A range of the reference that cannot be read
    #[arg(long, value_name = "OFFSET+BYTES")]
    bad: Vec<String>,
    /// Reads that fail must leave nothing but zeros
    #[arg(long)]
    zeroed: bool,
}

#[derive(Args)]
struct Queued {
    /// The device
    device: PathBuf,
    /// The file with what it should hold
    reference: PathBuf,
    /// How many reads to do
    #[arg(long)]
    reads: usize,
    /// How many are under way at once
    #[arg(long, default_value_t = 1)]
    depth: u32,
    /// The length of each read, in bytes
    #[arg(long, default_value_t = 4096)]
    bytes: u32,
    /// Looks for the ends of reads instead of waiting for interrupts (IORING_SETUP_IOPOLL)
    #[arg(long)]
    polled: bool,
    /// Chooses what is read, instead of chance
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Args)]
struct Overwritten {
    /// The device
    device: PathBuf,
    /// How many reads to do
    #[arg(long)]
    reads: usize,
    /// The longest read, in bytes
    #[arg(long, default_value_t = 256 << 10)]
    max_bytes: u32,
    /// Chooses what is read, instead of chance
    #[arg(long)]
    seed: Option<u64>,
}

fn main() {
    let command = Command::parse();
    overlaybd_tools::run(|| match command {
        Command::Hash(args) => hash(&args),
        Command::Compare(args) => compare(&args),
        Command::Sweep(args) => check_all(&args),
        Command::Queued(args) => queued(&args),
        Command::Overwritten(args) => overwritten(&args),
        Command::Either(args) => either_of(&args),
        Command::Modify { device } => modify(&device),
        Command::Verity { device, hashes } => hash_tree(&device, &hashes),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn holes(texts: &[String]) -> Result<Holes, Failure> {
    let mut holes = Holes::default();
    for text in texts {
        holes.add(text)?;
    }
    Ok(holes)
}

fn hash(args: &Hash) -> Result<(), Failure> {
    let device = Device::open(&args.device, !args.buffered)?;
    let offset = args.offset;
    let bytes = args.bytes.unwrap_or(device.len().saturating_sub(offset));
    let save = args
        .save
        .as_ref()
        .map(|path| File::create(path).context(path.display()))
        .transpose()?;
    let mut sha256 = Sha256::new();
    device.scan(offset, bytes, |at, data| {
        sha256.update(data);
        let Some(file) = &save else { return Ok(()) };
        // Zeros become a hole: the file gets its length below, and takes no memory for them.
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

fn compare(args: &Compare) -> Result<(), Failure> {
    let reference = Reference::open(&args.reference, args.reference_offset, args.bytes)?;
    if reference.is_empty() {
        return Err(format!("{} is empty", args.reference.display()));
    }
    let plan = Plan {
        reads: args.reads.unwrap_or(u64::MAX),
        ready: args.ready.clone(),
        until: args.until.clone(),
        unit: args.unit,
        max_bytes: args.max_bytes,
        max_pieces: args.max_pieces,
        device_offset: args.device_offset,
        holes: holes(&args.bad)?,
        allow_eio: args.allow_eio,
        direct_only: args.direct_only,
        nowait_only: args.nowait_only,
    };
    if plan.unit == 0
        || plan.unit % SECTOR != 0
        || plan.max_bytes < plan.unit
        || plan.max_pieces == 0
        || plan.device_offset % plan.unit != 0
    {
        return Err("--unit, --max-bytes, --max-pieces or --device-offset is not possible".into());
    }
    let path = &args.device;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let results = in_threads(0..args.threads, |thread| {
        Reader::new(path, &reference, &plan, seed + thread)?.run()
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

fn either_of(args: &Either) -> Result<(), Failure> {
    let read = |path: &PathBuf| std::fs::read(path).context(path.display());
    let (one, other) = (read(&args.references[0])?, read(&args.references[1])?);
    let device = Device::open(&args.device, true)?;
    let counts = in_threads(0..args.threads, |thread| {
        let mut rng = fastrand::Rng::with_seed(args.seed + thread);
        let over = || args.until.exists();
        let first = || std::fs::write(&args.ready, "").context(args.ready.display());
        either(&device, [&one, &other], &mut rng, over, first)
    });
    let mut sum = [0; 2];
    for count in counts {
        let count = count?;
        sum = [sum[0] + count[0], sum[1] + count[1]];
    }
    println!("sectors {} and {}", sum[0], sum[1]);
    if sum.contains(&0) {
        return Err("all sectors are of one content".into());
    }
    Ok(())
}

fn check_all(args: &Sweep) -> Result<(), Failure> {
    let reference = Reference::open(&args.reference, 0, None)?;
    let device = Device::open(&args.device, true)?;
    if args.unit == 0 || args.unit % SECTOR != 0 {
        return Err("--unit is not whole sectors".into());
    }
    let (good, bad) = sweep(
        &device,
        &reference,
        &holes(&args.bad)?,
        args.unit,
        args.zeroed,
    )
    .context(args.device.display())?;
    println!("good {good} bad {bad}");
    Ok(())
}

fn queued(args: &Queued) -> Result<(), Failure> {
    let reference = Reference::open(&args.reference, 0, None)?;
    let device = Device::open(&args.device, true)?;
    let end = device.len().min(reference.len()) / SECTOR;
    let sectors = u64::from(args.bytes) / SECTOR;
    if sectors == 0 || sectors > end || u64::from(args.bytes) % SECTOR != 0 || args.depth == 0 {
        return Err("--bytes or --depth is not possible".into());
    }
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut places = (0..args.reads).map(|_| rng.u64(0..=end - sectors) * SECTOR);
    let mut buffer = Buffer::new(args.bytes as usize * args.depth as usize, false);
    let how = Reads {
        bytes: args.bytes,
        depth: args.depth,
        polled: args.polled,
    };
    let reads = device
        .read_at_once(
            &mut buffer,
            how,
            || places.next(),
            |at, read| compare_bytes(&reference, at, read).map_err(io::Error::other),
        )
        .context(format_args!("seed {seed}"))?;
    println!("reads {reads} seed {seed}");
    Ok(())
}

fn overwritten(args: &Overwritten) -> Result<(), Failure> {
    let device = Device::open(&args.device, true)?;
    let end = device.len() / SECTOR;
    let max = (u64::from(args.max_bytes) / SECTOR).min(end);
    if max == 0 {
        return Err("--max-bytes is not possible".into());
    }
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut buffer = Buffer::new(args.max_bytes as usize + 4096, false);
    for n in 0..args.reads {
        let pattern = Pattern::new(rng.u64(..));
        pattern.fill(&mut buffer);
        let sectors = rng.u64(1..=max);
        let at = rng.u64(0..=end - sectors) * SECTOR;
        let bytes = (sectors * SECTOR) as u32;
        let what = format!(
            "{}: seed {seed} read {n} of {bytes} bytes at {at}",
            args.device.display()
        );
        let read = device.read_while_written(&mut buffer, bytes, at);
        let read = read.context(&what)?;
        if read != bytes as usize {
            return Err(format!("{what}: {read} bytes were read"));
        }
        if let Some(at) = pattern.change(&buffer, read..buffer.len()) {
            return Err(format!("{what}: memory behind it was written, at {at}"));
        }
    }
    println!("reads {} seed {seed}", args.reads);
    Ok(())
}

/// The name of a change to a device, and what tries it.
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
        // First, because it also reports the failures of earlier writes.
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

fn hash_tree(path: &Path, file: &Path) -> Result<(), Failure> {
    let (root, tree) = verity::tree(&Device::open(path, true)?)?;
    std::fs::write(file, tree).context(file.display())?;
    println!("{}", hex(&root));
    Ok(())
}
