// SPDX-License-Identifier: GPL-2.0

//! What devices an image takes: a tree, the image's own device at its root, made by a pure function. It touches
//! no file and no device, and knows nothing of what exists already.
//!
//! ```text
//! NAME                       lsmt_target, over all layers
//!  |-- overlaybd-layer-KEY   zfile_target, for a layer that is compressed
//!  |    `-- loop
//!  |-- overlaybd-layer-KEY
//!  |    `-- overlaybd-file-KEY   linear, where the last bytes of the file are needed and are no whole sector
//!  |         |-- loop            the whole sectors of the file
//!  |         `-- loop            its last bytes, in memory, filled up with zeros
//!  `-- loop                  a layer that is not compressed
//! ```
//!
//! A device that can be written is a snapshot target over such a tree, whose root is then shared as well:
//!
//! ```text
//! NAME                       snapshot
//!  |-- overlaybd-origin-KEY  lsmt_target, as above
//!  `-- loop                  the exception store
//! ```
//!
//! A KEY is made of what the device shows, so that a device that is there already can be used. Names of devices
//! below the root start with [`HIDDEN_PREFIX`], uuids with [`UUID_PREFIX`] and the kind of the device, as other
//! programs over device-mapper have it.

use crate::error::{Error, Result};
use crate::image::{hex, Image};
use crate::layer::Layer;
use overlaybd_format::units::SECTOR_SIZE;
use sha2::{Digest, Sha256};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the names of devices below the image's own start with.
pub const HIDDEN_PREFIX: &str = "overlaybd-";

/// What the uuids of all devices start with.
pub const UUID_PREFIX: &str = "OVERLAYBD-";

/// The longest name: the uuid, which ends with it, has at most 128 bytes.
pub const MAX_NAME: usize = 64;

/// The sectors that a snapshot copies at once: 4 KiB, the block of most file systems.
pub const CHUNK: u64 = 8;

/// What a device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The image, read-only: the device that a caller asked for.
    Image,
    /// The image with an exception store: the device that a caller asked for.
    Writable,
    /// The image below devices that can be written.
    Origin,
    /// The content of a compressed layer.
    Layer,
    /// A layer's file to its very last byte.
    File,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Image,
        Self::Writable,
        Self::Origin,
        Self::Layer,
        Self::File,
    ];

    /// How uuids have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Image => "IMAGE",
            Self::Writable => "WRITABLE",
            Self::Origin => "ORIGIN",
            Self::Layer => "LAYER",
            Self::File => "FILE",
        }
    }

    /// The kind of a device by its uuid; [`None`] if it is no device of this program.
    #[must_use]
    pub fn of_uuid(uuid: &str) -> Option<Self> {
        let rest = uuid.strip_prefix(UUID_PREFIX)?;
        let (word, _) = rest.split_once('-')?;
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether a caller asks for such devices by name; the others are below these.
    #[must_use]
    pub const fn is_named(self) -> bool {
        matches!(self, Self::Image | Self::Writable)
    }
}

/// What a key is made of, as 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key of these words.
    pub(crate) fn of(words: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for word in words {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word);
        }
        Self(hex(&hash.finalize()[..16]))
    }

    /// The key of a file: no other one has it as long as it is open anywhere.
    ///
    /// # Errors
    ///
    /// If the file system does not know the file any more.
    pub fn of_file(file: &std::fs::File) -> std::io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self::of(&[
            "file",
            &about.dev().to_string(),
            &about.ino().to_string(),
        ]))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the payload of a layer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Raw,
    /// As a ZFile.
    Zfile {
        /// The length of the content in bytes.
        content_len: u64,
        /// Where what is needed of the ZFile ends: it may be before its very end.
        needed: u64,
    },
}

/// A layer, as far as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Its file, for what is printed.
    pub path: PathBuf,
    /// The key of the file: another file, or the same one written again, has another.
    pub key: Key,
    /// Where the payload starts in the file, in bytes: a multiple of 512.
    pub offset: u64,
    /// The length of the payload in bytes.
    pub len: u64,
    /// The length of the file in bytes.
    pub file_len: u64,
    /// How the payload is read.
    pub form: Form,
}

