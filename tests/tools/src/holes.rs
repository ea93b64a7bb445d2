// SPDX-License-Identifier: GPL-2.0

//! The ranges of bytes that cannot be read.

use crate::Failure;
use std::ops::Range;

/// Ranges of bytes that cannot be read.
#[derive(Clone, Default)]
pub struct Holes(Vec<Range<u64>>);

impl Holes {
    /// Adds a range, written as `OFFSET+LENGTH`.
    ///
    /// # Errors
    ///
    /// If it is written in another way.
    pub fn add(&mut self, text: &str) -> Result<(), Failure> {
        let parse = || {
            let (start, len) = text.split_once('+')?;
            let (start, len): (u64, u64) = (start.parse().ok()?, len.parse().ok()?);
            Some(start..start.checked_add(len)?)
        };
        self.0
            .push(parse().ok_or_else(|| format!("'{text}' is not OFFSET+LENGTH"))?);
        Ok(())
    }

    /// The first of the `len` bytes at `at` that is in a range.
    #[must_use]
    pub fn first(&self, at: u64, len: u64) -> Option<u64> {
        let touched = self
            .0
            .iter()
            .filter(|hole| at < hole.end && hole.start < at + len && !hole.is_empty());
        touched.map(|hole| hole.start.max(at)).min()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(texts: &[&str]) -> Holes {
        let mut holes = Holes::default();
        for text in texts {
            holes.add(text).unwrap();
        }
        holes
    }

    #[test]
    fn the_first_byte_in_a_hole() {
        assert_eq!(holes(&[]).first(0, u64::MAX), None);
        for holes in [holes(&["512+512", "4096+1"]), holes(&["4096+1", "512+512"])] {
            assert!(!holes.is_empty());
            assert_eq!(holes.first(0, 512), None);
            assert_eq!(holes.first(0, 513), Some(512));
            assert_eq!(holes.first(0, 8192), Some(512));
            assert_eq!(holes.first(700, 8192), Some(700));
            assert_eq!(holes.first(1023, 1), Some(1023));
            assert_eq!(holes.first(1024, 3072), None);
            assert_eq!(holes.first(1024, 3073), Some(4096));
            assert_eq!(holes.first(4096, 1), Some(4096));
            assert_eq!(holes.first(4097, 1000), None);
        }
    }

    #[test]
    fn holes_have_a_start_and_a_length() {
        for text in ["", "512", "512-512", "+", "1+", "+1", "a+1", "1+-1"] {
            assert!(Holes::default().add(text).is_err(), "{text}");
        }
        let far = format!("{}+2", u64::MAX);
        assert!(Holes::default().add(&far).is_err());
    }
}
