// SPDX-License-Identifier: GPL-2.0

//! A CRC-32C for the unit tests of both formats.

/// CRC-32C bit by bit, as it is defined: slow, and independent of any library.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let mut crc = seed;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    crc
}

#[test]
fn the_crc_agrees_with_the_formats_vectors() {
    assert_eq!(crc32c(0, b"123456789"), 0x58e3_fa20);
    assert_eq!(crc32c(100_007, b"123456789"), 0x3c9b_d4e0);
    assert_eq!(crc32c(100_007, &[0; 4096]), 0x1874_6ccd);
}
