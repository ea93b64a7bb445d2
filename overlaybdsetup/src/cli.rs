// SPDX-License-Identifier: GPL-2.0

//! The command line. The manual pages and the completions are generated from it, so its texts are
//! the manual.
//!
//! It opens no file: paths and names are checked by the commands.

use crate::blob;
use crate::store::parse_size;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Opens OverlayBD images as block devices, and closes them.
///
/// An OverlayBD image is a stack of layers, each a file. `open` creates one read-only block device
/// from them, /dev/mapper/NAME, with the targets of the kernel module dm-overlaybd: loop devices
/// over the files, a zfile_target for each compressed layer, and an lsmt_target that merges the
/// layers. No process keeps running, except for layers that stay in a registry, and no layer file
/// is changed.
#[derive(Debug, Parser)]
#[command(
    name = "overlaybdsetup",
    version,
    after_long_help = STATUSES,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const STATUSES: &str = "\
Exit status: 0 success; 1 refused: a wrong argument, or something wrong with the image; 2 no \
permission; 3 out of memory; 4 no such file or device, or a device of another program; 5 the \
device exists already, or is in use; 128 + N ended by signal N, with all devices removed again.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Open an image as /dev/mapper/NAME, and print this path when the device is ready
    ///
    /// Everything that can be checked without a device is checked first. If a step fails, or SIGINT
    /// or SIGTERM arrives at any moment, no device, loop device or mount is left. After SIGKILL,
    /// `close NAME` removes what is left.
    ///
    /// Images with a layer file in common share one device of that layer.
    Open(Open),
    /// Close a device: remove it, and all devices below it that are no longer in use
    Close(Close),
    /// Show the layers of a device, its state, and the counters of the kernel
    Status(Status),
    /// List all devices of this program, one per line: NAME, kind, size, layers
    List(List),
    /// Print which parts of layers in a registry were read so far, for `open --prefetch`
    Record(Record),
    /// List or prune what `open --cache` keeps
    Cache(Cache),
    /// Print the commands that `open` would carry out, as a shell script
    Table(Table),
    /// Show the headers, trailers and indexes of layer files, without reading data
    Dump(Dump),
    /// Verify an image or files: all checks of `open`, and every block
    Verify(Verify),
    /// Print the header that gives access to a repository, for the program that reads its blobs
    #[command(hide = true)]
    RegistryHeader(RegistryHeader),
    /// The fetcher of a blob, which `open` starts
    #[command(name = blob::SUBCOMMAND, hide = true)]
    FetchBlob(FetchBlob),
}

/// `fetch-blob`.
#[derive(Args, Debug)]
pub struct FetchBlob {
    /// What to fetch, as JSON
    pub task: String,
}

/// Where the layers of an image are.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "source", required = true, multiple = false)]
pub struct Source {
    /// Take the layers from a config.v1.json of the overlaybd snapshotter. Relative paths in it
    /// start at its folder
    #[arg(long, value_name = "FILE", group = "source")]
    pub config: Option<PathBuf>,

    /// Take the layers from an OCI image layout or a content store of containerd: a folder that
    /// contains blobs/sha256. REF is the name of an image in its index, and required if there are
    /// several
    #[arg(long, value_name = "DIR[:REF]", group = "source")]
    pub oci: Option<String>,

    /// Take the layers from an image in a registry, with the credentials of podman and docker:
    /// `[docker://]HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`. Without HOST it is one of Docker Hub
    #[arg(long, value_name = "REFERENCE", group = "source")]
    pub registry: Option<String>,

    /// Take this file as a layer, lowest layer first. Whether it is a ZFile, and whether it is in a
    /// tar, is detected
    #[arg(long = "layer", value_name = "FILE", group = "source")]
    pub layers: Vec<PathBuf>,
}

/// An image: where its layers are, and which manifest of an OCI folder lists them.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct ImageSource {
    #[command(flatten)]
    #[expect(missing_docs)]
    pub source: Source,

    /// With --oci: the digest of the manifest, or a file that contains it. The folder then needs no
    /// index, like the content store of containerd
    #[arg(long, value_name = "DIGEST|FILE", conflicts_with_all = ["config", "layers", "registry"])]
    pub manifest: Option<String>,

    /// With --registry: do not verify certificates, and use http if the host does not speak TLS
    #[arg(long, requires = "registry", conflicts_with_all = ["config", "oci", "layers"])]
    pub insecure: bool,
}

