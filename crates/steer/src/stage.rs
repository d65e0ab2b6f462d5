//! Changes to what is desired: staged, compared, checked, applied, undone.
//!
//! ```text
//! Stage ──diff──▶ shown to a person
//!   └────check──▶ Checked ──apply──▶ rows of one transaction
//! ```
//!
//! Only what was checked can be applied. Between check and apply another region may change the same;
//! its rows then decide by version, and [`Desired::effective`](crate::Desired::effective) keeps a
//! region in any case.

use crate::desired::{Desired, Subject, Want, Wish, best};
use crate::picture::Picture;
use crate::route::Route;
use meridian_model::{Micros, RegionName, Version};
use std::collections::BTreeMap;

/// Changes that are not in effect yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// What is wanted, and the version of the row that was known when it was staged.
    changes: BTreeMap<Subject, (Want, Option<Version>)>,
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about.
    pub subject: Subject,
    /// What is wanted now.
    pub from: Want,
    /// What would be wanted.
    pub to: Want,
}

/// How much may change at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The share of the capacity in use that may be left without traffic in one go.
    pub leaving_max: f32,
}

impl Default for Limits {
    /// Half.
    fn default() -> Self {
        Self { leaving_max: 0.5 }
    }
}

/// Why changes are not made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Nothing would be otherwise.
    #[error("nothing would change")]
    Nothing,
    /// There is no such region in the topology.
    #[error("there is no region {0}")]
    UnknownRegion(RegionName),
    /// A percentage above 100.
    #[error("{0} % is more than all")]
    MoreThanAll(u8),
    /// It is the last one. Nothing overrides this.
    #[error("{region} is the last healthy region of route {route:?} that takes clients")]
    LastHealthy {
        /// The region.
        region: RegionName,
        /// The route.
        route: String,
    },
    /// Too much for one go, unless forced.
    #[error(
        "{leaving_percent:.0} % of the capacity in use of route {route:?} would be left at once; \
         the limit is {limit_percent:.0} %"
    )]
    TooMuchAtOnce {
        /// The route.
        route: String,
        /// How much.
        leaving_percent: f32,
        /// The limit.
        limit_percent: f32,
    },
    /// Somebody else changed the same since it was staged.
    #[error("{who} has changed {} meanwhile: {why}", subject.key())]
    Changed {
        /// What.
        subject: Subject,
        /// Who did.
        who: String,
        /// Why.
        why: String,
    },
}

/// Changes that were found safe, and the only ones that can be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked(Vec<Difference>);

impl Stage {
    /// Stages what is wanted of a subject.
    pub fn want(&mut self, desired: &Desired, subject: Subject, want: Want) {
        let known = desired.wish(&subject).map(|wish| wish.version);
        self.changes.insert(subject, (want, known));
    }

    /// Stages what takes back all of a change that still stands.
    #[must_use]
    pub fn undoing(desired: &Desired, change: Version) -> Self {
        let mut stage = Self::default();
        for wish in desired.wishes().filter(|wish| wish.version == change) {
            stage.want(desired, wish.subject.clone(), wish.before);
        }
        stage
    }

    /// What would be otherwise than it is.
    #[must_use]
    pub fn diff(&self, desired: &Desired) -> Vec<Difference> {
        let lines = self.changes.iter().map(|(subject, (to, _))| Difference {
            subject: subject.clone(),
            from: desired.want(subject),
            to: *to,
        });
        lines.filter(|line| line.from != line.to).collect()
    }

    /// Whether it is safe for these routes.
    ///
    /// # Errors
    /// [`Refused`]; `force` overrides `TooMuchAtOnce` and nothing else.
    pub fn check(
        &self,
        desired: &Desired,
        picture: &Picture,
        routes: &[Route],
        limits: Limits,
        force: bool,
    ) -> Result<Checked, Refused> {
        let lines = self.diff(desired);
        if lines.is_empty() {
            return Err(Refused::Nothing);
        }
        for line in &lines {
            self.check_line(desired, picture, line)?;
        }
        let after = lines.iter().fold(desired.clone(), Desired::with);
        for route in routes {
            check_last(desired, &after, picture, route)?;
            if !force {
                check_leaving(desired, &after, picture, route, limits)?;
            }
        }
        Ok(Checked(lines))
    }

    fn check_line(
        &self,
        desired: &Desired,
        picture: &Picture,
        line: &Difference,
    ) -> Result<(), Refused> {
        let region = &line.subject.region;
        if picture.index(region).is_none() {
            return Err(Refused::UnknownRegion(region.clone()));
        }
        if let Want::Percent(percent @ 101..) = line.to {
            return Err(Refused::MoreThanAll(percent));
        }
        let staged_on = self.changes[&line.subject].1;
        match desired.wish(&line.subject) {
            Some(wish) if Some(wish.version) != staged_on => Err(Refused::Changed {
                subject: line.subject.clone(),
                who: wish.who.clone(),
                why: wish.why.clone(),
            }),
            _ => Ok(()),
        }
    }
}

impl Desired {
    /// As it would be with one line more.
    fn with(mut self, line: &Difference) -> Self {
        // Newer than every other, as it will be.
        let newest = Version {
            hlc: meridian_model::Hlc::MAX,
            origin: meridian_model::OriginId(0),
        };
        self.merge(Wish {
            subject: line.subject.clone(),
            want: line.to,
            before: line.from,
            version: newest,
            at: Micros(0),
            who: String::new(),
            why: String::new(),
        });
        self
    }
}

/// A drain that would be ignored is refused, if it wouldn't be ignored already.
fn check_last(
    before: &Desired,
    after: &Desired,
    picture: &Picture,
    route: &Route,
) -> Result<(), Refused> {
    let new = after.effective(route, picture).ignored;
    let new = new.without(before.effective(route, picture).ignored);
    match new.iter().next() {
        Some(region) => Err(Refused::LastHealthy {
            region: picture.regions[region].name.clone(),
            route: route.name.clone(),
        }),
        None => Ok(()),
    }
}

fn check_leaving(
    before: &Desired,
    after: &Desired,
    picture: &Picture,
    route: &Route,
    limits: Limits,
) -> Result<(), Refused> {
    let in_use = |desired: &Desired| -> f32 {
        let effective = desired.effective(route, picture);
        let taking = best(route, picture).without(effective.drained);
        let capacities = taking
            .iter()
            .map(|index| picture.regions[index].capacity * effective.shares[index]);
        capacities.sum()
    };
    let (before, after) = (in_use(before), in_use(after));
    let leaving = (before - after) / before.max(f32::MIN_POSITIVE);
    if leaving > limits.leaving_max {
        return Err(Refused::TooMuchAtOnce {
            route: route.name.clone(),
            leaving_percent: leaving * 100.0,
            limit_percent: limits.leaving_max * 100.0,
        });
    }
    Ok(())
}

impl Checked {
    /// What will be otherwise.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.0
    }

    /// The rows to write, all in one transaction of this version.
    #[must_use]
    pub fn apply(self, version: Version, at: Micros, who: &str, why: &str) -> Vec<Wish> {
        let rows = self.0.into_iter().map(|line| Wish {
            subject: line.subject,
            want: line.to,
            before: line.from,
            version,
            at,
            who: who.to_owned(),
            why: why.to_owned(),
        });
        rows.collect()
    }
}
