//! Which rows the server can show, of those that exclude or need each other. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Two rows with the same values in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// One row.
    pub one: usize,
    /// The other.
    pub other: usize,
    /// The index's name.
    pub index: String,
}

/// From the newest on, a row is taken unless one taken before excludes it: the rows that are out,
/// with the pair that decides (the newest rival's).
#[must_use]
pub fn out(newest_first: &[usize], pairs: &[Pair]) -> BTreeMap<usize, (usize, String)> {
    let mut rivals: BTreeMap<usize, Vec<(usize, &str)>> = BTreeMap::new();
    for pair in pairs {
        rivals
            .entry(pair.one)
            .or_default()
            .push((pair.other, &pair.index));
        rivals
            .entry(pair.other)
            .or_default()
            .push((pair.one, &pair.index));
    }
    let place: BTreeMap<usize, usize> = newest_first
        .iter()
        .enumerate()
        .map(|(place, row)| (*row, place))
        .collect();
    let mut taken = BTreeSet::new();
    let mut out = BTreeMap::new();
    for row in newest_first {
        let decisive = rivals
            .get(row)
            .into_iter()
            .flatten()
            .filter(|(rival, _)| taken.contains(rival))
            .min_by_key(|(rival, index)| (place.get(rival), *index));
        match decisive {
            Some((rival, index)) => {
                out.insert(*row, (*rival, (*index).to_owned()));
            }
            None => {
                taken.insert(*row);
            }
        }
    }
    out
}

/// A row refers to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The row that refers.
    pub child: usize,
    /// The rows of the batch that would do; none where the server has one that isn't in the batch.
    pub parents: Vec<usize>,
    /// Whether the server has one that isn't in the batch.
    pub is_met: bool,
}

/// The rows, of those taken, whose parents aren't there, each with the need that shows it.
#[must_use]
pub fn orphans(taken: &BTreeSet<usize>, needs: &[Need]) -> BTreeMap<usize, usize> {
    let mut orphans: BTreeMap<usize, usize> = BTreeMap::new();
    loop {
        let stays = |row: &usize| taken.contains(row) && !orphans.contains_key(row);
        let more: Vec<(usize, usize)> = needs
            .iter()
            .enumerate()
            .filter(|(_, need)| stays(&need.child))
            .filter(|(_, need)| !need.is_met && !need.parents.iter().any(stays))
            .map(|(number, need)| (need.child, number))
            .collect();
        if more.is_empty() {
            return orphans;
        }
        for (child, number) in more {
            orphans.entry(child).or_insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(one: usize, other: usize) -> Pair {
        Pair {
            one,
            other,
            index: "i".to_owned(),
        }
    }

    #[test]
    fn a_chain_is_decided_from_the_newest_down() {
        let chain = [pair(1, 2), pair(3, 2), pair(3, 4)];
        let out = out(&[1, 2, 3, 4], &chain);
        let rivals: Vec<(usize, usize)> =
            out.iter().map(|(row, (rival, _))| (*row, *rival)).collect();
        assert_eq!(rivals, [(2, 1), (4, 3)]);
    }

    #[test]
    fn orphans_of_orphans_go_and_circles_stay() {
        let need = |child, parents: &[usize], is_met| Need {
            child,
            parents: parents.to_vec(),
            is_met,
        };
        let needs = [
            need(1, &[], false),
            need(2, &[1], false),
            need(3, &[4], false),
            need(4, &[3], false),
            need(5, &[9], false),
            need(6, &[], true),
        ];
        let taken = BTreeSet::from([1, 2, 3, 4, 5, 6]);
        let orphans = orphans(&taken, &needs);
        assert_eq!(orphans, BTreeMap::from([(1, 0), (2, 1), (5, 4)]));
    }
}
