// SPDX-License-Identifier: GPL-2.0

//! Output of commands: JSON, and text without control characters.
//!
//! It does not know what it prints, and prints nothing on standard error.

use crate::error::{Error, Result};
use serde::Serialize;
use std::io::{self, BufWriter, Write};

/// Calls `write` with a buffered `out`, and flushes it.
///
/// # Errors
///
/// An error of `write` or `out`.
pub(crate) fn print(
    out: &mut dyn Write,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let mut out = BufWriter::new(out);
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| Error::io("cannot print", &error))
}

/// Writes a value as indented JSON, and ends the line.
///
/// # Errors
///
/// An error of `out`.
pub(crate) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// A text from a file, or its name, for a terminal: control characters are escaped.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let spelled = c.is_control().then(|| c.escape_default());
            let itself = (!c.is_control()).then_some(c);
            spelled.into_iter().flatten().chain(itself)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(plain("a\x1b[1m\nb \u{9b}é"), "a\\u{1b}[1m\\nb \\u{9b}é");
    }

    #[test]
    fn what_cannot_be_printed_is_an_error() {
        let full = io::Error::from_raw_os_error(28);
        let error = print(&mut Vec::new(), |_| Err(full)).unwrap_err();
        assert_eq!(error.to_string(), "cannot print: No space left on device");
        let error = print(&mut [0; 2].as_mut_slice(), |out| json(out, &[1])).unwrap_err();
        assert!(error.to_string().starts_with("cannot print: "), "{error}");
    }

    #[test]
    fn json_ends_its_line() {
        let mut out = Vec::new();
        print(&mut out, |out| json(out, &[1])).unwrap();
        assert_eq!(out, b"[\n  1\n]\n");
    }
}
