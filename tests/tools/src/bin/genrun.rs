// SPDX-License-Identifier: GPL-2.0

//! Reads generated images, on the host or through device-mapper, and compares what comes out with
//! what must. Images and what must come out are made by `overlaybd_image::generate`; a seed and a
//! number make an image again.

use overlaybd_image::generate::{check, File, Image, Refusal, Verdict};
use overlaybd_tools::{
    args::{self, Args},
    device::Device,
    dm::{Dm, Line},
    sys::Buffer,
    Context, Failure, SECTOR,
};
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{ErrorKind, IoSliceMut, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Mutex,
    },
    time::Instant,
};

const USAGE: &str = "usage:
  genrun host [--seed N] [--first N] [--count N]
      reads images with the host's readers
  genrun guest SLOT... [--seed N] [--first N] [--count N] [--slots N]
      reads images through zfile_target and lsmt_target. A SLOT is FILE=DEVICE, a file and the loop
      device of it; each thread takes as many as --slots says, 8 if it does not
  genrun show DIR --seed N --first N
      writes the files of one image and what it must hold to a folder, and says what it is";

/// The most layers that an image has.
const MAX_LAYERS: usize = 8;

fn main() {
    args::run(|| {
        let mut args = Args::parse(&["help"], &["seed", "first", "count", "slots"])?;
        if args.flag("help") {
            println!("{USAGE}");
            return Ok(());
        }
        let run = Run {
            seed: args.get("seed")?.unwrap_or(1),
            next: AtomicU64::new(args.get("first")?.unwrap_or(0)),
            first: args.get("first")?.unwrap_or(0),
            count: args.get("count")?.unwrap_or(1),
            kinds: Mutex::default(),
            failed: AtomicBool::new(false),
        };
        match args.word("the command")?.as_str() {
            "host" => run.all(vec![Reader::Host]),
            "guest" => {
                let slots = args
                    .rest()
                    .iter()
                    .map(|text| Slot::new(text))
                    .collect::<Result<Vec<_>, _>>()?;
                let each = args.get("slots")?.unwrap_or(MAX_LAYERS);
                let mut readers = Vec::new();
                let mut slots = slots.into_iter().peekable();
                while slots.peek().is_some() {
                    let slots = slots.by_ref().take(each).collect();
                    readers.push(Reader::Guest(Guest::new(readers.len(), slots)?));
                }
                run.all(readers)
            }
            "show" => show(&PathBuf::from(args.word("the folder")?), &run),
            other => Err(format!("there is no command {other}\n{USAGE}")),
        }
    })
}

/// Which images to read, and how far that is.
struct Run {
    seed: u64,
    first: u64,
    count: u64,
    next: AtomicU64,
    /// How many images there were of each kind, and of them how many that are refused and how many
    /// that have sectors that cannot be read.
    kinds: Mutex<BTreeMap<&'static str, [u64; 3]>>,
    failed: AtomicBool,
}

/// What reads an image.
enum Reader {
    Host,
    Guest(Guest),
}

impl Run {
    fn all(&self, readers: Vec<Reader>) -> Result<(), Failure> {
        let start = Instant::now();
        println!(
            "seed {}, {} images from {}",
            self.seed, self.count, self.first
        );
        std::thread::scope(|scope| {
            let run = |reader: Reader| scope.spawn(move || self.some(reader));
            let threads: Vec<_> = readers.into_iter().map(run).collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err("a thread panicked".into()))
            })
        })?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{} images read in {seconds:.1} s, {:.1} a second",
            self.count,
            self.count as f64 / seconds
        );
        let kinds = self.kinds.lock().map_err(|_| "a thread panicked")?;
        for (kind, [all, refused, partly]) in &*kinds {
            println!("{all:6}  {kind} (refused {refused}, readable in part {partly})");
        }
        Ok(())
    }

    fn some(&self, mut reader: Reader) -> Result<(), Failure> {
        while !self.failed.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.first + self.count {
                break;
            }
            let image = Image::new(self.seed, number);
            let read = match &mut reader {
                Reader::Host => check(&image),
                Reader::Guest(guest) => guest.check(&image, self.seed ^ number),
            };
            read.map_err(|what| {
                self.failed.store(true, Ordering::Relaxed);
                format!("seed {}, number {number}: {what}\n  {image}", self.seed)
            })?;
            let (refused, partly) = match &image.verdict {
                Verdict::Refused(_) => (1, 0),
                Verdict::Reads(expected) => (0, u64::from(!expected.unreadable.is_empty())),
            };
            let mut kinds = self.kinds.lock().map_err(|_| "a thread panicked")?;
            let counts = kinds.entry(image.kind).or_default();
            counts[0] += 1;
            counts[1] += refused;
            counts[2] += partly;
        }
        Ok(())
    }
}