impl LayerShape {
    /// The shape of a layer that is open.
    ///
    /// # Errors
    ///
    /// If its file cannot be asked about.
    pub fn of(layer: &Layer) -> Result<Self> {
        let payload = layer.content().payload();
        let about = payload.file().metadata().map_err(|error| {
            Error::io(format!("cannot read {}", payload.path().display()), &error)
        })?;
        let numbers = [
            about.dev(),
            about.ino(),
            about.mtime().cast_unsigned(),
            about.mtime_nsec().cast_unsigned(),
            payload.offset(),
            payload.len(),
        ];
        let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let form = match layer.content().zfile() {
            None => Form::Raw,
            Some(zfile) => {
                let layout = zfile.layout();
                Form::Zfile {
                    content_len: layout.content_len().get(),
                    needed: if zfile.needs_trailer() {
                        payload.len()
                    } else {
                        layout.index_offset().get() + layout.index_len().get()
                    },
                }
            }
        };
        Ok(Self {
            path: payload.path().to_path_buf(),
            key: Key::of(&words),
            offset: payload.offset(),
            len: payload.len(),
            file_len: payload.file_len(),
            form,
        })
    }

    /// How many bytes of the payload are whole sectors of the file.
    const fn whole(&self) -> u64 {
        self.len - self.len % SECTOR_SIZE
    }

    /// Whether the file has all sectors of the payload, the last one too: a tar is filled up.
    const fn has_all_sectors(&self) -> bool {
        self.offset + self.len.next_multiple_of(SECTOR_SIZE) <= self.file_len
    }

    /// Whether bytes are needed that are in no whole sector of the file.
    const fn needs_tail(&self) -> bool {
        let needed = match self.form {
            Form::Raw => self.len,
            Form::Zfile { needed, .. } => needed,
        };
        needed > self.whole() && !self.has_all_sectors()
    }

    /// The length to give for a ZFile: where it is complete without its last bytes, and they are in no whole
    /// sector, it is given without them.
    const fn zfile_len(&self) -> u64 {
        if self.needs_tail() || self.has_all_sectors() {
            self.len
        } else {
            self.whole()
        }
    }
}

/// An image, as far as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// The layers, lowest first.
    pub layers: Vec<LayerShape>,
    /// The size of the image in bytes.
    pub virtual_size: u64,
}

impl ImageShape {
    /// The shape of an image that is open.
    ///
    /// # Errors
    ///
    /// If one of its files cannot be asked about.
    pub fn of(image: &Image) -> Result<Self> {
        Ok(Self {
            layers: image
                .layers()
                .iter()
                .map(LayerShape::of)
                .collect::<Result<_>>()?,
            virtual_size: image.virtual_size(),
        })
    }
}

/// What is asked for beside the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The name of the device.
    pub name: String,
    /// Whether files are read past the page cache, where that can be.
    pub direct_io: bool,
    /// Whether layers are shared with other images.
    pub share: bool,
    /// The exception store, for a device that can be written.
    pub store: Option<StoreShape>,
}

/// An exception store, as far as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreShape {
    /// Its file, for what is printed.
    pub path: PathBuf,
    /// The key of the file.
    pub key: Key,
    /// Where the store starts in the file, in bytes.
    pub offset: u64,
}

/// A file that a loop device shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// The file of the layer of this number, 0 for the lowest.
    Layer(usize),
    /// What is behind the last whole sector of that layer's payload, filled up to a sector.
    Tail(usize),
    /// The exception store.
    Store,
}

/// A loop device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The file.
    pub backing: Backing,
    /// Its first byte to be shown.
    pub offset: u64,
    /// How many bytes to show; 0 for all to the end of the file.
    pub limit: u64,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether the page cache is passed by.
    pub direct_io: bool,
}

/// A device that a table names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The loop device of that number of the device whose table it is.
    Loop(usize),
    /// The device of that number directly below it.
    Below(usize),
}

/// A target and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Sectors of another device, from its first one on.
    Linear(On),
    /// The content of a ZFile, with its length in bytes.
    Zfile(On, u64),
    /// Layers, lowest first, each with its length in bytes.
    Lsmt(Vec<(On, u64)>),
    /// An origin and its exception store.
    Snapshot(On, On),
}

impl Target {
    /// The name that the kernel knows it by.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Linear(_) => "linear",
            Self::Zfile(..) => "zfile_target",
            Self::Lsmt(_) => "lsmt_target",
            Self::Snapshot(..) => "snapshot",
        }
    }

    /// The arguments, with devices as `show` writes them.
    pub fn arguments(&self, show: impl Fn(On) -> String) -> String {
        match self {
            Self::Linear(on) => format!("{} 0", show(*on)),
            Self::Zfile(on, bytes) => format!("{} {bytes}", show(*on)),
            Self::Lsmt(layers) => {
                let pairs: Vec<String> = layers
                    .iter()
                    .map(|(on, bytes)| format!("{} {bytes}", show(*on)))
                    .collect();
                pairs.join(" ")
            }
            // Persistent, and the kernel may say that it is full rather than that it failed.
            Self::Snapshot(origin, store) => {
                format!("{} {} PO {CHUNK}", show(*origin), show(*store))
            }
        }
    }
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its first sector of the device.
    pub start: u64,
    /// How many sectors it is for.
    pub sectors: u64,
    /// What they are.
    pub target: Target,
}

