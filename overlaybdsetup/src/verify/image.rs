// SPDX-License-Identifier: GPL-2.0

//! The image that the files form together: whether its layers merge, and which sectors of the image
//! their faults hit.
//!
//! It reads nothing: the layers are open already, and their faults are known.

use super::hits::Hits;
use super::report::{FileReport, ImageReport};
use super::subject::Subject;
use crate::image::{check_count, check_size};
use overlaybd_format::lsmt::{merge, virtual_size, Cursor, Segment};
use std::convert::Infallible;

impl ImageReport {
    /// Merges the layers, and adds to their faults which sectors of the image they hit.
    pub(super) fn of(subjects: &[Subject<'_>], reports: &mut [FileReport]) -> Self {
        let mut image = Self::new(subjects.len());
        let layers: Option<Vec<_>> = subjects
            .iter()
            .map(|subject| subject.layer.as_ref())
            .collect();
        // A layer that does not open has a fault of its own, and the image is unknown.
        let Some(layers) = layers.filter(|layers| !layers.is_empty()) else {
            return image;
        };
        let size = virtual_size(layers.iter().map(|(layer, _)| layer.virtual_size()));
        image.virtual_size = Some(size.get());
        if let Err(error) = check_size(size) {
            image.fault = Some(error.to_string());
            return image;
        }
        let mut hits: Vec<Hits> = subjects.iter().map(Subject::hits).collect();
        let segments: Vec<&[Segment]> = layers
            .iter()
            .map(|(_, segments)| segments.as_slice())
            .collect();
        let mut scratch = vec![Cursor::EMPTY; segments.len()];
        let mut extents = 0;
        let merged = merge(&segments, &mut scratch, |segment| {
            extents += 1;
            if let Some(hits) = hits.get_mut(usize::from(segment.layer())) {
                hits.add(segment, size);
            }
            Ok::<(), Infallible>(())
        });
        match merged {
            Ok(()) => {
                image.ok = true;
                image.extents = Some(extents);
                for (hits, report) in hits.into_iter().zip(reports) {
                    hits.tell(report);
                }
            }
            Err(error) => image.fault = Some(error.to_string()),
        }
        image
    }

    /// The report on an image of too many layers, or of none.
    pub(super) fn refused(layers: usize) -> Self {
        let error = check_count(layers).err();
        Self {
            fault: error.map(|error| error.to_string()),
            ..Self::new(layers)
        }
    }
}
