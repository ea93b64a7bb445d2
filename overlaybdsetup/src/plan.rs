// SPDX-License-Identifier: GPL-2.0

//! The devices of an image: a tree with the image's own device at its root.
//!
//! [`plan`] is a pure function: it touches no file and no device, and does not know which devices
//! exist already.
//!
//! ```text
//! NAME                       lsmt_target, over all layers
//!  |-- overlaybd-layer-KEY   zfile_target, for a compressed layer
//!  |    `-- loop
//!  |-- overlaybd-layer-KEY
//!  |    `-- overlaybd-file-KEY   linear, if a last partial sector of the file is needed
//!  |         |-- loop            the whole sectors of the file
//!  |         `-- loop            its last bytes, in memory, padded with zeros
//!  |-- loop                  a layer that is not compressed
//!  `-- overlaybd-layer-KEY
//!       `-- overlaybd-file-KEY   linear, if the layer starts later in its blob
//!            `-- nbd             a blob in a registry
//! ```
//!
//! The leaves, loop and nbd, are what the kernel has drivers for: all others are of device-mapper.
//!
//! A writable device is a snapshot target over such a tree. The root of that tree is then shared
//! too:
//!
//! ```text
//! NAME                       snapshot
//!  |-- overlaybd-origin-KEY  lsmt_target, as above
//!  `-- loop                  the exception store
//! ```
//!
//! A KEY depends on what the device shows, for a blob on its registry too, and on nothing else, so
//! that an existing device can be used. The names of devices below the root start with
//! [`HIDDEN_PREFIX`]. All uuids start with [`UUID_PREFIX`] and the kind of the device, like those
//! of other programs that use device-mapper.

mod device;
mod key;
mod name;
mod shape;
#[cfg(test)]
mod tests;

pub use device::{Backing, Device, Leaf, Line, On, Target, CHUNK};
pub use key::Key;
pub use name::{check_name, node, Kind, HIDDEN_PREFIX, MAX_NAME, UUID_PREFIX};
pub use shape::{Form, ImageShape, LayerShape, StoreShape, Wish};

use name::{hidden, uuid};
use overlaybd_format::units::SECTOR_SIZE;

/// The devices of an image.
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
                // The kernel refuses a second device with this uuid, so no two devices share a
                // store.
                uuid: uuid(Kind::Writable, &store.key, None),
                read_only: false,
                below: vec![origin],
                leaves: vec![Leaf {
                    backing: Backing::Store,
                    offset: store.offset,
                    limit: 0,
                    read_only: false,
                    direct_io: wish.direct_io,
                }],
                table: vec![Line {
                    start: 0,
                    sectors: image.virtual_size / SECTOR_SIZE,
                    target: Target::Snapshot(On::Below(0), On::Leaf(0)),
                }],
            }
        }
    }
}

/// What the devices of a plan are derived from.
struct Planner<'a> {
    image: &'a ImageShape,
    wish: &'a Wish,
}

impl Planner<'_> {
    /// The part of a key that separates images which share no device.
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
        Key::of(&["layer", layer.key.as_str(), mode, owner])
    }

    fn image_key(&self) -> Key {
        let keys: Vec<Key> = (self.image.layers.iter())
            .map(|layer| self.layer_key(layer))
            .collect();
        let mut words = vec!["image"];
        words.extend(keys.iter().map(Key::as_str));
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
            leaves: Vec::new(),
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

    /// Adds the devices of a layer to the device above it. Returns the one that this device reads,
    /// and the length of the layer.
    fn add_layer(&self, above: &mut Device, number: usize, layer: &LayerShape) -> (On, u64) {
        let Form::Zfile { content_len, .. } = layer.form else {
            return (self.add_file(above, number, layer), layer.len);
        };
        let key = self.layer_key(layer);
        let mut device = below(Kind::Layer, &key);
        let on = self.add_file(&mut device, number, layer);
        device.table.push(Line {
            start: 0,
            sectors: content_len.div_ceil(SECTOR_SIZE),
            target: Target::Zfile(on, layer.zfile_len()),
        });
        above.below.push(device);
        (On::Below(above.below.len() - 1), content_len)
    }

    /// Adds the loop devices of a layer's file to the device above it, with its last bytes if they
    /// are needed. Returns the device that reads the file.
    fn add_file(&self, above: &mut Device, number: usize, layer: &LayerShape) -> On {
        if layer.remote {
            return self.add_blob(above, number, layer);
        }
        let whole = Leaf {
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
            above.leaves.push(whole);
            return On::Leaf(above.leaves.len() - 1);
        }
        let key = self.layer_key(layer);
        let tail = Leaf {
            backing: Backing::Tail(number),
            offset: 0,
            limit: 0,
            read_only: true,
            direct_io: false,
        };
        let sectors = layer.whole() / SECTOR_SIZE;
        above.below.push(Device {
            leaves: vec![whole, tail],
            table: vec![
                Line {
                    start: 0,
                    sectors,
                    target: Target::Linear(On::Leaf(0), 0),
                },
                Line {
                    start: sectors,
                    sectors: 1,
                    target: Target::Linear(On::Leaf(1), 0),
                },
            ],
            ..below(Kind::File, &key)
        });
        On::Below(above.below.len() - 1)
    }

    /// Adds the network block device of a layer's blob to the device above it, with a device for
    /// the payload if it starts later in the blob. Returns the device that shows the payload.
    fn add_blob(&self, above: &mut Device, number: usize, layer: &LayerShape) -> On {
        let blob = Leaf {
            backing: Backing::Blob(number),
            offset: 0,
            limit: 0,
            read_only: true,
            direct_io: false,
        };
        if layer.offset == 0 {
            above.leaves.push(blob);
            return On::Leaf(above.leaves.len() - 1);
        }
        let key = self.layer_key(layer);
        above.below.push(Device {
            leaves: vec![blob],
            table: vec![Line {
                start: 0,
                sectors: layer.len.div_ceil(SECTOR_SIZE),
                target: Target::Linear(On::Leaf(0), layer.offset / SECTOR_SIZE),
            }],
            ..below(Kind::File, &key)
        });
        On::Below(above.below.len() - 1)
    }
}

/// A read-only device below the root, with nothing below it yet.
fn below(kind: Kind, key: &Key) -> Device {
    Device {
        kind,
        name: hidden(kind, key),
        uuid: uuid(kind, key, None),
        read_only: true,
        below: Vec::new(),
        leaves: Vec::new(),
        table: Vec::new(),
    }
}
