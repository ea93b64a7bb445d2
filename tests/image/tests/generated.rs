// SPDX-License-Identifier: GPL-2.0

//! Generated images, read on the host. The case `generated` reads them in the virtual machine, and
//! `genrun host` more of them here.
//!
//! One run has a fixed seed, so that its images change only with the generator. The other one
//! chooses a seed each time and prints it. The environment can give it the seed of an earlier run:
//! `OVERLAYBD_SEED=N make test-host TEST=any_seed`. A failure names the seed and the number of the
//! image, and `genrun show DIR --seed N --first NUMBER` writes that image to a folder.

use overlaybd_image::generate::{check, Image, Verdict};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

/// The number of images of each kind, by whether they are stacks and by the result of reading them.
type Kinds = BTreeMap<(bool, &'static str), u64>;

/// Reads the images with these numbers.
fn read(seed: u64, numbers: Range<u64>) -> Kinds {
    let mut kinds = Kinds::new();
    for number in numbers {
        let image = Image::new(seed, number);
        if let Err(what) = check(&image) {
            panic!("seed {seed}, number {number}: {what}\n{image}");
        }
        let kind = match &image.verdict {
            Verdict::Refused(_) => "refused",
            Verdict::Reads(expected) if expected.unreadable.is_empty() => "reads",
            Verdict::Reads(_) => "reads in part",
        };
        *kinds.entry((image.stacked, kind)).or_insert(0) += 1;
    }
    kinds
}

/// Every kind of image is there, and often enough.
fn enough(kinds: &Kinds, least: u64) {
    for stacked in [false, true] {
        for kind in ["refused", "reads", "reads in part"] {
            let count = kinds.get(&(stacked, kind)).copied().unwrap_or(0);
            assert!(
                count >= least,
                "{count} images, stacked: {stacked}, {kind}: {kinds:?}"
            );
        }
    }
}

#[test]
fn what_was_generated_is_what_is_read() {
    enough(&read(1, 0..1000), 50);
}

/// 20,000 images of `OVERLAYBD_SEED`, or of another seed each time.
#[test]
fn what_any_seed_generates_is_what_is_read() {
    const IMAGES: u64 = 20_000;
    let seed = match std::env::var("OVERLAYBD_SEED") {
        Ok(text) => text.parse().expect("OVERLAYBD_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    // Written past the test harness, which shows printed lines only if the test fails, and never if
    // the process is killed.
    let _ = writeln!(
        std::io::stderr(),
        "{IMAGES} generated images: OVERLAYBD_SEED={seed}"
    );
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let each = IMAGES.div_ceil(threads);
    let kinds = std::thread::scope(|scope| {
        let run = |thread| {
            let numbers = thread * each..IMAGES.min((thread + 1) * each);
            scope.spawn(move || read(seed, numbers))
        };
        let threads: Vec<_> = (0..threads).map(run).collect();
        let mut kinds = Kinds::new();
        for thread in threads {
            let read = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (kind, count) in read {
                *kinds.entry(kind).or_insert(0) += count;
            }
        }
        kinds
    });
    assert_eq!(kinds.values().sum::<u64>(), IMAGES);
    enough(&kinds, 1000);
}

#[test]
fn an_image_is_made_again_by_its_number() {
    for number in [0, 1, 2, 3, 1 << 40] {
        let (one, other) = (Image::new(9, number), Image::new(9, number));
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
    let (one, other) = (Image::new(9, 1), Image::new(10, 1));
    assert_ne!(format!("{one:?}"), format!("{other:?}"));
}