/// How layers in a registry are read.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Remote {
    /// With --registry: keep what is fetched in DIR. The next `open` of a layer with the same
    /// digest uses it, also after a crash. By default it is in /var/tmp as long as it is used
    #[arg(long, value_name = "DIR", requires = "registry")]
    pub cache: Option<PathBuf>,

    /// With --cache: before anything else, remove from DIR what no device uses, the least recently
    /// used first, until DIR takes no more than SIZE (suffixes K, M, G, T)
    #[arg(long, value_name = "SIZE", requires = "cache", value_parser = size)]
    pub cache_size: Option<u64>,

    /// With --registry: use layers that are in DIR as files of the name blobs/sha256/DIGITS or
    /// sha256/DIGITS, such as those of the content store of containerd
    #[arg(long, value_name = "DIR", requires = "registry")]
    pub blobs: Option<PathBuf>,

    /// With --registry: fetch first what FILE lists, which `record` wrote
    #[arg(long, value_name = "FILE", requires = "registry")]
    pub prefetch: Option<PathBuf>,

    /// With --registry: how many seconds a read waits for a registry that does not answer, before
    /// it fails with an I/O error. Later reads try again
    #[arg(long, value_name = "SECONDS", requires = "registry", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: u64,
}

/// `open`.
#[derive(Args, Debug)]
pub struct Open {
    /// The name of the device, /dev/mapper/NAME
    pub name: String,

    #[command(flatten)]
    #[expect(missing_docs)]
    pub image: ImageSource,

    /// Mount the device on DIR, read-only, or writable with --writable. `close` unmounts it
    #[arg(long, value_name = "DIR")]
    pub mount: Option<PathBuf>,

    /// Create a writable device: writes go to FILE, and the image stays unchanged. A new FILE is
    /// sparse, with room for SIZE bytes (suffixes K, M, G, T; default: room for the whole image).
    /// `close` keeps it, and the next `open` of the same image with this FILE continues it
    #[arg(long, value_name = "FILE[:SIZE]")]
    pub writable: Option<String>,

    /// Read layer files through the page cache. By default they are read with direct I/O where
    /// their file system supports it
    #[arg(long)]
    pub buffered: bool,

    /// Share no layer with other images
    #[arg(long)]
    pub no_share: bool,

    #[command(flatten)]
    #[expect(missing_docs)]
    pub remote: Remote,
}

/// `close`.
#[derive(Args, Debug)]
pub struct Close {
    /// The name of the device
    pub name: String,

    /// Remove a device in use when its last user closes it
    #[arg(long)]
    pub deferred: bool,

    /// Let reads fail that wait for a registry which does not answer, or for a fetcher that has
    /// ended, so that the processes that wait for them no longer use the device
    #[arg(long, conflicts_with = "deferred")]
    pub force: bool,
}

/// `status`.
#[derive(Args, Debug)]
pub struct Status {
    /// The name of the device; default: all devices of this program
    pub name: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    /// Print JSON, as `status` does
    #[arg(long)]
    pub json: bool,
}

/// `record`.
#[derive(Args, Debug)]
pub struct Record {
    /// The name of the device
    pub name: String,
}

/// `cache`.
#[derive(Args, Debug)]
pub struct Cache {
    #[command(subcommand)]
    #[expect(missing_docs)]
    pub command: CacheCommand,
}

/// The commands for a cache.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List the blobs in a cache, the least recently used first, one per line: digest, bytes,
    /// whether it is in use, registry
    Ls {
        /// The folder of the cache
        dir: PathBuf,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove blobs that no device uses, the least recently used first, and list them
    Prune {
        /// The folder of the cache
        dir: PathBuf,

        /// Stop when the cache takes no more than SIZE (suffixes K, M, G, T)
        #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
        keep: u64,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "no size, such as 512M or 10G".to_string())
}

/// `table`.
#[derive(Args, Debug)]
pub struct Table {
    #[command(flatten)]
    #[expect(missing_docs)]
    pub image: ImageSource,

    /// The name of the device in the commands
    #[arg(long, default_value = "image")]
    pub name: String,

    /// Read layer files through the page cache, as with `open`
    #[arg(long)]
    pub buffered: bool,
}

/// `dump`.
#[derive(Args, Debug)]
pub struct Dump {
    /// The files: layers, or any ZFiles
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
    /// The files: layers, or any ZFiles, each verified by itself
    #[arg(value_name = "FILE", group = "source")]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs)]
    pub image: ImageSource,

    #[command(flatten)]
    #[expect(missing_docs)]
    pub remote: Remote,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `registry-header`.
#[derive(Args, Debug)]
pub struct RegistryHeader {
    /// The image
    #[arg(long, value_name = "REFERENCE")]
    pub reference: String,

    /// The file with the credentials; default: no credentials
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,

    /// Do not verify certificates, and use http if the host does not speak TLS
    #[arg(long)]
    pub insecure: bool,
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
        assert!(parse("overlaybdsetup open x --registry a --insecure").is_ok());
        assert!(parse("overlaybdsetup open x --registry a --layer b").is_err());
        assert!(parse("overlaybdsetup open x --registry a --manifest b").is_err());
        assert!(parse("overlaybdsetup open x --oci a --insecure").is_err());
        assert!(parse("overlaybdsetup verify a --registry b").is_err());
        assert!(parse("overlaybdsetup registry-header --reference a --authfile b").is_ok());
    }
}
