// SPDX-License-Identifier: GPL-2.0

//! The program: a command line in, an exit status out, and one line on standard error if it fails.

#![forbid(unsafe_code)]

use clap::error::ErrorKind;
use clap::Parser;
use overlaybdsetup::cache;
use overlaybdsetup::cli::{CacheCommand, Cli, Command};
use overlaybdsetup::close;
use overlaybdsetup::dump;
use overlaybdsetup::error::{Error, Result, Status};
use overlaybdsetup::fetcher;
use overlaybdsetup::layer::LayerFile;
use overlaybdsetup::open;
use overlaybdsetup::record;
use overlaybdsetup::registry;
use overlaybdsetup::source;
use overlaybdsetup::status;
use overlaybdsetup::table;
use overlaybdsetup::verify;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => Status::Refused.code().into(),
            };
        }
    };
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overlaybdsetup: {error}");
            error.status().code().into()
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let out = &mut io::stdout();
    match command {
        Command::Open(arguments) => {
            need_root("open")?;
            let path = open::run(arguments)?;
            // The device exists, even if standard output is closed.
            let _ = writeln!(out, "{}", path.display());
            Ok(())
        }
        Command::Close(arguments) => {
            need_root("close")?;
            close::run(arguments)
        }
        Command::Status(arguments) => {
            need_root("status")?;
            status::run_status(arguments, out)
        }
        Command::List(arguments) => {
            need_root("list")?;
            status::run_list(arguments, out)
        }
        Command::Cache(arguments) => match &arguments.command {
            CacheCommand::Ls { dir, json } => cache::run_ls(dir, *json, out),
            CacheCommand::Prune { dir, keep, json } => cache::run_prune(dir, *keep, *json, out),
        },
        Command::Record(arguments) => {
            need_root("record")?;
            record::run(&arguments.name, out)
        }
        Command::Table(arguments) => table::run(arguments, out),
        Command::Dump(arguments) => {
            dump::run(&arguments.files, arguments.json, arguments.extents, out)
        }
        Command::FetchBlob(arguments) => fetcher::run(&arguments.task),
        Command::Verify(arguments) => {
            let (files, whole) = if arguments.files.is_empty() {
                (
                    source::layers(&arguments.image, Some(&arguments.remote))?,
                    true,
                )
            } else {
                let files = arguments.files.iter().map(LayerFile::new).collect();
                (files, false)
            };
            verify::run(&files, whole, arguments.json, true, out)
        }
        Command::RegistryHeader(arguments) => registry::run_header(arguments, out),
    }
}

fn need_root(command: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new(
        Status::Permission,
        format!("{command} needs root: device-mapper and loop devices are for root alone"),
    ))
}
