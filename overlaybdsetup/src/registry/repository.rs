// SPDX-License-Identifier: GPL-2.0

//! A repository in a registry: the documents of its images, and the places of its blobs.
//!
//! No blob of a layer is fetched, and nothing is written to the registry.

use super::credentials::Login;
use super::http::{Failure, Http, Request, Response};
use super::reference::Reference;
use super::token::{challenge, grant, refused, Grant};
use super::{Access, Blob};
use crate::digest::{check, Algorithm};
use crate::error::{Error, Result, Status};
use crate::oci::{Document, Origin, IMAGES};
use serde::Deserialize;

/// An open repository.
#[derive(Debug)]
pub(super) struct Repository<'a> {
    http: Http,
    reference: &'a Reference,
    login: Option<&'a Login>,
    /// The scheme and the host of the registry.
    base: String,
    /// What gives access, if the registry asks for anything.
    grant: Option<Grant>,
    /// What the first request was answered with, before there was access.
    first: Response,
}

/// The body of an answer that is an error.
#[derive(Deserialize)]
struct Faults {
    errors: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    code: String,
}

impl<'a> Repository<'a> {
    /// Asks for the image, and for access if the registry wants that.
    ///
    /// With `insecure`, certificates are not verified, and http is used where there is no TLS.
    ///
    /// # Errors
    ///
    /// Those of [`Http::send`] and [`grant`].
    pub(super) fn open(
        reference: &'a Reference,
        insecure: bool,
        login: Option<&'a Login>,
    ) -> Result<Self> {
        let http = Http { insecure };
        let ask = |scheme: &str| {
            let base = format!("{scheme}://{}", reference.registry());
            let request = manifest(&base, reference, None);
            http.send(&request).map(|first| (base, first))
        };
        let (base, first) = match ask("https") {
            Err(Failure { no_tls: true, .. }) if insecure => ask("http")?,
            other => other?,
        };
        let mut repository = Self {
            http,
            reference,
            login,
            base,
            grant: None,
            first,
        };
        // Another host must not obtain the credentials, whatever it asks for.
        if repository.first.status == 401 && !repository.first.moved {
            let grant = challenge(&repository.first)
                .and_then(|challenge| grant(http, reference, &challenge, login))
                .map_err(|error| error.within(reference))?;
            repository.grant = Some(grant);
        }
        Ok(repository)
    }

    /// What gives access, if the registry asks for anything.
    pub(super) fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    /// The document that the reference names.
    ///
    /// # Errors
    ///
    /// Those of [`Origin::document`].
    pub(super) fn start(&self) -> Result<Document> {
        if self.grant.is_some() {
            return self.get(self.reference);
        }
        self.judge(self.reference, &self.first)
    }

    fn get(&self, reference: &Reference) -> Result<Document> {
        let request = manifest(&self.base, reference, self.grant.as_ref());
        let response = self.http.send(&request).map_err(Error::from)?;
        self.judge(reference, &response)
    }

    /// The document in an answer.
    fn judge(&self, reference: &Reference, response: &Response) -> Result<Document> {
        let failed = |status, text: &str| {
            let codes = codes(&response.body);
            Err(Error::new(status, format!("{text}{codes}")).within(reference))
        };
        match response.status {
            200 => {}
            401 | 403 => {
                return match (&self.grant, self.login) {
                    _ if response.moved => failed(
                        Status::Permission,
                        "another host, to which the registry redirects, refuses access",
                    ),
                    (Some(_), Some(login)) => failed(
                        Status::Permission,
                        &format!(
                            "no access with the credentials in {}: they are wrong, or not for \
                             this repository",
                            login.file.display()
                        ),
                    ),
                    _ => Err(refused(self.reference, self.login).within(reference)),
                };
            }
            404 => return failed(Status::Device, "the registry has no such image"),
            429 => return failed(Status::Refused, "too many requests, the registry says"),
            other => {
                return failed(
                    Status::Refused,
                    &format!("the registry answers with status {other}"),
                );
            }
        }
        if let Some(digest) = reference.digest() {
            check(digest, &response.body).map_err(|error| error.within(reference))?;
        }
        Ok(Document {
            name: reference.to_string(),
            bytes: response.body.clone(),
        })
    }

    /// The access to blobs.
    pub(super) fn access(&self, header_script: Option<String>) -> Access {
        Access {
            verify_tls: !self.http.insecure,
            header_script,
            renew: self.grant.as_ref().map_or(0, |grant| grant.renew),
        }
    }
}

/// The layers of a repository, with what gives access to them.
pub(super) struct Blobs<'a> {
    pub(super) repository: &'a Repository<'a>,
    pub(super) access: Access,
}

impl Origin for Blobs<'_> {
    type Layer = Blob;

    fn document(&self, digest: &str) -> Result<Document> {
        let reference = self.repository.reference.with_digest(digest);
        Algorithm::of(digest).map_err(|error| error.within(&reference))?;
        self.repository.get(&reference)
    }

    fn layer(&self, digest: &str, size: u64) -> Result<Blob> {
        Algorithm::of(digest)?;
        Ok(Blob {
            url: format!(
                "{}/v2/{}/blobs/{digest}",
                self.repository.base,
                self.repository.reference.repository()
            ),
            digest: digest.to_string(),
            size,
            access: self.access.clone(),
        })
    }
}

/// The request for a manifest or an index.
fn manifest(base: &str, reference: &Reference, grant: Option<&Grant>) -> Request {
    Request {
        url: format!(
            "{base}/v2/{}/manifests/{}",
            reference.repository(),
            reference.version()
        ),
        headers: vec![format!("Accept: {}", IMAGES.join(", "))],
        authorization: grant.map(|grant| grant.header.clone()),
        ..Request::default()
    }
}

/// The codes of the registry's errors for a message. Its texts are left out: they may contain what
/// was sent.
fn codes(body: &[u8]) -> String {
    let faults = serde_json::from_slice(body).map_or_else(|_| Vec::new(), |all: Faults| all.errors);
    let is_code = |code: &str| {
        (1..=40).contains(&code.len())
            && (code.bytes()).all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let codes: Vec<&str> = (faults.iter())
        .map(|fault| fault.code.as_str())
        .filter(|code| is_code(code))
        .take(3)
        .collect();
    match codes.as_slice() {
        [] => String::new(),
        codes => format!(" ({})", codes.join(", ")),
    }
}
