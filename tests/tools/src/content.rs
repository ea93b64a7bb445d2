// SPDX-License-Identifier: GPL-2.0

//! What a device should hold.

use crate::Failure;

/// What a device should hold.
pub trait Content {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Whether it is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `at` on to `out`.
    ///
    /// # Errors
    ///
    /// If the content ends before that many bytes, or cannot be read.
    fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Failure>;

    /// Whether there are right bytes for the sector that `at` is in. Where there are none, a read
    /// that fails leaves the sector as it was, or zero.
    fn has_right_bytes(&self, at: u64) -> bool {
        let _ = at;
        true
    }
}

impl Content for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn bytes_at(&self, at: u64, out: &mut [u8]) -> Result<(), Failure> {
        let held = usize::try_from(at)
            .ok()
            .and_then(|from| self.get(from..)?.get(..out.len()))
            .ok_or_else(|| format!("{} bytes at {at} are beyond the end", out.len()))?;
        out.copy_from_slice(held);
        Ok(())
    }
}

/// Compares what was read from `at` on with the content.
///
/// # Errors
///
/// The first byte that differs.
pub fn compare(content: &impl Content, at: u64, read: &[u8]) -> Result<(), Failure> {
    let mut place = [0; 65536];
    let mut from = at;
    for piece in read.chunks(place.len()) {
        let want = &mut place[..piece.len()];
        content.bytes_at(from, want)?;
        if want != piece {
            let different = |(read, want): (&u8, &u8)| read != want;
            let pairs = || piece.iter().zip(&*want);
            let first = pairs().position(different).unwrap_or(0);
            return Err(format!(
                "byte {} is {:#04x}, should be {:#04x} ({} bytes of the {} from {from} on differ)",
                from + first as u64,
                piece[first],
                want[first],
                pairs().filter(|&pair| different(pair)).count(),
                piece.len()
            ));
        }
        from += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_differ_are_found() {
        let content: Vec<u8> = (0..=255).cycle().take(1024).collect();
        assert_eq!(compare(&content, 0, &content), Ok(()));
        assert_eq!(compare(&content, 512, &content[512..]), Ok(()));
        let mut other = content[512..].to_vec();
        other[488] ^= 8;
        let what = compare(&content, 512, &other).unwrap_err();
        assert!(what.contains("byte 1000 is 0xe0, should be 0xe8"), "{what}");
        assert!(compare(&content, 512, &content).is_err());
        assert!(compare(&content, 2048, &content[..1]).is_err());
    }
}
