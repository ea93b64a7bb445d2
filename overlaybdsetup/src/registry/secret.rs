// SPDX-License-Identifier: GPL-2.0

//! A text that must not be printed: a password or a token.

use std::fmt;

/// A password, a token, or a header with one of them. It has no form for messages.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_shows_it() {
        let secret = Secret::new("x7");
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "a secret Some(a secret)"
        );
        assert_eq!(secret.reveal(), "x7");
    }
}
