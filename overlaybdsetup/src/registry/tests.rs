// SPDX-License-Identifier: GPL-2.0

//! Registries of the tests: what they ask for, what they receive, and what is refused.

use super::credentials::{Credential, Login, Places};
use super::reference::Reference;
use super::secret::Secret;
use super::{layers_of, run_header, Access, Blob};
use crate::cli::RegistryHeader;
use crate::digest::Algorithm;
use crate::error::{Error, Result, Status};
use crate::fixture::Files;
use crate::oci::IMAGES;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::{json, Value};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

const MANIFEST: &str = IMAGES[0];
const INDEX: &str = IMAGES[1];
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const BLOB_DIGEST: &str = "containerd.io/snapshot/overlaybd/blob-digest";

/// A request as a server received it.
#[derive(Clone, Debug, Default)]
struct Seen {
    method: String,
    path: String,
    query: String,
    headers: HashMap<String, String>,
    body: String,
}

impl Seen {
    fn authorization(&self) -> &str {
        self.headers.get("authorization").map_or("", String::as_str)
    }
}

/// Status, headers and body.
type Answer = (u16, Vec<String>, Vec<u8>);

fn answer(status: u16, headers: &[&str], body: &[u8]) -> Answer {
    let headers = headers.iter().map(ToString::to_string).collect();
    (status, headers, body.to_vec())
}

/// A server for HTTP without TLS. Its thread ends with the tests.
struct Server {
    host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// A server that calls `reply` with its own host and each request.
    fn new(reply: impl Fn(&str, &Seen) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = Self {
            host: host.clone(),
            seen: Arc::clone(&seen),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if let Some(request) = receive(&mut stream) {
                    seen.lock().unwrap().push(request.clone());
                    // curl may have closed the connection.
                    let _ = send(&mut stream, reply(&host, &request));
                }
            }
        });
        server
    }

    /// The requests since the last call.
    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn reference(&self, rest: &str) -> Reference {
        Reference::parse(&format!("{}/{rest}", self.host)).unwrap()
    }

    fn layers(&self, rest: &str, login: Option<&Login>) -> Result<Vec<Blob>> {
        layers_of(&self.reference(rest), true, login)
    }

    #[track_caller]
    fn refused(&self, rest: &str, login: Option<&Login>, words: &[&str]) -> Error {
        let error = self.layers(rest, login).unwrap_err();
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
        assert!(!text.contains(&STANDARD.encode("user:s3cret")), "{text}");
        error
    }
}

