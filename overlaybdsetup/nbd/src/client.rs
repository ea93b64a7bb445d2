// SPDX-License-Identifier: GPL-2.0

//! A connection to an NBD server, over a Unix socket: chooses the export without a name, and reads.
//!
//! One request is under way at a time. It speaks the fixed newstyle handshake, without TLS and
//! without structured replies.

use crate::protocol::{malformed, Command, Fields, Reply, Request};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// "NBDMAGIC", the first bytes of a server.
const SERVER_MAGIC: u64 = 0x4e42_444d_4147_4943;

/// "IHAVEOPT", before each option.
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;

/// Before each reply to an option.
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// The flag of a server, and of a client, for the fixed newstyle handshake.
const FIXED_NEWSTYLE: u16 = 1;

/// The option that chooses an export and ends the handshake.
const OPTION_GO: u32 = 7;

/// A reply: the option is done.
const REPLY_ACK: u32 = 1;

/// A reply: something about the export.
const REPLY_INFO: u32 = 3;

/// The first number of the replies that are errors.
const REPLY_ERRORS: u32 = 1 << 31;

/// In an info reply: the size and the flags of the export.
const INFO_EXPORT: u16 = 0;

/// The longest reply to an option that is read, in bytes.
const MAX_OPTION_REPLY: u32 = 64 << 10;

/// A connection whose export is chosen, or a socket whose other end expects requests at once.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    cookie: u64,
}

impl Client {
    /// A connection without a handshake.
    #[must_use]
    pub const fn without_handshake(stream: UnixStream) -> Self {
        Self { stream, cookie: 0 }
    }

    /// Chooses the server's export. Returns the connection and the size of the export in bytes.
    ///
    /// # Errors
    ///
    /// Those of the stream; a server of another protocol; a server that refuses, with its reason as
    /// the text, and the kind [`io::ErrorKind::ConnectionRefused`].
    pub fn connect(mut stream: UnixStream) -> io::Result<(Self, u64)> {
        let mut hello = [0; 18];
        stream.read_exact(&mut hello)?;
        let mut hello = Fields(&hello);
        if hello.u64()? != SERVER_MAGIC || hello.u64()? != OPTION_MAGIC {
            return Err(malformed("it is no NBD server with the newstyle handshake"));
        }
        if hello.u16()? & FIXED_NEWSTYLE == 0 {
            return Err(malformed("the server has no fixed newstyle handshake"));
        }
        let mut bytes = Vec::new();
        bytes.extend(u32::from(FIXED_NEWSTYLE).to_be_bytes());
        bytes.extend(OPTION_MAGIC.to_be_bytes());
        bytes.extend(OPTION_GO.to_be_bytes());
        // The length of the option, an empty name, and no information that is asked for.
        bytes.extend(6u32.to_be_bytes());
        bytes.extend([0; 6]);
        stream.write_all(&bytes)?;
        let size = answer_to_go(&mut stream)?;
        Ok((Self { stream, cookie: 0 }, size))
    }

    /// Limits how long a read waits; [`None`] for no limit.
    ///
    /// # Errors
    ///
    /// A limit of zero.
    pub fn set_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(limit)?;
        self.stream.set_write_timeout(limit)
    }

    /// Fills `buf` with the bytes of the export from `offset` on. `buf` has fewer than 2^32 bytes.
    ///
    /// The inner error is the server's: after it the connection can still be used.
    ///
    /// # Errors
    ///
    /// Those of the stream: the connection cannot be used after them.
    pub fn read_at(
        &mut self,
        offset: u64,
        buf: &mut [u8],
    ) -> io::Result<Result<(), crate::protocol::Failure>> {
        let len = u32::try_from(buf.len()).map_err(|_| malformed("a read that is too long"))?;
        self.cookie = self.cookie.wrapping_add(1);
        let request = Request {
            command: Command::Read,
            cookie: self.cookie,
            offset,
            len,
        };
        request.write(&mut self.stream)?;
        let reply = Reply::read(&mut self.stream)?;
        if reply.cookie != request.cookie {
            return Err(malformed("a reply to another request"));
        }
        match reply.failure {
            Some(failure) => Ok(Err(failure)),
            None => self.stream.read_exact(buf).map(Ok),
        }
    }

    /// The socket.
    #[must_use]
    pub const fn stream(&self) -> &UnixStream {
        &self.stream
    }
}

