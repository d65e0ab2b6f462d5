//! What people want of the regions: drains and shifts, as rows that replicate.
//!
//! One row for each subject: a region, for one route or for all. A row is replaced as a whole by one
//! with a greater version (the version that the log gives its transaction), so two copies merge to the
//! same whatever comes first or twice; and rows of different subjects never touch each other, so two
//! people may drain two regions at once. That this together may empty the set of regions is not for
//! the rows to prevent, since neither person could know: [`Desired::effective`] then ignores the
//! newest drain, in every region the same.
//!
//! A wish taken back is a row too (`AsUsual`), else an older copy of the wish would return.

use crate::picture::Picture;
use crate::route::Route;
use crate::set::RegionSet;
use meridian_health::Status;
use meridian_model::{Micros, RegionName, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What a wish is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// The region.
    pub region: RegionName,
    /// The route; all of them without one. What is said of one route counts there alone, instead.
    pub route: Option<String>,
}

impl Subject {
    /// A region for all routes.
    #[must_use]
    pub fn region(name: &str) -> Self {
        Self {
            region: RegionName::new(name),
            route: None,
        }
    }

    /// The key of its row.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.route {
            Some(route) => format!("{}/{route}", self.region),
            None => self.region.to_string(),
        }
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// Nothing special.
    #[default]
    AsUsual,
    /// Nobody is sent there while another region is up.
    Drained,
    /// Only so many percent of those who would be sent there are.
    Percent(u8),
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsUsual => f.write_str("as-usual"),
            Self::Drained => f.write_str("drained"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Not a wish as [`Want`] displays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what can be wanted is `as-usual`, `drained`, or a share from `0%` to `100%`")]
pub struct ParseWantError;

impl FromStr for Want {
    type Err = ParseWantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "as-usual" => Ok(Self::AsUsual),
            "drained" => Ok(Self::Drained),
            share => {
                let digits = share.strip_suffix('%').ok_or(ParseWantError)?;
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                let percent = digits.parse().ok().filter(|_| is_number);
                let percent = percent.filter(|percent| *percent <= 100);
                percent.map(Self::Percent).ok_or(ParseWantError)
            }
        }
    }
}

/// A row: what is wanted of a subject, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What it is about.
    pub subject: Subject,
    /// What is wanted.
    pub want: Want,
    /// What was wanted before, for undoing it.
    pub before: Want,
    /// The version of the transaction that wrote it.
    pub version: Version,
    /// When, by the wall clock.
    pub at: Micros,
    /// Who wanted it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// Every wish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired(BTreeMap<Subject, Wish>);

/// What the wishes come to for a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    /// The regions that are drained, by index.
    pub drained: RegionSet,
    /// Those whose drain is ignored, as nothing would be left.
    pub ignored: RegionSet,
    /// The share of its clients that each region is to take.
    pub shares: Vec<f32>,
}

impl Want {
    /// The share of clients that it leaves a region; the drain below a share of none, as a drained
    /// region still serves before one that is down.
    fn share_percent(self) -> i16 {
        match self {
            Self::Drained => -1,
            Self::Percent(percent) => i16::from(percent.min(100)),
            Self::AsUsual => 100,
        }
    }
}

impl Desired {
    /// Takes a row over, from here or elsewhere. Whether it was newer.
    pub fn merge(&mut self, wish: Wish) -> bool {
        let known = self.0.get(&wish.subject);
        if known.is_some_and(|known| known.version >= wish.version) {
            return false;
        }
        self.0.insert(wish.subject.clone(), wish);
        true
    }

    /// The row of a subject.
    #[must_use]
    pub fn wish(&self, subject: &Subject) -> Option<&Wish> {
        self.0.get(subject)
    }

    /// What is wanted of a subject.
    #[must_use]
    pub fn want(&self, subject: &Subject) -> Want {
        self.wish(subject).map_or(Want::AsUsual, |wish| wish.want)
    }

    /// Every row, by subject.
    pub fn wishes(&self) -> impl Iterator<Item = &Wish> {
        self.0.values()
    }

    /// What the wishes come to for a route.
    ///
    /// Drains count from the oldest on. One after which no healthy region would be left undrained is
    /// ignored; where none is healthy, the same goes for those that are up. Drains of regions that
    /// are down always count.
    #[must_use]
    pub fn effective(&self, route: &Route, picture: &Picture) -> Effective {
        let regions = 0..picture.regions.len();
        let wishes = regions
            .clone()
            .map(|index| self.for_route(route, picture, index));
        let wishes: Vec<_> = wishes.collect();
        let share = |wish: &Option<&Wish>| match wish.map(|wish| wish.want) {
            Some(Want::Percent(percent)) => f32::from(percent.min(100)) / 100.0,
            _ => 1.0,
        };
        let mut drains: Vec<_> = regions
            .filter_map(|index| {
                let wish = wishes[index].filter(|wish| wish.want == Want::Drained)?;
                Some((wish.version, index))
            })
            .collect();
        drains.sort_unstable();
        let mut effective = Effective {
            shares: wishes.iter().map(share).collect(),
            ..Effective::default()
        };
        let mut left = best(route, picture);
        for (_, region) in drains {
            let after = left.without(RegionSet::EMPTY.with(region));
            if after.is_empty() && left.contains(region) {
                effective.ignored = effective.ignored.with(region);
            } else {
                left = after;
                effective.drained = effective.drained.with(region);
            }
        }
        effective
    }

    fn for_route(&self, route: &Route, picture: &Picture, index: usize) -> Option<&Wish> {
        let region = picture.regions[index].name.clone();
        let mut subject = Subject {
            region,
            route: Some(route.name.clone()),
        };
        let own = self.wish(&subject);
        subject.route = None;
        // The stricter of both: a share of the route's own doesn't bring clients to a region that is
        // drained, and a route that is drained there stays so.
        let wishes = own.into_iter().chain(self.wish(&subject));
        wishes.min_by_key(|wish| wish.want.share_percent())
    }
}

/// Those of a route's regions that are healthy; those that are up, if none is.
pub(crate) fn best(route: &Route, picture: &Picture) -> RegionSet {
    let regions = route.policy.regions();
    let regions: Vec<_> = regions
        .iter()
        .filter_map(|name| picture.index(name))
        .collect();
    let those = |good: &dyn Fn(Status) -> bool| -> RegionSet {
        let good = regions.iter().copied().filter(|index| {
            let (status, _) = picture.status(*index, &route.needs);
            good(status) && !picture.regions[*index].health.maintenance
        });
        good.collect()
    };
    let healthy = those(&|status| status == Status::Healthy);
    if healthy.is_empty() {
        those(&|status| status != Status::Unhealthy)
    } else {
        healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_reads_back_as_it_is_written() {
        for want in [
            Want::AsUsual,
            Want::Drained,
            Want::Percent(0),
            Want::Percent(100),
        ] {
            assert_eq!(want.to_string().parse(), Ok(want));
        }
        for bad in [
            "", "%", "25", "101%", "+5%", "-5%", "2.5%", "Drained", "256%",
        ] {
            assert_eq!(bad.parse::<Want>(), Err(ParseWantError), "{bad}");
        }
    }
}