/// Reads a request. A handshake of TLS is none.
fn receive(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let end = loop {
        let len = stream.read(&mut piece).ok().filter(|len| *len > 0)?;
        bytes.extend_from_slice(&piece[..len]);
        if !bytes[0].is_ascii_uppercase() {
            return None;
        }
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let method = first.next().unwrap().to_string();
    let target = first.next().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
        .collect();
    let len = headers
        .get("content-length")
        .map_or(0, |len| len.parse().unwrap());
    let mut body = bytes[end..].to_vec();
    while body.len() < len {
        let read = stream.read(&mut piece).unwrap();
        body.extend_from_slice(&piece[..read]);
    }
    Some(Seen {
        method,
        path: path.to_string(),
        query: query.to_string(),
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

fn send(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    let (status, headers, body) = answer;
    let mut head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn digest_of(bytes: &[u8]) -> String {
    Algorithm::Sha256.digest(bytes)
}

fn layer(text: &str) -> Value {
    let digest = digest_of(text.as_bytes());
    json!({
        "mediaType": TAR, "digest": digest, "size": text.len(),
        "annotations": {BLOB_DIGEST: digest},
    })
}

fn manifest(layers: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers})
        .to_string()
        .into_bytes()
}

/// An image of two layers.
fn image() -> Vec<u8> {
    manifest(&[layer("below"), layer("above it")])
}

/// The answer of a registry that has the documents in the repository a/b, under tags and digests.
fn serve(seen: &Seen, documents: &[(&str, &[u8])]) -> Answer {
    let Some(version) = seen.path.strip_prefix("/v2/a/b/manifests/") else {
        return answer(404, &[], b"");
    };
    let found = documents
        .iter()
        .find(|(name, bytes)| *name == version || digest_of(bytes) == version);
    match found {
        Some((_, bytes)) => answer(200, &["Content-Type: x/y"], bytes),
        None => answer(
            404,
            &[],
            b"{\"errors\": [{\"code\": \"MANIFEST_UNKNOWN\", \"message\": \"s3cret\"}]}",
        ),
    }
}

/// A tag, and what makes the document under it.
type Tagged = (&'static str, fn() -> Vec<u8>);

/// A registry that asks for nothing.
fn plain(documents: &'static [Tagged]) -> Server {
    Server::new(move |_, seen| {
        let documents: Vec<(&str, Vec<u8>)> = documents
            .iter()
            .map(|(name, make)| (*name, make()))
            .collect();
        let documents: Vec<(&str, &[u8])> = documents
            .iter()
            .map(|(name, bytes)| (*name, bytes.as_slice()))
            .collect();
        serve(seen, &documents)
    })
}

fn password(password: &str) -> Login {
    Login {
        file: "/x/auth.json".into(),
        credential: Credential::Password("user".into(), Secret::new(password)),
    }
}

fn identity(token: &str) -> Login {
    Login {
        file: "/x/auth.json".into(),
        credential: Credential::Identity(Secret::new(token)),
    }
}

/// A registry with tokens. Without credentials it gives one for the repository a/b alone if
/// `public`.
fn bearer(public: bool) -> Server {
    Server::new(move |host, seen| {
        if seen.path == "/token" {
            let fields = match seen.method.as_str() {
                "POST" => &seen.body,
                _ => &seen.query,
            };
            // Older releases of curl write %3a, newer ones %3A.
            let fields = fields.to_ascii_lowercase();
            assert!(fields.contains("service=a+b%22") || fields.contains("service=a%20b%22"));
            assert!(
                fields.contains("scope=repository%3aa%2fb%3apull"),
                "{fields}"
            );
            let basic = format!("Basic {}", STANDARD.encode("user:s3cret"));
            let is_good = match (seen.method.as_str(), seen.authorization()) {
                ("GET", "") => public,
                ("GET", other) => other == basic,
                _ => {
                    assert!(fields.contains("grant_type=refresh_token"), "{fields}");
                    assert!(fields.contains("client_id=overlaybdsetup"), "{fields}");
                    fields.contains("refresh_token=s3cret%2b")
                }
            };
            return if is_good {
                answer(200, &[], b"{\"token\": \"t0ken\", \"expires_in\": 300}")
            } else {
                answer(401, &[], b"s3cret")
            };
        }
        if seen.authorization() != "Bearer t0ken" {
            let asks = format!(
                "www-authenticate: Bearer realm=\"http://{host}/token\",service=\"a b\\\"\",\
                 scope=\"x\""
            );
            return answer(401, &["WWW-Authenticate: Basic realm=\"x\"", &asks], b"");
        }
        serve(seen, &[("latest", &image())])
    })
}

#[test]
fn a_registry_that_asks_for_nothing() {
    let server = plain(&[("latest", image)]);
    let found = server.layers("a/b", Some(&password("s3cret"))).unwrap();
    let text = json!(found);
    let access = json!({"verify_tls": false, "header_script": null, "renew": 0});
    let blob = |content: &str| {
        let digest = digest_of(content.as_bytes());
        let url = format!("http://{}/v2/a/b/blobs/{digest}", server.host);
        json!({"url": url, "digest": digest, "size": content.len(), "access": access})
    };
    assert_eq!(text, json!([blob("below"), blob("above it")]));
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].method.as_str(), seen[0].authorization()),
        ("GET", "")
    );
    assert_eq!(seen[0].headers["accept"], IMAGES.join(", "));
    assert!(seen[0].headers["user-agent"].starts_with("overlaybdsetup/"));

    let error = layers_of(&server.reference("a/b"), false, None).unwrap_err();
    assert!(error.to_string().contains("curl: (35)"), "{error}");
    assert!(server.seen().is_empty());
}

#[test]
fn a_host_that_does_not_answer() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = closed.local_addr().unwrap().to_string();
    drop(closed);
    let reference = Reference::parse(&format!("{host}/a")).unwrap();
    let error = layers_of(&reference, true, None).unwrap_err();
    assert_eq!(error.status(), Status::Device);
    assert!(
        error
            .to_string()
            .starts_with(&format!("{host}: curl: (7) ")),
        "{error}"
    );
}

