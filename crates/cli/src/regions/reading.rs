//! What a region says of the regions, as far as the CLI reads it.
//!
//! Read leniently: a region of a later version may say more.

use crate::client::Api;
use crate::error::{CliError, CliResult};
use crate::everywhere::at_once;
use crate::target::Target;
use serde::{Deserialize, Serialize};

/// `/v1/regions`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Regions {
    /// Who says it.
    pub region: String,
    /// Each dataset's members.
    pub datasets: Vec<DatasetRegions>,
}

/// A dataset's members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatasetRegions {
    /// The dataset.
    pub dataset: String,
    /// Whether it runs there: `running`, `joining`, `opening` or `failed`.
    pub state: String,
    /// What it is doing, or why it doesn't run.
    pub progress: Option<String>,
    /// What to do about it where it doesn't run.
    pub hint: Option<String>,
    /// The number of the membership.
    pub epoch: Option<u64>,
    /// How the region itself stands.
    pub standing: Option<String>,
    /// Who counts.
    pub members: Vec<Member>,
    /// What is being decided.
    pub proposal: Option<Proposal>,
}

/// A region that counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its name.
    pub region: String,
    /// `joining`, `voting` or `leaving`.
    pub standing: String,
    /// Its incarnation.
    pub origin: Option<String>,
    /// `host:port` of its API, unless the topology says it.
    pub api: Option<String>,
    /// `host:port` of its link, unless the topology says it.
    pub link: Option<String>,
    /// Where it is, unless the topology says it.
    pub latitude: Option<f64>,
    /// Where it is, unless the topology says it.
    pub longitude: Option<f64>,
    /// Whether it holds no tables.
    pub witness: bool,
    /// Whether nothing has come from it for a while.
    pub away: bool,
    /// Whom it waits for, if it leaves.
    pub waits_for: Option<Vec<String>>,
}

/// What is being decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proposal {
    /// In words, where it was asked for there: `add eu-west-1`.
    pub what: Option<String>,
    /// How many have accepted it.
    pub accepted: u64,
    /// How many votes decide.
    pub needed: u64,
}

impl Regions {
    /// Asks a region.
    pub fn ask(api: &Api) -> CliResult<Self> {
        api.get("/v1/regions")?.json()
    }

    /// What each of the regions that answer says, beginning with those that vote: who goes may not know
    /// yet that it has gone, and who still copies knows of no members.
    pub fn of_all(target: &Target) -> CliResult<Vec<(Api, Self)>> {
        let said = at_once(target.all_at_a_glance()?, |api| {
            let said = Self::ask(&api);
            said.ok().map(|said| (api, said))
        });
        let mut said: Vec<_> = said.into_iter().flatten().collect();
        said.sort_by_key(|(_, said)| !said.votes());
        Ok(said)
    }

    /// Whether who says this votes on each of its datasets.
    fn votes(&self) -> bool {
        let mut standings = self.datasets.iter().map(|it| it.standing.as_deref());
        !self.datasets.is_empty() && standings.all(|standing| standing == Some("voting"))
    }

    /// How a region stands in each dataset: its standing, or nothing where it is no member.
    pub fn standings<'a>(
        &'a self,
        region: &'a str,
    ) -> impl Iterator<Item = (&'a DatasetRegions, Option<&'a Member>)> {
        self.datasets.iter().map(move |dataset| {
            let mut members = dataset.members.iter();
            (dataset, members.find(|member| member.region == region))
        })
    }

    /// Why the region that says this can't join, or join anew: it has a dataset that it can't open.
    pub fn failed(&self) -> Option<CliError> {
        let failed = self.datasets.iter().find(|it| it.state == "failed")?;
        let (region, dataset) = (&self.region, &failed.dataset);
        let why = failed.progress.as_deref().unwrap_or("can't be opened");
        let mend = "mend what the reason names, and restart the region";
        let error = CliError::failure(format!("region {region}: dataset {dataset} {why}"));
        Some(error.hint(failed.hint.as_deref().unwrap_or(mend)))
    }

    /// Every region that is a member of anything.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.datasets.iter().flat_map(|dataset| &dataset.members)
    }
}

/// The region to ask for a change of the regions: the one that is named, or the first that answers and
/// votes; not the one that the change is about, unless it alone is meant.
pub fn to_be_asked(target: &Target, about: &str) -> CliResult<Api> {
    if target.region.is_some() || !target.api.is_empty() {
        return target.one();
    }
    let mut all = target.all()?;
    all.retain(|api| api.name() != about);
    let said = Regions::of_all(target)?;
    let mut answering = said.iter().map(|(api, _)| api.name());
    let best = answering.find_map(|name| all.iter().position(|api| api.name() == name));
    match best {
        Some(at) => Ok(all.swap_remove(at)),
        None if all.is_empty() => target.one(),
        None => Ok(all.swap_remove(0)),
    }
}

impl DatasetRegions {
    /// Whom a region that leaves waits for, for people.
    pub fn waits_text(&self, member: &Member) -> Option<String> {
        let names = member
            .waits_for
            .as_ref()
            .filter(|names| !names.is_empty())?;
        let is_away = |name: &str| self.members.iter().any(|it| it.region == name && it.away);
        let names = names.iter().map(|name| match is_away(name) {
            true => format!("{name}, which is away"),
            false => name.clone(),
        });
        let names: Vec<_> = names.collect();
        Some(format!("waits for {}", names.join(" and ")))
    }

    /// What is being decided about a region, for people.
    pub fn vote_text(&self) -> Option<String> {
        let proposal = self.proposal.as_ref()?;
        let what = proposal.what.as_deref().unwrap_or("a change");
        let (accepted, needed) = (proposal.accepted, proposal.needed);
        Some(format!("{accepted} of {needed} votes to {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_votes_on_all_that_it_has_is_the_one_to_ask() {
        let said = |standings: &[Option<&str>]| Regions {
            datasets: standings
                .iter()
                .map(|standing| DatasetRegions {
                    standing: standing.map(str::to_owned),
                    ..DatasetRegions::default()
                })
                .collect(),
            ..Regions::default()
        };
        for (standings, votes) in [
            (&[Some("voting"), Some("voting")][..], true),
            (&[Some("voting"), Some("evicted")], false),
            (&[Some("leaving")], false),
            // It copies, and has no members to tell of.
            (&[Some("voting"), None], false),
            (&[], false),
        ] {
            assert_eq!(said(standings).votes(), votes, "{standings:?}");
        }
    }
}
