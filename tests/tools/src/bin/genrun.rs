// SPDX-License-Identifier: GPL-2.0

//! Reads generated images, on the host or through device-mapper, and compares them with what they
//! must hold. `overlaybd_image::generate` makes both: a seed and a number name an image.

use clap::{Args, Parser};
use overlaybd_image::generate::{check, Image, Verdict};
use overlaybd_tools::{
    generated::guest::{Guest, Slot, MAX_LAYERS},
    in_threads, Context, Failure,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Mutex,
    },
    time::Instant,
};

/// Reads generated images and compares them with what they must hold.
#[derive(Parser)]
enum Command {
    /// Reads images with the host's readers
    Host {
        #[command(flatten)]
        images: Images,
    },
    /// Reads images through `zfile_target` and `lsmt_target`
    Guest {
        /// FILE=DEVICE: a file for images and its loop device
        #[arg(required = true)]
        slots: Vec<String>,
        /// How many slots each thread takes
        #[arg(long = "slots", default_value_t = MAX_LAYERS)]
        each: usize,
        #[command(flatten)]
        images: Images,
    },
    /// Writes the files of the first image, and what it must hold, to a folder and describes it
    Show {
        /// The folder
        dir: PathBuf,
        #[command(flatten)]
        images: Images,
    },
}

/// Which images to read.
#[derive(Args)]
struct Images {
    /// The seed of the images
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of the first
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many
    #[arg(long, default_value_t = 1)]
    count: u64,
}

fn main() {
    let command = Command::parse();
    overlaybd_tools::run(|| match command {
        Command::Host { images } => Run::new(images).all(vec![Reader::Host]),
        Command::Guest {
            slots,
            each,
            images,
        } => {
            let mut readers = Vec::new();
            for texts in slots.chunks(each.max(1)) {
                let slots: Result<Vec<Slot>, _> = texts.iter().map(|text| text.parse()).collect();
                readers.push(Reader::Guest(Guest::new(readers.len(), slots?)?));
            }
            Run::new(images).all(readers)
        }
        Command::Show { dir, images } => show(&dir, &images),
    })
}

/// A run over images.
struct Run {
    images: Images,
    /// The number of the next image that a thread takes.
    next: AtomicU64,
    /// Of each kind: how many images there were, how many of them are refused, and how many have
    /// sectors that cannot be read.
    kinds: Mutex<BTreeMap<&'static str, [u64; 3]>>,
    failed: AtomicBool,
}

/// What reads an image.
enum Reader {
    Host,
    Guest(Guest),
}

impl Run {
    fn new(images: Images) -> Self {
        Self {
            next: AtomicU64::new(images.first),
            images,
            kinds: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    fn all(&self, readers: Vec<Reader>) -> Result<(), Failure> {
        let start = Instant::now();
        let Images { seed, first, count } = self.images;
        println!("seed {seed}, {count} images from {first}");
        in_threads(readers, |reader| self.some(reader))
            .into_iter()
            .collect::<Result<(), _>>()?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{count} images read in {seconds:.1} s, {:.1} a second",
            count as f64 / seconds
        );
        let kinds = self.kinds.lock().map_err(|_| "a thread panicked")?;
        for (kind, [all, refused, partly]) in &*kinds {
            println!("{all:6}  {kind} (refused {refused}, readable in part {partly})");
        }
        Ok(())
    }

    fn some(&self, mut reader: Reader) -> Result<(), Failure> {
        let Images { seed, first, count } = self.images;
        while !self.failed.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= first + count {
                break;
            }
            let image = Image::new(seed, number);
            let read = match &mut reader {
                Reader::Host => check(&image),
                Reader::Guest(guest) => guest.check(&image, seed ^ number),
            };
            read.map_err(|what| {
                self.failed.store(true, Ordering::Relaxed);
                format!("seed {seed}, number {number}: {what}\n  {image}")
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

fn show(dir: &Path, images: &Images) -> Result<(), Failure> {
    let image = Image::new(images.seed, images.first);
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
