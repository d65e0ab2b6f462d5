//! When a difference counts.
//!
//! Two regions are never at the same position while there are writes. So rows that seem to differ
//! are looked at again, in every region, once each has applied all that any had applied at the look
//! before. A row *settles* when no region's stored state of it has changed from one look to the
//! next. Then all regions should show the same: a state only ever grows by writes; each region's
//! second state includes everything that the first states of all included, and equals its own first
//! state; so each includes all the others. Whoever then shows something else is broken. A row that
//! is written all the time never settles, and is no difference.

use meridian_model::{Holds, Looked, Question, RegionName, RowCopy, RowName, Vector};
use std::collections::BTreeMap;

/// Looks after which a row that has not settled is left alone.
const LOOKS_MAX: u32 = 8;

/// Rows that are being looked at.
#[derive(Clone, Debug)]
pub(super) struct Looks {
    names: Vec<RowName>,
    covering: Vector,
    before: Option<BTreeMap<RegionName, Vec<RowCopy>>>,
    looks: u32,
    pub(super) settled: Vec<Settled>,
}

/// A row whose copies count.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) name: RowName,
    pub(super) copies: BTreeMap<RegionName, RowCopy>,
}

impl Settled {
    pub(super) fn holds(&self) -> BTreeMap<RegionName, Holds> {
        let copies = self.copies.iter();
        copies
            .map(|(region, copy)| (region.clone(), copy.holds))
            .collect()
    }
}

impl Looks {
    pub(super) fn at(names: Vec<RowName>) -> Self {
        Self {
            names,
            covering: Vector::default(),
            before: None,
            looks: 0,
            settled: Vec::new(),
        }
    }

    pub(super) fn question(&self) -> Question {
        Question::Look {
            names: self.names.clone(),
            covering: self.covering.clone(),
        }
    }

    /// What all looks so far had applied, all regions together.
    pub(super) fn covering(&self) -> &Vector {
        &self.covering
    }

    pub(super) fn is_done(&self) -> bool {
        self.names.is_empty() || self.looks >= LOOKS_MAX
    }

    /// Rows that have not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.names.len()
    }

    pub(super) fn take(&mut self, looked: BTreeMap<RegionName, Looked>) {
        self.looks += 1;
        let mut now = BTreeMap::new();
        for (region, Looked { as_of, mut copies }) in looked {
            for (origin, hlc) in as_of.iter() {
                self.covering.raise(origin, hlc);
            }
            for copy in &mut copies {
                distrust(copy, &as_of);
            }
            if copies.len() == self.names.len() {
                now.insert(region, copies);
            }
        }
        let Some(before) = self.before.take() else {
            self.before = Some(now);
            return;
        };
        let mut open = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            let has_stayed = now.iter().all(|(region, copies)| {
                let earlier = before.get(region).map(|copies| copies[index]);
                earlier.is_some_and(|earlier| earlier.state == copies[index].state)
            });
            if has_stayed {
                let copies = now.iter();
                self.settled.push(Settled {
                    name: name.clone(),
                    copies: copies
                        .map(|(region, copies)| (region.clone(), copies[index]))
                        .collect(),
                });
            } else {
                open.push(index);
            }
        }
        let pick = |copies: &Vec<RowCopy>| open.iter().map(|index| copies[*index]).collect();
        self.before = Some(
            now.iter()
                .map(|(region, copies)| (region.clone(), pick(copies)))
                .collect(),
        );
        self.names = open
            .iter()
            .map(|index| self.names[*index].clone())
            .collect();
    }
}

/// A version that the region itself has not come to yet was never written.
fn distrust(copy: &mut RowCopy, as_of: &Vector) {
    if let Some(latest) = copy.holds.latest() {
        let reached = as_of.iter().find(|(origin, _)| *origin == latest.origin);
        if reached.is_some_and(|(_, hlc)| hlc < latest.hlc) {
            copy.holds = Holds::Damage;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId, Version};

    fn looked(hlc: u64, state: u64) -> Looked {
        let copy = RowCopy {
            holds: Holds::Nothing,
            state,
        };
        Looked {
            as_of: [(OriginId(1), Hlc::from_raw(hlc))].into_iter().collect(),
            copies: vec![copy],
        }
    }

    fn look(looks: &mut Looks, a: Looked, b: Looked) {
        looks.take([(RegionName::new("a"), a), (RegionName::new("b"), b)].into());
    }

    fn looks() -> Looks {
        Looks::at(vec![RowName {
            table: "t".into(),
            key: "k".into(),
        }])
    }

    #[test]
    fn a_row_settles_when_nothing_has_touched_it_between_two_looks() {
        let mut looks = looks();
        look(&mut looks, looked(3, 1), looked(5, 2));
        assert!(looks.settled.is_empty(), "one look proves nothing");
        let Question::Look { covering, .. } = looks.question() else {
            panic!("no look");
        };
        assert_eq!(covering.get(OriginId(1)), Hlc::from_raw(5));
        look(&mut looks, looked(5, 7), looked(5, 2));
        assert!(looks.settled.is_empty(), "it was written in a");
        look(&mut looks, looked(6, 7), looked(6, 2));
        assert_eq!(looks.settled.len(), 1);
        assert!(looks.is_done());
    }

    #[test]
    fn a_region_that_was_not_there_before_proves_nothing() {
        let mut looks = looks();
        looks.take([(RegionName::new("a"), looked(3, 1))].into());
        look(&mut looks, looked(3, 1), looked(3, 2));
        assert!(looks.settled.is_empty());
    }

    #[test]
    fn a_row_that_never_rests_is_left_alone() {
        let mut looks = looks();
        for state in 0..u64::from(LOOKS_MAX) {
            assert!(!looks.is_done());
            look(&mut looks, looked(3, state), looked(3, 0));
        }
        assert!(looks.is_done() && looks.settled.is_empty() && looks.unsettled() == 1);
    }

    #[test]
    fn a_version_from_the_future_of_its_origin_is_damage() {
        let copy_of = |hlc, origin| {
            let latest = Version {
                hlc: Hlc::from_raw(hlc),
                origin: OriginId(origin),
            };
            let mut copy = RowCopy {
                holds: Holds::Tombstone { latest },
                state: 0,
            };
            distrust(&mut copy, &looked(5, 0).as_of);
            copy.holds
        };
        assert_eq!(copy_of(6, 1), Holds::Damage);
        assert_ne!(copy_of(5, 1), Holds::Damage);
        assert_ne!(copy_of(9, 2), Holds::Damage, "its origin may have left");
    }
}