/// A device of device-mapper, and all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it is for.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its uuid: two devices that show the same have the same.
    pub uuid: String,
    /// Whether it can only be read.
    pub read_only: bool,
    /// The devices directly below it.
    pub below: Vec<Device>,
    /// The loop devices directly below it.
    pub loops: Vec<Loop>,
    /// Its table.
    pub table: Vec<Line>,
}

/// Checks a name for a device.
///
/// # Errors
///
/// A name that is too long, has characters that file names below /dev do not have everywhere, or could be
/// taken for that of a device below an image.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "#+-.:=@_".contains(char);
    let wrong = if name.is_empty() {
        "it is empty".to_string()
    } else if name.len() > MAX_NAME {
        format!("it has more than {MAX_NAME} characters")
    } else if let Some(char) = name.chars().find(|char| !allowed(*char)) {
        format!("it has a {char:?}; letters, digits and #+-.:=@_ can be used")
    } else if name.starts_with(HIDDEN_PREFIX) {
        format!("{HIDDEN_PREFIX}... are the devices below images")
    } else if matches!(name, "." | ".." | "control") || name.starts_with('-') {
        "it means something else".to_string()
    } else {
        return Ok(());
    };
    Err(Error::refused(format!(
        "the name {name:?} cannot be used: {wrong}"
    )))
}

/// The devices that an image takes.
#[must_use]
pub fn plan(image: &ImageShape, wish: &Wish) -> Device {
    let planner = Planner { image, wish };
    match &wish.store {
        None => {
            let key = planner.image_key();
            planner.merged(
                Kind::Image,
                wish.name.clone(),
                uuid(Kind::Image, &key, Some(&wish.name)),
            )
        }
        Some(store) => {
            let key = planner.image_key();
            let origin = planner.merged(
                Kind::Origin,
                hidden(Kind::Origin, &key),
                uuid(Kind::Origin, &key, None),
            );
            Device {
                kind: Kind::Writable,
                name: wish.name.clone(),
                // The kernel has one device of a uuid, so a store is never under two.
                uuid: uuid(Kind::Writable, &store.key, None),
                read_only: false,
                below: vec![origin],
                loops: vec![Loop {
                    backing: Backing::Store,
                    offset: store.offset,
                    limit: 0,
                    read_only: false,
                    direct_io: wish.direct_io,
                }],
                table: vec![Line {
                    start: 0,
                    sectors: image.virtual_size / SECTOR_SIZE,
                    target: Target::Snapshot(On::Below(0), On::Loop(0)),
                }],
            }
        }
    }
}

/// The name of a device below an image.
fn hidden(kind: Kind, key: &Key) -> String {
    format!("{HIDDEN_PREFIX}{}-{key}", kind.word().to_lowercase())
}

/// A uuid, with the name that a caller gave the device, if it has one.
fn uuid(kind: Kind, key: &Key, name: Option<&str>) -> String {
    let end = name.map(|name| format!("-{name}")).unwrap_or_default();
    format!("{UUID_PREFIX}{}-{key}{end}", kind.word())
}

struct Planner<'a> {
    image: &'a ImageShape,
    wish: &'a Wish,
}

