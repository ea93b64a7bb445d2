// SPDX-License-Identifier: GPL-2.0

//! The ioctls of device-mapper that the programs need.
//!
//! The cases use dmsetup. This is for thousands of requests, for which a process each would be too
//! slow, and for what libdevmapper hides: a buffer too small for the answer.

use crate::{
    sys::{self, DM_HEADER as HEADER},
    Context, Failure,
};
use std::{fs::File, io, path::PathBuf};

/// Size of `struct dm_target_spec`.
const SPEC: usize = 40;

const FLAGS: usize = 28;
const DEV: usize = 40;
const NAME: usize = 48;
const TARGET_COUNT: usize = 20;
const DATA: usize = HEADER;

/// `DM_READONLY_FLAG`
const READONLY: u32 = 1 << 0;
/// `DM_SUSPEND_FLAG`
const SUSPEND: u32 = 1 << 1;
/// `DM_STATUS_TABLE_FLAG`
const STATUS_TABLE: u32 = 1 << 4;
/// `DM_BUFFER_FULL_FLAG`
const BUFFER_FULL: u32 = 1 << 8;
/// `DM_SKIP_LOCKFS_FLAG`
const SKIP_LOCKFS: u32 = 1 << 10;
/// `DM_NOFLUSH_FLAG`
const NOFLUSH: u32 = 1 << 11;

/// The number of a request, from `linux/dm-ioctl.h`.
#[derive(Clone, Copy)]
enum Command {
    Create = 3,
    Remove = 4,
    Rename = 5,
    Suspend = 6,
    Load = 9,
    Clear = 10,
    Status = 12,
    Message = 14,
}

/// A line of a table: `START LENGTH TARGET ARGUMENTS...`.
pub struct Line {
    start: u64,
    len: u64,
    target: String,
    args: String,
}

impl std::str::FromStr for Line {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let parse = || {
            let (start, rest) = text.split_once(' ')?;
            let (len, rest) = rest.split_once(' ')?;
            let (target, args) = rest.split_once(' ').unwrap_or((rest, ""));
            Some(Self {
                start: start.parse().ok()?,
                len: len.parse().ok()?,
                target: (target.len() < 16).then(|| target.to_owned())?,
                args: args.to_owned(),
            })
        };
        parse().ok_or_else(|| format!("'{text}' is not a line of a table"))
    }
}

/// The lines of a table, separated by newlines.
///
/// # Errors
///
/// The first text that is not a line of a table.
pub fn table(text: &str) -> Result<Vec<Line>, Failure> {
    text.lines().map(str::parse).collect()
}

/// The answer to a status request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The buffer was too small.
    Full,
    /// The text of each target.
    Texts(Vec<String>),
}

/// `/dev/mapper/control`.
pub struct Dm(File);

/// A buffer for one ioctl.
struct Request(Vec<u8>);

impl Request {
    fn new(name: &str, size: usize, flags: u32) -> Result<Self, Failure> {
        let mut bytes = vec![0; size];
        if name.len() > 127 {
            return Err(format!("the name {name} is too long"));
        }
        // Version 4.0.0, of the first 2.6 kernels: these requests need nothing newer.
        bytes[0..4].copy_from_slice(&4u32.to_ne_bytes());
        bytes[12..16].copy_from_slice(&(size as u32).to_ne_bytes());
        bytes[16..20].copy_from_slice(&(HEADER as u32).to_ne_bytes());
        bytes[FLAGS..FLAGS + 4].copy_from_slice(&flags.to_ne_bytes());
        bytes[NAME..NAME + name.len()].copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self.0[at..at + 4].try_into();
        bytes.map_or(0, u32::from_ne_bytes)
    }

    /// The kernel's answer in `room` bytes, which [`CANARY`] follows.
    fn answer(&self, room: usize) -> Result<Answer, Failure> {
        if self.0[HEADER + room..] != CANARY {
            return Err(format!(
                "memory behind a buffer of {room} bytes was written"
            ));
        }
        if self.word(FLAGS) & BUFFER_FULL != 0 {
            return Ok(Answer::Full);
        }
        let area = &self.0[DATA..HEADER + room];
        let mut texts = Vec::new();
        let mut at = 0;
        for _ in 0..self.word(TARGET_COUNT) {
            let text = area.get(at + SPEC..).unwrap_or_default();
            let end = text.iter().position(|&byte| byte == 0);
            let end = end.ok_or_else(|| format!("a text in {room} bytes has no end"))?;
            texts.push(String::from_utf8_lossy(&text[..end]).into_owned());
            // `next` counts from the beginning of the area.
            at = self.word(DATA + at + 20) as usize;
        }
        Ok(Answer::Texts(texts))
    }
}

