// SPDX-License-Identifier: GPL-2.0

//! The credentials for a repository, from the files that podman and docker write when a user logs
//! in, and from the helpers that these files name.
//!
//! No file is written, and no error says what is in a file: it may be a password.

use super::reference::Reference;
use super::secret::Secret;
use crate::error::{is_absence, Error, Result, Status};
use crate::json;
use docker_credential::{get_credential_from_reader, CredentialRetrievalError, DockerCredential};
use serde_json::{json, Map, Value};
use std::ffi::OsString;
use std::fs;
use std::path::{absolute, Path, PathBuf};

/// The key of Docker Hub in the files and helpers of docker.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What gives access to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// A name and a password.
    Password(String, Secret),
    /// A token that the registry exchanges for others.
    Identity(Secret),
}

/// A credential, and the file in which it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) file: PathBuf,
    pub(super) credential: Credential,
}

/// The files to look at, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    files: Vec<PathBuf>,
    /// Whether the user named the file, which then has to exist.
    named: bool,
}

impl Places {
    /// The files that the environment of this process leads to.
    pub(super) fn of_environment() -> Self {
        let user = rustix::process::getuid().as_raw();
        Self::of(|name| std::env::var_os(name), user)
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, user: u32) -> Self {
        let variable = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            return Self::named(file);
        }
        let home = |folder: &str| variable("HOME").map(|home| home.join(folder));
        let folders = [
            variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers")),
            Some(PathBuf::from(format!("/run/containers/{user}"))),
            variable("XDG_CONFIG_HOME")
                .or_else(|| home(".config"))
                .map(|folder| folder.join("containers")),
        ];
        let containers = folders.into_iter().flatten();
        let containers = containers.map(|folder| folder.join("auth.json"));
        let docker = variable("DOCKER_CONFIG").or_else(|| home(".docker"));
        let docker = docker.map(|folder| folder.join("config.json"));
        Self {
            files: containers.chain(docker).collect(),
            named: false,
        }
    }

    /// One file.
    pub(super) fn named(file: PathBuf) -> Self {
        Self {
            files: vec![file],
            named: true,
        }
    }

    /// No file.
    pub(super) fn none() -> Self {
        Self {
            files: Vec::new(),
            named: false,
        }
    }

    /// The credential for a repository from the first file that has one.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is malformed; a helper that fails.
    pub(super) fn login(&self, reference: &Reference) -> Result<Option<Login>> {
        for file in &self.files {
            match fs::metadata(file) {
                Err(error) if is_absence(&error) && !self.named => continue,
                _ => {}
            }
            let bytes = json::read(file)?;
            let found = find(&bytes, reference).map_err(|error| error.within(file.display()))?;
            if let Some(credential) = found {
                let file = absolute(file).map_err(|error| {
                    Error::io(format!("cannot find {}", file.display()), &error)
                })?;
                return Ok(Some(Login { file, credential }));
            }
        }
        Ok(None)
    }
}

