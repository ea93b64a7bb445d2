// SPDX-License-Identifier: GPL-2.0

//! Writes the manual pages of overlaybdsetup and its shell completions into a folder: `pages DIR`.
//! Both are generated from the command line, so they cannot differ from it.

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use overlaybdsetup::cli::Cli;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes the page of a command and those of its subcommands. They are for administrators: section
/// 8.
fn manual(command: &Command, folder: &Path) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        manual(sub, folder)?;
    }
    let source = format!("overlaybdsetup {}", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone())
        .section("8")
        .source(source)
        .manual("dm-overlaybd")
        .generate_to(folder)?;
    Ok(())
}

fn main() -> io::Result<()> {
    let folder = PathBuf::from(
        env::args_os()
            .nth(1)
            .ok_or_else(|| io::Error::other("usage: pages DIR"))?,
    );
    fs::create_dir_all(&folder)?;
    let mut command = Cli::command().disable_help_subcommand(true);
    // The completions would offer hidden commands.
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let mut shown = Command::new("overlaybdsetup")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommands(shown.cloned());
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut shown, "overlaybdsetup", &folder)?;
    }
    command.build();
    manual(&command, &folder)
}
