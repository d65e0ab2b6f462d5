//! Follows a change of the regions until it is done.

use super::reading::{DatasetRegions, Regions};
use crate::client::{Address, Api, read_token};
use crate::error::{CliError, CliResult, Exit};
use crate::interrupt;
use crate::output::{self, Format};
use crate::postgres::status::servers;
use crate::status::get;
use crate::target::Target;
use clap::Args;
use meridian_topology::Address as Endpoint;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// For a region that is asked about itself.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What shows how a change goes that nobody waits for.
pub const WATCH: &str = "meridian regions";

/// How long to wait for it.
#[derive(Clone, Debug, Args)]
pub struct Waiting {
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after so many seconds; what was begun goes on
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

impl Waiting {
    /// Until when it may wait for what is in its way.
    pub fn until(&self) -> Instant {
        let patience = if self.no_wait { 0 } else { self.timeout };
        Instant::now() + Duration::from_secs(patience)
    }
}

/// A change that is under way.
pub struct Change<'a> {
    /// In words, for the end: `region eu-west-1 has joined`.
    pub done: String,
    /// The region it is about.
    pub region: &'a str,
    /// Who is asked how it goes.
    pub asked: &'a Api,
    /// Where the region itself is asked, if it is one that joins.
    pub joiner: Joiner<'a>,
    /// What to type while it goes on.
    pub meanwhile: String,
    /// What to type once it is done.
    pub next: String,
}

/// Where a region that joins is asked how it goes.
pub enum Joiner<'a> {
    /// None joins.
    None,
    /// There; it has to say itself that it has joined.
    At(Api),
    /// Where the members say that it is, with what gets at the API of one that was asked like this.
    ByMembers(&'a Target),
}

/// Whether the change is done, as the asked region says it.
pub type IsDone = fn(&Regions, &str) -> bool;

/// In every dataset a full member.
pub fn votes_everywhere(regions: &Regions, region: &str) -> bool {
    let mut standings = regions.standings(region).peekable();
    standings.peek().is_some()
        && standings.all(|(_, member)| member.is_some_and(|member| member.standing == "voting"))
}

/// In no dataset a member.
pub fn counts_nowhere(regions: &Regions, region: &str) -> bool {
    regions.members().all(|member| member.region != region)
}

