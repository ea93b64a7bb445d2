// SPDX-License-Identifier: GPL-2.0

//! The command line. The manual page and the completions are made of it, so its texts are the manual.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Makes block devices of OverlayBD images, and takes them down again.
///
/// An OverlayBD image is a stack of layers, each a file. `open` makes them one read-only block device,
/// /dev/mapper/NAME, by way of the kernel module dm-overlaybd: loop devices over the files, a zfile_target for
/// each compressed layer, and an lsmt_target that merges them. No process stays behind, and no file is changed.
#[derive(Debug, Parser)]
#[command(
    name = "overlaybdsetup",
    version,
    after_long_help = STATUSES,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const STATUSES: &str = "\
Exit status: 0 done; 1 refused, for a wrong argument or something wrong with the image; 2 not permitted; \
3 out of memory; 4 no such file or device, or not one of this program; 5 exists already, or in use; \
128 + N ended by signal N, with all taken down again.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the device of an image, and print its path when it is ready
    ///
    /// All is checked first that can be checked without a device. Whatever fails, and SIGINT or SIGTERM at any
    /// moment, leaves no device, loop device or mount behind. After SIGKILL, `close NAME` removes what is left.
    ///
    /// Layers are shared: images that have a layer file in common have one device of it.
    Open(Open),
    /// Take a device down, with all below it that nobody uses any more
    Close(Close),
    /// Show what a device is made of, and what the kernel counts
    Status(Status),
    /// Name all devices of this program, a line each: NAME, kind, size, layers
    List(List),
    /// Print the commands that `open` stands for, as a shell script
    Table(Table),
    /// Show headers, trailers and indexes of layer files; no data is read
    Dump(Dump),
    /// Check all of an image: every check of `open`, and every block
    Verify(Verify),
}

/// Where the layers of an image are.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "source", required = true, multiple = false)]
pub struct Source {
    /// A config.v1.json of the overlaybd snapshotter; relative paths in it start at its folder
    #[arg(long, value_name = "FILE", group = "source")]
    pub config: Option<PathBuf>,

    /// An OCI image layout or a content store of containerd: a folder with blobs/sha256 in it. REF is the
    /// name of an image in its index; it is needed if there are several
    #[arg(long, value_name = "DIR[:REF]", group = "source")]
    pub oci: Option<String>,

    /// A layer, the lowest first: as it is, as a ZFile, in a tar or not. What it is is found out
    #[arg(long = "layer", value_name = "FILE", group = "source")]
    pub layers: Vec<PathBuf>,
}

/// Which manifest of an OCI folder.
#[derive(Args, Clone, Debug, Default)]
pub struct Manifest {
    /// With --oci: the digest of the manifest, or a file with it. There need be no index then, as in
    /// containerd's content store
    #[arg(long, value_name = "DIGEST|FILE", conflicts_with_all = ["config", "layers"])]
    pub manifest: Option<String>,
}

/// `open`.
#[derive(Args, Debug)]
pub struct Open {
    /// The name of the device: /dev/mapper/NAME
    pub name: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: Source,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub manifest: Manifest,

    /// Mount the device there: read-only, or with --writable to be written; `close` unmounts it
    #[arg(long, value_name = "DIR")]
    pub mount: Option<PathBuf>,

    /// Make a device that can be written: what is written goes to FILE, the image stays as it is. FILE is made
    /// sparse, with room for SIZE bytes (or 10M, 2G, ...; enough for all of the image if not given), kept by
    /// `close`, and used again by the next `open` of the same image
    #[arg(long, value_name = "FILE[:SIZE]")]
    pub writable: Option<String>,

    /// Read layer files through the page cache; otherwise it is passed by where the file system can do that
    #[arg(long)]
    pub buffered: bool,

    /// Share no layer with other images
    #[arg(long)]
    pub no_share: bool,
}

/// `close`.
#[derive(Args, Debug)]
pub struct Close {
    /// The name of the device
    pub name: String,

    /// Where the device is in use, remove it when it no longer is
    #[arg(long)]
    pub deferred: bool,
}

/// `status`.
#[derive(Args, Debug)]
pub struct Status {
    /// The name of the device; all of them if not given
    pub name: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `table`.
#[derive(Args, Debug)]
pub struct Table {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: Source,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub manifest: Manifest,

    /// The name of the device in the commands
    #[arg(long, default_value = "image")]
    pub name: String,

    /// As of `open`
    #[arg(long)]
    pub buffered: bool,
}

/// `dump`.
#[derive(Args, Debug)]
pub struct Dump {
    /// The files: layers, or any ZFile
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// List the extents of each layer too
    #[arg(long)]
    pub extents: bool,
}

/// `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// The files: layers, or any ZFile, each on its own
    #[arg(value_name = "FILE", group = "source")]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: Source,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub manifest: Manifest,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_source_and_no_other() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("overlaybdsetup open x --layer a --layer b").is_ok());
        assert!(parse("overlaybdsetup open x --config a --oci b").is_err());
        assert!(parse("overlaybdsetup open x --config a --layer b").is_err());
        assert!(parse("overlaybdsetup open x --config a --manifest b").is_err());
        assert!(parse("overlaybdsetup verify a b --json").is_ok());
        assert!(parse("overlaybdsetup verify a --config b").is_err());
        assert!(parse("overlaybdsetup dump").is_err());
    }
}
