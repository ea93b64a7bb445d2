// SPDX-License-Identifier: GPL-2.0

//! Generated content: zeros, a repeated phrase, few and all byte values, so that some blocks
//! compress well, some hardly and some not at all.

use fastrand::Rng;

/// `len` bytes.
pub(super) fn bytes(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 6000);
    while bytes.len() < len {
        let start = bytes.len();
        let stretch = rng.usize(1..6000);
        bytes.resize(start + stretch, 0);
        let new = &mut bytes[start..];
        match rng.u8(0..6) {
            0 => {}
            1 | 2 => {
                let mut phrase = [0; 64];
                rng.fill(&mut phrase);
                let phrase = &phrase[..rng.usize(1..=64)];
                for piece in new.chunks_mut(phrase.len()) {
                    piece.copy_from_slice(&phrase[..piece.len()]);
                }
            }
            3 => {
                rng.fill(new);
                new.iter_mut().for_each(|byte| *byte = b'a' + *byte % 5);
            }
            _ => rng.fill(new),
        }
    }
    bytes.truncate(len);
    bytes
}
