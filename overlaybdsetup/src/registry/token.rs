// SPDX-License-Identifier: GPL-2.0

//! The header that gives access to a repository, as the registry's refusal asks for it: a token
//! (Bearer), or name and password (Basic).
//!
//! The server for tokens is the one that the registry names, and may be on another host. It
//! receives the credentials, which is how registries work. Nothing is stored.

use super::credentials::{Credential, Login};
use super::http::{Http, Request, Response};
use super::reference::Reference;
use super::secret::Secret;
use crate::error::{Error, Result, Status};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use http_auth::{parse_challenges, ChallengeRef};
use serde::Deserialize;

/// How long a token is valid if the server does not say so, in seconds.
const DEFAULT_SECONDS: u64 = 60;

/// After how many seconds name and password are read again: a helper may have others then.
const PASSWORD_SECONDS: u32 = 3600;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of the server at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
    },
    /// Name and password.
    Basic,
}

/// Access for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// The header as a whole.
    pub(super) header: Secret,
    /// After how many seconds another one is needed.
    pub(super) renew: u32,
}

/// The answer of a server for tokens.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What the answer of a registry asks for. A token is preferred.
///
/// # Errors
///
/// An answer that asks for nothing that is known.
pub(super) fn challenge(response: &Response) -> Result<Challenge> {
    let mut basic = false;
    for value in response.headers("WWW-Authenticate") {
        for challenge in parse_challenges(value).unwrap_or_default() {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = parameter(&challenge, "realm") {
                    let service = parameter(&challenge, "service");
                    return Ok(Challenge::Bearer { realm, service });
                }
            }
            basic |= challenge.scheme.eq_ignore_ascii_case("basic");
        }
    }
    if basic {
        return Ok(Challenge::Basic);
    }
    Err(Error::new(
        Status::Permission,
        "it refuses access, and asks for neither a token nor a password",
    ))
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge
        .params
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

/// The header that answers a challenge.
///
/// # Errors
///
/// [`Status::Permission`] if the credentials are refused, or are needed and not there. Those of
/// [`Http::send`], and an answer without a token.
pub(super) fn grant(
    http: Http,
    reference: &Reference,
    challenge: &Challenge,
    login: Option<&Login>,
) -> Result<Grant> {
    let (realm, service) = match challenge {
        Challenge::Bearer { realm, service } => (realm, service),
        Challenge::Basic => {
            return match login.map(|login| &login.credential) {
                Some(Credential::Password(name, password)) => Ok(Grant {
                    header: basic(name, password),
                    renew: PASSWORD_SECONDS,
                }),
                Some(Credential::Identity(_)) => Err(Error::new(
                    Status::Permission,
                    "it asks for a password, and the credentials are a token",
                )),
                None => Err(refused(reference, login)),
            };
        }
    };
    let scope = format!("repository:{}:pull", reference.repository());
    let mut request = Request {
        url: realm.clone(),
        ..Request::default()
    };
    if let Some(service) = service {
        request.fields.push(("service", Secret::new(service)));
    }
    request.fields.push(("scope", Secret::new(scope)));
    match login.map(|login| &login.credential) {
        Some(Credential::Password(name, password)) => {
            request.authorization = Some(basic(name, password));
        }
        Some(Credential::Identity(token)) => {
            request.post = true;
            for (name, value) in [
                ("grant_type", Secret::new("refresh_token")),
                ("client_id", Secret::new("overlaybdsetup")),
                ("refresh_token", token.clone()),
            ] {
                request.fields.push((name, value));
            }
        }
        None => {}
    }
    let response = http.send(&request)?;
    match response.status {
        200 => token(&response.body),
        401 | 403 => Err(refused(reference, login)),
        other => Err(Error::refused(format!(
            "its server for tokens answers with status {other}"
        ))),
    }
}

/// The header for name and password.
fn basic(name: &str, password: &Secret) -> Secret {
    let both = STANDARD.encode(format!("{name}:{}", password.reveal()));
    Secret::new(format!("Authorization: Basic {both}"))
}

/// The header for the token in an answer.
fn token(body: &[u8]) -> Result<Grant> {
    // What serde says may show a part of the token.
    let wrong = || Error::refused("the answer of its server for tokens has no token");
    let answer: Answer = serde_json::from_slice(body).map_err(|_| wrong())?;
    let is_token =
        |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let token = [answer.token, answer.access_token]
        .into_iter()
        .flatten()
        .find(is_token)
        .ok_or_else(wrong)?;
    Ok(Grant {
        header: Secret::new(format!("Authorization: Bearer {token}")),
        renew: renew(answer.expires_in.unwrap_or(DEFAULT_SECONDS)),
    })
}

/// Two thirds of the time for which a token is valid.
fn renew(seconds: u64) -> u32 {
    let part = seconds / 3 * 2 + seconds % 3 * 2 / 3;
    u32::try_from(part).unwrap_or(u32::MAX).max(1)
}

/// The error for a registry that wants other credentials, or any.
pub(super) fn refused(reference: &Reference, login: Option<&Login>) -> Error {
    Error::new(
        Status::Permission,
        match login {
            Some(login) => format!("it refuses the credentials in {}", login.file.display()),
            None => format!(
                "no access without credentials, and there are none: log in with podman login {0} \
                 or docker login {0}, as the same user",
                reference.host()
            ),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        for (seconds, part) in [
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 2),
            (60, 40),
            (300, 200),
            (61, 40),
        ] {
            assert_eq!(renew(seconds), part, "{seconds}");
        }
        assert_eq!(renew(u64::MAX), u32::MAX);
    }

    #[test]
    fn answers() {
        let found = |text: &str| {
            let grant = token(text.as_bytes()).unwrap();
            (grant.header.reveal().to_string(), grant.renew)
        };
        let header = |token: &str| format!("Authorization: Bearer {token}");
        assert_eq!(
            found("{\"token\": \"a\", \"access_token\": \"b\"}"),
            (header("a"), 40)
        );
        assert_eq!(
            found("{\"access_token\": \"b\", \"expires_in\": 300}"),
            (header("b"), 200)
        );
        assert_eq!(
            found("{\"token\": \"\", \"access_token\": \"b\"}"),
            (header("b"), 40)
        );
        for text in [
            "",
            "{}",
            "{\"token\": \"\"}",
            "{\"token\": \"s3cret\\r\\nX: y\"}",
            "{\"token\": \"s3 cret\"}",
            "{\"token\": [\"s3cret\"]}",
            "{\"token\": \"a\", \"expires_in\": \"s3cret\"}",
        ] {
            let error = token(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, "the answer of its server for tokens has no token");
        }
    }

    proptest! {
        #[test]
        fn a_header_is_one_line(name in "\\PC{0,9}", text in any::<String>(), body: Vec<u8>) {
            let header = basic(&name, &Secret::new(&text));
            prop_assert!(header.reveal().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            let _ = token(&body);
            let body = serde_json::json!({"token": text}).to_string();
            if let Ok(grant) = token(body.as_bytes()) {
                prop_assert_eq!(grant.header.reveal().lines().count(), 1);
            }
        }
    }
}