impl Planner<'_> {
    /// What tells a device from those with which it shares nothing.
    fn scope(&self) -> [&str; 2] {
        [
            if self.wish.direct_io {
                "direct"
            } else {
                "buffered"
            },
            if self.wish.share { "" } else { &self.wish.name },
        ]
    }

    fn layer_key(&self, layer: &LayerShape) -> Key {
        let [mode, owner] = self.scope();
        Key::of(&["layer", &layer.key.0, mode, owner])
    }

    fn image_key(&self) -> Key {
        let keys: Vec<Key> = (self.image.layers.iter())
            .map(|layer| self.layer_key(layer))
            .collect();
        let mut words = vec!["image"];
        words.extend(keys.iter().map(|key| key.0.as_str()));
        Key::of(&words)
    }

    /// The device that merges the layers.
    fn merged(&self, kind: Kind, name: String, uuid: String) -> Device {
        let mut device = Device {
            kind,
            name,
            uuid,
            read_only: true,
            below: Vec::new(),
            loops: Vec::new(),
            table: Vec::new(),
        };
        let layers = (self.image.layers.iter().enumerate())
            .map(|(number, layer)| self.add_layer(&mut device, number, layer))
            .collect();
        device.table.push(Line {
            start: 0,
            sectors: self.image.virtual_size / SECTOR_SIZE,
            target: Target::Lsmt(layers),
        });
        device
    }

    /// Adds what a layer takes to the device above it, and returns what that finds it on.
    fn add_layer(&self, above: &mut Device, number: usize, layer: &LayerShape) -> (On, u64) {
        let Form::Zfile { content_len, .. } = layer.form else {
            return (self.add_file(above, number, layer), layer.len);
        };
        let key = self.layer_key(layer);
        let mut device = Device {
            kind: Kind::Layer,
            name: hidden(Kind::Layer, &key),
            uuid: uuid(Kind::Layer, &key, None),
            read_only: true,
            below: Vec::new(),
            loops: Vec::new(),
            table: Vec::new(),
        };
        let on = self.add_file(&mut device, number, layer);
        device.table.push(Line {
            start: 0,
            sectors: content_len.div_ceil(SECTOR_SIZE),
            target: Target::Zfile(on, layer.zfile_len()),
        });
        above.below.push(device);
        (On::Below(above.below.len() - 1), content_len)
    }

    /// Adds a layer's file to the device above it, to its last byte where that is needed.
    fn add_file(&self, above: &mut Device, number: usize, layer: &LayerShape) -> On {
        let whole = Loop {
            backing: Backing::Layer(number),
            offset: layer.offset,
            limit: if layer.needs_tail() {
                layer.whole()
            } else {
                layer.len.next_multiple_of(SECTOR_SIZE)
            },
            read_only: true,
            direct_io: self.wish.direct_io,
        };
        if !layer.needs_tail() {
            above.loops.push(whole);
            return On::Loop(above.loops.len() - 1);
        }
        let key = self.layer_key(layer);
        let tail = Loop {
            backing: Backing::Tail(number),
            offset: 0,
            limit: 0,
            read_only: true,
            direct_io: false,
        };
        let sectors = layer.whole() / SECTOR_SIZE;
        above.below.push(Device {
            kind: Kind::File,
            name: hidden(Kind::File, &key),
            uuid: uuid(Kind::File, &key, None),
            read_only: true,
            below: Vec::new(),
            loops: vec![whole, tail],
            table: vec![
                Line {
                    start: 0,
                    sectors,
                    target: Target::Linear(On::Loop(0)),
                },
                Line {
                    start: sectors,
                    sectors: 1,
                    target: Target::Linear(On::Loop(1)),
                },
            ],
        });
        On::Below(above.below.len() - 1)
    }
}

