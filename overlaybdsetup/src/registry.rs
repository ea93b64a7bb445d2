// SPDX-License-Identifier: GPL-2.0

//! Images in a registry: finds the layers of an image, and what gives access to them.
//!
//! Only documents are fetched: the manifest that the reference names, or the index above it. They
//! must be of an OverlayBD image, by the rules for OCI folders. No blob of a layer is read, and
//! nothing is stored.
//!
//! ```text
//! repository     manifests, and the URLs of blobs          reference
//!  |-- token     what gives access                         credentials
//!  |    `-- http requests through the program curl         secret
//! ```

mod credentials;
mod http;
mod reference;
mod repository;
mod secret;
#[cfg(test)]
mod tests;
mod token;

use crate::cli;
use crate::error::{Error, Result};
use crate::mounts::quoted;
use crate::oci::layers_from;
use crate::output::print;
use credentials::{login, Login, Places};
use reference::Reference;
use repository::{Blobs, Repository};
use serde::{Deserialize, Serialize};
use std::env;
use std::io::Write;
use std::path::Path;

/// A layer in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The URL of its bytes: `SCHEME://HOST/v2/REPOSITORY/blobs/DIGEST`.
    pub url: String,
    /// Its digest, of SHA-256 or SHA-512.
    pub digest: String,
    /// Its length in bytes, as the manifest gives it.
    pub size: u64,
    /// What gives access to it.
    pub access: Access,
}

impl Blob {
    /// A name for where its bytes come from, which can be that of a folder: the scheme and the host
    /// of the registry, and whether the certificate was verified.
    ///
    /// Bytes that were read of a blob cannot be compared with its digest, which is of all bytes. So
    /// they count as that blob only for images from the same source: a registry that lies about a
    /// digest deceives no image of another one.
    #[must_use]
    pub fn source(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let host = rest.split('/').next().unwrap_or_default();
        let insecure = if self.access.verify_tls {
            ""
        } else {
            "insecure-"
        };
        let safe = |char: char| match char {
            char if char.is_ascii_alphanumeric() || "-.:[]".contains(char) => char,
            _ => '_',
        };
        format!("{insecure}{scheme}-{host}")
            .chars()
            .map(safe)
            .collect()
    }
}

/// What gives access to the layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Whether the certificate of the registry must be verified.
    pub verify_tls: bool,
    /// A command for a shell that prints the header for requests, and contains no secret. None if
    /// the registry asks for no header.
    pub header_script: Option<String>,
    /// After how many seconds the command has to run again; 0 without a command.
    pub renew: u32,
}

/// The layers of an image in a registry, lowest first.
///
/// With `insecure`, certificates are not verified, and http is used where the host does not speak
/// TLS. The credentials are those of podman and docker in the environment of this process.
///
/// # Errors
///
/// A text that is no reference; [`Status::Permission`] if the credentials are refused, or are
/// needed and not there; [`Status::Device`] if there is no such image, the host cannot be reached
/// or curl is not installed. Anything wrong with the documents, as in OCI folders.
///
/// [`Status::Permission`]: crate::error::Status::Permission
/// [`Status::Device`]: crate::error::Status::Device
pub fn layers(reference: &str, insecure: bool) -> Result<Vec<Blob>> {
    let reference = Reference::parse(reference)?;
    let login = Places::of_environment().login(&reference)?;
    layers_of(&reference, insecure, login.as_ref())
}

fn layers_of(reference: &Reference, insecure: bool, login: Option<&Login>) -> Result<Vec<Blob>> {
    let repository = Repository::open(reference, insecure, login)?;
    let start = repository.start()?;
    let script = match repository.grant() {
        Some(_) => {
            let file = login.map(|login| login.file.as_path());
            Some(script(reference, insecure, file)?)
        }
        None => None,
    };
    let blobs = Blobs {
        access: repository.access(script),
        repository: &repository,
    };
    layers_from(&blobs, start)
}

/// The command that prints the header. It names the file with the credentials, since the process
/// that runs it may have another environment.
fn script(reference: &Reference, insecure: bool, file: Option<&Path>) -> Result<String> {
    let program = env::current_exe()
        .map_err(|error| Error::io("cannot find the path of this program", &error))?;
    let text = |path: &Path| match path.to_str() {
        Some(_) => Ok(quoted(path)),
        None => Err(Error::refused(format!(
            "{}: a path that is not in UTF-8 cannot be part of a command",
            path.display()
        ))),
    };
    let mut words = vec![
        text(&program)?,
        "registry-header".to_string(),
        "--reference".to_string(),
        text(Path::new(&reference.to_string()))?,
    ];
    if let Some(file) = file {
        words.push("--authfile".to_string());
        words.push(text(file)?);
    }
    if insecure {
        words.push("--insecure".to_string());
    }
    Ok(words.join(" "))
}

/// `registry-header`: prints the header that gives access, or nothing if none is needed.
///
/// # Errors
///
/// Those of [`layers`], except for documents, and an error of `out`.
pub fn run_header(arguments: &cli::RegistryHeader, out: &mut dyn Write) -> Result<()> {
    let reference = Reference::parse(&arguments.reference)?;
    let login = login(arguments.authfile.as_deref(), &reference)?;
    let repository = Repository::open(&reference, arguments.insecure, login.as_ref())?;
    print(out, |out| match repository.grant() {
        Some(grant) => writeln!(out, "{}", grant.header.reveal()),
        None => Ok(()),
    })
}
