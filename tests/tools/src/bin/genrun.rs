// SPDX-License-Identifier: GPL-2.0

//! Reads generated images, on the host or through device-mapper, and compares what comes out with
//! what must. Images and what must come out are made by `overlaybd_image::generate`; a seed and a
//! number make an image again.

use overlaybd_image::generate::{check, Expected, File, Image, Refusal, Verdict};
use overlaybd_tools::{
    args::{self, Args},
    device::{Device, Source},
    dm::{Dm, Line},
    judge::{Content, Pattern, Target, Wanted},
    sys::Buffer,
    Context, Failure, SECTOR,
};
use rustix::{fs::OFlags, io::Errno};
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{ErrorKind, IoSliceMut, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Mutex,
    },
    time::{Duration, Instant},
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

/// How long the kernel log may take to say why a table was refused.
const LOG_LIMIT: Duration = Duration::from_secs(5);

/// Bytes of memory before and behind what is read that are looked at too: a page, so that reads can
/// be made to the beginning of one.
const MARGIN: usize = 4096;

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
            let refusal = refusal.filter(|refusal| refusal.zfile == Some(number));
            match settle(made, refusal, |refused, refusal| {
                self.log.find(refused, refusal)
            })? {
                Some(node) => last = node,
                None => return Ok(()),
            }
            args += &format!(" {} {content}", last.display());
        }
        if image.stacked {
            let table = format!("0 {} lsmt_target{args}", image.sectors);
            let made = self.make_or("s", &table);
            match settle(made, refusal, |refused, refusal| {
                self.log.find(refused, refusal)
            })? {
                Some(node) => last = node,
                None => return Ok(()),
            }
        }
        let (direct, buffered) = (Device::open(&last, true)?, Device::open(&last, false)?);
        compare(image, &direct, &buffered, &mut self.memory, seed)
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
}

/// The device, if it was made and should have been; [`None`] if it was refused as it should be, which
/// `find` finds in the log.
fn settle(
    made: Result<PathBuf, Refused>,
    refusal: Option<&Refusal>,
    find: impl FnOnce(&Refused, &Refusal) -> Result<(), Failure>,
) -> Result<Option<PathBuf>, Failure> {
    match (made, refusal) {
        (Ok(_), Some(refusal)) => Err(format!("a table is not refused with: {}", refusal.message)),
        (Err(refused), Some(refusal)) => find(&refused, refusal).map(|()| None),
        (Err(refused), None) => Err(refused.what),
        (Ok(node), None) => Ok(Some(node)),
    }
}

/// What an image holds. Where it cannot be read nothing is right.
struct Held<'a>(&'a Expected);

impl Content for Held<'_> {
    fn len(&self) -> u64 {
        self.0.bytes.len() as u64
    }

    fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Failure> {
        let from = at as usize;
        let held = self.0.bytes.get(from..from + out.len());
        out.copy_from_slice(held.ok_or("that is beyond the image")?);
        Ok(())
    }

    fn has_right_bytes(&self, at: u64) -> bool {
        let sector = (at / SECTOR) as usize;
        self.0.readable(&(sector..sector + 1))
    }
}

