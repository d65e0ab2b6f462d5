//! Which copy of a row is the good one.
//!
//! Asked only about copies that *count*: every region had applied what all of them had applied, and
//! no write has touched the row since. So they should show the same, and where they don't, something
//! is broken. In this order:
//!
//! 1. a copy that fails its checksum, or that carries a version which its own region has never
//!    seen, is bad, whatever the others hold;
//! 2. of those left the greatest version wins, a delete's too: that is the law of every write;
//! 3. where the greatest version comes with several contents (or as a row here and a delete there),
//!    the majority of the regions decides;
//! 4. where some have the row and some have nothing at all, not even the memory of a delete, the
//!    versions say nothing: the majority of the regions decides;
//! 5. what no majority decides waits for a person.
//!
//! A majority is one of all regions, not of those that answer.

use meridian_model::mutation::{self, Mutation};
use meridian_model::{Holds, RegionName, Version};
use std::collections::BTreeMap;

/// What a region should do about its copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All copies show the same.
    Agreed,
    /// This region's copy is good, another's isn't.
    Theirs,
    /// This region's copy is bad; that region's is good.
    Take(RegionName),
    /// Nobody can say as long as not all regions answer.
    Unheard,
    /// No rule decides: a person must.
    Split,
}

/// Judges one region's copy of a row among all copies that are known. `regions` is how many there
/// are in all; `prefer` is the region whose copy a person has chosen.
#[must_use]
pub fn judge(
    own: &RegionName,
    copies: &BTreeMap<RegionName, Holds>,
    regions: usize,
    prefer: Option<&RegionName>,
) -> Verdict {
    let Some(here) = copies.get(own) else {
        return Verdict::Unheard;
    };
    let elected = match prefer {
        Some(preferred) => copies
            .get_key_value(preferred)
            .filter(|(_, holds)| **holds != Holds::Damage),
        None => elect(copies, regions),
    };
    match elected {
        None if copies.len() < regions => Verdict::Unheard,
        None => Verdict::Split,
        Some((_, good)) if here.shows_as(*good) => {
            if copies.values().all(|copy| copy.shows_as(*good)) {
                Verdict::Agreed
            } else {
                Verdict::Theirs
            }
        }
        Some((region, _)) => Verdict::Take(region.clone()),
    }
}

type Copies<'a> = Vec<(&'a RegionName, &'a Holds)>;

fn elect(copies: &BTreeMap<RegionName, Holds>, regions: usize) -> Option<(&RegionName, &Holds)> {
    let majority = regions / 2 + 1;
    let fine: Copies<'_> = copies
        .iter()
        .filter(|(_, holds)| **holds != Holds::Damage)
        .collect();
    let (rows, gone): (Copies<'_>, Copies<'_>) =
        fine.iter().partition(|(_, holds)| !holds.is_gone());
    let newest_row = newest(&rows);
    let newest_delete = newest(&gone);
    if rows.is_empty() || newest_delete > newest_row {
        // The delete is remembered somewhere, or the row is gone for all.
        return gone.into_iter().max_by_key(|(_, holds)| holds.latest());
    }
    let forgotten = gone.iter().find(|(_, holds)| **holds == Holds::Nothing);
    if let Some(forgotten) = forgotten
        && !mutation::active(Mutation::RepairResurrectsDelete)
    {
        // A tombstone older than the row has missed a write; it is no witness of either.
        let nothings = gone.iter().filter(|(_, holds)| **holds == Holds::Nothing);
        if nothings.count() >= majority {
            return Some(*forgotten);
        }
        if rows.len() < majority {
            return None;
        }
    }
    // One of them may have become a delete.
    let of_newest: Copies<'_> = fine
        .into_iter()
        .filter(|(_, holds)| holds.latest() == newest_row)
        .collect();
    let alike = |copy: &Holds| {
        of_newest
            .iter()
            .filter(|(_, other)| other.shows_as(*copy))
            .count()
    };
    let first = *of_newest.first()?;
    if alike(first.1) == of_newest.len() {
        return Some(first);
    }
    of_newest
        .iter()
        .find(|(_, copy)| alike(copy) >= majority)
        .copied()
}

