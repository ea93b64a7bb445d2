// SPDX-License-Identifier: GPL-2.0

//! Generated images, read on the host. The case `generated` reads them in the virtual machine, and
//! `genrun host` more of them here.

use overlaybd_image::generate::{check, Image, Verdict};
use std::collections::BTreeMap;

#[test]
fn what_was_generated_is_what_is_read() {
    let mut kinds = BTreeMap::new();
    for number in 0..1000 {
        let image = Image::new(1, number);
        if let Err(what) = check(&image) {
            panic!("seed 1, number {number}: {what}\n{image}");
        }
        let kind = match &image.verdict {
            Verdict::Refused(_) => "refused",
            Verdict::Reads(expected) if expected.unreadable.is_empty() => "reads",
            Verdict::Reads(_) => "reads in part",
        };
        *kinds.entry((image.stacked, kind)).or_insert(0) += 1;
    }
    // Of everything there is enough to speak of.
    for stacked in [false, true] {
        for kind in ["refused", "reads", "reads in part"] {
            let count = kinds.get(&(stacked, kind)).copied().unwrap_or(0);
            assert!(
                count >= 50,
                "{count} images, stacked: {stacked}, {kind}: {kinds:?}"
            );
        }
    }
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
