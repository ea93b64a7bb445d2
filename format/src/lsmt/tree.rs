// SPDX-License-Identifier: GPL-2.0

//! Where the keys of a sorted row are in a B-tree without pointers, and the way down in it.
//!
//! Nodes of 16 keys follow each other, level by level; node `k` has the children `17k + 1` to
//! `17k + 17`, the first with what is before its first key, the last with what is behind its last
//! one. All nodes are full but the last, which is a leaf. Nothing but the number of keys says how
//! the tree looks, every key is in it once, and a node of 32-bit keys is one cache line: a search
//! waits for memory a few times, where a binary search over the sorted row waits at every halving.

use crate::convert::usize_from;

/// The keys of a node.
const NODE: usize = 16;

/// The children of a node.
const FAN: usize = NODE.wrapping_add(1);

/// The first child of a node, of which a child's `number` counts.
#[inline]
const fn child(node: usize, number: usize) -> usize {
    // Does not wrap: a node has 64 bytes of memory, so there are few enough of them.
    node.wrapping_mul(FAN).wrapping_add(1).wrapping_add(number)
}

/// The places of keys in their order: where to put the first, the second, and so on.
#[derive(Clone, Debug)]
pub(super) struct InOrder {
    /// The number of keys.
    len: usize,
    /// The node and the slot in it of the next key.
    next: Option<(usize, usize)>,
}

impl InOrder {
    /// The places of `len` keys.
    pub(super) fn new(len: usize) -> Self {
        let mut places = Self { len, next: None };
        if len > 0 {
            places.next = Some((places.leftmost(0), 0));
        }
        places
    }

    fn nodes(&self) -> usize {
        self.len.div_ceil(NODE)
    }

    /// The number of keys of a node.
    fn keys(&self, node: usize) -> usize {
        self.len.saturating_sub(node.saturating_mul(NODE)).min(NODE)
    }

    /// The leaf with the smallest keys at or under `node`.
    fn leftmost(&self, mut node: usize) -> usize {
        while child(node, 0) < self.nodes() {
            node = child(node, 0);
        }
        node
    }

    /// What comes after a key.
    fn after(&self, mut node: usize, slot: usize) -> Option<(usize, usize)> {
        let mut slot = slot.wrapping_add(1);
        let below = child(node, slot);
        if below < self.nodes() {
            return Some((self.leftmost(below), 0));
        }
        while slot >= self.keys(node) {
            // Up, to the key behind the child that this node is.
            let number = node.checked_sub(1)?;
            slot = number % FAN;
            node = number / FAN;
        }
        Some((node, slot))
    }
}

impl Iterator for InOrder {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let (node, slot) = self.next?;
        self.next = self.after(node, slot);
        Some(node.wrapping_mul(NODE).wrapping_add(slot))
    }
}

/// The places of two keys that follow each other, if there are such: the last that is not behind
/// what was looked for, and the first that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbours {
    pub(super) before: Option<usize>,
    pub(super) behind: Option<usize>,
}

/// Looks for `wanted` among keys in the order of [`InOrder`]. Of keys equal to it, `not_behind` says
/// which ones, by their places, count as not behind what is looked for; [`None`] says all.
#[inline]
pub(super) fn search(
    keys: &[u32],
    wanted: u32,
    not_behind: Option<&impl Fn(usize) -> bool>,
) -> Neighbours {
    let mut found = Neighbours {
        before: None,
        behind: None,
    };
    let mut node = 0;
    loop {
        let first = NODE.wrapping_mul(node);
        let rest = keys.get(first..).unwrap_or_default();
        if rest.is_empty() {
            return found;
        }
        // A whole node has a length that the compiler knows.
        let node_keys = rest.first_chunk::<NODE>();
        let len = node_keys.map_or(rest.len(), |whole| whole.len());
        let equal = not_behind.map(|not_behind| |slot| not_behind(first.wrapping_add(slot)));
        let below = match node_keys {
            Some(whole) => up_to(whole, wanted, equal.as_ref()),
            None => up_to(rest, wanted, equal.as_ref()),
        };
        if below > 0 {
            found.before = Some(first.wrapping_add(below).wrapping_sub(1));
        }
        if below < len {
            found.behind = Some(first.wrapping_add(below));
        }
        node = child(node, below);
    }
}

/// How many of these keys, which are in order, are not behind `wanted`: the smaller ones, and of the
/// equal ones those of which `not_behind`, given the slot, says so; [`None`] says all.
///
/// Every key is looked at: that takes no branch, and no wait for the one before.
#[inline(always)]
pub(super) fn up_to(
    keys: &[u32],
    wanted: u32,
    not_behind: Option<&impl Fn(usize) -> bool>,
) -> usize {
    let count = |keys: &[u32]| {
        keys.iter().fold(0u32, |count, key| {
            count.wrapping_add(u32::from(*key <= wanted))
        })
    };
    // Two sums, so that neither waits for the other.
    let (low, high) = keys.split_at_checked(NODE / 2).unwrap_or((keys, &[]));
    let mut below = usize_from(count(low).wrapping_add(count(high)));
    if let Some(not_behind) = not_behind {
        while let Some(last) = below.checked_sub(1) {
            if keys.get(last) != Some(&wanted) || not_behind(last) {
                break;
            }
            below = last;
        }
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const ALL: Option<&fn(usize) -> bool> = None;

    /// These keys, which are in order, as a tree.
    fn tree(keys: &[u32]) -> Vec<u32> {
        let mut tree = vec![0; keys.len()];
        for (place, key) in InOrder::new(keys.len()).zip(keys) {
            tree[place] = *key;
        }
        tree
    }

    #[test]
    fn every_place_is_given_once() {
        for len in (0..700).chain([4912, 4913, 4914, 83_521, 100_000]) {
            let mut places: Vec<_> = InOrder::new(len).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..len), "{len}");
        }
    }

    #[test]
    fn neighbours_are_those_of_the_sorted_row() {
        for len in [0, 1, 2, 15, 16, 17, 18, 271, 272, 273, 288, 289, 290, 5000] {
            let keys: Vec<u32> = (1..=len).map(|key| key * 2).collect();
            let tree = tree(&keys);
            for wanted in 0..len * 2 + 3 {
                let found = search(&tree, wanted, ALL);
                let key = |place: Option<usize>| place.map(|place| tree[place]);
                let behind = keys.partition_point(|key| *key <= wanted);
                let before = behind.checked_sub(1).map(|before| keys[before]);
                assert_eq!(key(found.before), before, "{wanted} of {len}");
                assert_eq!(key(found.behind), keys.get(behind).copied());
            }
        }
    }

    #[test]
    fn equal_keys_are_told_apart_by_place() {
        // 100 keys, each 7 times; the closure draws the line within the equal ones.
        let keys: Vec<u32> = (0..700).map(|i| i / 7).collect();
        let tree = tree(&keys);
        let places: Vec<_> = InOrder::new(700).collect();
        for wanted in 0..100 {
            for line in 0..=7 {
                let border = wanted as usize * 7 + line;
                let rank = |place| places.iter().position(|other| *other == place).unwrap();
                let found = search(&tree, wanted, Some(&|place| rank(place) < border));
                assert_eq!(found.before.map(rank), border.checked_sub(1));
                assert_eq!(found.behind.map(rank), Some(border).filter(|at| *at < 700));
            }
        }
    }

    #[test]
    fn the_largest_key_is_a_key() {
        let tree = tree(&[0, u32::MAX]);
        assert_eq!(search(&tree, u32::MAX, ALL).behind, None);
        assert_eq!(search(&tree, u32::MAX - 1, ALL).before, Some(0));
    }
}
