// SPDX-License-Identifier: GPL-2.0

//! The kernel's nbd driver, through generic netlink: gives it a socket, and returns the device.
//!
//! A device is bound to the socket as long as anything has it open: then the driver closes the
//! socket. So this module never has to take a device down, and a device is free again when its
//! [`NbdDevice`] is dropped before anything else uses it. The constants are those of the kernel's
//! header linux/nbd-netlink.h.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NetlinkMessage, NetlinkPayload, NlasIterator, Parseable,
    ParseableParametrized, NLM_F_ACK, NLM_F_REQUEST,
};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

const FAMILY: &str = "nbd";
const VERSION: u8 = 1;

const CONNECT: u8 = 1;
const DISCONNECT: u8 = 2;
const RECONFIGURE: u8 = 3;

const ATTR_INDEX: u16 = 1;
const ATTR_SIZE_BYTES: u16 = 2;
const ATTR_BLOCK_SIZE_BYTES: u16 = 3;
const ATTR_TIMEOUT: u16 = 4;
const ATTR_SERVER_FLAGS: u16 = 5;
const ATTR_CLIENT_FLAGS: u16 = 6;
const ATTR_SOCKETS: u16 = 7;
const ATTR_BACKEND: u16 = 10;

const SOCKETS_ITEM: u16 = 1;
const SOCKET_FD: u16 = 1;

/// Marks an attribute whose value is attributes.
const NESTED: u16 = 1 << 15;

/// The client flag: the last close of the device disconnects it.
const DISCONNECT_ON_CLOSE: u64 = 1 << 1;

/// The length of the largest reply that is expected, in bytes.
const REPLY_LEN: usize = 32 << 10;

/// The settings of a device.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Its length in bytes: a multiple of 512.
    pub size: u64,
    /// The flags of the export, such as [`crate::protocol::READ_ONLY_FLAGS`].
    pub flags: u16,
    /// How long the driver waits for an answer, in seconds. Then the request fails, and all later
    /// ones. With 0 a request that is under way when the other end is closed never ends.
    pub timeout: u64,
    /// A text that sysfs shows in the device's attribute `backend`. It has no NUL.
    pub backend: &'a str,
}