fn show(dir: &PathBuf, run: &Run) -> Result<(), Failure> {
    let image = Image::new(run.seed, run.first);
    fs::create_dir_all(dir).context(dir.display())?;
    let write = |name: String, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).context(path.display())
    };
    for (number, file) in image.files.iter().enumerate() {
        write(number.to_string(), &file.bytes)?;
    }
    if let Verdict::Reads(expected) = &image.verdict {
        write("content".into(), &expected.bytes)?;
    }
    println!("{image}");
    Ok(())
}

/// A file in which an image is put, and the loop device of it.
struct Slot {
    file: fs::File,
    len: u64,
    device: String,
}

impl Slot {
    fn new(text: &str) -> Result<Self, Failure> {
        let (path, device) = text
            .split_once('=')
            .ok_or_else(|| format!("'{text}' is not FILE=DEVICE"))?;
        let file = OpenOptions::new().write(true).open(path).context(path)?;
        let len = file.metadata().context(path)?.len();
        Ok(Self {
            file,
            len,
            device: device.into(),
        })
    }

    /// Puts a file in, and garbage behind it: a reader that goes too far gets it.
    fn put(&self, file: &File) -> Result<(), Failure> {
        let mut bytes = file.bytes.clone();
        bytes.resize(bytes.len() + 8192, 0xdb);
        if bytes.len() as u64 > self.len {
            return Err(format!(
                "a slot has {} bytes, a file {}",
                self.len,
                bytes.len()
            ));
        }
        self.file.write_all_at(&bytes, 0).context("slot")
    }
}

/// Reads images through device-mapper.
struct Guest {
    dm: Dm,
    name: String,
    slots: Vec<Slot>,
    memory: Buffer,
    log: Log,
    /// The devices that are there, in the order they were made in.
    made: Vec<String>,
}

impl Guest {
    fn new(thread: usize, slots: Vec<Slot>) -> Result<Self, Failure> {
        if slots.len() < MAX_LAYERS {
            return Err(format!(
                "{} slots, an image may need {MAX_LAYERS}",
                slots.len()
            ));
        }
        Ok(Self {
            dm: Dm::open()?,
            name: format!("gen{thread}"),
            slots,
            memory: Buffer::new(1 << 20, false),
            log: Log::open()?,
            made: Vec::new(),
        })
    }

    fn check(&mut self, image: &Image, seed: u64) -> Result<(), Failure> {
        let checked = self.check_devices(image, seed);
        while let Some(name) = self.made.pop() {
            self.dm.remove(&name)?;
        }
        checked
    }

    fn check_devices(&mut self, image: &Image, seed: u64) -> Result<(), Failure> {
        let refusal = match &image.verdict {
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Reads(_) => None,
        };
        let mut args = String::new();
        let mut last = PathBuf::new();
        for (number, file) in image.files.iter().enumerate() {
            let slot = &self.slots[number];
            slot.put(file)?;
            let mut device = slot.device.clone();
            if file.offset > 0 {
                let sectors = (slot.len - file.offset) / SECTOR;
                let table = format!("0 {sectors} linear {device} {}", file.offset / SECTOR);
                device = self
                    .make(&format!("t{number}"), &table)?
                    .display()
                    .to_string();
            }
            let Some(content) = file.content_len else {
                args += &format!(" {device} {}", file.len);
                continue;
            };
            let sectors = if image.stacked {
                content.div_ceil(SECTOR)
            } else {
                image.sectors
            };
            let table = format!("0 {sectors} zfile_target {device} {}", file.len);
            let made = self.make_or(&format!("z{number}"), &table);
            match self.settle(
                made,
                refusal.filter(|refusal| refusal.zfile == Some(number)),
            )? {
                Some(node) => last = node,
                None => return Ok(()),
            }
            args += &format!(" {} {content}", last.display());
        }
        if image.stacked {
            let table = format!("0 {} lsmt_target{args}", image.sectors);
            let made = self.make_or("s", &table);
            match self.settle(made, refusal)? {
                Some(node) => last = node,
                None => return Ok(()),
            }
        }
        self.compare(image, &Device::open(&last, true)?, seed)
    }

    /// The device, if it was made and should have been; [`None`] if it was refused as it should be.
    fn settle(
        &mut self,
        made: Result<PathBuf, Refused>,
        refusal: Option<&Refusal>,
    ) -> Result<Option<PathBuf>, Failure> {
        match (made, refusal) {
            (Ok(_), Some(refusal)) => {
                Err(format!("a table is not refused with: {}", refusal.message))
            }
            (Err(refused), Some(refusal)) => self
                .log
                .find(&refused, refusal.message, refusal.errno)
                .map(|()| None),
            (Err(refused), None) => Err(refused.what),
            (Ok(node), None) => Ok(Some(node)),
        }
    }