/// The path of a device of device-mapper.
#[must_use]
pub fn node(name: &str) -> PathBuf {
    Path::new("/dev/mapper").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: u64, offset: u64, len: u64, file_len: u64, form: Form) -> LayerShape {
        LayerShape {
            path: format!("/layers/{number}").into(),
            key: Key::of(&["file", &number.to_string()]),
            offset,
            len,
            file_len,
            form,
        }
    }

    fn zfile(number: u64, len: u64, needed: u64) -> LayerShape {
        let form = Form::Zfile {
            content_len: 1 << 20,
            needed,
        };
        layer(number, 0, len, len, form)
    }

    fn image(layers: Vec<LayerShape>) -> ImageShape {
        ImageShape {
            layers,
            virtual_size: 1 << 30,
        }
    }

    fn wish(name: &str) -> Wish {
        Wish {
            name: name.into(),
            direct_io: true,
            share: true,
            store: None,
        }
    }

    fn store() -> StoreShape {
        StoreShape {
            path: "/store".into(),
            key: Key::of(&["store"]),
            offset: 4096,
        }
    }

    #[test]
    fn a_layer_of_each_kind() {
        let tar = Form::Zfile {
            content_len: 3657728,
            needed: 1000,
        };
        let image = image(vec![
            zfile(0, 1737758, 1737758),
            layer(1, 1536, 218135, 220672, tar),
            layer(2, 0, 147456, 147456, Form::Raw),
        ]);
        let device = plan(&image, &wish("img"));
        assert_eq!((device.kind, device.name.as_str()), (Kind::Image, "img"));
        assert!(device.uuid.ends_with("-img"));
        assert_eq!(device.below.len(), 2);
        assert_eq!(device.loops.len(), 1);
        assert_eq!(
            device.table,
            [Line {
                start: 0,
                sectors: 1 << 21,
                target: Target::Lsmt(vec![
                    (On::Below(0), 1 << 20),
                    (On::Below(1), 3657728),
                    (On::Loop(0), 147456),
                ]),
            }]
        );

        // The trailer is at the very end of the first, which is no whole sector.
        let first = &device.below[0];
        assert_eq!(first.table[0].target, Target::Zfile(On::Below(0), 1737758));
        let file = &first.below[0];
        assert_eq!(file.kind, Kind::File);
        assert_eq!(file.loops[0].limit, 1737728);
        assert_eq!(file.loops[1].backing, Backing::Tail(0));
        assert_eq!((file.table[0].sectors, file.table[1].sectors), (3394, 1));
        assert_eq!(file.table[1].start, 3394);

        // The second has all its sectors in the tar.
        let second = &device.below[1];
        assert_eq!(second.table[0].target, Target::Zfile(On::Loop(0), 218135));
        assert_eq!(second.table[0].sectors, 7144);
        assert_eq!(
            (second.loops[0].offset, second.loops[0].limit),
            (1536, 218624)
        );
    }

    #[test]
    fn what_is_complete_without_its_end_takes_no_device_for_it() {
        let device = plan(&image(vec![zfile(0, 10_000, 9_400)]), &wish("img"));
        let layer = &device.below[0];
        assert!(layer.below.is_empty());
        assert_eq!(layer.table[0].target, Target::Zfile(On::Loop(0), 9_728));
        // Needed to its end, but of whole sectors.
        let device = plan(&image(vec![zfile(0, 10_240, 10_240)]), &wish("img"));
        assert!(device.below[0].below.is_empty());
        // The header says it all, but the index is in the last bytes.
        let device = plan(&image(vec![zfile(0, 10_000, 9_999)]), &wish("img"));
        assert_eq!(device.below[0].below[0].kind, Kind::File);
    }

    #[test]
    fn images_share_layers_and_nothing_else() {
        let base = || zfile(0, 10_240, 10_240);
        let one = plan(&image(vec![base(), zfile(1, 512, 512)]), &wish("one"));
        let two = plan(&image(vec![base(), zfile(2, 512, 512)]), &wish("two"));
        assert_eq!(one.below[0], two.below[0]);
        assert_ne!(one.below[1].uuid, two.below[1].uuid);
        assert_ne!(one.uuid, two.uuid);

        let alone = Wish {
            share: false,
            ..wish("three")
        };
        let three = plan(&image(vec![base()]), &alone);
        assert_ne!(one.below[0].uuid, three.below[0].uuid);
        let buffered = Wish {
            direct_io: false,
            ..wish("four")
        };
        let four = plan(&image(vec![base()]), &buffered);
        assert_ne!(one.below[0].uuid, four.below[0].uuid);
        assert!(!four.below[0].loops[0].direct_io);
    }

    #[test]
    fn devices_that_can_be_written_share_the_whole_image() {
        let image = image(vec![zfile(0, 10_240, 10_240)]);
        let writable = |name: &str| {
            let wish = Wish {
                store: Some(store()),
                ..wish(name)
            };
            plan(&image, &wish)
        };
        let (one, two) = (writable("one"), writable("two"));
        assert_eq!(one.below, two.below);
        assert_eq!(one.below[0].kind, Kind::Origin);
        // One store, one device: the kernel refuses the second.
        assert_eq!(one.uuid, two.uuid);
        assert!(!one.read_only && one.below[0].read_only);
        assert_eq!(one.loops[0].offset, 4096);
        let show = |on: On| match on {
            On::Loop(_) => "7:0".to_string(),
            On::Below(_) => "254:0".to_string(),
        };
        assert_eq!(one.table[0].target.arguments(show), "254:0 7:0 PO 8");
    }

    #[test]
    fn uuids_tell_the_kind() {
        let device = plan(&image(vec![zfile(0, 10_000, 10_000)]), &wish("my-vm"));
        assert_eq!(Kind::of_uuid(&device.uuid), Some(Kind::Image));
        assert_eq!(Kind::of_uuid(&device.below[0].uuid), Some(Kind::Layer));
        assert_eq!(Kind::of_uuid("CRYPT-VERITY-00-x"), None);
        assert_eq!(Kind::of_uuid("OVERLAYBD-OTHER-00"), None);
        let longest = plan(
            &image(vec![zfile(0, 512, 512)]),
            &wish(&"n".repeat(MAX_NAME)),
        );
        assert!(longest.uuid.len() < 128);
    }

    #[test]
    fn names() {
        for good in ["a", "vm-1", "my.image@2", &"n".repeat(MAX_NAME)] {
            assert_eq!(check_name(good), Ok(()));
        }
        let long = "n".repeat(MAX_NAME + 1);
        for bad in [
            "",
            "a b",
            "a/b",
            "overlaybd-x",
            "control",
            ".",
            "..",
            "-x",
            "\u{e4}",
            &long,
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