#[test]
fn tokens_without_credentials() {
    let server = bearer(true);
    let found = server.layers("a/b:latest", None).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].access.renew, 200);
    let script = found[0].access.header_script.clone().unwrap();
    let end = format!(
        "registry-header --reference {}/a/b:latest --insecure",
        server.host
    );
    assert!(script.ends_with(&end), "{script}");
    assert!(!server
        .seen()
        .iter()
        .any(|seen| seen.authorization().contains("Basic")));
    let error = server.refused(
        "a/b:7",
        None,
        &["/a/b:7: ", "no such image (MANIFEST_UNKNOWN)"],
    );
    assert_eq!(error.status(), Status::Device);
}

#[test]
fn tokens_for_a_password() {
    let server = bearer(false);
    let found = server.layers("a/b", Some(&password("s3cret"))).unwrap();
    let script = found[1].access.header_script.clone().unwrap();
    assert!(
        script.contains(" --authfile /x/auth.json --insecure"),
        "{script}"
    );
    assert!(!script.contains("s3cret") && !script.contains("t0ken"));
    let paths: Vec<String> = server.seen().into_iter().map(|seen| seen.path).collect();
    let manifest = "/v2/a/b/manifests/latest";
    assert_eq!(paths, [manifest, "/token", manifest]);

    let error = server.refused(
        "a/b",
        Some(&password("s3cret7")),
        &["credentials in /x/auth.json"],
    );
    assert_eq!(error.status(), Status::Permission);
    let words = ["no access without credentials", "podman login 127.0.0.1:"];
    assert_eq!(
        server.refused("a/b", None, &words).status(),
        Status::Permission
    );
}

#[test]
fn tokens_for_a_token() {
    let server = bearer(false);
    assert_eq!(
        server
            .layers("a/b", Some(&identity("s3cret+")))
            .unwrap()
            .len(),
        2
    );
    let seen = server.seen();
    assert!(seen.iter().all(|seen| !seen.query.contains("s3cret")));
    let error = server.refused(
        "a/b",
        Some(&identity("s3cret")),
        &["it refuses the credentials"],
    );
    assert_eq!(error.status(), Status::Permission);
}

#[test]
fn passwords() {
    let server = Server::new(|_, seen| {
        if seen.authorization() == format!("Basic {}", STANDARD.encode("user:s3cret")) {
            return serve(seen, &[("latest", &image())]);
        }
        answer(401, &["WWW-Authenticate: basic realm=\"a, b\""], b"")
    });
    let found = server.layers("a/b", Some(&password("s3cret"))).unwrap();
    assert_eq!(found[0].access.renew, 3600);
    assert!(found[0].access.header_script.is_some());
    for (login, word) in [
        (None, "there are none"),
        (
            Some(password("s3cret7")),
            "credentials in /x/auth.json: they are wrong",
        ),
        (Some(identity("s3cret")), "the credentials are a token"),
    ] {
        let error = server.refused("a/b", login.as_ref(), &[word]);
        assert_eq!(error.status(), Status::Permission);
    }
}

#[test]
fn a_registry_that_asks_for_something_else() {
    for header in [
        "X: y",
        "WWW-Authenticate: Negotiate",
        "WWW-Authenticate: Bearer service=\"x\"",
    ] {
        let server = Server::new(move |_, _| answer(401, &[header], b""));
        let error = server.refused("a/b", None, &["neither a token nor a password"]);
        assert_eq!(error.status(), Status::Permission);
    }
    for (status, word) in [(500, "status 500"), (429, "too many"), (204, "status 204")] {
        let server = Server::new(move |_, _| answer(status, &[], b"{\"errors\": [{\"code\": 7}]}"));
        server.refused("a/b", None, &[word]);
    }
}

