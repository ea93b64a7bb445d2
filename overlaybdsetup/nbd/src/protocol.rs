// SPDX-License-Identifier: GPL-2.0

//! Requests and simple replies of the [NBD protocol], as both sides send them once an export is
//! chosen.
//!
//! All numbers are big-endian. It keeps no state and opens no socket.
//!
//! [NBD protocol]: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md

use std::io::{self, Read, Write};

/// The flags of an export that can be read and not written: flags are present, read-only.
pub const READ_ONLY_FLAGS: u16 = 0b11;

/// The longest read that a server has to answer, in bytes.
pub const MAX_READ: u32 = 32 << 20;

const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// The length of a request, in bytes.
const REQUEST_LEN: usize = 28;

/// The length of a reply without data, in bytes.
const REPLY_LEN: usize = 16;

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bytes.
    Read,
    /// The end of the connection. It has no reply.
    Disconnect,
    /// A command of another number: a write, a flush.
    Other(u16),
}

impl Command {
    const fn of(number: u16) -> Self {
        match number {
            0 => Self::Read,
            2 => Self::Disconnect,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Disconnect => 2,
            Self::Other(number) => number,
        }
    }
}

/// The error in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The bytes cannot be read.
    Io,
    /// The request is not one that this export allows.
    Invalid,
    /// Another number.
    Other(u32),
}

impl Failure {
    const fn of(number: u32) -> Self {
        match number {
            5 => Self::Io,
            22 => Self::Invalid,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Io => 5,
            Self::Invalid => 22,
            Self::Other(number) => number,
        }
    }
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub command: Command,
    /// The number by which its reply is recognized.
    pub cookie: u64,
    /// Where it starts in the export, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// The end of the stream, and bytes that are no request.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; REQUEST_LEN];
        stream.read_exact(&mut bytes)?;
        let mut fields = Fields(&bytes);
        if fields.u32()? != REQUEST_MAGIC {
            return Err(malformed("no request: its magic number is another one"));
        }
        let _flags = fields.u16()?;
        Ok(Self {
            command: Command::of(fields.u16()?),
            cookie: fields.u64()?,
            offset: fields.u64()?,
            len: fields.u32()?,
        })
    }

    /// Writes the request.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(REQUEST_LEN);
        bytes.extend(REQUEST_MAGIC.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.command.number().to_be_bytes());
        bytes.extend(self.cookie.to_be_bytes());
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(self.len.to_be_bytes());
        stream.write_all(&bytes)
    }
}

/// A reply without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Why the request failed; [`None`] if it did not. Then its data follows.
    pub failure: Option<Failure>,
    /// The number of the request.
    pub cookie: u64,
}

impl Reply {
    /// Reads a reply up to its data.
    ///
    /// # Errors
    ///
    /// The end of the stream, and bytes that are no simple reply.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; REPLY_LEN];
        stream.read_exact(&mut bytes)?;
        let mut fields = Fields(&bytes);
        if fields.u32()? != REPLY_MAGIC {
            return Err(malformed(
                "no simple reply: its magic number is another one",
            ));
        }
        let error = fields.u32()?;
        Ok(Self {
            failure: (error != 0).then(|| Failure::of(error)),
            cookie: fields.u64()?,
        })
    }

    /// Writes the reply, and its data.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn write(&self, data: &[u8], stream: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(REPLY_LEN);
        bytes.extend(REPLY_MAGIC.to_be_bytes());
        bytes.extend(self.failure.map_or(0, Failure::number).to_be_bytes());
        bytes.extend(self.cookie.to_be_bytes());
        stream.write_all(&bytes)?;
        stream.write_all(data)
    }
}

/// Numbers at the start of bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn take<const LEN: usize>(&mut self) -> io::Result<[u8; LEN]> {
        let (first, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| malformed("it ends within a number"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn u16(&mut self) -> io::Result<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> io::Result<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> io::Result<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

/// The error for bytes that the protocol does not allow.
pub(crate) fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_as_the_kernel_sends_it() {
        let bytes = [
            0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0x10, 0, 0,
            0, 0, 2, 0,
        ];
        let request = Request::read(&mut bytes.as_slice()).unwrap();
        let wanted = Request {
            command: Command::Read,
            cookie: 0x0102_0304_0506_0708,
            offset: 1 << 20,
            len: 512,
        };
        assert_eq!(request, wanted);
        let mut written = Vec::new();
        request.write(&mut written).unwrap();
        assert_eq!(written, bytes);
        assert!(Request::read(&mut &bytes[..27]).is_err());
        let mut other = bytes;
        other[0] ^= 1;
        let error = Request::read(&mut other.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn commands_and_failures_keep_their_numbers() {
        for number in 0..9 {
            assert_eq!(Command::of(number).number(), number);
        }
        for number in 0..40 {
            assert_eq!(Failure::of(number).number(), number);
        }
    }

    #[test]
    fn a_reply_and_its_data() {
        let mut bytes = Vec::new();
        let good = Reply {
            failure: None,
            cookie: 7,
        };
        good.write(b"data", &mut bytes).unwrap();
        assert_eq!(&bytes[..8], [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0]);
        let mut rest = bytes.as_slice();
        assert_eq!(Reply::read(&mut rest).unwrap(), good);
        assert_eq!(rest, b"data");
        let bad = Reply {
            failure: Some(Failure::Io),
            cookie: 8,
        };
        bytes.clear();
        bad.write(b"", &mut bytes).unwrap();
        assert_eq!(Reply::read(&mut bytes.as_slice()).unwrap(), bad);
    }
}
