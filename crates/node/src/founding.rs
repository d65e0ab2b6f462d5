//! Who founds a dataset that was added when every region had joined.
//!
//! A region that is started without `--join` founds a dataset that it has none of. Where all have
//! joined and are started with it, each would wait for ever for a copy that nobody has. So a region
//! that has nothing of a dataset tells whoever asks with which regions it would found it: those that
//! its file names. It founds the dataset once every one of them has answered with the same regions.
//!
//! - Founding is the same whoever does it, and how often: epoch 0 of these regions. Those that found at
//!   the same time, or one after the other, meet as founders do anyway.
//! - A side of a partition doesn't hear from everybody, and founds nothing. One region that has
//!   something of the dataset is enough that nobody founds: then there is a copy to wait for.
//! - A region that lost its disk knows nothing of what it had. It says nothing, and founds nothing, until
//!   it votes in another dataset: until the others have let it in again, over a disk of which everybody
//!   knows that it is new. Nor does one that was evicted from the dataset: what it had is set aside.
//! - Whoever is a member elsewhere may have the dataset; so the file has to name all of them.
//!
//! A witness that founded with these regions has no rows that could be copied; its word counts as that
//! of one that has nothing.

use meridian_model::{Epoch, Member, RegionName, Standing};
use std::collections::{BTreeMap, BTreeSet};

/// What the other regions' answers say about a dataset of which this one has nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A region has it: its tables are to be copied.
    Somewhere,
    /// No region has it: it is founded.
    Nowhere,
    /// Not known yet; why.
    Unknown(String),
}

/// The epoch with which a dataset begins that these regions found.
pub(crate) fn founded_by(regions: &[RegionName]) -> Epoch {
    let founder = |region: &RegionName| {
        let member = Member {
            origin: None,
            standing: Standing::Voting,
            address: None,
        };
        (region.clone(), member)
    };
    Epoch {
        number: 0,
        members: regions.iter().map(founder).collect(),
    }
}

/// With what this region would found a dataset, given the epochs of the others in which it votes; why
/// it founds nothing otherwise.
pub(crate) fn to_found(regions: &[RegionName], others: &[Epoch]) -> Result<Epoch, String> {
    if others.is_empty() {
        return Err("this region votes in no other dataset".to_owned());
    }
    let members = others.iter().flat_map(|epoch| epoch.members.keys());
    let unnamed: BTreeSet<_> = members
        .filter(|member| !regions.contains(member))
        .map(RegionName::as_str)
        .collect();
    if unnamed.is_empty() {
        return Ok(founded_by(regions));
    }
    let unnamed: Vec<_> = unnamed.into_iter().collect();
    Err(format!(
        "the topology file doesn't name {}",
        unnamed.join(", ")
    ))
}