    fn make(&mut self, what: &str, table: &str) -> Result<PathBuf, Failure> {
        self.make_or(what, table).map_err(|refused| refused.what)
    }

    fn make_or(&mut self, what: &str, table: &str) -> Result<PathBuf, Refused> {
        let name = format!("{}-{what}", self.name);
        let mut node = PathBuf::new();
        let made = self.dm.create(&name).and_then(|created| {
            self.made.push(name.clone());
            node = created;
            let line: Line = table.parse()?;
            self.dm.load(&name, &[line])?;
            self.dm.resume(&name)
        });
        match made {
            Ok(()) => Ok(node),
            Err(what) => Err(Refused { node, what }),
        }
    }

    /// Reads everything, in pieces of many lengths: first in order, then all at once.
    fn compare(&mut self, image: &Image, device: &Device, seed: u64) -> Result<(), Failure> {
        let Verdict::Reads(expected) = &image.verdict else {
            return Err("the image should have been refused".into());
        };
        if device.len() != expected.bytes.len() as u64 {
            return Err(format!(
                "the device has {} bytes, should have {}",
                device.len(),
                expected.bytes.len()
            ));
        }
        let mut rng = fastrand::Rng::with_seed(seed);
        let sectors = expected.bytes.len() / SECTOR as usize;
        let longest = 1 << rng.u8(1..9);
        let mut at = 0;
        while at < sectors {
            let range = at..sectors.min(at + rng.usize(1..=longest));
            self.read(device, expected, &range, rng.usize(0..8))?;
            at = range.end;
        }
        self.read(device, expected, &(0..sectors), 0)
    }

    fn read(
        &mut self,
        device: &Device,
        expected: &overlaybd_image::generate::Expected,
        range: &std::ops::Range<usize>,
        skew: usize,
    ) -> Result<(), Failure> {
        let sector = SECTOR as usize;
        let len = range.len() * sector;
        let start = skew * sector;
        let memory = self
            .memory
            .get_mut(start..start + len)
            .ok_or("an image is larger than the buffer")?;
        memory.fill(0x5a);
        let read = device.read(
            &mut [IoSliceMut::new(memory)],
            range.start as u64 * SECTOR,
            false,
        );
        match (read, expected.readable(range)) {
            (Ok(n), true) if n != len => {
                Err(format!("only {n} bytes of sectors {range:?} are read"))
            }
            (Ok(_), true) => {
                let wanted = &expected.bytes[range.start * sector..range.end * sector];
                match memory.iter().zip(wanted).position(|(a, b)| a != b) {
                    None => Ok(()),
                    Some(at) => Err(format!(
                        "sectors {range:?}: byte {at} is {:#04x}, should be {:#04x}",
                        memory[at], wanted[at]
                    )),
                }
            }
            (Err(error), true) => Err(format!("sectors {range:?}: {error}")),
            (Ok(n), false) => Err(format!(
                "{n} bytes of sectors {range:?} are read, of which some cannot be"
            )),
            (Err(error), false) if error.raw_os_error() == Some(libc::EIO) => Ok(()),
            (Err(error), false) => Err(format!("sectors {range:?}: {error}, should be EIO")),
        }
    }
}

/// A table that was not taken.
struct Refused {
    node: PathBuf,
    what: Failure,
}

/// The kernel log, from where it was opened on.
struct Log {
    file: fs::File,
}

impl Log {
    fn open() -> Result<Self, Failure> {
        let path = "/dev/kmsg";
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .context(path)?;
        file.seek(SeekFrom::End(0)).context(path)?;
        Ok(Self { file })
    }

    /// Looks for a refusal in what came since the last look.
    fn find(&mut self, refused: &Refused, message: &str, errno: i32) -> Result<(), Failure> {
        let name = match errno {
            libc::EIO => "EIO",
            libc::EINVAL => "EINVAL",
            libc::EFBIG => "EFBIG",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            _ => "?",
        };
        // "device-mapper: table: 252:3: zfile_target: ZFile header: wrong magic (-EINVAL)"
        let minor = refused.node.display().to_string();
        let minor = minor.trim_start_matches("/dev/dm-");
        let device = format!(":{minor}: ");
        let texts = [
            format!(": {message} (-{name})"),
            format!(": {message} (-{errno})"),
        ];
        let mut last = String::new();
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(len) => {
                    let line = String::from_utf8_lossy(&record[..len]).into_owned();
                    if line.contains("table: ") && line.contains(&device) {
                        if texts.iter().any(|text| line.contains(text)) {
                            return Ok(());
                        }
                        last = line;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Records were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => return Err(format!("/dev/kmsg: {error}")),
            }
        }
        Err(format!(
            "refused ({}), but the log does not say '{message}' and {name}; it says '{}'",
            refused.what,
            last.trim()
        ))
    }
}
