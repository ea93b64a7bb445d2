// SPDX-License-Identifier: GPL-2.0

//! The command line: words, and options with a value, in any order.

use crate::Failure;
use lexopt::prelude::*;
use std::{path::Path, str::FromStr};

/// A command line taken apart.
pub struct Args {
    words: std::vec::IntoIter<String>,
    options: Vec<(String, Option<String>)>,
}

impl Args {
    /// Takes the program's command line apart. The options named in `flags` have no value, those in
    /// `values` have one.
    ///
    /// # Errors
    ///
    /// An option that is in neither, or that lacks its value.
    pub fn parse(flags: &[&str], values: &[&str]) -> Result<Self, Failure> {
        let mut parser = lexopt::Parser::from_env();
        let mut words = Vec::new();
        let mut options = Vec::new();
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            match arg {
                Value(word) => words.push(word.string().map_err(|error| error.to_string())?),
                Long(name) if flags.contains(&name) => options.push((name.to_owned(), None)),
                Long(name) if values.contains(&name) => {
                    let name = name.to_owned();
                    let value = parser
                        .value()
                        .and_then(lexopt::ValueExt::string)
                        .map_err(|error| error.to_string())?;
                    options.push((name, Some(value)));
                }
                other => return Err(other.unexpected().to_string()),
            }
        }
        Ok(Self {
            words: words.into_iter(),
            options,
        })
    }

    /// The next word, `what` to the person who left it out.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn word(&mut self, what: &str) -> Result<String, Failure> {
        self.words
            .next()
            .ok_or_else(|| format!("{what} is missing"))
    }

    /// The words that are left.
    pub fn rest(&mut self) -> Vec<String> {
        self.words.by_ref().collect()
    }

    /// Whether the option `name` was given.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option == name)
    }

    /// All values of the option `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options
            .iter()
            .filter(move |(option, _)| option == name)
            .filter_map(|(_, value)| value.as_deref())
    }

    /// The value of the option `name`, if it was given.
    ///
    /// # Errors
    ///
    /// If it cannot be parsed.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.all(name)
            .last()
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| format!("--{name} cannot be '{value}'"))
            })
            .transpose()
    }
}

/// Runs a program's `main` and ends the process: with 1 and a line if it failed.
pub fn run(main: impl FnOnce() -> Result<(), Failure>) -> ! {
    std::process::exit(match main() {
        Ok(()) => 0,
        Err(failure) => {
            let program = std::env::args().next().unwrap_or_default();
            let name = Path::new(&program).file_name().unwrap_or_default();
            eprintln!("{}: {failure}", name.to_string_lossy());
            1
        }
    })
}
