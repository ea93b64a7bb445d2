// SPDX-License-Identifier: GPL-2.0

//! What logical blocks larger than sectors require of the segments.

use crate::image::layer_device::LayerDevice;
use overlaybd_format::{
    lsmt::Segment,
    units::LogicalBlockSize, //
};

/// The logical blocks of the layers' devices.
pub(super) struct Alignment<'a> {
    layers: &'a [LayerDevice],
    /// The largest one, which the stack has.
    pub(super) largest: LogicalBlockSize,
}

impl<'a> Alignment<'a> {
    pub(super) fn new(layers: &'a [LayerDevice]) -> Self {
        let block = |layer: &LayerDevice| layer.device.logical_block_size();
        let largest = layers.iter().map(block).max();
        Self {
            layers,
            largest: largest.unwrap_or(LogicalBlockSize::SECTOR),
        }
    }

    /// Whether a segment can be read from its device: bios to the stack are whole blocks of the
    /// largest size.
    pub(super) fn fits(&self, segment: Segment) -> bool {
        if self.largest == LogicalBlockSize::SECTOR {
            return true;
        }
        let layer = self.layers.get(usize::from(segment.layer()));
        let own = layer.map_or(self.largest, |layer| layer.device.logical_block_size());
        segment.fits(self.largest, own)
    }
}
