// SPDX-License-Identifier: GPL-2.0

//! Serves one OCI image layout as a registry whose tokens expire soon, which redirects to another
//! host, and whose answers may never come: what a usual registry does rarely.
//!
//! Plain HTTP on 127.0.0.1, a thread for each connection. Any repository and any tag is the image
//! of the layout. It prints a line for each request: method, path, status.

use clap::Parser;
use overlaybd_tools::Context;
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Serves one OCI image layout as a registry with oddities.
#[derive(Parser)]
struct Options {
    /// The folder of the layout
    layout: PathBuf,
    #[arg(long)]
    port: u16,
    /// Ask for a token, which expires after that many seconds
    #[arg(long)]
    token_seconds: Option<u64>,
    /// Redirect requests for blobs to this port of localhost
    #[arg(long)]
    redirect: Option<u16>,
    /// Refuse requests that have a header with credentials, as storage behind a registry does
    #[arg(long)]
    storage: bool,
    /// Answer no request as long as this file exists
    #[arg(long)]
    hangs: Option<PathBuf>,
}

/// A request, without what it carries.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads the next request of a connection; [`None`] at its end.
    fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_string());
        }
        let mut words = lines.first().map_or("", String::as_str).split(' ');
        let mut word = || words.next().unwrap_or_default().to_string();
        let (method, path) = (word(), word());
        let headers = (lines.iter().skip(1))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
            .collect();
        Ok(Some(Self {
            method,
            path,
            headers,
        }))
    }

    fn header(&self, name: &str) -> Option<&str> {
        (self.headers.iter())
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The range of bytes that it wants, its end excluded, of a file of this length.
    fn range(&self, len: u64) -> Option<(u64, u64)> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let first = first.parse().ok()?;
        let last: u64 = last.parse().unwrap_or(u64::MAX);
        (first < len).then(|| (first, last.saturating_add(1).min(len)))
    }
}

/// An answer: status, further headers, and a range of a file or a text.
struct Answer {
    status: u16,
    headers: String,
    body: Body,
}

enum Body {
    Text(String),
    File(File, u64, u64),
}

impl Answer {
    fn text(status: u16, headers: String, text: String) -> Self {
        Self {
            status,
            headers,
            body: Body::Text(text),
        }
    }

    fn write(self, head_only: bool, stream: &mut TcpStream) -> io::Result<()> {
        let len = match &self.body {
            Body::Text(text) => text.len() as u64,
            Body::File(_, start, end) => end - start,
        };
        let (status, headers) = (self.status, self.headers);
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {len}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes())?;
        match self.body {
            _ if head_only => Ok(()),
            Body::Text(text) => stream.write_all(text.as_bytes()),
            Body::File(mut file, start, end) => {
                file.seek(SeekFrom::Start(start))?;
                io::copy(&mut file.take(end - start), stream).map(drop)
            }
        }
    }
}

struct Registry {
    options: Options,
    started: Instant,
}

impl Registry {
    fn answer(&self, request: &Request) -> io::Result<Answer> {
        let port = self.options.port;
        if request.path.starts_with("/token") {
            let now = self.started.elapsed().as_millis();
            let seconds = self.options.token_seconds.unwrap_or_default();
            let text = format!("{{\"token\": \"t{now}\", \"expires_in\": {seconds}}}");
            return Ok(Answer::text(200, String::new(), text));
        }
        if self.options.storage && request.header("authorization").is_some() {
            return Ok(Answer::text(400, String::new(), "credentials".into()));
        }
        if self.options.token_seconds.is_some() && !self.is_valid(request) {
            let header = format!(
                "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"x\"\r\n"
            );
            return Ok(Answer::text(401, header, String::new()));
        }
        let blobs = self.options.layout.join("blobs/sha256");
        if let Some((_, digest)) = request.path.split_once("/blobs/sha256:") {
            if let Some(other) = self.options.redirect {
                let path = &request.path;
                let header = format!("Location: http://localhost:{other}{path}\r\n");
                return Ok(Answer::text(307, header, String::new()));
            }
            return file(&blobs.join(digest), "application/octet-stream", request);
        }
        if request.path.contains("/manifests/") {
            let index = fs::read_to_string(self.options.layout.join("index.json"))?;
            let digest = index.split("\"digest\": \"sha256:").nth(1);
            let digest = digest.and_then(|rest| rest.get(..64)).unwrap_or_default();
            let kind = "application/vnd.oci.image.manifest.v1+json";
            return file(&blobs.join(digest), kind, request);
        }
        Ok(Answer::text(404, String::new(), String::new()))
    }

    /// Whether a request has a token that has not expired.
    fn is_valid(&self, request: &Request) -> bool {
        let issued = request
            .header("authorization")
            .and_then(|header| header.strip_prefix("Bearer t"))
            .and_then(|time| time.parse().ok())
            .map(Duration::from_millis);
        let lifetime = Duration::from_secs(self.options.token_seconds.unwrap_or_default());
        issued.is_some_and(|issued| self.started.elapsed() < issued + lifetime)
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = Request::read(&mut reader)? {
            while self
                .options
                .hangs
                .as_ref()
                .is_some_and(|path| path.exists())
            {
                thread::sleep(Duration::from_millis(50));
            }
            let answer = self.answer(&request)?;
            println!("{} {} {}", request.method, request.path, answer.status);
            answer.write(request.method == "HEAD", &mut stream)?;
        }
        Ok(())
    }
}

/// The answer with a file, or the range of it that is wanted.
fn file(path: &Path, kind: &str, request: &Request) -> io::Result<Answer> {
    let Ok(file) = File::open(path) else {
        return Ok(Answer::text(404, String::new(), String::new()));
    };
    let len = file.metadata()?.len();
    let headers = format!("Content-Type: {kind}\r\nAccept-Ranges: bytes\r\n");
    let (status, headers, start, end) = match request.range(len) {
        Some((start, end)) => {
            let range = format!("Content-Range: bytes {start}-{}/{len}\r\n", end - 1);
            (206, headers + &range, start, end)
        }
        None => (200, headers, 0, len),
    };
    Ok(Answer {
        status,
        headers,
        body: Body::File(file, start, end),
    })
}

fn main() -> ! {
    overlaybd_tools::run(|| {
        let options = Options::parse();
        let listener = TcpListener::bind(("127.0.0.1", options.port)).context("cannot listen")?;
        let registry = Arc::new(Registry {
            options,
            started: Instant::now(),
        });
        for stream in listener.incoming().flatten() {
            let registry = Arc::clone(&registry);
            thread::spawn(move || {
                // The other end may have gone.
                let _ = registry.serve(stream);
            });
        }
        Ok(())
    })
}