/// The credential for a repository in the content of a file.
///
/// A helper for the host counts most; then an entry for the repository, a folder above it or the
/// host, the longest first; then the helper for all hosts. Helpers know hosts only.
fn find(bytes: &[u8], reference: &Reference) -> Result<Option<Credential>> {
    let all: Value = serde_json::from_slice(bytes).map_err(|error| {
        // Line and column only.
        Error::refused(format!(
            "no JSON: line {} column {}",
            error.line(),
            error.column()
        ))
    })?;
    let host = reference.host();
    let helper_keys = if reference.is_hub() {
        vec![HUB_KEY, host]
    } else {
        vec![host]
    };
    for key in &helper_keys {
        if let Some(helper) = text(&all["credHelpers"][key]) {
            return ask(&json!({"credHelpers": {*key: helper}}), key);
        }
    }
    let entries = entries(&all["auths"]);
    let name = format!("{host}/{}", reference.repository());
    let ends = name.match_indices('/').map(|(at, _)| at);
    let ends = ends.chain([name.len()]).collect::<Vec<_>>();
    for end in ends.into_iter().rev() {
        let key = &name[..end];
        if let Some(entry) = entries.get(key) {
            let found = ask(&json!({"auths": {key: entry}}), key)?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    // Older files have URLs as keys.
    let found = ask(&json!({"auths": entries}), host)?;
    match (found, text(&all["credsStore"])) {
        (None, Some(store)) => {
            let key = helper_keys.first().copied().unwrap_or(host);
            ask(&json!({"credsStore": store}), key)
        }
        (found, _) => Ok(found),
    }
}

/// A text that is not empty.
fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// The entries of a file, without those that are empty: docker writes them for what a helper has.
fn entries(auths: &Value) -> Map<String, Value> {
    let mut entries = auths.as_object().cloned().unwrap_or_default();
    for (_, entry) in entries.iter_mut() {
        if let Some(fields) = entry.as_object_mut() {
            fields.retain(|_, value| value.as_str() != Some(""));
        }
    }
    entries.retain(|_, entry| entry.as_object().is_none_or(|fields| !fields.is_empty()));
    entries
}

/// Lets the crate decode a document, or call a helper.
fn ask(document: &Value, key: &str) -> Result<Option<Credential>> {
    let bytes = document.to_string();
    let refused = |why: &str| Err(Error::refused(format!("{key:?}: {why}")));
    match get_credential_from_reader(bytes.as_bytes(), key) {
        Ok(DockerCredential::IdentityToken(token)) => {
            Ok(Some(Credential::Identity(Secret::new(token))))
        }
        Ok(DockerCredential::UsernamePassword(name, password)) => {
            let is_empty = name.is_empty() && password.is_empty();
            Ok((!is_empty).then(|| Credential::Password(name, Secret::new(password))))
        }
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // What a helper prints may be a secret.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. })
            if stdout.contains("credentials not found") =>
        {
            Ok(None)
        }
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => Err(Error::new(
            Status::Permission,
            format!("{key:?}: the helper {helper} fails"),
        )),
        Err(CredentialRetrievalError::HelperCommunicationError) => {
            refused("its helper for credentials cannot be run, or reads nothing")
        }
        Err(CredentialRetrievalError::MalformedHelperResponse) => {
            refused("the answer of its helper for credentials is malformed")
        }
        Err(CredentialRetrievalError::CredentialMismatchError) => {
            refused("its name and password are not those of its field auth")
        }
        Err(_) => refused("its entry is malformed"),
    }
}

/// The credential for a repository in a file, or none without a file.
///
/// # Errors
///
/// Those of [`Places::login`].
pub(super) fn login(file: Option<&Path>, reference: &Reference) -> Result<Option<Login>> {
    let places = match file {
        Some(file) => Places::named(file.to_path_buf()),
        None => Places::none(),
    };
    places.login(reference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Files;
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;

    fn reference(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    fn entry(name: &str) -> Value {
        json!({"auth": STANDARD.encode(format!("{name}:pass:word"))})
    }

    fn in_file(document: &Value, name: &str) -> Result<Option<Credential>> {
        find(document.to_string().as_bytes(), &reference(name))
    }

    /// The name of the user that is found.
    #[track_caller]
    fn user(document: &Value, name: &str) -> Option<String> {
        match in_file(document, name).unwrap()? {
            Credential::Password(user, password) => {
                assert_eq!(password.reveal(), "pass:word");
                Some(user)
            }
            Credential::Identity(token) => Some(format!("token {}", token.reveal())),
        }
    }

    #[test]
    fn the_longest_key_counts() {
        let file = json!({"auths": {
            "h.x/a/b": entry("repository"), "h.x/a": entry("folder"), "h.x": entry("host"),
            "h.x/em": {}, "other.x": entry("other"), "u.x": {"auth": "", "identitytoken": "t"},
            "https://v.x/v1/": entry("url"), "n.x": {"username": "n", "password": "pass:word"},
        }});
        for (name, found) in [
            ("h.x/a/b", Some("repository")),
            ("h.x/a/b/c", Some("repository")),
            ("h.x/a/bc", Some("folder")),
            ("h.x/ab", Some("host")),
            ("h.x/em/x", Some("host")),
            ("h.x:5000/a", None),
            ("u.x/a", Some("token t")),
            ("v.x/a", Some("url")),
            ("n.x/a", Some("n")),
            ("x.x/a", None),
            ("a", None),
        ] {
            assert_eq!(user(&file, name).as_deref(), found, "{name}");
        }
    }

    #[test]
    fn docker_hub() {
        let file = json!({"auths": {HUB_KEY: entry("docker")}});
        assert_eq!(user(&file, "redis").as_deref(), Some("docker"));
        assert_eq!(user(&file, "docker.io/a/b").as_deref(), Some("docker"));
        assert_eq!(user(&file, "h.x/a"), None);
        let file = json!({"auths": {
            HUB_KEY: entry("docker"), "docker.io": entry("podman"), "docker.io/a": entry("a"),
        }});
        assert_eq!(user(&file, "redis").as_deref(), Some("podman"));
        assert_eq!(user(&file, "a/b").as_deref(), Some("a"));
    }

    #[test]
    fn files_without_a_credential() {
        for file in [
            json!({}),
            json!([]),
            json!({"auths": null}),
            json!({"auths": {"h.x": {}}}),
        ] {
            assert_eq!(in_file(&file, "h.x/a").unwrap(), None);
        }
        let file = json!({"credsStore": "", "credHelpers": {"h.x": ""}, "HttpHeaders": {}});
        assert_eq!(in_file(&file, "h.x/a").unwrap(), None);
    }

    #[test]
    fn no_error_shows_a_secret() {
        for (file, words) in [
            (json!({"auths": {"h.x": {"auth": "s3cret!"}}}), "malformed"),
            (
                json!({"auths": {"h.x": {"auth": STANDARD.encode("s3cret")}}}),
                "malformed",
            ),
            (json!({"auths": {"h.x": {"auth": ["s3cret"]}}}), "malformed"),
            (json!({"auths": {"h.x": "s3cret"}}), "malformed"),
            (
                json!({"auths": {"h.x": {
                    "auth": STANDARD.encode("a:b"), "username": "a", "password": "s3cret",
                }}}),
                "not those of",
            ),
        ] {
            let error = in_file(&file, "h.x/a").unwrap_err().to_string();
            assert!(
                error.starts_with("\"h.x\": ") && error.contains(words),
                "{error}"
            );
            assert!(!error.contains("s3cret") && !error.contains(&STANDARD.encode("s3cret")));
        }
        let error = find(b"{\"s3cret\" 1", &reference("h.x/a")).unwrap_err();
        assert_eq!(error.to_string(), "no JSON: line 1 column 11");
    }

    #[test]
    fn helpers() {
        let file = json!({"credsStore": "absent-7", "auths": {"h.x": entry("a")}});
        assert_eq!(user(&file, "h.x/a").as_deref(), Some("a"));
        let error = in_file(&file, "other.x/a").unwrap_err().to_string();
        assert_eq!(
            error,
            "\"other.x\": its helper for credentials cannot be run, or reads nothing"
        );
        let error = in_file(&file, "redis").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{HUB_KEY:?}: ")), "{error}");
        let file = json!({"credHelpers": {"h.x": "absent-7"}, "auths": {"h.x/a": entry("a")}});
        assert!(in_file(&file, "h.x/a").is_err());
        assert_eq!(in_file(&file, "other.x/a").unwrap(), None);
    }

    #[test]
    fn files_in_their_order() {
        let files = Files::new();
        let path = files.path("");
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            Places::of(
                |name| {
                    let is_set = names.iter().any(|other| other == name);
                    is_set.then(|| path.join(name).into_os_string())
                },
                7,
            )
        };
        let shown = |places: &Places| -> Vec<String> {
            let text = |file: &PathBuf| {
                file.strip_prefix(&path)
                    .unwrap_or(file)
                    .display()
                    .to_string()
            };
            places.files.iter().map(text).collect()
        };
        assert_eq!(shown(&of(&[])), ["/run/containers/7/auth.json"]);
        assert_eq!(
            shown(&of(&["HOME", "XDG_RUNTIME_DIR"])),
            [
                "XDG_RUNTIME_DIR/containers/auth.json",
                "/run/containers/7/auth.json",
                "HOME/.config/containers/auth.json",
                "HOME/.docker/config.json",
            ]
        );
        assert_eq!(
            shown(&of(&["HOME", "XDG_CONFIG_HOME", "DOCKER_CONFIG"])),
            [
                "/run/containers/7/auth.json",
                "XDG_CONFIG_HOME/containers/auth.json",
                "DOCKER_CONFIG/config.json",
            ]
        );
        let named = of(&["HOME", "REGISTRY_AUTH_FILE"]);
        assert_eq!(shown(&named), ["REGISTRY_AUTH_FILE"]);
        let error = named.login(&reference("h.x/a")).unwrap_err();
        assert_eq!(error.status(), Status::Device);

        let places = Places {
            files: ["absent", "empty", "first", "second"]
                .map(|name| path.join(name))
                .into(),
            named: false,
        };
        files.write("empty", b"{}");
        let write = |name: &str, host: &str| {
            let file = json!({"auths": {host: entry(name)}});
            files.write(name, file.to_string().as_bytes())
        };
        let first = write("first", "h.x");
        write("second", "h.x");
        let login = places.login(&reference("h.x/a")).unwrap().unwrap();
        assert_eq!(login.file, first);
        assert!(!format!("{login:?}").contains("pass:word"));
        assert_eq!(places.login(&reference("i.x/a")).unwrap(), None);
        files.write("first", b"{");
        let error = places.login(&reference("h.x/a")).unwrap_err().to_string();
        assert!(error.contains("first: no JSON"), "{error}");
    }
}
