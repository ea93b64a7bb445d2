// SPDX-License-Identifier: GPL-2.0

//! The CRC of the formats, with the result of the kernel's `crc32c()`.

/// CRC-32C without inversions. The library inverts before and after, as most uses of this CRC do;
/// this function undoes both.
#[must_use]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_format() {
        assert_eq!(crc32c(0, b"123456789"), 0x58e3_fa20);
        assert_eq!(crc32c(100_007, b"123456789"), 0x3c9b_d4e0);
        assert_eq!(crc32c(100_007, &[0; 4096]), 0x1874_6ccd);
    }

    #[test]
    fn it_continues() {
        let whole = crc32c(5, b"overlaybd");
        assert_eq!(crc32c(crc32c(5, b"over"), b"laybd"), whole);
        assert_eq!(crc32c(7, b""), 7);
    }
}