impl Change<'_> {
    /// Waits until it is done, saying what changes.
    pub fn follow(&self, waiting: &Waiting, is_done: IsDone, format: Format) -> CliResult {
        if waiting.no_wait {
            return self.report(None, format);
        }
        let interrupts = interrupt::listen()?;
        let until = Instant::now() + Duration::from_secs(waiting.timeout);
        let mut said = String::new();
        loop {
            let regions = Regions::ask(self.asked);
            let joiner = self.joiner(regions.as_ref().ok());
            let own = joiner.as_ref().map(|joiner| (joiner, Regions::ask(joiner)));
            let told = own.as_ref().and_then(|(_, said)| said.as_ref().ok());
            if let Some(error) = told.and_then(Regions::failed) {
                return Err(error);
            }
            if let Ok(regions) = &regions
                && is_done(regions, self.region)
                && self.joiner_runs(told)
            {
                return self.report(Some(regions), format);
            }
            let now = self.text(regions.as_ref(), own.as_ref());
            if now != said {
                output::talk(&now);
                said = now;
            }
            if interrupts.came() {
                return Err(CliError::new(Exit::Interrupted, "interrupted")
                    .hint("it goes on; `meridian regions` shows how"));
            }
            if Instant::now() > until {
                return Err(CliError::failure(format!(
                    "not done in {} s; last seen: {said}",
                    waiting.timeout
                ))
                .hint("it goes on; `meridian regions` shows how"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether the region that joins says itself that it has.
    fn joiner_runs(&self, own: Option<&Regions>) -> bool {
        let Joiner::At(_) = &self.joiner else {
            return true;
        };
        own.is_some_and(|own| own.datasets.iter().all(|it| it.state == "running"))
    }

    /// Where the region that joins is asked itself, once that is known.
    fn joiner(&self, regions: Option<&Regions>) -> Option<Api> {
        match &self.joiner {
            Joiner::At(joiner) => Some(joiner.clone()),
            Joiner::ByMembers(target) => {
                let mut members = regions?.members();
                let found = members.find(|member| member.region == self.region)?;
                api_of(self.region, found.api.as_deref()?, target).ok()
            }
            Joiner::None => None,
        }
    }

    /// How it stands, by the asked region and by the one that joins.
    fn text(
        &self,
        regions: Result<&Regions, &CliError>,
        own: Option<&(&Api, CliResult<Regions>)>,
    ) -> String {
        let mut parts = match regions {
            Err(error) => vec![error.message().to_owned()],
            Ok(regions) => regions
                .standings(self.region)
                .map(|(dataset, member)| {
                    let standing = member.map_or("no member", |member| member.standing.as_str());
                    let waits = member.and_then(|member| dataset.waits_text(member));
                    let more = waits.into_iter().chain(dataset.vote_text());
                    let said: Vec<_> = std::iter::once(standing.to_owned()).chain(more).collect();
                    format!("{}: {}", dataset.dataset, said.join(", "))
                })
                .collect(),
        };
        parts.extend(own.and_then(|(joiner, said)| match said {
            Ok(said) => joiner_text(joiner, said),
            Err(error) => Some(error.message().to_owned()),
        }));
        format!("{}: {}", self.region, parts.join("; "))
    }

    fn report(&self, regions: Option<&Regions>, format: Format) -> CliResult {
        let is_done = regions.is_some();
        if format == Format::Json {
            let datasets = regions.map(|regions| {
                let standings = regions.standings(self.region);
                let datasets = standings.map(|(dataset, member)| {
                    json!({
                        "dataset": dataset.dataset,
                        "epoch": dataset.epoch,
                        "standing": member.map(|member| &member.standing),
                    })
                });
                datasets.collect::<Vec<_>>()
            });
            return output::json(&json!({
                "region": self.region,
                "done": is_done,
                "datasets": datasets,
            }));
        }
        if is_done {
            output::line(&self.done)?;
        } else {
            output::line(&format!("region {}: begun", self.region))?;
        }
        let next = if is_done { &self.next } else { &self.meanwhile };
        output::talk(&format!("next: {next}"));
        Ok(())
    }
}

/// The API of a region at `host:port`, got at as those of `target` are.
pub fn api_of(name: &str, api: &str, target: &Target) -> CliResult<Api> {
    let is_loopback = api.parse::<Endpoint>().is_ok_and(|api| api.is_loopback());
    let scheme = if is_loopback { "http" } else { "https" };
    let read = |path: &PathBuf| std::fs::read_to_string(path).ok();
    let address = Address {
        url: format!("{scheme}://{api}"),
        region: Some(name.to_owned()),
        token: target.token_file.as_deref().map(read_token).transpose()?,
        authority_pem: target.authority.as_ref().and_then(read),
    };
    Api::new(address, PATIENCE)
}

/// What a joining region says of itself, and which of its servers waits for somebody.
fn joiner_text(joiner: &Api, own: &Regions) -> Option<String> {
    let status = get(joiner, "/v1/status").unwrap_or_default();
    let parts = own.datasets.iter().flat_map(|dataset| {
        let stopped = stopped(joiner.name(), dataset, &status);
        let parts = dataset.progress.clone().into_iter().chain(stopped);
        parts.map(|part| format!("{} there: {part}", dataset.dataset))
    });
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Why a dataset's server waits for somebody, if it does. While its region is still what was removed or
/// evicted, that is why, and no news.
fn stopped(region: &str, dataset: &DatasetRegions, status: &Value) -> Option<String> {
    let mut servers = servers(status).filter(|(name, _)| *name == dataset.dataset);
    let (_, postgres) = servers.next()?;
    let is_gone = matches!(dataset.standing.as_deref(), Some("removed" | "evicted"));
    match postgres["state"].as_str().filter(|_| !is_gone)? {
        "stopped" => {
            let reason = postgres["reason"].as_str()?;
            Some(format!(
                "stopped: {reason} (`meridian postgres status` says what to do)"
            ))
        }
        "detached" => Some(format!(
            "detached from its server (`meridian postgres attach --region {region}` attaches it)"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::Member;
    use super::*;
    use crate::test_region::region;

    fn regions(standings: &[Option<&str>]) -> Regions {
        let dataset = |standing: &Option<&str>| DatasetRegions {
            members: standing
                .iter()
                .map(|standing| Member {
                    region: "b".to_owned(),
                    standing: (*standing).to_owned(),
                    ..Member::default()
                })
                .collect(),
            ..DatasetRegions::default()
        };
        Regions {
            datasets: standings.iter().map(dataset).collect(),
            ..Regions::default()
        }
    }

    #[test]
    fn a_server_that_waits_for_somebody_is_told_of() {
        let text = |standing: &str, state: &str| {
            let postgres = json!({"state": state, "reason": "15 rows differ"});
            let dataset = json!({"dataset": "main", "standing": standing, "progress": "catches up",
                "postgres": postgres});
            let address = Address {
                url: region(move || (200, json!({"datasets": [dataset]}))),
                ..Address::default()
            };
            let joiner = Api::new(address, Duration::from_secs(30)).unwrap();
            joiner_text(&joiner, &Regions::ask(&joiner).unwrap()).unwrap()
        };
        for (standing, state) in [
            ("joining", "connecting"),
            ("removed", "stopped"),
            ("evicted", "stopped"),
            ("removed", "detached"),
        ] {
            assert_eq!(text(standing, state), "main there: catches up");
        }
        assert!(text("joining", "detached").contains("postgres attach --region"));
        let stopped = text("joining", "stopped");
        let said = "main there: catches up; main there: stopped: 15 rows differ (";
        assert!(stopped.starts_with(said), "{stopped}");
    }

    #[test]
    fn a_region_that_joins_anew_is_found_by_the_members_and_asked_too() {
        let postgres = json!({"state": "stopped", "reason": "15 rows differ"});
        let dataset = json!({"dataset": "main", "standing": "joining", "postgres": postgres});
        let joiner = region(move || (200, json!({"datasets": [dataset]})));
        let mut said = regions(&[Some("joining")]);
        said.datasets[0].dataset = "main".to_owned();
        said.datasets[0].members[0].api = joiner.strip_prefix("http://").map(str::to_owned);
        let address = Address {
            url: joiner.clone(),
            ..Address::default()
        };
        let asked = Api::new(address, Duration::from_secs(30)).unwrap();
        let change = Change {
            done: String::new(),
            region: "b",
            asked: &asked,
            joiner: Joiner::ByMembers(&Target::default()),
            meanwhile: String::new(),
            next: String::new(),
        };
        let joiner = change.joiner(Some(&said)).unwrap();
        let own = Regions::ask(&joiner).unwrap();
        let text = change.text(Ok(&said), Some(&(&joiner, Ok(own))));
        let expected = "b: main: joining; main there: stopped: 15 rows differ (";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn who_leaves_is_said_to_wait_for_those_who_lack_something() {
        let mut said = regions(&[Some("leaving")]);
        let dataset = &mut said.datasets[0];
        dataset.dataset = "main".to_owned();
        dataset.members[0].waits_for = Some(vec!["b".to_owned(), "c".to_owned()]);
        dataset.members.push(Member {
            region: "c".to_owned(),
            away: true,
            ..Member::default()
        });
        let address = Address {
            url: "http://127.0.0.1:1".to_owned(),
            ..Address::default()
        };
        let change = Change {
            done: String::new(),
            region: "b",
            asked: &Api::new(address, Duration::from_secs(30)).unwrap(),
            joiner: Joiner::None,
            meanwhile: String::new(),
            next: String::new(),
        };
        let expected = "b: main: leaving, waits for b and c, which is away";
        assert_eq!(change.text(Ok(&said), None), expected);
        said.datasets[0].members[0].waits_for = Some(Vec::new());
        assert_eq!(change.text(Ok(&said), None), "b: main: leaving");
    }

    #[test]
    fn it_is_done_when_it_is_done_in_every_dataset() {
        let voting = Some("voting");
        assert!(votes_everywhere(&regions(&[voting, voting]), "b"));
        assert!(!votes_everywhere(&regions(&[voting, Some("joining")]), "b"));
        assert!(!votes_everywhere(&regions(&[voting, None]), "b"));
        assert!(!votes_everywhere(&regions(&[]), "b"));
        assert!(counts_nowhere(&regions(&[None, None]), "b"));
        assert!(!counts_nowhere(&regions(&[None, voting]), "b"));
    }
}