#[test]
fn headers_for_other_programs() {
    let files = Files::new();
    let server = bearer(false);
    let print = |reference: &str, authfile| {
        let mut out = Vec::new();
        let arguments = RegistryHeader {
            reference: reference.to_string(),
            authfile,
            insecure: true,
        };
        run_header(&arguments, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    let host = &server.host;
    let auths = json!({"auths": {format!("{host}/a/b"): {"auth": STANDARD.encode("user:s3cret")}}});
    let file = files.write("auth.json", auths.to_string().as_bytes());
    // The image need not exist: the header is for all blobs of the repository.
    let header = print(&format!("{host}/a/b:7"), Some(file.clone())).unwrap();
    assert_eq!(header, "Authorization: Bearer t0ken\n");
    let error = print(&format!("{host}/a/b:7"), None).unwrap_err();
    assert_eq!(error.status(), Status::Permission);
    let login = Places::named(file.clone())
        .login(&server.reference("a/b"))
        .unwrap();
    let script = server.layers("a/b", login.as_ref()).unwrap()[0]
        .access
        .clone();
    assert!(script
        .header_script
        .unwrap()
        .contains(file.to_str().unwrap()));

    let server = plain(&[]);
    assert_eq!(
        print(&format!("{}/a/b:7", server.host), Some(file)).unwrap(),
        ""
    );
}

#[test]
fn images_that_are_refused() {
    fn ordinary() -> Vec<u8> {
        let mut layer = layer("x");
        layer["mediaType"] = json!(GZIP);
        layer["annotations"] = json!({});
        manifest(&[layer])
    }
    fn other() -> Vec<u8> {
        manifest(&[json!({"mediaType": TAR, "digest": "other:x", "size": 1})])
    }
    let server = plain(&[
        ("ordinary", ordinary),
        ("other", other),
        ("none", || b"{}".to_vec()),
        ("text", || b"<html>".to_vec()),
        ("long", || vec![b' '; (16 << 20) + 1]),
    ]);
    let error = server.refused(
        "a/b:ordinary",
        None,
        &["layer 1 of 1, sha256:", "ordinary layer"],
    );
    assert_eq!(error.status(), Status::Refused);
    server.refused(
        "a/b:other",
        None,
        &["layer 1 of 1, other:x", "\"other\" can be checked"],
    );
    server.refused("a/b:none", None, &["/a/b:none: it has neither"]);
    server.refused("a/b:text", None, &["/a/b:text: ", "line 1 column 1"]);
    server.refused("a/b:long", None, &["longer than 16777216 bytes"]);
}

#[test]
fn digests_are_compared() {
    let digest = digest_of(&image());
    let server = plain(&[("latest", image)]);
    assert_eq!(
        server
            .layers(&format!("a/b:x@{digest}"), None)
            .unwrap()
            .len(),
        2
    );
    let server = Server::new(|_, _| answer(200, &[], &[&image()[..], b" "].concat()));
    assert_eq!(server.layers("a/b", None).unwrap().len(), 2);
    let words = [&format!("/a/b@{digest}: its digest is sha256:"), "damaged"];
    server.refused(&format!("a/b@{digest}"), None, &words);
}

#[test]
fn indexes_of_several_platforms() {
    fn index(child: &str) -> Vec<u8> {
        let platform = |architecture: &str, digest: &str| {
            json!({
                "mediaType": MANIFEST, "digest": digest, "size": 1,
                "platform": {"os": "linux", "architecture": architecture},
            })
        };
        let machine = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let list = [platform("mips", &digest_of(b"x")), platform(machine, child)];
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list})
            .to_string()
            .into_bytes()
    }
    let server = plain(&[
        ("latest", || index(&digest_of(&image()))),
        ("image", image),
        ("absent", || index(&digest_of(b"absent"))),
    ]);
    assert_eq!(server.layers("a/b", None).unwrap().len(), 2);
    let child = format!("/v2/a/b/manifests/{}", digest_of(&image()));
    assert_eq!(server.seen().last().unwrap().path, child);
    let word = format!("@{}: the registry has no such image", digest_of(b"absent"));
    server.refused("a/b:absent", None, &[&word]);
    let server = Server::new(|_, seen| {
        let is_index = seen.path.ends_with("/latest");
        answer(
            200,
            &[],
            &if is_index {
                index(&digest_of(b"x"))
            } else {
                image()
            },
        )
    });
    server.refused("a/b", None, &["damaged"]);
}

