// SPDX-License-Identifier: GPL-2.0

//! A device in memory for the tests of this package.

use crate::{content::Content, device::Source, holes::Holes, pattern::Pattern};
use rustix::io::Errno;
use std::{
    cell::Cell,
    io::{self, IoSliceMut},
};

/// Content of that many sectors, no two of which are the same.
pub fn content(sectors: usize) -> Vec<u8> {
    let mut bytes = vec![0; sectors * 512];
    Pattern::new(99).fill(&mut bytes);
    bytes
}

/// What a read of a [`Fake`] does, for its flaw to change.
pub struct Did<'a> {
    /// The memory that the read was given, in one piece.
    pub out: &'a mut Vec<u8>,
    /// Where in the content it began, in bytes.
    pub at: u64,
    /// Whether it must not wait.
    pub nowait: bool,
    /// How it ends.
    pub outcome: io::Result<usize>,
}

/// Something wrong with a device: it changes what a read does.
pub type Flaw<'a> = &'a dyn Fn(&mut Did<'_>);

/// No flaw.
pub const GOOD: Flaw<'static> = &|_| {};

/// A device in memory, of which some bytes cannot be read, with a flaw.
pub struct Fake<'a> {
    /// What it holds.
    pub content: &'a Vec<u8>,
    /// What cannot be read of it.
    pub holes: &'a Holes,
    /// Where the content begins on the device; zeros precede it.
    pub offset: u64,
    /// Whether reads of it go through the page cache.
    pub cached: bool,
    /// The flaw.
    pub flaw: Flaw<'a>,
    /// How many reads come before the first that the flaw changes.
    pub from: Cell<u32>,
}

/// A read that fails with this error.
pub fn error(errno: Errno) -> io::Result<usize> {
    Err(errno.into())
}

/// The range that `text` describes, or none if it is empty.
pub fn holes(text: &str) -> Holes {
    let mut holes = Holes::default();
    if !text.is_empty() {
        holes.add(text).unwrap();
    }
    holes
}

impl Source for Fake<'_> {
    fn len(&self) -> u64 {
        self.offset + Content::len(self.content)
    }

    fn drop_cache(&self) {}

    fn read(&self, slices: &mut [IoSliceMut<'_>], at: u64, nowait: bool) -> io::Result<usize> {
        let at = at - self.offset;
        // The memory as it was, which the flaw may change.
        let mut out: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let len = out.len();
        let hole = self.holes.first(at, len as u64);
        let good = match hole {
            None => len,
            // The page cache returns whole pages.
            Some(hole) if self.cached && hole / 4096 * 4096 > at => {
                (hole / 4096 * 4096 - at) as usize
            }
            Some(_) => 0,
        };
        out[..good].copy_from_slice(&self.content[at as usize..at as usize + good]);
        let outcome = if good > 0 { Ok(good) } else { error(Errno::IO) };
        let mut did = Did {
            out: &mut out,
            at,
            nowait,
            outcome,
        };
        let left = self.from.get();
        self.from.set(left.saturating_sub(1));
        if left == 0 {
            (self.flaw)(&mut did);
        }
        let outcome = did.outcome;
        let mut rest = out.as_slice();
        for slice in slices {
            let (bytes, after) = rest.split_at(slice.len());
            slice.copy_from_slice(bytes);
            rest = after;
        }
        outcome
    }
}
