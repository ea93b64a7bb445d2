// SPDX-License-Identifier: GPL-2.0

//! Requests to a registry through the program curl, which has TLS, certificates and proxies.
//!
//! The libraries for TLS have licences that cannot be combined with GPL-2.0-only. All that curl is
//! told goes through its standard input: other users can read a command line. A redirect is
//! followed here, and takes no secret to another host. No file is written, and no setting of a
//! user for all uses of curl (`.curlrc`) counts, except proxies in the environment.

use super::secret::Secret;
use crate::error::{Error, Result, Status};
use crate::json::MAX_LEN;
use crate::output::plain;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

/// How many redirects are followed.
const MAX_REDIRECTS: u32 = 5;

/// The longest headers, in bytes.
const MAX_HEADERS: usize = 256 << 10;

/// How long to wait for a connection, and for a whole answer, in seconds.
const CONNECT_SECONDS: &str = "30";
const TOTAL_SECONDS: &str = "120";

/// Statuses of curl: no such host, no connection, no time left, no TLS.
const NO_HOST: i32 = 6;
const NO_CONNECTION: i32 = 7;
const TOO_LATE: i32 = 28;
const NO_TLS: i32 = 35;

/// Makes requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http {
    /// Whether certificates are not verified, and http is permitted.
    pub(super) insecure: bool,
}

/// One request.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) url: String,
    /// Whole headers without a secret.
    pub(super) headers: Vec<String>,
    /// The header that gives access, as a whole.
    pub(super) authorization: Option<Secret>,
    /// Names and values that are added to the URL, or that are the body of a POST. curl encodes the
    /// values.
    pub(super) fields: Vec<(&'static str, Secret)>,
    /// Whether it is a POST.
    pub(super) post: bool,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether a redirect led to another host.
    pub(super) moved: bool,
}

impl Response {
    /// The values of all headers with this name.
    pub(super) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether nothing answered at the port, or something that does not speak TLS.
    pub(super) no_tls: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            no_tls: false,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Http {
    /// Makes a request, and follows redirects.
    ///
    /// # Errors
    ///
    /// curl is not installed, or the host cannot be reached; a certificate that cannot be verified;
    /// an answer that is no HTTP, or longer than 16 MiB; too many redirects.
    pub(super) fn send(&self, request: &Request) -> std::result::Result<Response, Failure> {
        let home = origin(&request.url);
        let (mut url, mut moved) = (request.url.clone(), false);
        for hop in 0..=MAX_REDIRECTS {
            let within = |error: Error| error.within(host(&url));
            let config = self
                .config(request, &url, hop == 0, moved)
                .map_err(within)?;
            let output = run(&config).map_err(|failure| Failure {
                error: within(failure.error),
                ..failure
            })?;
            let (response, next) = parse(&output, moved).map_err(within)?;
            if next.is_empty() {
                return Ok(response);
            }
            if request.post {
                return Err(within(Error::refused("it redirects a POST with a secret")).into());
            }
            // A host that has lost the right to the secret does not regain it.
            moved = moved || origin(&next) != home;
            url = next;
        }
        Err(Error::refused("too many redirects")
            .within(host(&request.url))
            .into())
    }

    /// What curl reads.
    fn config(&self, request: &Request, url: &str, first: bool, moved: bool) -> Result<String> {
        let mut config = Config::default();
        for flag in [
            "silent",
            "show-error",
            "include",
            "suppress-connect-headers",
        ] {
            config.flag(flag);
        }
        config.flag("globoff");
        let protocols = if self.insecure {
            "=http,https"
        } else {
            "=https"
        };
        config.option("proto", protocols)?;
        config.option("proto-redir", protocols)?;
        if self.insecure {
            config.flag("insecure");
        }
        if cfg!(test) {
            config.option("noproxy", "*")?;
        }
        config.option("connect-timeout", CONNECT_SECONDS)?;
        config.option("max-time", TOTAL_SECONDS)?;
        let agent = concat!("overlaybdsetup/", env!("CARGO_PKG_VERSION"));
        config.option("user-agent", agent)?;
        for header in &request.headers {
            config.option("header", header)?;
        }
        if let Some(authorization) = request.authorization.as_ref().filter(|_| !moved) {
            config.option("header", authorization.reveal())?;
        }
        // The URL of a redirect has them already.
        if first {
            if !request.post && !request.fields.is_empty() {
                config.flag("get");
            }
            for (name, value) in &request.fields {
                config.option("data-urlencode", &format!("{name}={}", value.reveal()))?;
            }
        }
        config.option("url", url)?;
        // The last line of the output.
        config.option("write-out", "\\n%{redirect_url}")?;
        Ok(config.0)
    }
}

/// A file of options for curl.
#[derive(Default)]
struct Config(String);

impl Config {
    fn flag(&mut self, name: &str) {
        self.0.push_str(name);
        self.0.push('\n');
    }

