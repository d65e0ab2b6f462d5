//! What a region that joins owes to those that count it, stated a second time: it takes no write
//! before each region that decides has adopted the epoch in which it is expected, before it has
//! applied all that each held at that moment, and before it votes itself.
//!
//! A region that comes back under a new incarnation shows then, before its clients go on, all that
//! survives of what they wrote to the one before. (That nothing is collected which a newcomer has
//! not seen would hold without this gate too: its stream begins behind an adoption, and nobody
//! collects between knowing of an epoch and adopting it.)

use crate::node::SimReplica;
use meridian_check::Violation;
use meridian_model::{Body, Entry, Epoch, OriginId, RegionName, Vector};
use std::collections::{BTreeMap, BTreeSet};

/// A step towards counting somebody, in a region's own stream.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// It adopts this epoch, and holds this.
    Adopted(Epoch, Vector),
    /// It begins its stream, being expected since the epoch of this number.
    Joined(u64),
}

/// Everything that was adopted, and who waits for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    /// By region and number of the epoch, all that it held when it adopted that one.
    adopted: BTreeMap<RegionName, BTreeMap<u64, Vector>>,
    /// By number of the epoch, who decides in it.
    voters: BTreeMap<u64, Vec<RegionName>>,
    /// By life the epoch that expected it.
    joined: BTreeMap<usize, u64>,
    /// Lives that have written, and might.
    passed: BTreeSet<usize>,
    violation: Option<Violation>,
}

impl Gate {
    /// The steps among the entries of a round.
    pub(crate) fn steps(own: OriginId, staged: &[Entry]) -> Vec<Step> {
        let own = staged.iter().filter(|entry| entry.origin == own);
        let steps = own.filter_map(|entry| match Body::decode(&entry.body) {
            Ok(Body::Adopt(adopt)) => Some(Step::Adopted(adopt.epoch, adopt.dependencies)),
            Ok(Body::Join { epoch, .. }) => Some(Step::Joined(epoch)),
            _ => None,
        });
        steps.collect()
    }

    /// They are about to be durable. Where that fails they are taken again, or found to be there.
    pub(crate) fn taken(&mut self, region: &RegionName, life: usize, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Adopted(epoch, held) => {
                    let adopted = self.adopted.entry(region.clone()).or_default();
                    adopted.insert(epoch.number, held);
                    let voters = epoch.voters().map(|(voter, _)| voter.clone());
                    self.voters.insert(epoch.number, voters.collect());
                }
                Step::Joined(epoch) => {
                    self.joined.insert(life, epoch);
                }
            }
        }
    }

    /// A life that joined has taken a write: if it is its first, it must have waited.
    pub(crate) fn wrote(
        &mut self,
        life: usize,
        region: &RegionName,
        replica: &SimReplica,
        entry: &Entry,
    ) {
        if !self.passed.insert(life) {
            return;
        }
        let Ok(Body::Transaction(transaction)) = Body::decode(&entry.body) else {
            return;
        };
        let mut seen = transaction.dependencies;
        seen.raise(entry.origin, entry.hlc);
        let Some(joined) = self.joined.get(&life) else {
            self.violation = Some(broken(region, "it took a write before anybody expected it"));
            return;
        };
        if !replica.epoch().voters().any(|(name, _)| name == region) {
            self.violation = Some(broken(region, "it took a write before it had a vote"));
            return;
        }
        // Whoever came to decide later was itself counted by all that did before.
        let decided = self.voters.get(joined).into_iter().flatten();
        let still = |voter: &&RegionName| replica.epoch().voters().any(|(name, _)| name == *voter);
        for voter in decided.filter(|voter| *voter != region).filter(still) {
            if !self.has_adopted(voter, *joined, &seen) {
                let what = format!("it took a write before {voter} counted it");
                self.violation = Some(broken(region, &what));
            }
        }
    }

    fn has_adopted(&self, voter: &RegionName, joined: u64, seen: &Vector) -> bool {
        let adopted = self.adopted.get(voter);
        let mut since = adopted.into_iter().flat_map(|it| it.range(joined..));
        since.next().is_some_and(|(_, held)| seen.covers(held))
    }

    /// Everybody has waited so far.
    ///
    /// # Errors
    /// Who has not.
    pub(crate) fn must_hold(&mut self) -> Result<(), Violation> {
        self.violation.take().map_or(Ok(()), Err)
    }
}

fn broken(region: &RegionName, what: &str) -> Violation {
    Violation::Broken {
        region: region.to_string(),
        what: what.to_owned(),
    }
}
