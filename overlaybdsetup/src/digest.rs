// SPDX-License-Identifier: GPL-2.0

//! Digests of whole files as the documents of images write them: `sha256:` or `sha512:`, then
//! lower-case hexadecimal digits.
//!
//! It opens no file.

use crate::error::{Error, Result};
use sha2::digest::DynDigest;
use sha2::{Digest, Sha256, Sha512};

/// An algorithm whose digests can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The algorithm with this name in front of the colon.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The algorithm of a digest.
    ///
    /// # Errors
    ///
    /// A text that is no digest, or a digest of another algorithm.
    pub(crate) fn of(digest: &str) -> Result<Self> {
        if let Some((algorithm, _)) = parts(digest) {
            return Ok(algorithm);
        }
        Err(Error::refused(match digest.split_once(':') {
            Some((name, _)) if Self::named(name).is_none() => {
                format!("no digest of the kind {name:?} can be checked: sha256 and sha512 can")
            }
            _ => format!("{digest:?} is no digest"),
        }))
    }

    /// Its name in front of the colon.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The number of hexadecimal digits.
    const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// A hasher that has read nothing yet.
    pub(crate) fn hasher(self) -> Box<dyn DynDigest> {
        match self {
            Self::Sha256 => Box::new(Sha256::new()),
            Self::Sha512 => Box::new(Sha512::new()),
        }
    }

    /// The digest of what a hasher of this algorithm has read.
    pub(crate) fn finish(self, hasher: Box<dyn DynDigest>) -> String {
        format!("{}:{}", self.name(), hex(&hasher.finalize()))
    }

    /// The digest of bytes in memory.
    pub(crate) fn digest(self, bytes: &[u8]) -> String {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        self.finish(hasher)
    }
}

/// The algorithm and the digits of a digest; [`None`] if it is no digest, or of another algorithm.
///
/// The digits contain no '/' and no '.', so a path that ends with them stays in its folder.
pub(crate) fn parts(digest: &str) -> Option<(Algorithm, &str)> {
    let (name, digits) = digest.split_once(':')?;
    let algorithm = Algorithm::named(name)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let right = digits.len() == algorithm.digits() && digits.bytes().all(is_digit);
    right.then_some((algorithm, digits))
}

/// Compares a digest with that of bytes.
///
/// # Errors
///
/// Another digest, and a text that is none of a known algorithm.
pub(crate) fn check(digest: &str, bytes: &[u8]) -> Result<()> {
    let real = Algorithm::of(digest)?.digest(bytes);
    if real == digest {
        return Ok(());
    }
    Err(Error::refused(format!(
        "its digest is {real}: it is damaged"
    )))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_lower_case_digests_have_parts() {
        let digest = Algorithm::Sha256.digest(b"x");
        assert!(parts(&digest).is_some());
        assert_eq!(parts(&digest.to_uppercase().replace("SHA", "sha")), None);
        assert_eq!(parts("sha256"), None);
    }

    proptest! {
        #[test]
        fn no_digest_leaves_the_folder(
            digest in "(sha256|sha512|[a-z./]{0,9}):?([0-9a-f]{64}|[0-9a-f]{128}|[0-9a-f./]{0,9})",
        ) {
            if let Some((_, digits)) = parts(&digest) {
                prop_assert!(digits.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }
}