/// Reads everything, in pieces of many lengths, directly and through the page cache: first in order,
/// then all at once.
fn compare(
    image: &Image,
    direct: &impl Source,
    buffered: &impl Source,
    memory: &mut [u8],
    seed: u64,
) -> Result<(), Failure> {
    let Verdict::Reads(expected) = &image.verdict else {
        return Err("the image should have been refused".into());
    };
    for device in [direct.len(), buffered.len()] {
        if device != expected.bytes.len() as u64 {
            return Err(format!(
                "the device has {device} bytes, should have {}",
                expected.bytes.len()
            ));
        }
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let sectors = expected.bytes.len() / SECTOR as usize;
    let longest = 1 << rng.u8(1..9);
    let mut at = 0;
    while at < sectors {
        let range = at..sectors.min(at + rng.usize(1..=longest));
        let start = MARGIN + rng.usize(0..8) * SECTOR as usize;
        let pattern = Pattern::new(rng.u64(..));
        if rng.u8(0..4) == 0 {
            let start = start + rng.usize(0..8);
            read(buffered, true, expected, &range, memory, start, pattern)?;
        } else {
            read(direct, false, expected, &range, memory, start, pattern)?;
        }
        at = range.end;
    }
    let (all, pattern) = (0..sectors, Pattern::new(rng.u64(..)));
    read(direct, false, expected, &all, memory, MARGIN, pattern)?;
    read(buffered, true, expected, &all, memory, MARGIN, pattern)
}

/// Reads some sectors to `start` in memory.
fn read(
    device: &impl Source,
    cached: bool,
    expected: &Expected,
    sectors: &Range<usize>,
    memory: &mut [u8],
    start: usize,
    pattern: Pattern,
) -> Result<(), Failure> {
    let (at, len) = (
        sectors.start as u64 * SECTOR,
        sectors.len() * SECTOR as usize,
    );
    let memory = memory
        .get_mut(start - MARGIN..start + len + MARGIN)
        .ok_or("an image is larger than the buffer")?;
    let place = MARGIN..MARGIN + len;
    pattern.fill(memory);
    let outcome = device.read(
        &mut [IoSliceMut::new(&mut memory[place.clone()])],
        at,
        false,
    );
    let target = Target {
        memory,
        places: &[place],
        pattern,
        at,
        cached,
    };
    let way = if cached { "buffered" } else { "direct" };
    target
        .judge(&outcome, wanted(expected, sectors, cached), &Held(expected))
        .map_err(|what| format!("{way} read of the sectors {sectors:?}: {what}"))
        .map(drop)
}

/// How reading some sectors may end.
fn wanted(expected: &Expected, sectors: &Range<usize>, cached: bool) -> Wanted {
    let bad = |sector: &usize| !expected.readable(&(*sector..*sector + 1));
    match sectors.clone().find(bad) {
        Some(sector) => Wanted::Failure {
            unreadable: sector as u64 * SECTOR,
        },
        // Which other sectors it gives up together with those that cannot be read is the page
        // cache's affair.
        None if cached && !expected.unreadable.is_empty() => Wanted::Either,
        None => Wanted::Success,
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
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .context(path)?;
        file.seek(SeekFrom::End(0)).context(path)?;
        Ok(Self { file })
    }

    /// Looks for a refusal in what came since the last look.
    fn find(&mut self, refused: &Refused, refusal: &Refusal) -> Result<(), Failure> {
        let start = Instant::now();
        let mut last = String::new();
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(len) => {
                    let line = String::from_utf8_lossy(&record[..len]).into_owned();
                    match said(&line, &refused.node, refusal) {
                        Said::ThisRefusal => return Ok(()),
                        Said::Another => last = line,
                        Said::Nothing => {}
                    }
                }
                // While another CPU is writing a record, those behind it cannot be read.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if start.elapsed() > LOG_LIMIT {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                // Records were overwritten before they were read.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::PIPE) => {}
                Err(error) => return Err(format!("/dev/kmsg: {error}")),
            }
        }
        Err(format!(
            "refused ({}), but the log does not say '{}' and errno {}; it says '{}'",
            refused.what,
            refusal.message,
            refusal.errno,
            last.trim()
        ))
    }
}

/// What a line of the kernel log says of a refused table.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// That it was refused as it should be.
    ThisRefusal,
    /// Something else about this device's table.
    Another,
    /// Nothing.
    Nothing,
}

