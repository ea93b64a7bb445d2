// SPDX-License-Identifier: GPL-2.0

//! The hash tree that dm-verity reads: SHA-256, no salt, 4096-byte blocks, no superblock.

use crate::{
    device::{Device, Source},
    Failure,
};
use sha2::{Digest, Sha256};

/// Size of data and hash blocks in bytes.
pub const BLOCK: usize = 4096;

/// The hash tree over all of `device`: the root hash, and what the hash device must hold, the
/// topmost level first.
///
/// # Errors
///
/// If the device cannot be read or is not a whole number of blocks long.
pub fn tree(device: &Device) -> Result<([u8; 32], Vec<u8>), Failure> {
    if device.is_empty() || device.len() % BLOCK as u64 != 0 {
        return Err(format!("{} is not whole blocks", device.path().display()));
    }
    let mut digests = Vec::new();
    device.scan(0, device.len(), |_, data| {
        for block in data.chunks(BLOCK) {
            digests.extend_from_slice(&Sha256::digest(block));
        }
        Ok(())
    })?;
    let mut levels = Vec::new();
    loop {
        digests.resize(digests.len().next_multiple_of(BLOCK), 0);
        let above: Vec<u8> = digests.chunks(BLOCK).flat_map(Sha256::digest).collect();
        levels.push(digests);
        if let Ok(root) = <[u8; 32]>::try_from(above.as_slice()) {
            levels.reverse();
            return Ok((root, levels.concat()));
        }
        digests = above;
    }
}
