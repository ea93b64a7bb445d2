// SPDX-License-Identifier: GPL-2.0

//! The tar file around a layer in a registry. It is written in both existing forms, and recognised
//! like in the reference reader: by magic, version and checksum of the first header.

use crate::{Error, ReadAt};

const BLOCK: usize = 512;

/// Where a layer lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its first byte: 0 without tar, else 512 or 1536.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// A form of tar around a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    /// Of the overlaybd tools: only a pax header has the size. The layer starts at 1536.
    Pax,
    /// Of the Go converter: a plain ustar header. The layer starts at 512.
    Ustar,
}

impl Wrapper {
    /// The tar file with the layer as its only member.
    #[must_use]
    pub fn wrap(self, payload: &[u8]) -> Vec<u8> {
        let mut tar = Vec::new();
        match self {
            Self::Pax => {
                let record = pax_record(payload.len());
                tar.extend(header("overlaybd.pax", b'x', record.len()));
                tar.extend(record.as_bytes());
                tar.resize(2 * BLOCK, 0);
                tar.extend(header("overlaybd.commit", b'0', 0));
            }
            Self::Ustar => tar.extend(header("overlaybd.commit", b'0', payload.len())),
        }
        tar.extend(payload);
        tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
        tar
    }
}

impl Payload {
    /// Where the layer is in a file that may be a tar file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn find(file: &impl ReadAt) -> Result<Self, Error> {
        let bare = Self {
            offset: 0,
            len: file.len(),
        };
        let mut block = [0; BLOCK];
        if file.len() < BLOCK as u64 {
            return Ok(bare);
        }
        file.read_at(0, &mut block)?;
        if !is_header(&block) {
            return Ok(bare);
        }
        if block[156] != b'x' {
            return Ok(Self {
                offset: BLOCK as u64,
                len: octal(&block[124..136]).unwrap_or(0),
            });
        }
        let mut blocks = [0; 2 * BLOCK];
        file.read_at(BLOCK as u64, &mut blocks)?;
        let (record, member) = blocks.split_at(BLOCK);
        let len = match pax_size(record) {
            Some(len) => len,
            None => octal(&member[124..136]).unwrap_or(0),
        };
        Ok(Self {
            offset: 3 * BLOCK as u64,
            len,
        })
    }
}

/// One ustar header.
fn header(name: &str, kind: u8, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    let mut field = |at: usize, text: String| {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    field(100, format!("{:06o} ", 0o644));
    field(108, format!("{:06o} ", 0));
    field(116, format!("{:06o} ", 0));
    field(124, format!("{size:011o} "));
    field(136, format!("{:011o} ", 0));
    field(257, "ustar\0".into());
    field(263, "00".into());
    block[156] = kind;
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// "NN size=<bytes>\n", where NN is the length of all that.
fn pax_record(size: usize) -> String {
    let body = format!(" size={size}\n");
    let digits = (1..).find(|digits: &usize| (body.len() + digits).to_string().len() == *digits);
    format!("{}{body}", body.len() + digits.unwrap_or(2))
}

fn pax_size(record: &[u8]) -> Option<u64> {
    let text: String = record
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| char::from(*byte))
        .collect();
    let size = text
        .lines()
        .find_map(|line| line.split_once(" size="))?
        .1
        .parse()
        .ok()?;
    (size > 0).then_some(size)
}

/// The sum of a header's bytes, with the eight of the checksum taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    (0..)
        .zip(block)
        .map(|(at, byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(*byte),
        })
        .sum()
}

fn octal(field: &[u8]) -> Option<u64> {
    let text: String = field.iter().map(|byte| char::from(*byte)).collect();
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

fn is_header(block: &[u8; BLOCK]) -> bool {
    block[257..262] == *b"ustar"
        && block[263..265] == *b"00"
        && octal(&block[148..156]) == Some(checksum(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_found_again() {
        for len in [0, 1, 511, 512, 100_000] {
            let payload: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
            for (wrapper, offset) in [(Wrapper::Pax, 1536), (Wrapper::Ustar, 512)] {
                let tar = wrapper.wrap(&payload);
                assert_eq!(tar.len() % BLOCK, 0);
                let found = Payload::find(&tar).unwrap();
                assert_eq!(
                    found,
                    Payload {
                        offset,
                        len: u64::from(len)
                    }
                );
                assert_eq!(tar[offset as usize..][..payload.len()], payload);
            }
            assert_eq!(Payload::find(&payload).unwrap().offset, 0);
        }
    }

    #[test]
    fn a_wrong_checksum_is_no_tar() {
        let mut tar = Wrapper::Ustar.wrap(&[1; 1000]);
        tar[0] ^= 1;
        let len = tar.len() as u64;
        assert_eq!(Payload::find(&tar).unwrap(), Payload { offset: 0, len });
    }

    #[test]
    fn a_pax_record_knows_its_own_length() {
        for size in [1, 9, 99, 9_999, 99_999_999, 1 << 40] {
            let record = pax_record(size);
            let (len, _) = record.split_once(' ').unwrap();
            assert_eq!(len.parse(), Ok(record.len()));
            assert_eq!(pax_size(record.as_bytes()), Some(size as u64));
        }
    }
}
