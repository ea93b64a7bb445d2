// SPDX-License-Identifier: GPL-2.0

//! The text form of `dump`: lines of a name and a value, the values aligned.
//!
//! It does not know what the values mean. Callers pass texts from files through
//! [`plain`](crate::output::plain) first.

use std::fmt::Display;
use std::io::{self, Write};

/// The width of the names of fields.
pub(super) const NAME_WIDTH: usize = 20;

/// Lines of a name and a value.
pub(super) struct Text<'a>(pub(super) &'a mut dyn Write);

impl Text<'_> {
    pub(super) fn title(&mut self, title: &str) -> io::Result<()> {
        writeln!(self.0, "\n{title}")
    }

    /// A part with its title, if there is one.
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
