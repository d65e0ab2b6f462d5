//! `meridian regions add` and `rejoin`.

use super::follow::{Change, Joiner, WATCH, Waiting, api_of, votes_everywhere};
use super::reading::{Regions, to_be_asked};
use super::wish::Wish;
use crate::error::{CliError, CliResult, Exit};
use crate::output::Format;
use crate::system::System;
use crate::target::Target;
use clap::Args;
use meridian_topology::{Address as Endpoint, Location, check_region_name, well_known};
use serde_json::{Value, json};
use std::path::PathBuf;

/// `meridian regions add`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks one region; a majority of the regions decides. Then the new region, started with `meridian serve --join`, copies what there is and catches up while everybody goes on. For a system that `meridian up` runs, the name is enough: `up` makes the certificate and starts the process.\n\nExample:\n  meridian regions add eu-central-1\n  meridian regions add eu-central-1 --api 10.0.4.1:7000 --link 10.0.4.1:7001 --at https://10.0.1.1:7000"
)]
pub struct Options {
    /// The region's name
    name: String,
    /// HOST:PORT at which clients will reach the region [default: what `meridian up` chooses]
    #[arg(long = "api", value_name = "ADDR", id = "own_api", requires = "link")]
    api: Option<Endpoint>,
    /// HOST:PORT at which the other regions will reach it
    #[arg(long, value_name = "ADDR", requires = "own_api")]
    link: Option<Endpoint>,
    /// Where it is: a cloud region's name, or LATITUDE,LONGITUDE [default: by the region's name]
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    location: Option<String>,
    /// Join only this dataset; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    dataset: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    at: At,
}

/// Which running system it is to join. (`--api` is the new region's own.)
#[derive(Debug, Args)]
#[command(next_help_heading = "Finding the system")]
pub struct At {
    /// The data directory given to `meridian up` [default: .meridian]
    #[arg(long, value_name = "DIR", conflicts_with = "at")]
    data_dir: Option<PathBuf>,
    /// The URL of the API of a region that is a member, instead of a data directory
    #[arg(long, value_name = "URL", requires = "own_api")]
    at: Option<String>,
    /// The region at that URL, whose certificate to expect with https
    #[arg(long, value_name = "NAME", requires = "at")]
    region: Option<String>,
    /// The file with the API's token
    #[arg(long, value_name = "FILE", requires = "at")]
    token_file: Option<PathBuf>,
    /// The certificate of the authority to trust for https (PEM)
    #[arg(long, value_name = "FILE", requires = "at")]
    authority: Option<PathBuf>,
}

/// `meridian regions rejoin`
#[derive(Debug, Args)]
#[command(
    after_help = "Asked at any member. The evicted region, whose process has to run, sets its old data aside and joins anew; while that goes on, what it waits for is said, an answer about its PostgreSQL server's rows for instance. What it alone held is written again for rows unchanged since, and the rest is shown by `meridian regions aside list`. A region that can't open a dataset is refused before the members are asked, where it is one of the regions that are asked: of a running `meridian up`, or by an --api of its own, with --region naming the member to ask. At a member's URL alone that shows only once it counts again: members talk to none that doesn't count.\n\nExample:\n  meridian regions rejoin eu-west-1"
)]
pub struct Rejoin {
    /// The evicted region's name
    name: String,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    target: Target,
}

impl At {
    fn target(&self) -> Target {
        Target {
            data_dir: self.data_dir.clone(),
            api: self.at.iter().cloned().collect(),
            region: self.region.clone(),
            token_file: self.token_file.clone(),
            authority: self.authority.clone(),
        }
    }
}

pub fn run(options: &Options, format: Format) -> CliResult {
    check_region_name(&options.name)
        .map_err(|error| CliError::usage(error.reason).hint(error.hint))?;
    let target = options.at.target();
    let (api, link) = match (&options.api, &options.link) {
        (Some(api), Some(link)) => (api.to_string(), link.to_string()),
        _ => addresses_of_up(&target, &options.name)?,
    };
    let asked = to_be_asked(&target, &options.name)?;
    let mut body = json!({
        "name": options.name,
        "api": api,
        "link": link,
        "place": place(options)?,
    });
    if !options.dataset.is_empty() {
        body["datasets"] = json!(options.dataset);
    }
    Wish::post("/v1/regions", &body).send(&asked, &options.waiting)?;
    let (meanwhile, next) = steps(&options.name, target.data_dir().is_some());
    let change = Change {
        done: format!("region {} has joined", options.name),
        region: &options.name,
        asked: &asked,
        joiner: Joiner::At(api_of(&options.name, &api, &target)?),
        meanwhile,
        next,
    };
    change.follow(&options.waiting, votes_everywhere, format)
}

