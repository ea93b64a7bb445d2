// SPDX-License-Identifier: GPL-2.0

//! The merge against the oracle, over generated layers.

use overlaybd_format::lsmt::{merge, Cursor, Extent, Segment};
use overlaybd_format::units::{Sector, Sectors};
use overlaybd_image::{map_of, oracle};
use proptest::collection::vec;
use proptest::prelude::*;

/// One layer, from gaps, lengths and whether each segment is zeroed. No two share data.
fn layer(shape: &[(u64, u64, bool)]) -> Vec<Segment> {
    let (mut at, mut source) = (0, 8);
    shape
        .iter()
        .map(|(gap, len, zeroed)| {
            let (start, sectors) = (Sector::new(at + gap), Sectors::new(*len));
            at += gap + len;
            let segment = if *zeroed {
                Segment::zeros(start, sectors)
            } else {
                source += len;
                Segment::data(start, sectors, Sector::new(source - len))
            };
            segment.expect("small numbers")
        })
        .collect()
}

/// Layers of up to `segments` segments each, many of which touch.
fn layers(most: usize, segments: usize) -> impl Strategy<Value = Vec<Vec<Segment>>> {
    let gap = prop_oneof![2 => Just(0u64), 3 => 0u64..20];
    let shape = vec((gap, 1u64..25, any::<bool>()), 0..segments);
    vec(shape.prop_map(|shape| layer(&shape)), 0..most)
}

fn merged(layers: &[Vec<Segment>]) -> Vec<Segment> {
    let mut result = Vec::new();
    merge(layers, &mut vec![Cursor::EMPTY; layers.len()], |segment| {
        result.push(segment);
        Ok::<(), ()>(())
    })
    .expect("a sink that takes all");
    result
}

fn agrees_with_oracle(layers: &[Vec<Segment>]) -> Result<(), TestCaseError> {
    let ends = layers.iter().filter_map(|layer| layer.last());
    let sectors = ends.map(|last| last.end().get()).max().unwrap_or(0) + 3;
    let owners = oracle::owners(layers, sectors);
    let result = merged(layers);

    prop_assert_eq!(result.len(), oracle::runs(&owners));
    for pair in result.windows(2) {
        prop_assert!(pair[0].end() <= pair[1].start());
    }
    let mut painted = vec![None; owners.len()];
    for segment in &result {
        for within in 0..segment.len().get() {
            let at = (segment.start().get() + within) as usize;
            let source = (!segment.zeroed()).then_some(segment.source().get() + within);
            painted[at] = Some((usize::from(segment.layer()), source));
        }
    }
    let expected: Vec<_> = owners
        .iter()
        .map(|owner| owner.map(|owner| (owner.layer, owner.source)))
        .collect();
    prop_assert_eq!(&painted, &expected);

    // And by a lookup of every sector.
    let map = map_of(&result).unwrap();
    for (at, expected) in expected.iter().enumerate() {
        let run = map.lookup(Sector::new(at as u64));
        prop_assert_ne!(run.len(), Sectors::new(0));
        let within = run.len().get().min((owners.len() - at) as u64) as usize;
        match run {
            Extent::Data { layer, source, .. } => {
                prop_assert_eq!(*expected, Some((usize::from(layer), Some(source.get()))));
            }
            Extent::Zero { .. } => {
                let zero = |owner: &Option<(usize, Option<u64>)>| {
                    owner.is_none_or(|(_, source)| source.is_none())
                };
                prop_assert!(painted[at..at + within].iter().all(zero));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn few_layers_of_many_segments(layers in layers(9, 40)) {
        agrees_with_oracle(&layers)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn many_layers_of_few_segments(layers in layers(256, 6)) {
        agrees_with_oracle(&layers)?;
    }
}
