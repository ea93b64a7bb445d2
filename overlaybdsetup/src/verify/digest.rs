// SPDX-License-Identifier: GPL-2.0

//! The digests of whole files that can be checked, by the names that images have for them.
//!
//! It reads no file, and compares nothing: it knows the algorithms.

use crate::error::{Error, Result};
use sha2::digest::DynDigest;
use sha2::{Digest, Sha256, Sha512};

/// A digest that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The algorithm of a digest as images have it: a name, a colon, hexadecimal digits.
    ///
    /// # Errors
    ///
    /// What is no digest, and one of another algorithm.
    pub(super) fn of(digest: &str) -> Result<Self> {
        let none = || Error::refused(format!("{digest:?} is no digest"));
        let (name, digits) = digest.split_once(':').ok_or_else(none)?;
        let (algorithm, len) = match name {
            "sha256" => (Self::Sha256, 64),
            "sha512" => (Self::Sha512, 128),
            _ => {
                return Err(Error::refused(format!(
                    "no digest of the kind {name:?} can be checked: sha256 and sha512 can"
                )))
            }
        };
        let right = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() == len && digits.bytes().all(right) {
            Ok(algorithm)
        } else {
            Err(none())
        }
    }

    /// Its name in front of the colon.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// What computes it.
    pub(super) fn hasher(self) -> Box<dyn DynDigest> {
        match self {
            Self::Sha256 => Box::new(Sha256::new()),
            Self::Sha512 => Box::new(Sha512::new()),
        }
    }
}
