//! Who counts: the numbered membership of a dataset.
//!
//! An epoch says which incarnation of which region counts, that is, whose reports collection and
//! retention wait for and whose votes decide the next epoch. Each follows from the one before it by
//! the decision of a majority of its voters, or of an operator where no majority can be had.

use crate::{OriginId, RegionName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One numbered membership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number; the founding regions are epoch 0.
    pub number: u64,
    /// Who counts.
    pub members: BTreeMap<RegionName, Member>,
}

/// A region that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its incarnation; `None` until its stream has begun.
    pub origin: Option<OriginId>,
    /// What it may do.
    pub standing: Standing,
    /// Where the others reach it; `None` where their topology says so.
    pub address: Option<RegionAddress>,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It is being brought up: everybody keeps for it what it will need, and it has no vote.
    Joining,
    /// It takes writes and votes.
    Voting,
    /// It takes no more writes of clients, and goes once everybody has what it holds.
    Leaving,
}

/// Where a region is reached, and where it is on the map, as a topology states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionAddress {
    /// `host:port` of its API.
    pub api: String,
    /// `host:port` of its link.
    pub link: String,
    /// Degrees of latitude and longitude, each times a million.
    pub place: Option<(i32, i32)>,
}

impl Member {
    /// Whether it joins and its stream has yet to begin: it copies, catches up, or never came.
    #[must_use]
    pub fn is_yet_to_begin(&self) -> bool {
        self.standing == Standing::Joining && self.origin.is_none()
    }
}

impl Epoch {
    /// The regions whose votes decide the next epoch.
    pub fn voters(&self) -> impl Iterator<Item = (&RegionName, &Member)> {
        self.members
            .iter()
            .filter(|(_, member)| member.standing != Standing::Joining)
    }

    /// How many votes are a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// The region that an incarnation belongs to, where it counts.
    #[must_use]
    pub fn region_of(&self, origin: OriginId) -> Option<&RegionName> {
        self.members
            .iter()
            .find(|(_, member)| member.origin == Some(origin))
            .map(|(region, _)| region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_join_have_no_vote() {
        let member = |standing| Member {
            origin: None,
            standing,
            address: None,
        };
        let standings = [Standing::Voting, Standing::Leaving, Standing::Joining];
        let epoch = Epoch {
            number: 1,
            members: ["a", "b", "c"]
                .map(RegionName::new)
                .into_iter()
                .zip(standings.map(member))
                .collect(),
        };
        assert_eq!(epoch.voters().count(), 2);
        assert_eq!(epoch.majority(), 2);
    }
}