pub fn rejoin(options: &Rejoin, format: Format) -> CliResult {
    let asked = to_be_asked(&options.target, &options.name)?;
    can_join_again(&options.name, &options.target)?;
    let body = json!({ "name": options.name });
    Wish::post("/v1/regions", &body).send(&asked, &options.waiting)?;
    let change = Change {
        done: format!("region {} has joined again", options.name),
        region: &options.name,
        asked: &asked,
        joiner: Joiner::ByMembers(&options.target),
        meanwhile: WATCH.to_owned(),
        next: "meridian regions aside list".to_owned(),
    };
    change.follow(&options.waiting, votes_everywhere, format)
}

/// What is left to do once the members have been asked, and once the region has joined.
fn steps(name: &str, is_up: bool) -> (String, String) {
    if is_up {
        return (WATCH.to_owned(), WATCH.to_owned());
    }
    let start = format!("meridian serve --join --region {name} --config FILE, unless it runs");
    let name_it = "name it in the other regions' topology files, which they read while they run";
    (start, name_it.to_owned())
}

/// An error where the region doesn't run, or says that it can't open a dataset: it would be waited for in
/// vain. Where it isn't among the regions that are meant, the members' word of its address comes later.
fn can_join_again(name: &str, target: &Target) -> CliResult {
    let all = Target {
        region: None,
        ..target.clone()
    };
    let said = Regions::of_all(&all)?;
    if let Some((_, own)) = said.iter().find(|(_, own)| own.region == name) {
        return own.failed().map_or(Ok(()), Err);
    }
    let is_meant = all.all_at_a_glance()?.iter().any(|api| api.name() == name);
    if is_meant && target.data_dir().is_some() {
        return Err(CliError::new(Exit::Unreachable, format!("region {name} doesn't answer"))
            .hint("its process has to run before it can join again: `meridian up` shows how it stands"));
    }
    Ok(())
}

/// The addresses that a running `up` keeps ready for a region.
fn addresses_of_up(target: &Target, name: &str) -> CliResult<(String, String)> {
    let addresses = "give --api HOST:PORT and --link HOST:PORT, the new region's own addresses";
    let Some(data_dir) = target.data_dir() else {
        return Err(CliError::usage("the new region has no addresses").hint(addresses));
    };
    let system = System::read(&data_dir)?;
    let kept = system.addresses_for(name).ok_or_else(|| {
        CliError::usage("that `meridian up` is of an earlier version, which starts no new regions")
            .hint("stop it and start it again")
    })?;
    Ok((kept.api, kept.link))
}

/// Where the region is: as said, or as its name says.
fn place(options: &Options) -> CliResult<Value> {
    let text = options.location.as_deref().unwrap_or(&options.name);
    if let Some(place) = well_known(text) {
        let at = place.location;
        return Ok(json!({ "latitude": at.latitude, "longitude": at.longitude }));
    }
    let degrees = text
        .split_once(',')
        .and_then(|(latitude, longitude)| {
            let latitude = latitude.trim().parse().ok()?;
            Location::new(latitude, longitude.trim().parse().ok()?)
        })
        .ok_or_else(|| {
            CliError::usage(format!("{text:?} says nothing of where the region is"))
                .hint("for example --location eu-central-1, or --location 50.1,8.7")
        })?;
    Ok(json!({ "latitude": degrees.latitude, "longitude": degrees.longitude }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn what_runs_already_is_not_to_be_started() {
        let (start, name_it) = steps("eu-west-1", false);
        assert!(start.contains("serve --join --region eu-west-1"), "{start}");
        assert!(name_it.contains("topology files"), "{name_it}");
        assert!(!name_it.contains("serve"), "{name_it}");
    }

    fn placed(arguments: &[&str]) -> CliResult<Value> {
        let arguments = ["add"].iter().chain(arguments);
        place(&Command::parse_from(arguments).options)
    }

    #[test]
    fn a_region_is_where_it_says_or_where_its_name_says() {
        let at = placed(&["eu-west-1"]).unwrap();
        assert_eq!(at, placed(&["home", "--location", "eu-west-1"]).unwrap());
        let at = placed(&["home", "--location", "-50.5, 8"]).unwrap();
        assert_eq!(at, json!({ "latitude": -50.5, "longitude": 8.0 }));
        for bad in [&["home"][..], &["home", "--location", "91,0"]] {
            assert!(placed(bad).is_err(), "{bad:?}");
        }
    }
}