fn newest(copies: &Copies<'_>) -> Option<Version> {
    copies.iter().filter_map(|(_, holds)| holds.latest()).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};

    const DAMAGE: Holds = Holds::Damage;
    const NOTHING: Holds = Holds::Nothing;

    fn version(hlc: u64) -> Version {
        Version {
            hlc: Hlc::from_raw(hlc),
            origin: OriginId(1),
        }
    }

    fn row(hlc: u64, digest: u64) -> Holds {
        let latest = version(hlc);
        Holds::Row { latest, digest }
    }

    fn tombstone(hlc: u64) -> Holds {
        let latest = version(hlc);
        Holds::Tombstone { latest }
    }

    fn name(index: usize) -> RegionName {
        RegionName::new(&format!("r{index}"))
    }

    /// The verdicts of all regions that answer, of `regions`.
    fn verdicts(copies: &[Holds], regions: usize) -> Vec<Verdict> {
        let all: BTreeMap<_, _> = copies.iter().copied().enumerate().collect();
        let all = all.into_iter().map(|(index, copy)| (name(index), copy));
        let all = all.collect();
        (0..copies.len())
            .map(|index| judge(&name(index), &all, regions, None))
            .collect()
    }

    fn take(index: usize) -> Verdict {
        Verdict::Take(name(index))
    }

    #[test]
    fn what_shows_alike_is_agreed() {
        let agreed = vec![Verdict::Agreed; 3];
        assert_eq!(verdicts(&[row(3, 1); 3], 3), agreed);
        assert_eq!(verdicts(&[tombstone(3), NOTHING, tombstone(3)], 3), agreed);
    }

    #[test]
    fn a_failed_checksum_is_bad_whatever_the_others_hold() {
        assert_eq!(
            verdicts(&[DAMAGE, row(3, 1)], 2),
            [take(1), Verdict::Theirs]
        );
        assert_eq!(verdicts(&[DAMAGE, NOTHING], 2), [take(1), Verdict::Theirs]);
        assert_eq!(
            verdicts(&[DAMAGE, DAMAGE], 2),
            [const { Verdict::Split }; 2]
        );
        assert_eq!(
            verdicts(&[DAMAGE, DAMAGE], 3),
            [const { Verdict::Unheard }; 2]
        );
    }

    #[test]
    fn the_greatest_version_wins_a_deletes_too() {
        assert_eq!(
            verdicts(&[row(3, 1), row(5, 2), row(3, 1)], 3),
            [take(1), Verdict::Theirs, take(1)]
        );
        assert_eq!(
            verdicts(&[row(3, 1), tombstone(5)], 2),
            [take(1), Verdict::Theirs]
        );
        assert_eq!(
            verdicts(&[tombstone(3), row(5, 1)], 2),
            [take(1), Verdict::Theirs]
        );
        assert_eq!(
            verdicts(&[row(3, 1), NOTHING, tombstone(5)], 3),
            [take(2), Verdict::Theirs, Verdict::Theirs]
        );
    }

    #[test]
    fn one_version_with_two_contents_is_for_the_majority_of_all_regions() {
        assert_eq!(
            verdicts(&[row(3, 1), row(3, 2), row(3, 2)], 3),
            [take(1), Verdict::Theirs, Verdict::Theirs]
        );
        assert_eq!(
            verdicts(&[row(3, 1), row(3, 2)], 2),
            [const { Verdict::Split }; 2]
        );
        assert_eq!(
            verdicts(&[row(3, 1), row(3, 2)], 3),
            [const { Verdict::Unheard }; 2]
        );
    }

    #[test]
    fn one_version_that_is_a_row_here_and_a_delete_there_is_for_the_majority_too() {
        assert_eq!(
            verdicts(&[row(5, 1), tombstone(5), tombstone(5)], 3),
            [take(1), Verdict::Theirs, Verdict::Theirs]
        );
        assert_eq!(
            verdicts(&[row(5, 1), tombstone(5), row(5, 1)], 3),
            [Verdict::Theirs, take(0), Verdict::Theirs]
        );
        assert_eq!(
            verdicts(&[row(5, 1), tombstone(5)], 2),
            [const { Verdict::Split }; 2]
        );
    }

    #[test]
    fn here_and_not_there_is_for_the_majority_of_all_regions() {
        assert_eq!(
            verdicts(&[row(3, 1), NOTHING, NOTHING], 3),
            [take(1), Verdict::Theirs, Verdict::Theirs]
        );
        assert_eq!(
            verdicts(&[row(3, 1), NOTHING, row(3, 1)], 3),
            [Verdict::Theirs, take(0), Verdict::Theirs]
        );
        assert_eq!(
            verdicts(&[row(3, 1), NOTHING], 2),
            [const { Verdict::Split }; 2]
        );
        assert_eq!(
            verdicts(&[row(3, 1), NOTHING, tombstone(2)], 3),
            [const { Verdict::Split }; 3],
            "a tombstone that missed a write is no witness"
        );
    }

    #[test]
    fn a_person_may_choose_any_copy_that_can_be_read() {
        let copies: BTreeMap<_, _> = [(name(0), row(3, 1)), (name(1), NOTHING)].into();
        let judged = |own: usize, prefer: usize| judge(&name(own), &copies, 2, Some(&name(prefer)));
        assert_eq!((judged(0, 1), judged(1, 1)), (take(1), Verdict::Theirs));
        assert_eq!((judged(0, 0), judged(1, 0)), (Verdict::Theirs, take(0)));
        assert_eq!(judged(0, 2), Verdict::Split);
    }
}
