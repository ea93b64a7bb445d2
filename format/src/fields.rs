// SPDX-License-Identifier: GPL-2.0

//! Little-endian fields at fixed places of fixed-size areas. The place is a constant that is
//! checked against the size of the area at compile time, so a read cannot fail.

/// The `LEN` bytes of `area` from `AT` on.
pub(crate) fn bytes_at<const AT: usize, const LEN: usize, const SIZE: usize>(
    area: &[u8; SIZE],
) -> &[u8; LEN] {
    const {
        assert!(AT <= SIZE && LEN <= SIZE - AT);
    }
    match area.get(AT..).and_then(|rest| rest.first_chunk()) {
        Some(bytes) => bytes,
        // Unreachable, by the assertion.
        None => &[0; LEN],
    }
}

/// The `u8` of `area` at `AT`.
pub(crate) fn u8_at<const AT: usize, const SIZE: usize>(area: &[u8; SIZE]) -> u8 {
    u8::from_le_bytes(*bytes_at::<AT, 1, SIZE>(area))
}

/// The little-endian `u32` of `area` at `AT`.
pub(crate) fn u32_at<const AT: usize, const SIZE: usize>(area: &[u8; SIZE]) -> u32 {
    u32::from_le_bytes(*bytes_at::<AT, 4, SIZE>(area))
}

/// The little-endian `u64` of `area` at `AT`.
pub(crate) fn u64_at<const AT: usize, const SIZE: usize>(area: &[u8; SIZE]) -> u64 {
    u64::from_le_bytes(*bytes_at::<AT, 8, SIZE>(area))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_little_endian_and_reach_the_last_byte() {
        let area: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(u8_at::<8, 9>(&area), 9);
        assert_eq!(u32_at::<5, 9>(&area), 0x0908_0706);
        assert_eq!(u64_at::<1, 9>(&area), 0x0908_0706_0504_0302);
        assert_eq!(bytes_at::<0, 3, 9>(&area), &[1, 2, 3]);
    }
}