/// What follows the buffer for an answer.
const CANARY: [u8; 64] = [0x5a; 64];

impl Dm {
    /// Opens the control device.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn open() -> Result<Self, Failure> {
        let path = "/dev/mapper/control";
        let file = File::options().read(true).write(true).open(path);
        Ok(Self(file.context(path)?))
    }

    fn call(&self, command: Command, request: &mut Request) -> io::Result<()> {
        sys::dm_ioctl(&self.0, command as u8, &mut request.0)
    }

    fn simple(&self, command: Command, name: &str, flags: u32) -> Result<Request, Failure> {
        let mut request = Request::new(name, HEADER + 8, flags)?;
        self.call(command, &mut request)
            .context(format_args!("{} of {name}", command.name()))?;
        Ok(request)
    }

    /// Creates a device without a table and returns the path of its node.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn create(&self, name: &str) -> Result<PathBuf, Failure> {
        let request = self.simple(Command::Create, name, 0)?;
        // new_encode_dev(): the minor's low byte, 12 bits of major, the rest of the minor.
        let dev = request.word(DEV);
        let minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
        Ok(PathBuf::from(format!("/dev/dm-{minor}")))
    }

    /// Loads a table as a read-only one.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn load(&self, name: &str, table: &[Line]) -> Result<(), Failure> {
        let mut data = Vec::new();
        for line in table {
            let len = (SPEC + line.args.len() + 1).next_multiple_of(8);
            let mut spec = vec![0; len];
            spec[0..8].copy_from_slice(&line.start.to_ne_bytes());
            spec[8..16].copy_from_slice(&line.len.to_ne_bytes());
            spec[20..24].copy_from_slice(&(len as u32).to_ne_bytes());
            spec[24..24 + line.target.len()].copy_from_slice(line.target.as_bytes());
            spec[SPEC..SPEC + line.args.len()].copy_from_slice(line.args.as_bytes());
            data.extend(spec);
        }
        let mut request = Request::new(name, HEADER + data.len() + 8, READONLY)?;
        request.0[DATA..DATA + data.len()].copy_from_slice(&data);
        let count = table.len() as u32;
        request.0[TARGET_COUNT..TARGET_COUNT + 4].copy_from_slice(&count.to_ne_bytes());
        self.call(Command::Load, &mut request)
            .context(format_args!("load of {name}"))
    }

    /// Drops the inactive table.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn clear(&self, name: &str) -> Result<(), Failure> {
        self.simple(Command::Clear, name, 0).map(drop)
    }

    /// Makes the inactive table, if there is one, the active one, and resumes the device.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn resume(&self, name: &str) -> Result<(), Failure> {
        self.simple(Command::Suspend, name, 0).map(drop)
    }

    /// Suspends the device. With `noflush`, device-mapper holds reads under way back instead of
    /// waiting for them.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn suspend(&self, name: &str, noflush: bool) -> Result<(), Failure> {
        let flags = SUSPEND | if noflush { NOFLUSH | SKIP_LOCKFS } else { 0 };
        self.simple(Command::Suspend, name, flags).map(drop)
    }

    /// Renames the device.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn rename(&self, name: &str, to: &str) -> Result<(), Failure> {
        self.with_text(Command::Rename, name, &[], to)
    }

    /// Sends a message to the target at `sector`.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn message(&self, name: &str, sector: u64, text: &str) -> Result<(), Failure> {
        self.with_text(Command::Message, name, &sector.to_ne_bytes(), text)
    }

    /// A request with `before` and a text as its data.
    fn with_text(
        &self,
        command: Command,
        name: &str,
        before: &[u8],
        text: &str,
    ) -> Result<(), Failure> {
        let len = before.len() + text.len();
        let mut request = Request::new(name, HEADER + len + 8, 0)?;
        request.0[DATA..DATA + before.len()].copy_from_slice(before);
        request.0[DATA + before.len()..DATA + len].copy_from_slice(text.as_bytes());
        self.call(command, &mut request)
            .context(format_args!("{} of {name}", command.name()))
    }

    /// Removes the device.
    ///
    /// # Errors
    ///
    /// What the kernel reports.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        self.simple(Command::Remove, name, 0).map(drop)
    }

    /// The texts of `dmsetup status`, or with `table` of `dmsetup table`, from a buffer of `room`
    /// bytes.
    ///
    /// # Errors
    ///
    /// What the kernel reports, or if it writes past the buffer or its answer makes no sense.
    pub fn status(&self, name: &str, table: bool, room: usize) -> Result<Answer, Failure> {
        let flags = if table { STATUS_TABLE } else { 0 };
        let mut request = Request::new(name, HEADER + room, flags)?;
        request.0.extend(CANARY);
        self.call(Command::Status, &mut request)
            .context(format_args!("status of {name} in {room} bytes"))?;
        request.answer(room)
    }
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Suspend => "suspend or resume",
            Self::Load => "load",
            Self::Clear => "clear",
            Self::Status => "status",
            Self::Message => "message",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of these texts in `room` bytes, in the kernel's layout.
    fn answered(texts: &[&str], room: usize) -> Request {
        let mut request = Request::new("name", HEADER + room, 0).unwrap();
        request.0.extend(CANARY);
        let count = texts.len() as u32;
        request.0[TARGET_COUNT..TARGET_COUNT + 4].copy_from_slice(&count.to_ne_bytes());
        let mut at = 0;
        for text in texts {
            let next = (at + SPEC + text.len() + 1).next_multiple_of(8);
            let place = DATA + at;
            request.0[place + 20..place + 24].copy_from_slice(&(next as u32).to_ne_bytes());
            request.0[place + SPEC..place + SPEC + text.len()].copy_from_slice(text.as_bytes());
            at = next;
        }
        request
    }

    #[test]
    fn texts_are_found() {
        for texts in [&["lz4 4096"][..], &["", "a", "of two targets"], &[]] {
            let wanted = Answer::Texts(texts.iter().map(ToString::to_string).collect());
            assert_eq!(answered(texts, 200).answer(200), Ok(wanted));
        }
    }

    #[test]
    fn a_full_buffer_is_no_answer() {
        let mut request = answered(&["lz4"], 200);
        request.0[FLAGS..FLAGS + 4].copy_from_slice(&BUFFER_FULL.to_ne_bytes());
        assert_eq!(request.answer(200), Ok(Answer::Full));
    }

    #[test]
    fn a_byte_written_past_the_buffer_is_found() {
        for at in [HEADER + 200, HEADER + 201, HEADER + 263] {
            for full in [0, BUFFER_FULL] {
                let mut request = answered(&["lz4"], 200);
                request.0[FLAGS..FLAGS + 4].copy_from_slice(&full.to_ne_bytes());
                request.0[at] ^= 1;
                let what = request.answer(200).unwrap_err();
                assert!(what.contains("behind a buffer of 200 bytes"), "{what}");
            }
        }
    }

    #[test]
    fn a_text_that_does_not_end_or_lies_elsewhere_is_an_error() {
        let mut request = answered(&["lz4"], 48);
        request.0[DATA + SPEC..HEADER + 48].fill(b'x');
        assert!(request.answer(48).unwrap_err().contains("has no end"));
        let mut request = answered(&["lz4", "zstd"], 200);
        request.0[DATA + 20..DATA + 24].copy_from_slice(&300u32.to_ne_bytes());
        assert!(request.answer(200).unwrap_err().contains("has no end"));
    }

    #[test]
    fn lines_of_tables() {
        let line: Line = "0 129 zfile_target /dev/loop0 66048".parse().unwrap();
        assert_eq!((line.start, line.len), (0, 129));
        assert_eq!(line.target, "zfile_target");
        assert_eq!(line.args, "/dev/loop0 66048");
        let line: Line = "8 1 error".parse().unwrap();
        assert_eq!((line.target.as_str(), line.args.as_str()), ("error", ""));
        for text in [
            "",
            "0",
            "0 1",
            "x 1 error",
            "0 y error",
            "0 1 sixteen-letters-",
        ] {
            assert!(text.parse::<Line>().is_err(), "{text}");
        }
    }
}
