// SPDX-License-Identifier: GPL-2.0

//! `lsmt_target <base device> <bytes> [<upper device> <bytes>]…`: layers as one device.
//!
//! `ctr` checks the layers, loads their indexes and merges them into one map. `map` looks up the
//! extent that a bio starts in, shortens the bio to it, and passes the bio on to that layer's
//! device or answers it with zeros. It allocates nothing and never waits.
//!
//! | file | what it does |
//! |---|---|
//! | [`open`] | constructs a target from a table line |
//! | [`alignment`] | segments and the logical blocks of the devices |

mod alignment;
mod open;

use self::alignment::Alignment;
use crate::{
    block::limits::QueueLimits,
    dm::{
        args::Args,
        bio::{
            Bio,
            MapResult, //
        },
        constructor::Setup,
        status::{
            StatusKind,
            StatusText, //
        },
        target::{
            write_ima_name,
            Features,
            Target, //
        },
        visitor::DeviceVisitor,
    },
    image::{
        index::Index,
        layer_device::LayerDevice,
        refusal::Refusal, //
    },
};
use core::{
    fmt::{
        self,
        Write, //
    },
    ops::ControlFlow, //
};
use kernel::prelude::*;
use overlaybd_format::{
    lsmt::{
        Extent,
        SegmentMap, //
    },
    units::{
        Bytes,
        Sector, //
    },
};

/// A stack of layers on lower devices.
pub(crate) struct Lsmt {
    /// The layers, lowest first.
    layers: KVec<LayerDevice>,
    map: SegmentMap<Index<u32>>,
}

#[vtable]
impl Target for Lsmt {
    const NAME: &'static CStr = c"lsmt_target";
    const VERSION: [c_uint; 3] = [1, 0, 0];
    const FEATURES: Features = Features::NOWAIT;
    type Io = ();
    type Context = ();
    type Refusal<'a> = Refusal<'a>;

    fn ctr<'a>((): &(), setup: &mut Setup<'_>, args: Args<'a>) -> Result<Self, Refusal<'a>> {
        Self::open(setup, args)
    }

    fn map(&self, mut bio: Bio<'_, Self>) -> MapResult {
        if !bio.is_read() {
            return bio.kill();
        }
        match self.map.lookup(bio.sector()) {
            Extent::Data { layer, source, len } => {
                let Some(layer) = self.layers.get(usize::from(layer)) else {
                    return bio.kill();
                };
                bio.accept_partial(len);
                bio.remap(&layer.device, source)
            }
            Extent::Zero { len } => {
                bio.accept_partial(len);
                bio.zero()
            }
        }
    }

    fn status(&self, kind: StatusKind, text: &mut StatusText<'_>) -> fmt::Result {
        match kind {
            StatusKind::Info => write!(
                text,
                "layers {} segments {} index_bytes {}",
                self.layers.len(),
                self.map.len(),
                self.map.memory_bytes(),
            ),
            StatusKind::Table => {
                for (i, LayerDevice { device, len }) in self.layers.iter().enumerate() {
                    let space = if i == 0 { "" } else { " " };
                    write!(text, "{space}{device} {len}")?;
                }
                Ok(())
            }
            StatusKind::Ima => {
                write_ima_name::<Self>(text)?;
                write!(text, ",layers={}", self.layers.len())?;
                for (i, LayerDevice { device, len }) in self.layers.iter().enumerate() {
                    write!(text, ",device_name_{i}={device},bytes_{i}={len}")?;
                }
                text.write_str(";")
            }
        }
    }

    fn iterate_devices(&self, visitor: &mut DeviceVisitor<'_>) -> ControlFlow<()> {
        // Device-mapper checks for whole logical blocks, the largest of all layers'. What this
        // leaves out is the end of a layer's trailer, which no bio reads.
        let largest = Alignment::new(&self.layers).largest;
        for LayerDevice { device, len } in &self.layers {
            let len = Bytes::new(largest.floor(len.get()));
            visitor.visit(device, Sector::new(0), len.whole_sectors())?;
        }
        ControlFlow::Continue(())
    }

    fn io_hints(&self, limits: &mut QueueLimits<'_>) {
        limits.clear_geometry();
        // In Linux 7.3, where device-mapper splits a polled bio, the clone for its second part
        // inherits REQ_DM_POLL_LIST with a null bi_private. A layer that is a dm device
        // dereferences that pointer.
        limits.refuse_polling();
    }
}
