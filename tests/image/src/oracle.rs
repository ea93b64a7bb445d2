// SPDX-License-Identifier: GPL-2.0

//! The content of a stack of layers, sector by sector, by a search of each layer: slow, and too
//! simple to have the errors of a merge.

pub mod lz4;

use overlaybd_format::lsmt::Segment;

/// What is at a sector of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The topmost layer that has a segment there.
    pub layer: usize,
    /// The number of that segment in the layer.
    pub segment: usize,
    /// The sector in the layer's blob, [`None`] if it is zeroed.
    pub source: Option<u64>,
}

/// The owner of each of the first `sectors` sectors, for layers given lowest first.
#[must_use]
pub fn owners(layers: &[Vec<Segment>], sectors: u64) -> Vec<Option<Owner>> {
    (0..sectors).map(|sector| owner(layers, sector)).collect()
}

/// The owner of one sector.
#[must_use]
pub fn owner(layers: &[Vec<Segment>], sector: u64) -> Option<Owner> {
    layers
        .iter()
        .enumerate()
        .rev()
        .find_map(|(layer, segments)| {
            let covers =
                |segment: &Segment| segment.start().get() <= sector && sector < segment.end().get();
            let number = segments.iter().position(covers)?;
            let segment = segments[number];
            let source = segment.source().get() + (sector - segment.start().get());
            Some(Owner {
                layer,
                segment: number,
                source: (!segment.zeroed()).then_some(source),
            })
        })
}

/// The number of segments of a correct merge: of runs of sectors that have the same segment of the
/// same layer.
#[must_use]
pub fn runs(owners: &[Option<Owner>]) -> usize {
    let key = |owner: &Option<Owner>| owner.map(|owner| (owner.layer, owner.segment));
    owners
        .chunk_by(|a, b| key(a) == key(b))
        .filter(|run| run[0].is_some())
        .count()
}
