// SPDX-License-Identifier: GPL-2.0

//! The devices of a plan, with their tables and the leaves below them: loop devices and network
//! block devices.

use super::name::Kind;

/// The sectors that a snapshot copies at a time: 4 KiB, the block of most file systems.
pub const CHUNK: u64 = 8;

/// What a leaf shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// The file of the layer of this number, 0 for the lowest.
    Layer(usize),
    /// The blob of the layer of this number, from its first byte on. A network block device shows
    /// it.
    Blob(usize),
    /// The bytes after the last whole sector of that layer's payload, padded to a sector.
    Tail(usize),
    /// The exception store.
    Store,
}

/// A lowest device, with no device of the plan below it: a loop device over a file, or a network
/// block device over a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The file, or the blob.
    pub backing: Backing,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes; 0 to show the file up to its end.
    pub limit: u64,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether it uses direct I/O.
    pub direct_io: bool,
}

/// A device that a table refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The leaf with this number in [`Device::leaves`].
    Leaf(usize),
    /// The device with this number in [`Device::below`].
    Below(usize),
}

/// A target and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Another device, from this sector on.
    Linear(On, u64),
    /// The content of a ZFile, with its length in bytes.
    Zfile(On, u64),
    /// Layers, lowest first, each with its length in bytes.
    Lsmt(Vec<(On, u64)>),
    /// An origin and its exception store.
    Snapshot(On, On),
}

impl Target {
    /// The name of the target in tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Linear(..) => "linear",
            Self::Zfile(..) => "zfile_target",
            Self::Lsmt(_) => "lsmt_target",
            Self::Snapshot(..) => "snapshot",
        }
    }

    /// The arguments. `show` formats the devices in them.
    pub fn arguments(&self, show: impl Fn(On) -> String) -> String {
        match self {
            Self::Linear(on, start) => format!("{} {start}", show(*on)),
            Self::Zfile(on, bytes) => format!("{} {bytes}", show(*on)),
            Self::Lsmt(layers) => {
                let pairs: Vec<String> = layers
                    .iter()
                    .map(|(on, bytes)| format!("{} {bytes}", show(*on)))
                    .collect();
                pairs.join(" ")
            }
            // Persistent, and with an "Overflow" state, which tells a full store from a failed one.
            Self::Snapshot(origin, store) => {
                format!("{} {} PO {CHUNK}", show(*origin), show(*store))
            }
        }
    }
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its first sector.
    pub start: u64,
    /// The number of its sectors.
    pub sectors: u64,
    /// The target of these sectors.
    pub target: Target,
}

/// A device-mapper device, and all devices below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its purpose.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its uuid. Devices that show the same have the same uuid.
    pub uuid: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// The devices directly below it.
    pub below: Vec<Device>,
    /// The leaves directly below it.
    pub leaves: Vec<Leaf>,
    /// Its table.
    pub table: Vec<Line>,
}