/// The driver's socket.
pub struct Driver {
    socket: Socket,
    family: u16,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

impl Driver {
    /// Connects to the driver.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the kernel has no nbd driver.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let mut driver = Self { socket, family: 0 };
        let question = GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY.to_string())],
        };
        let mut family = None;
        driver.ask(GenlMessage::from_payload(question), |answer: GenlCtrl| {
            family = answer
                .nlas
                .into_iter()
                .find_map(|attribute| match attribute {
                    GenlCtrlAttrs::FamilyId(id) => Some(id),
                    _ => None,
                });
        })?;
        driver.family = family.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(driver)
    }

    /// Binds a socket whose other end answers requests to a free device. The driver creates a new
    /// device if none is free.
    ///
    /// # Errors
    ///
    /// The error of the kernel; `EPERM` for a caller without `CAP_SYS_ADMIN`.
    pub fn attach(&self, socket: impl AsFd, settings: Settings<'_>) -> io::Result<NbdDevice> {
        let backend = || {
            let mut text = settings.backend.as_bytes().to_vec();
            text.push(0);
            DefaultNla::new(ATTR_BACKEND, text)
        };
        let fd = socket.as_fd().as_raw_fd().cast_unsigned();
        let fd = DefaultNla::new(SOCKET_FD, fd.to_ne_bytes().to_vec());
        let item = nested(SOCKETS_ITEM, &fd);
        let mut index = None;
        self.request(
            CONNECT,
            vec![
                number(ATTR_SIZE_BYTES, settings.size),
                number(ATTR_BLOCK_SIZE_BYTES, 512),
                number(ATTR_TIMEOUT, settings.timeout),
                number(ATTR_SERVER_FLAGS, u64::from(settings.flags)),
                nested(ATTR_SOCKETS, &item),
                backend(),
            ],
            &mut index,
        )?;
        let index = index.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let opened = File::open(format!("/dev/nbd{index}")).and_then(|device| {
            // The device is open: only now may the last close end it. udev may have opened and
            // closed it since it was connected.
            self.request(
                RECONFIGURE,
                vec![
                    index_attribute(index),
                    number(ATTR_CLIENT_FLAGS, DISCONNECT_ON_CLOSE),
                    backend(),
                ],
                &mut None,
            )?;
            Ok(device)
        });
        match opened {
            Ok(device) => Ok(NbdDevice { device, index }),
            Err(error) => {
                let _ = self.detach(index);
                Err(error)
            }
        }
    }

    /// Unbinds a device. Its requests under way, and all later ones, fail.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn detach(&self, index: u32) -> io::Result<()> {
        self.request(DISCONNECT, vec![index_attribute(index)], &mut None)
    }

    fn request(
        &self,
        command: u8,
        attributes: Vec<DefaultNla>,
        index: &mut Option<u32>,
    ) -> io::Result<()> {
        let message = Message {
            command,
            attributes,
        };
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(self.family);
        self.ask(message, |answer: Message| {
            *index = answer.index().or(*index);
        })
    }

    /// Sends a message, and calls `answer` with each answer up to the acknowledgement.
    fn ask<T>(&self, message: GenlMessage<T>, mut answer: impl FnMut(T)) -> io::Result<()>
    where
        T: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Debug,
    {
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        packet.header.sequence_number = 1;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let mut bytes = Vec::with_capacity(REPLY_LEN);
            self.socket.recv(&mut bytes, 0)?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let packet =
                    NetlinkMessage::<GenlMessage<T>>::deserialize(rest).map_err(|error| {
                        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                    })?;
                match packet.payload {
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(message) => answer(message.payload),
                    _ => {}
                }
                let len = usize::try_from(packet.header.length).unwrap_or(usize::MAX);
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// A device that a socket is bound to, held open by this process.
#[derive(Debug)]
pub struct NbdDevice {
    device: File,
    index: u32,
}

impl NbdDevice {
    /// The number in the device's name, `/dev/nbdN`.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The device's number as the kernel encodes it for user space, `st_rdev`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if /dev has another file by its name.
    pub fn number(&self) -> io::Result<u64> {
        let about = self.device.metadata()?;
        if !about.file_type().is_block_device() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(about.rdev())
    }
}

/// A message of the driver.
#[derive(Clone, Debug)]
struct Message {
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl Message {
    /// The number of the device that it names.
    fn index(&self) -> Option<u32> {
        use netlink_packet_core::Nla;
        let attribute =
            (self.attributes.iter()).find(|attribute| attribute.kind() == ATTR_INDEX)?;
        let mut value = vec![0; attribute.value_len()];
        attribute.emit_value(&mut value);
        Some(u32::from_ne_bytes(value.try_into().ok()?))
    }
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let attributes = NlasIterator::new(bytes)
            .map(|attribute| DefaultNla::parse(&attribute?))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            command: header.cmd,
            attributes,
        })
    }
}

fn number(kind: u16, value: u64) -> DefaultNla {
    DefaultNla::new(kind, value.to_ne_bytes().to_vec())
}

fn index_attribute(index: u32) -> DefaultNla {
    DefaultNla::new(ATTR_INDEX, index.to_ne_bytes().to_vec())
}

/// An attribute that holds another one.
fn nested(kind: u16, inner: &DefaultNla) -> DefaultNla {
    let mut value = vec![0; inner.buffer_len()];
    inner.emit(&mut value);
    DefaultNla::new(kind | NESTED, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        let message = Message {
            command: CONNECT,
            attributes: vec![number(ATTR_SIZE_BYTES, 1 << 40), index_attribute(300)],
        };
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        assert_eq!(bytes.len(), 12 + 8);
        let header = GenlHeader {
            cmd: CONNECT,
            version: VERSION,
        };
        let read = Message::parse_with_param(&bytes, header).unwrap();
        assert_eq!(read.index(), Some(300));
        assert_eq!(read.attributes, message.attributes);
        assert_eq!(read.command(), CONNECT);
    }

    #[test]
    fn a_socket_is_nested_twice() {
        let fd = DefaultNla::new(SOCKET_FD, 3u32.to_ne_bytes().to_vec());
        let sockets = nested(ATTR_SOCKETS, &nested(SOCKETS_ITEM, &fd));
        let mut bytes = vec![0; sockets.buffer_len()];
        sockets.emit(&mut bytes);
        let words: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|word| u16::from_ne_bytes([word[0], word[1]]))
            .collect();
        assert_eq!(words[..4], [16, NESTED | 7, 12, NESTED | 1]);
        assert_eq!(words[4..6], [8, 1]);
        assert_eq!(bytes[12..], 3u32.to_ne_bytes());
    }
}
