// SPDX-License-Identifier: GPL-2.0

//! What a fetcher has to do, as `open` writes it on its command line. It contains no secret.

use crate::registry::Blob;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The task of a fetcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The blob.
    pub blob: Blob,
    /// A folder of its own, for its sockets. The fetcher removes it when it ends.
    pub folder: PathBuf,
    /// The folder of the cache, in which what was fetched stays; [`None`] to forget it at the end.
    pub cache: Option<PathBuf>,
    /// How long a read waits for the registry, in seconds, before it fails.
    pub patience: u64,
    /// A record, whose parts are fetched first.
    pub prefetch: Option<PathBuf>,
}

impl Task {
    /// The path of nbdkit's socket.
    pub(super) fn nbdkit_socket(&self) -> PathBuf {
        self.folder.join("nbdkit.sock")
    }

    /// The path of the file with the reason for which the fetcher has not started.
    pub(crate) fn failure(&self) -> PathBuf {
        self.folder.join("failed")
    }

    /// The path of the socket on which the fetcher reports.
    pub(crate) fn report_socket(&self) -> PathBuf {
        self.folder.join(super::report::SOCKET)
    }
}
