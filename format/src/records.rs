// SPDX-License-Identifier: GPL-2.0

//! Cuts a stream that arrives in chunks of any size into records of one size. It buffers less than
//! one record and never keeps a reference to a chunk.

use crate::{
    arith::{
        add_usize,
        sub_usize, //
    },
    StructureError, //
};

/// Cuts a stream into records of `N` bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<const N: usize> {
    /// The first bytes of a record that is not complete yet.
    kept: [u8; N],
    filled: usize,
}

impl<const N: usize> Records<N> {
    pub(crate) const fn new() -> Self {
        Self {
            kept: [0; N],
            filled: 0,
        }
    }

    /// Calls `each` for every record that `chunk` completes, and stops at its first error.
    #[inline(always)]
    pub(crate) fn push<E>(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(&[u8; N]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.push_runs(chunk, |mut run| {
            while let Some((record, tail)) = run.split_first_chunk::<N>() {
                each(record)?;
                run = tail;
            }
            Ok(())
        })
    }

    /// Calls `run` with the records that `chunk` completes, several at a time, and stops at its
    /// first error.
    #[inline(always)]
    pub(crate) fn push_runs<E>(
        &mut self,
        chunk: &[u8],
        mut run: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = chunk;
        if self.filled != 0 {
            rest = self.keep(rest);
            if self.filled < N {
                return Ok(());
            }
            self.filled = 0;
            run(&self.kept)?;
        }
        let whole = sub_usize(rest.len(), rest.len().checked_rem(N).unwrap_or(0));
        if let Some((records, tail)) = rest.split_at_checked(whole) {
            run(records)?;
            rest = tail;
        }
        self.keep(rest);
        Ok(())
    }

    /// Moves bytes of `input` to the buffered record until that is complete, and returns the rest.
    fn keep<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let mut rest = input;
        while let (Some(slot), Some((byte, tail))) =
            (self.kept.get_mut(self.filled), rest.split_first())
        {
            *slot = *byte;
            self.filled = add_usize(self.filled, 1);
            rest = tail;
        }
        rest
    }

    /// Ends a stream. It had `entries` complete records, and must have had `expected`.
    pub(crate) fn finish(&self, entries: u32, expected: u32) -> Result<(), StructureError> {
        if entries != expected {
            return Err(StructureError::IndexIncomplete { entries, expected });
        }
        if self.filled != 0 {
            return Err(StructureError::IndexSurplus { expected });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_cut_of_a_stream_gives_the_same_records() {
        let stream: Vec<u8> = (0..23).collect();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut records = Records::<4>::new();
                let mut seen = Vec::new();
                let chunks = [
                    &stream[..first],
                    &stream[first..second],
                    &[],
                    &stream[second..],
                ];
                for chunk in chunks {
                    records
                        .push(chunk, |record| {
                            seen.extend_from_slice(record);
                            Ok::<(), ()>(())
                        })
                        .unwrap();
                }
                assert_eq!(seen, stream[..20]);
                let surplus = StructureError::IndexSurplus { expected: 5 };
                assert_eq!(records.finish(5, 5), Err(surplus));
                records.push(&[0], |_| Ok::<(), ()>(())).unwrap();
                assert_eq!(records.finish(6, 6), Ok(()));
            }
        }
    }

    #[test]
    fn the_first_error_stops() {
        let mut count = 0;
        let result = Records::<2>::new().push(&[0; 6], |_| {
            count += 1;
            Err(count)
        });
        assert_eq!(result, Err(1));
    }
}
