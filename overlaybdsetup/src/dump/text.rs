// SPDX-License-Identifier: GPL-2.0

//! How `dump` is shown as text: lines of a name and a value, one below the other.
//!
//! It does not know what the values mean. What comes from a file goes through
//! [`plain`](crate::output::plain) before.

use std::fmt::Display;
use std::io::{self, Write};

/// How wide the names of fields are.
pub(super) const NAME_WIDTH: usize = 20;

/// Lines of a name and a value.
pub(super) struct Text<'a>(pub(super) &'a mut dyn Write);

impl Text<'_> {
    pub(super) fn title(&mut self, title: &str) -> io::Result<()> {
        writeln!(self.0, "\n{title}")
    }

    /// A part with a title of its own, if it is there.
    pub(super) fn part<T>(
        &mut self,
        title: &str,
        part: Option<&T>,
        show: impl FnOnce(&T, &mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        part.map_or(Ok(()), |part| {
            self.title(title)?;
            show(part, self)
        })
    }

    pub(super) fn line(&mut self, name: &str, value: impl Display) -> io::Result<()> {
        let line = format!("{:<NAME_WIDTH$} {value}", format!("{name}:"));
        writeln!(self.0, "{}", line.trim_end())
    }

    pub(super) fn option(&mut self, name: &str, value: Option<impl Display>) -> io::Result<()> {
        value.map_or(Ok(()), |value| self.line(name, value))
    }

    pub(super) fn bytes(&mut self, name: &str, bytes: Option<u64>) -> io::Result<()> {
        self.option(name, bytes.map(|bytes| format!("{bytes} bytes")))
    }

    pub(super) fn magic(&mut self, right: bool) -> io::Result<()> {
        self.line("Magic", if right { "right" } else { "WRONG" })
    }

    pub(super) fn flags(&mut self, flags: u64, names: &[&str]) -> io::Result<()> {
        self.line("Flags", format!("{flags:#x} ({})", names.join(", ")))
    }
}