/// What follows from what every other region of the file, and whoever else is known, has answered.
pub(crate) fn find(
    to_found: &Result<Epoch, String>,
    witnesses: &BTreeSet<RegionName>,
    answers: &BTreeMap<RegionName, Result<Epoch, String>>,
) -> Finding {
    let has_rows = |epoch: &Epoch| {
        let mut members = epoch.members.iter();
        epoch.number > 0
            || members.any(|(region, it)| it.origin.is_some() && !witnesses.contains(region))
    };
    if answers.values().flatten().any(has_rows) {
        return Finding::Somewhere;
    }
    let differs = |epoch: &Epoch| {
        let own = to_found.as_ref();
        own.is_ok_and(|own| !epoch.members.keys().eq(own.members.keys()))
    };
    let reasons: Vec<_> = answers
        .iter()
        .filter_map(|(region, answer)| match answer {
            Ok(epoch) if differs(epoch) => {
                Some(format!("the file of region {region} names other regions"))
            }
            Ok(_) => None,
            Err(reason) => Some(reason.clone()),
        })
        .collect();
    match to_found {
        _ if !reasons.is_empty() => Finding::Unknown(reasons.join("; ")),
        Ok(_) => Finding::Nowhere,
        Err(reason) => Finding::Unknown(reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::OriginId;

    fn names(names: &[&str]) -> Vec<RegionName> {
        names.iter().copied().map(RegionName::new).collect()
    }

    /// An epoch in which some have begun.
    fn epoch(number: u64, regions: &[&str], begun: &[&str]) -> Epoch {
        let mut epoch = founded_by(&names(regions));
        epoch.number = number;
        for region in names(begun) {
            epoch.members.get_mut(&region).unwrap().origin = Some(OriginId(1));
        }
        epoch
    }

    /// What a finds that would found with b and c, of which w is a witness.
    fn found(answers: &[(&str, Option<Epoch>)]) -> Finding {
        let own = Ok(founded_by(&names(&["a", "b", "w"])));
        let witnesses = names(&["w"]).into_iter().collect();
        let answers = answers.iter().map(|(region, answer)| {
            let silent = || format!("region {region} is silent");
            (RegionName::new(region), answer.clone().ok_or_else(silent))
        });
        find(&own, &witnesses, &answers.collect())
    }

    #[test]
    fn a_dataset_is_founded_once_every_region_says_that_it_has_nothing() {
        let nothing = || Some(epoch(0, &["a", "b", "w"], &[]));
        assert_eq!(
            found(&[("b", nothing()), ("w", nothing())]),
            Finding::Nowhere
        );
        let Finding::Unknown(reason) = found(&[("b", nothing()), ("w", None)]) else {
            panic!("a silent region may have it");
        };
        assert_eq!(reason, "region w is silent");
        assert_eq!(found(&[]), Finding::Nowhere, "a file of one region");
    }

    #[test]
    fn whoever_has_something_of_it_keeps_everybody_from_founding() {
        let nothing = || Some(epoch(0, &["a", "b", "w"], &[]));
        for there in [
            epoch(0, &["a", "b", "w"], &["b"]),
            epoch(0, &["a", "b", "w"], &["b", "w"]),
            epoch(0, &["b"], &["b"]),
            epoch(3, &["b", "z"], &["b", "z"]),
            epoch(1, &["b"], &[]),
        ] {
            let answers = [("b", Some(there.clone())), ("w", nothing())];
            assert_eq!(found(&answers), Finding::Somewhere, "{there:?}");
            let silent = [("b", Some(there)), ("w", None)];
            assert_eq!(found(&silent), Finding::Somewhere);
        }
    }

    #[test]
    fn a_witness_that_founded_has_nothing_to_copy() {
        let nothing = Some(epoch(0, &["a", "b", "w"], &[]));
        let begun = Some(epoch(0, &["a", "b", "w"], &["w"]));
        assert_eq!(found(&[("b", nothing), ("w", begun)]), Finding::Nowhere);
    }

    #[test]
    fn regions_whose_files_differ_found_nothing() {
        let nothing = || Some(epoch(0, &["a", "b", "w"], &[]));
        for other in [&["a", "b"][..], &["a", "b", "c", "w"]] {
            let answers = [("b", Some(epoch(0, other, &[]))), ("w", nothing())];
            let Finding::Unknown(reason) = found(&answers) else {
                panic!("founded with other regions than b's");
            };
            assert!(reason.contains("region b names other regions"), "{reason}");
        }
    }

    #[test]
    fn only_who_votes_elsewhere_and_names_all_members_founds() {
        let regions = names(&["a", "b"]);
        assert!(
            to_found(&regions, &[]).is_err(),
            "it may have lost its disk"
        );
        let elsewhere = epoch(4, &["a", "b"], &["a", "b"]);
        assert_eq!(
            to_found(&regions, std::slice::from_ref(&elsewhere)),
            Ok(founded_by(&regions))
        );
        let larger = epoch(2, &["a", "z"], &["a", "z"]);
        let reason = to_found(&regions, &[elsewhere, larger]).unwrap_err();
        assert_eq!(reason, "the topology file doesn't name z");
        let own = Err(reason);
        let nothing = [(RegionName::new("b"), Ok(founded_by(&regions)))];
        let found = find(&own, &BTreeSet::new(), &nothing.into_iter().collect());
        assert!(matches!(found, Finding::Unknown(_)));
    }
}