/// Reads the replies to the option that chooses the export. Returns its size.
fn answer_to_go(stream: &mut UnixStream) -> io::Result<u64> {
    let mut size = None;
    loop {
        let mut head = [0; 20];
        stream.read_exact(&mut head)?;
        let mut head = Fields(&head);
        if head.u64()? != OPTION_REPLY_MAGIC || head.u32()? != OPTION_GO {
            return Err(malformed("no reply to the option"));
        }
        let (kind, len) = (head.u32()?, head.u32()?);
        if len > MAX_OPTION_REPLY {
            return Err(malformed("a reply that is too long"));
        }
        let mut data = vec![0; usize::try_from(len).unwrap_or_default()];
        stream.read_exact(&mut data)?;
        match kind {
            REPLY_ACK => return size.ok_or_else(|| malformed("the server gives no size")),
            REPLY_INFO => {
                let mut fields = Fields(&data);
                if fields.u16()? == INFO_EXPORT {
                    size = Some(fields.u64()?);
                }
            }
            kind if kind >= REPLY_ERRORS => {
                let text = String::from_utf8_lossy(&data).into_owned();
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Failure;
    use std::thread;

    /// Runs a server in another thread, which sends `replies` once it has read the option.
    fn connect_to(replies: Vec<(u32, Vec<u8>)>) -> io::Result<(Client, u64)> {
        let (near, mut far) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut hello = Vec::new();
            hello.extend(SERVER_MAGIC.to_be_bytes());
            hello.extend(OPTION_MAGIC.to_be_bytes());
            hello.extend(3u16.to_be_bytes());
            far.write_all(&hello).unwrap();
            let mut asked = [0; 26];
            far.read_exact(&mut asked).unwrap();
            assert_eq!(&asked[..4], [0, 0, 0, 1]);
            assert_eq!(&asked[4..12], b"IHAVEOPT");
            let ended = replies.last().is_none_or(|(kind, _)| *kind == REPLY_INFO);
            for (kind, data) in replies {
                let mut bytes = Vec::new();
                bytes.extend(OPTION_REPLY_MAGIC.to_be_bytes());
                bytes.extend(OPTION_GO.to_be_bytes());
                bytes.extend(kind.to_be_bytes());
                bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
                bytes.extend(data);
                far.write_all(&bytes).unwrap();
            }
            if ended {
                return;
            }
            // One read is answered, the second fails.
            if let Ok(request) = Request::read(&mut far) {
                let good = Reply {
                    failure: None,
                    cookie: request.cookie,
                };
                let data = vec![7; request.len as usize];
                good.write(&data, &mut far).unwrap();
                let request = Request::read(&mut far).unwrap();
                let bad = Reply {
                    failure: Some(Failure::Io),
                    cookie: request.cookie,
                };
                bad.write(&[], &mut far).unwrap();
            }
        });
        Client::connect(near)
    }

    fn export(size: u64) -> (u32, Vec<u8>) {
        let mut data = INFO_EXPORT.to_be_bytes().to_vec();
        data.extend(size.to_be_bytes());
        data.extend(3u16.to_be_bytes());
        (REPLY_INFO, data)
    }

    #[test]
    fn an_export_is_chosen_and_read() {
        let other = (REPLY_INFO, vec![0, 3, 0, 0]);
        let (mut client, size) =
            connect_to(vec![other, export(1 << 33), (REPLY_ACK, Vec::new())]).unwrap();
        assert_eq!(size, 1 << 33);
        let mut buf = [0; 100];
        assert_eq!(client.read_at(5, &mut buf).unwrap(), Ok(()));
        assert_eq!(buf, [7; 100]);
        assert_eq!(client.read_at(5, &mut buf).unwrap(), Err(Failure::Io));
        // The server is gone.
        assert!(client.read_at(5, &mut buf).is_err());
    }

    #[test]
    fn a_server_that_refuses_gives_its_reason() {
        let error = connect_to(vec![(REPLY_ERRORS + 6, b"no such file".to_vec())]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error.to_string(), "no such file");
        assert!(connect_to(vec![(REPLY_ACK, Vec::new())]).is_err());
        assert!(connect_to(vec![(REPLY_INFO, vec![0])]).is_err());
        assert!(connect_to(Vec::new()).is_err());
    }
}