#[test]
fn a_redirect_takes_no_secret_to_another_host() {
    let other = plain(&[("latest", image)]);
    let target = format!("Location: http://{}/v2/a/b/manifests/latest", other.host);
    let server = Server::new(move |host, seen| {
        if seen.authorization().is_empty() {
            let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token?a=b\"");
            return match seen.path.as_str() {
                "/token" => {
                    let query = seen.query.to_ascii_lowercase();
                    assert_eq!(query, "a=b&scope=repository%3aa%2fb%3apull");
                    answer(200, &[], b"{\"access_token\": \"t0ken\"}")
                }
                _ => answer(401, &[&realm], b""),
            };
        }
        match seen.path.as_str() {
            "/v2/a/b/manifests/latest" => answer(307, &["Location: /again"], b""),
            _ => answer(302, &[&target], b"s3cret"),
        }
    });
    let found = server.layers("a/b", None).unwrap();
    assert!(found[0]
        .url
        .starts_with(&format!("http://{}/v2/", server.host)));
    assert_eq!(found[0].access.renew, 40);
    let seen = server.seen();
    let last = seen.last().unwrap();
    assert_eq!(
        (last.path.as_str(), last.authorization()),
        ("/again", "Bearer t0ken")
    );
    let seen = other.seen();
    assert_eq!((seen.len(), seen[0].authorization()), (1, ""));
    assert!(!format!("{seen:?}").contains("t0ken"));
}

#[test]
fn a_redirect_back_does_not_bring_the_secret_back() {
    let other = Server::new(|_, seen| {
        let back = format!("Location: http://{}/back", seen.query);
        answer(307, &[&back], b"")
    });
    let away = other.host.clone();
    let server = Server::new(
        move |host, seen| match (seen.path.as_str(), seen.authorization()) {
            ("/back", _) => answer(200, &[], &image()),
            (_, "") => answer(401, &["WWW-Authenticate: Basic realm=x"], b""),
            _ => answer(307, &[&format!("Location: http://{away}/x?{host}")], b""),
        },
    );
    assert_eq!(
        server
            .layers("a/b", Some(&password("s3cret")))
            .unwrap()
            .len(),
        2
    );
    let seen = server.seen();
    let headers: Vec<&str> = seen.iter().map(Seen::authorization).collect();
    assert_eq!(headers.len(), 3);
    assert!(
        headers[1].starts_with("Basic ") && headers[2].is_empty(),
        "{headers:?}"
    );
    assert_eq!(other.seen()[0].authorization(), "");
}

#[test]
fn another_host_obtains_no_credentials() {
    let other = Server::new(|host, _| {
        let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
        answer(401, &[&realm, "WWW-Authenticate: Basic realm=x"], b"")
    });
    let target = format!("Location: http://{}/x", other.host);
    let server = Server::new(move |_, _| answer(307, &[&target], b""));
    let login = password("s3cret");
    let error = server.refused("a/b", Some(&login), &["another host, to which"]);
    assert_eq!(error.status(), Status::Permission);
    let seen = other.seen();
    assert_eq!((seen.len(), seen[0].authorization()), (1, ""));
}

#[test]
fn a_token_is_not_posted_twice() {
    let other = Server::new(|_, _| answer(200, &[], b"{\"token\": \"x\"}"));
    let target = format!("Location: http://{}/x", other.host);
    let server = Server::new(move |host, seen| {
        let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
        match seen.path.as_str() {
            "/token" => answer(308, &[&target], b""),
            _ => answer(401, &[&realm], b""),
        }
    });
    server.refused("a/b", Some(&identity("s3cret")), &["redirects a POST"]);
    assert!(other.seen().is_empty());

    let server = Server::new(|_, _| answer(302, &["Location: /x"], b""));
    server.refused("a/b", None, &["too many redirects"]);
    let server = Server::new(|_, _| answer(302, &["Location: file:///etc/passwd"], b""));
    server.refused("a/b", None, &["curl: (1) "]);
}

#[test]
fn sources_are_kept_apart() {
    let source = |url: &str, verify_tls| {
        let blob = Blob {
            url: url.into(),
            digest: String::new(),
            size: 0,
            access: Access {
                verify_tls,
                header_script: None,
                renew: 0,
            },
        };
        blob.source()
    };
    let url = "https://h.x:5000/v2/a/b/blobs/sha256:0";
    assert_eq!(source(url, true), "https-h.x:5000");
    assert_eq!(source(url, false), "insecure-https-h.x:5000");
    assert_eq!(
        source("http://[::1]:5/v2/a", false),
        "insecure-http-[::1]:5"
    );
    assert_eq!(source("x://..\\%/..", true), "x-..__");
}