/// What a line of the kernel log says of the table of the device at `node`.
fn said(line: &str, node: &Path, refusal: &Refusal) -> Said {
    let Refusal { message, errno, .. } = refusal;
    let name = match Errno::from_raw_os_error(*errno) {
        Errno::IO => "EIO",
        Errno::INVAL => "EINVAL",
        Errno::FBIG => "EFBIG",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        _ => "?",
    };
    // "device-mapper: table: 252:3: zfile_target: ZFile header: wrong magic (-EINVAL)"
    let minor = node.display().to_string();
    let minor = minor.trim_start_matches("/dev/dm-");
    let texts = [
        format!(": {message} (-{name})"),
        format!(": {message} (-{errno})"),
    ];
    if !line.contains("table: ") || !line.contains(&format!(":{minor}: ")) {
        Said::Nothing
    } else if texts.iter().any(|text| line.contains(text)) {
        Said::ThisRefusal
    } else {
        Said::Another
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// Is given the memory that was read into, where it is from and how the read is to end; may change
    /// the first and the last.
    type Flaw<'a> = &'a dyn Fn(&mut [u8], usize, &mut io::Result<usize>);

    /// An image in memory that fails where it should, and may be made to do worse.
    struct Fake<'a> {
        expected: &'a Expected,
        cached: bool,
        flaw: Flaw<'a>,
    }

    impl Source for Fake<'_> {
        fn len(&self) -> u64 {
            self.expected.bytes.len() as u64
        }

        fn drop_cache(&self) {}

        fn read(&self, slices: &mut [IoSliceMut<'_>], at: u64, _: bool) -> io::Result<usize> {
            let [out] = slices else {
                panic!("one piece, not {}", slices.len())
            };
            let sector = (at / SECTOR) as usize;
            let sectors = sector..sector + out.len() / SECTOR as usize;
            let right = &self.expected.bytes[at as usize..][..out.len()];
            let bad = |sector: &usize| !self.expected.readable(&(*sector..*sector + 1));
            let good = sectors
                .clone()
                .find(bad)
                .map_or(out.len(), |first| (first - sectors.start) * SECTOR as usize);
            let mut outcome = if good == out.len() || self.cached && good > 0 {
                out[..good].copy_from_slice(&right[..good]);
                Ok(good)
            } else {
                Err(Errno::IO.into())
            };
            (self.flaw)(out, sector, &mut outcome);
            outcome
        }
    }

    /// An image of which some sectors cannot be read, the first one among them, and one of which all
    /// can.
    fn images() -> [Image; 2] {
        let find = |partly: bool| {
            let mut images = (0..).map(|number| Image::new(5, number));
            let fits = |image: &Image| match &image.verdict {
                Verdict::Reads(expected) if image.sectors > 20 => {
                    let bad: usize = expected.unreadable.iter().map(Range::len).sum();
                    let first = !expected.readable(&(0..1));
                    first == partly && (bad > 0) == partly && bad < image.sectors as usize
                }
                _ => false,
            };
            images.find(fits).unwrap()
        };
        [find(true), find(false)]
    }

    fn check_with(image: &Image, of_cached: bool, flaw: Flaw<'_>) -> Result<(), Failure> {
        let Verdict::Reads(expected) = &image.verdict else {
            panic!("it reads")
        };
        let device = |cached| Fake {
            expected,
            cached,
            flaw: if cached == of_cached {
                flaw
            } else {
                &|_, _, _| {}
            },
        };
        let mut memory = vec![0; 1 << 20];
        compare(image, &device(false), &device(true), &mut memory, 1)
    }

    #[test]
    fn an_image_that_reads_as_it_should_passes() {
        for image in images() {
            check_with(&image, false, &|_, _, _| {}).unwrap();
        }
    }

    #[test]
    fn wrong_bytes_do_not() {
        for image in images() {
            for cached in [false, true] {
                let flaw = |out: &mut [u8], _, outcome: &mut io::Result<usize>| {
                    if let Ok(1..) = outcome {
                        out[0] ^= 1;
                    }
                };
                let what = check_with(&image, cached, &flaw).unwrap_err();
                assert!(what.contains("should be"), "{what}");
            }
        }
    }

    #[test]
    fn wrong_bytes_of_all_at_once_do_not() {
        for image in images() {
            let all = image.sectors as usize * SECTOR as usize;
            for cached in [false, true] {
                let flaw = |out: &mut [u8], _, _: &mut io::Result<usize>| {
                    if out.len() == all {
                        out[all - 1] ^= 1;
                    }
                };
                assert!(check_with(&image, cached, &flaw).is_err());
            }
        }
    }

    #[test]
    fn reads_that_fail_or_end_early_do_not() {
        let [partly, whole] = images();
        let eio = |_: &mut [u8], _, outcome: &mut io::Result<usize>| {
            *outcome = Err(Errno::IO.into());
        };
        let early = |_: &mut [u8], _, outcome: &mut io::Result<usize>| {
            if let Ok(n) = outcome {
                *n -= 512;
            }
        };
        for cached in [false, true] {
            assert!(check_with(&whole, cached, &eio).is_err());
            assert!(check_with(&whole, cached, &early).is_err());
        }
        assert!(check_with(&partly, false, &eio).is_err());
        assert!(check_with(&partly, false, &early).is_err());
    }

    #[test]
    fn other_errors_and_successes_where_it_must_fail_do_not() {
        let [partly, _] = images();
        for cached in [false, true] {
            for other in [Ok(()), Err(Errno::INVAL), Err(Errno::AGAIN)] {
                let flaw = |out: &mut [u8], _, outcome: &mut io::Result<usize>| {
                    if outcome.is_err() {
                        *outcome = match other {
                            Ok(()) => Ok(out.len()),
                            Err(errno) => Err(io::Error::from(errno)),
                        };
                    }
                };
                assert!(check_with(&partly, cached, &flaw).is_err());
            }
        }
    }

    #[test]
    fn what_a_failed_read_leaves_behind_does_not() {
        let [partly, _] = images();
        let leave = |cached, leave: &dyn Fn(&mut [u8], usize)| {
            let flaw = |out: &mut [u8], sector, outcome: &mut io::Result<usize>| {
                if outcome.is_err() {
                    leave(out, sector);
                }
            };
            check_with(&partly, cached, &flaw)
        };
        leave(false, &|out, _| out.fill(0)).unwrap();
        for cached in [false, true] {
            let what = leave(cached, &|out, _| out[0] ^= 1).unwrap_err();
            assert!(what.contains("left something") || cached, "{what}");
            assert!(leave(cached, &|out, _| out.fill(0xdb)).is_err());
        }
        // What stands in for the content where it cannot be read.
        let Verdict::Reads(expected) = &partly.verdict else {
            panic!("it reads in part")
        };
        let held = expected.bytes.iter().map(|byte| byte | 1).collect();
        let mut other = partly.clone();
        other.verdict = Verdict::Reads(Expected {
            bytes: held,
            unreadable: expected.unreadable.clone(),
        });
        let Verdict::Reads(expected) = &other.verdict else {
            panic!("it was made so")
        };
        let flaw = |out: &mut [u8], sector: usize, outcome: &mut io::Result<usize>| {
            if outcome.is_err() {
                let from = sector * SECTOR as usize;
                out.copy_from_slice(&expected.bytes[from..from + out.len()]);
            }
        };
        let what = check_with(&other, false, &flaw).unwrap_err();
        assert!(what.contains("none can be right"), "{what}");
    }

    #[test]
    fn a_device_of_another_length_does_not() {
        let [_, image] = images();
        let Verdict::Reads(expected) = &image.verdict else {
            panic!("it reads")
        };
        let mut longer = expected.clone();
        longer.bytes.resize(longer.bytes.len() + 512, 0);
        let device = |expected, cached| Fake {
            expected,
            cached,
            flaw: &|_, _, _| {},
        };
        let mut memory = vec![0; 1 << 20];
        let one = (&device(&longer, false), &device(expected, true));
        let other = (&device(expected, false), &device(&longer, true));
        for (direct, buffered) in [one, other] {
            let what = compare(&image, direct, buffered, &mut memory, 1).unwrap_err();
            assert!(what.contains("should have"), "{what}");
        }
    }

    const REFUSAL: Refusal = Refusal {
        zfile: Some(0),
        message: "ZFile header: wrong magic",
        errno: 22,
    };

    fn refused() -> Refused {
        Refused {
            node: "/dev/dm-3".into(),
            what: "load of z: Invalid argument".into(),
        }
    }

    #[test]
    fn a_table_is_taken_or_refused_as_it_should_be() {
        let node = PathBuf::from("/dev/dm-3");
        let never = |_: &Refused, _: &Refusal| panic!("nothing is looked for");
        assert_eq!(
            settle(Ok(node.clone()), None, never),
            Ok(Some(node.clone()))
        );
        let what = settle(Ok(node), Some(&REFUSAL), never).unwrap_err();
        assert!(what.contains("not refused with: ZFile header"), "{what}");
        assert_eq!(
            settle(Err(refused()), None, never),
            Err("load of z: Invalid argument".into())
        );
        let found = |_: &Refused, _: &Refusal| Ok(());
        assert_eq!(settle(Err(refused()), Some(&REFUSAL), found), Ok(None));
        let not_found = |_: &Refused, _: &Refusal| Err("the log does not say so".into());
        assert!(settle(Err(refused()), Some(&REFUSAL), not_found).is_err());
    }

    #[test]
    fn the_log_must_name_the_device_the_check_and_the_error() {
        let node = Path::new("/dev/dm-3");
        let said = |line: &str| said(line, node, &REFUSAL);
        let line =
            "4,812,92,-;device-mapper: table: 252:3: zfile_target: ZFile header: wrong magic";
        for errno in ["(-EINVAL)", "(-22)"] {
            assert_eq!(said(&format!("{line} {errno}")), Said::ThisRefusal);
        }
        for errno in ["(-EIO)", "(-5)", "(-EOPNOTSUPP)", "(-2)", ""] {
            assert_eq!(said(&format!("{line} {errno}")), Said::Another);
        }
        let right = format!("{line} (-EINVAL)");
        assert_eq!(
            said(&right.replace("wrong magic", "wrong digest")),
            Said::Another
        );
        assert_eq!(said(&right.replace(":3:", ":13:")), Said::Nothing);
        assert_eq!(said(&right.replace(":3:", ":31:")), Said::Nothing);
        assert_eq!(said(&right.replace("table: ", "")), Said::Nothing);
        assert_eq!(said(""), Said::Nothing);
    }
}