    /// Adds an option with a value in quotes.
    fn option(&mut self, name: &str, value: &str) -> Result<()> {
        if value.chars().any(char::is_control) {
            // The value may be a secret.
            return Err(Error::refused(format!(
                "a control character in what should be sent ({name})"
            )));
        }
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.0.push_str(&format!("{name} = \"{value}\"\n"));
        Ok(())
    }
}

/// Runs curl, and returns what it printed.
fn run(config: &str) -> std::result::Result<Vec<u8>, Failure> {
    // --disable leaves out .curlrc, and has to be the first option.
    let mut child = Command::new("curl")
        .args(["--disable", "--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(
                Status::Device,
                "curl is not installed, and registries are read with it: install the package curl",
            ),
            _ => Error::io("cannot run curl", &error),
        })?;
    if let Some(mut input) = child.stdin.take() {
        // If curl has ended, its status says why.
        let _ = input.write_all(config.as_bytes());
    }
    let output = match read(&mut child) {
        Ok(output) => output,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.into());
        }
    };
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        // curl says what is wrong in one line. Anything longer is cut off.
        let _ = errors.take(4096).read_to_string(&mut said);
    }
    let status = child
        .wait()
        .map_err(|error| Error::io("cannot wait for curl", &error))?;
    if status.success() {
        return Ok(output);
    }
    let code = status.code().unwrap_or_default();
    let line = said.lines().rfind(|line| line.starts_with("curl: "));
    let text = line.map_or_else(|| format!("curl: {status}"), plain);
    let kind = match code {
        NO_HOST | NO_CONNECTION | TOO_LATE => Status::Device,
        _ => Status::Refused,
    };
    Err(Failure {
        error: Error::new(kind, text),
        no_tls: matches!(code, NO_CONNECTION | NO_TLS),
    })
}

/// Reads the output of curl to its end.
fn read(child: &mut Child) -> Result<Vec<u8>> {
    let mut output = Vec::new();
    let limit = MAX_LEN + MAX_HEADERS as u64;
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(limit + 1)
            .read_to_end(&mut output)
            .map_err(|error| Error::io("cannot read from curl", &error))?;
    }
    if output.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(output)
}

fn too_long() -> Error {
    Error::refused(format!(
        "its answer is longer than {MAX_LEN} bytes: another kind of file"
    ))
}

/// The parts of curl's output: headers, body, and the URL of a redirect or nothing.
fn parse(output: &[u8], moved: bool) -> Result<(Response, String)> {
    let no_http = || Error::refused("its answer is no HTTP");
    let end = output
        .iter()
        .rposition(|byte| *byte == b'\n')
        .ok_or_else(no_http)?;
    let next = String::from_utf8_lossy(&output[end + 1..]).into_owned();
    let mut rest = &output[..end];
    loop {
        let (block, body) = split(rest).ok_or_else(no_http)?;
        let mut lines = block.lines();
        let status = lines.next().and_then(status_of).ok_or_else(no_http)?;
        // An interim answer: another one follows.
        if (100..200).contains(&status) {
            rest = body;
            continue;
        }
        if body.len() as u64 > MAX_LEN {
            return Err(too_long());
        }
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_string(), value.trim().to_string()))
            .collect();
        let response = Response {
            status,
            headers,
            body: body.to_vec(),
            moved,
        };
        return Ok((response, next));
    }
}

/// The headers, and what follows the empty line after them.
fn split(bytes: &[u8]) -> Option<(String, &[u8])> {
    let headers = &bytes[..bytes.len().min(MAX_HEADERS)];
    let (at, len) = (0..headers.len()).find_map(|at| {
        let rest = &headers[at..];
        let found = |end: &[u8]| rest.starts_with(end).then_some((at, end.len()));
        found(b"\r\n\r\n").or_else(|| found(b"\n\n"))
    })?;
    let text = String::from_utf8_lossy(&bytes[..at]).into_owned();
    Some((text, &bytes[at + len..]))
}

/// The status in the first line of an answer.
fn status_of(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    let status = rest.split(' ').next()?;
    (version.starts_with("HTTP/") && status.len() == 3)
        .then(|| status.parse().ok())
        .flatten()
}

/// The part of a URL that tells where a secret goes: scheme, host and port.
///
/// It ends only where it ends for curl too: a text that both read in different ways must not look
/// like the host that may have the secret.
fn origin(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let len = url[start..].find(['/', '?', '#']);
    let end = len.map_or(url.len(), |len| start + len);
    url[..end].to_ascii_lowercase()
}

