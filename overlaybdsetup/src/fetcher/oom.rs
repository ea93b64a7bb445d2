// SPDX-License-Identifier: GPL-2.0

//! Has the out-of-memory killer take a fetcher after other processes.
//!
//! If it kills a fetcher, all reads of a layer fail until the image is opened again. That frees
//! little memory, and the processes that wait for these reads keep theirs.

use std::fs;
use std::io;
use std::path::Path;

/// Where the kernel has the value of this process, which its children inherit.
const FILE: &str = "/proc/self/oom_score_adj";

/// All memory of the machine in thousandths, but for one: the process counts as one that uses that
/// much less. With -1000 it could not be killed at all. But an image has two processes for each
/// layer, and without a process that it can kill the kernel panics.
const VALUE: i32 = -999;

/// Lowers the value of this process. Where that is not permitted, it stays as it is.
pub(super) fn spare() {
    let _ = lower(Path::new(FILE));
}

fn lower(file: &Path) -> io::Result<()> {
    let value = fs::read_to_string(file)?;
    let value: i32 = value.trim().parse().map_err(io::Error::other)?;
    // The starter may have a lower one.
    if value > VALUE {
        fs::write(file, VALUE.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_only_lowered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("oom_score_adj");
        for (before, after) in [("0\n", "-999"), ("500\n", "-999"), ("-1000\n", "-1000\n")] {
            fs::write(&file, before).unwrap();
            lower(&file).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), after);
        }
        fs::write(&file, "none").unwrap();
        assert!(lower(&file).is_err());
        assert!(lower(&folder.path().join("none")).is_err());
    }
}
