// SPDX-License-Identifier: GPL-2.0

//! What logical blocks larger than sectors require of the segments.

use crate::{
    block::logical_block::LogicalBlockSize,
    image::layer_device::LayerDevice, //
};
use overlaybd_format::{
    lsmt::Segment,
    units::Sector, //
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

    /// Whether a segment can be read from its device.
    ///
    /// Bios to the stack are whole blocks of the largest size. If all borders between segments are
    /// as well, so are all parts of a bio. The place of the data in a layer is a whole number of
    /// that device's own blocks.
    pub(super) fn fits(&self, segment: Segment) -> bool {
        if self.largest == LogicalBlockSize::SECTOR {
            return true;
        }
        let divides = |block: LogicalBlockSize, at: Sector| {
            at.to_bytes().is_some_and(|at| block.divides(at.get()))
        };
        let layer = self.layers.get(usize::from(segment.layer()));
        let own = layer.map_or(self.largest, |layer| layer.device.logical_block_size());
        divides(self.largest, segment.start())
            && divides(self.largest, segment.end())
            && (segment.zeroed() || divides(own, segment.source()))
    }
}