/// The host of a URL for a message, without what could be a password in front of it.
fn host(url: &str) -> String {
    let origin = origin(url);
    let host = origin.rsplit(['/', '@']).next().unwrap_or_default();
    plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_quoted() {
        let mut config = Config::default();
        config.flag("silent");
        config.option("header", "a: \"b\\c\" #é").unwrap();
        assert_eq!(config.0, "silent\nheader = \"a: \\\"b\\\\c\\\" #é\"\n");
        for value in ["s3cret\n", "\r", "a\0", "\u{7f}", "\u{85}"] {
            let error = config.option("header", value).unwrap_err().to_string();
            assert_eq!(error, "a control character in what should be sent (header)");
        }
    }

    #[test]
    fn what_curl_is_told() {
        let request = Request {
            url: "https://h/v2/".into(),
            authorization: Some(Secret::new("Authorization: Basic x7")),
            fields: vec![("scope", Secret::new("a&b"))],
            ..Request::default()
        };
        let secure = Http { insecure: false };
        let config = secure.config(&request, &request.url, true, false).unwrap();
        for line in [
            "proto = \"=https\"",
            "proto-redir = \"=https\"",
            "header = \"Authorization: Basic x7\"",
            "get",
            "data-urlencode = \"scope=a&b\"",
            "url = \"https://h/v2/\"",
        ] {
            assert!(
                config.lines().any(|other| other == line),
                "{line}: {config}"
            );
        }
        assert!(!config.contains("insecure\n"));
        let config = secure.config(&request, "https://e/", false, true).unwrap();
        assert!(
            !config.contains("Authorization") && !config.contains("scope"),
            "{config}"
        );
        let config = Http { insecure: true }.config(&request, "https://h/", true, false);
        assert!(config.unwrap().contains("\ninsecure\n"));
    }

    #[test]
    fn parts_of_an_answer() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2 401\r\nA: b\r\na:c:d \r\n\r\nbo\ndy\n";
        let (response, next) = parse(text, true).unwrap();
        assert_eq!((response.status, next.as_str()), (401, ""));
        assert_eq!(response.body, b"bo\ndy");
        assert_eq!(response.headers("A").collect::<Vec<_>>(), ["b", "c:d"]);
        assert!(response.moved);
        let (response, next) = parse(b"HTTP/1.0 307 X Y\n\n\nhttp://e/", false).unwrap();
        assert_eq!((response.status, next.as_str()), (307, "http://e/"));
        assert!(response.body.is_empty());
        for wrong in [
            &b""[..],
            b"\n",
            b"HTTP/1.1 200 OK\n",
            b"HTTP/1.1 x\r\n\r\n\n",
            b"220 x\n\n\n",
        ] {
            let error = parse(wrong, false).unwrap_err().to_string();
            assert_eq!(error, "its answer is no HTTP");
        }
        let mut long = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        long.resize(long.len() + (16 << 20), b' ');
        let end = |bytes: &[u8]| [bytes, b"\n"].concat();
        assert_eq!(parse(&end(&long), false).unwrap().0.body.len(), 16 << 20);
        long.push(b' ');
        let error = parse(&end(&long), false).unwrap_err().to_string();
        assert!(error.contains("longer than 16777216 bytes"), "{error}");
    }

    #[test]
    fn where_a_secret_may_go() {
        let home = origin("https://h:5/v2/");
        for same in [
            "https://h:5",
            "HTTPS://H:5/x",
            "https://h:5?a",
            "https://h:5#a",
        ] {
            assert_eq!(origin(same), home);
        }
        for other in [
            "http://h:5/",
            "https://h/",
            "https://h:5.x/",
            "https://h:5@x/",
            "https://h:5\\@x/",
            "https://h:5:6/",
            "https:/h:5/",
            "//h:5/",
        ] {
            assert_ne!(origin(other), home, "{other}");
        }
        assert_eq!(host("https://user:pass@h:5/x"), "h:5");
        assert_eq!(host("https://h\u{1b}/x"), "h\\u{1b}");
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in any::<Vec<u8>>(), head in "HTTP/1.1 [0-9]{0,4}\r\n(\r\n)?") {
            let _ = parse(&bytes, false);
            let _ = parse(&[head.as_bytes(), &bytes].concat(), false);
        }

        #[test]
        fn a_value_stays_in_its_line(value in "\\PC{0,20}|[\"\\\\a]{0,9}") {
            let mut config = Config::default();
            config.option("header", &value).unwrap();
            prop_assert_eq!(config.0.matches('\n').count(), 1);
            let quoted = config.0.strip_prefix("header = \"").unwrap();
            let quoted = quoted.strip_suffix("\"\n").unwrap();
            let plain = quoted.replace("\\\"", "\"").replace("\\\\", "\\");
            if !value.contains('\\') {
                prop_assert_eq!(plain, value);
            }
        }
    }
}
