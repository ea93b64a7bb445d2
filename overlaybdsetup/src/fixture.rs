// SPDX-License-Identifier: GPL-2.0

//! What the tests of several modules share: files in a temporary folder, and bytes for them.

use crate::layer::LayerFile;
use std::fs;
use std::path::PathBuf;

/// A folder that is removed after the test.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The path of a file in it, which need not exist.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and returns its path.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a file, and returns it as a layer without a given length or digest.
    pub(crate) fn layer(&self, name: &str, bytes: &[u8]) -> LayerFile {
        LayerFile::new(self.write(name, bytes))
    }
}

/// Bytes that do not compress, so that blocks have about the length of their content.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}
