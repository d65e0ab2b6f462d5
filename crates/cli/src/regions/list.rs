//! `meridian regions list`: which regions there are, how they stand and whether they answer.

use super::follow::api_of;
use super::reading::{Member, Regions};
use crate::client::{Address, Api};
use crate::config::{load, place};
use crate::error::CliResult;
use crate::everywhere::at_once;
use crate::output::{self, Format, table};
use crate::system::System;
use crate::target::Target;
use clap::Args;
use meridian_topology::{Address as Endpoint, Topology};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);

/// `meridian regions list`
#[derive(Debug, Args)]
#[command(
    after_help = "Lists the regions of a running `meridian up`, those of a topology file (--config), or those at given URLs (--api). Standing and epoch are those that the first region which answers tells: joining (being brought up), voting (a full member), leaving, or none where it doesn't count; a witness is named as one. Reachable says whether the region answers here, at the address that the topology or a member says.\n\nExample:\n  meridian regions --output json"
)]
pub struct List {
    /// List the regions of this topology file; whether they answer is asked at their API addresses
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    config: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    name: String,
    latitude: Option<f64>,
    longitude: Option<f64>,
    api: Option<String>,
    link: Option<String>,
    /// Whether it answers; null where nobody says at which address.
    reachable: Option<bool>,
    /// How it stands in each dataset, as far as a region told.
    datasets: Vec<Standing>,
    /// Whether it holds no tables.
    witness: bool,
    #[serde(skip)]
    place: String,
}

/// How a region stands in a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Standing {
    dataset: String,
    epoch: Option<u64>,
    standing: Option<String>,
}

pub fn run(options: &List, format: Format) -> CliResult {
    let lines = lines(options)?;
    match format {
        Format::Json => output::json(&lines),
        Format::Text => {
            let rows: Vec<_> = lines.iter().map(row).collect();
            let head = [
                "region",
                "location",
                "api",
                "link",
                "reachable",
                "standing",
                "epoch",
            ];
            output::line(&table(&head, &rows))
        }
    }
}

fn lines(options: &List) -> CliResult<Vec<Line>> {
    let target = &options.target;
    let (lines, said) = thread::scope(|scope| {
        let said = scope.spawn(|| membership(target));
        let lines = match (&options.config, target.data_dir()) {
            (Some(config), _) => of_topology(config, target),
            (None, Some(data_dir)) => {
                System::read(&data_dir).and_then(|system| of_topology(&system.topology, target))
            }
            (None, None) => of_urls(target),
        };
        (lines, said.join().expect("asking doesn't panic"))
    });
    let mut lines = lines?;
    if let Some(said) = said {
        name_the_silent(&mut lines, &said);
        let named = lines.len();
        stand(&mut lines, &said);
        let found = lines.split_off(named);
        lines.extend(at_once(&found, |line| Line {
            reachable: line.api.as_deref().map(|api| {
                let api = api_of(&line.name, api, &options.target);
                api.is_ok_and(|api| is_alive(&api))
            }),
            ..line.clone()
        }));
    }
    if let Some(wanted) = &options.target.region {
        lines.retain(|line| line.name == *wanted);
    }
    Ok(lines)
}

fn row(line: &Line) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let reachable = match line.reachable {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    vec![
        line.name.clone(),
        line.place.clone(),
        or_dash(&line.api),
        or_dash(&line.link),
        reachable.to_owned(),
        in_short(line, |it| {
            let standing = it.standing.as_deref();
            let standing = standing.unwrap_or("none");
            Some(match line.witness {
                true => format!("{standing}, a witness"),
                false => standing.to_owned(),
            })
        }),
        in_short(line, |it| it.epoch.map(|epoch| epoch.to_string())),
    ]
}

/// What is so in each dataset: said once where it is the same in all.
fn in_short(line: &Line, part: impl Fn(&Standing) -> Option<String>) -> String {
    let said: Vec<_> = line
        .datasets
        .iter()
        .map(|it| (&it.dataset, part(it).unwrap_or_else(|| "-".to_owned())))
        .collect();
    let Some((_, first)) = said.first() else {
        return "-".to_owned();
    };
    if said.iter().all(|(_, text)| text == first) {
        return first.clone();
    }
    let each = said
        .iter()
        .map(|(dataset, text)| format!("{dataset} {text}"));
    each.collect::<Vec<_>>().join(", ")
}

/// What the first of the regions that answer says of the members.
fn membership(target: &Target) -> Option<Regions> {
    let asked = Target {
        region: None,
        ..target.clone()
    };
    let said = Regions::of_all(&asked).ok()?.into_iter();
    said.map(|(_, said)| said).next()
}

/// Names the regions that didn't say who they are, by where the members say that they are.
fn name_the_silent(lines: &mut [Line], said: &Regions) {
    for line in lines.iter_mut() {
        let Some((scheme, address)) = line.name.split_once("://") else {
            continue;
        };
        let Some(address) = read(scheme, address) else {
            continue;
        };
        let is_it = |member: &&Member| {
            let told = member.api.as_deref().and_then(|api| read(scheme, api));
            told.is_some_and(|told| is_one_door(&told, &address))
        };
        if let Some(member) = said.members().find(is_it) {
            line.name = member.region.clone();
        }
    }
}

/// What a URL says behind its scheme, which stands in for a port.
fn read(scheme: &str, address: &str) -> Option<Endpoint> {
    let address = address.trim_end_matches('/');
    let port = if scheme == "https" { 443 } else { 80 };
    let read = address.parse();
    read.or_else(|_| format!("{address}:{port}").parse()).ok()
}

/// Whether two addresses are one, however they are spelt: this machine has several names.
fn is_one_door(one: &Endpoint, other: &Endpoint) -> bool {
    let is_here = |at: &Endpoint| match at {
        Endpoint::Ip(at) => [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ]
        .contains(&at.ip()),
        Endpoint::Name { host, .. } => host == "localhost",
    };
    one == other || (one.port() == other.port() && is_here(one) && is_here(other))
}

/// Adds how each region stands, and the members that no topology names.
fn stand(lines: &mut Vec<Line>, said: &Regions) {
    for member in said.members() {
        if lines.iter().all(|line| line.name != member.region) {
            lines.push(of_member(member));
        }
    }
    for line in lines {
        line.witness |= said
            .members()
            .any(|member| member.region == line.name && member.witness);
        let standings = said.standings(&line.name);
        line.datasets = standings
            .map(|(dataset, member)| Standing {
                dataset: dataset.dataset.clone(),
                epoch: dataset.epoch,
                standing: member.map(|member| member.standing.clone()),
            })
            .collect();
    }
}

fn of_member(member: &Member) -> Line {
    let place = member.latitude.zip(member.longitude);
    Line {
        name: member.region.clone(),
        latitude: member.latitude,
        longitude: member.longitude,
        api: member.api.clone(),
        link: member.link.clone(),
        reachable: None,
        datasets: Vec::new(),
        witness: member.witness,
        place: place.map_or_else(
            || "-".to_owned(),
            |(latitude, longitude)| format!("{latitude:.2}, {longitude:.2}"),
        ),
    }
}

/// The regions of a topology. An API speaks HTTPS unless it listens on loopback.
fn of_topology(file: &Path, target: &Target) -> CliResult<Vec<Line>> {
    let topology = load(file)?;
    let described = at_once(&topology.regions, |region| {
        let api = region.api.as_ref();
        let url = api.map(|api| {
            let scheme = if api.listen.is_loopback() {
                "http"
            } else {
                "https"
            };
            format!("{scheme}://{}", api.address)
        });
        Line {
            name: region.name.to_string(),
            latitude: Some(region.place.location.latitude),
            longitude: Some(region.place.location.longitude),
            reachable: url
                .as_ref()
                .map(|url| answers(url, region.name.as_str(), &topology, target)),
            api: url,
            link: region.link.as_ref().map(|link| link.address.to_string()),
            place: place(region),
            datasets: Vec::new(),
            witness: region.witness,
        }
    });
    Ok(described)
}

/// Whether it says that it lives; for that no token is needed.
fn answers(url: &str, region: &str, topology: &Topology, target: &Target) -> bool {
    let authority = target.authority.as_ref();
    let authority = authority.or_else(|| topology.tls.as_ref().map(|tls| &tls.authority));
    let address = Address {
        url: url.to_owned(),
        region: Some(region.to_owned()),
        token: None,
        authority_pem: authority.and_then(|path| std::fs::read_to_string(path).ok()),
    };
    let api = Api::new(address, PATIENCE);
    api.is_ok_and(|api| is_alive(&api))
}

fn is_alive(api: &Api) -> bool {
    api.get("/livez").is_ok_and(|reply| reply.is_success())
}

fn of_urls(target: &Target) -> CliResult<Vec<Line>> {
    let line = |api: Api| {
        let reply = api.get("/v1/status");
        // A reply that is a refusal is one too.
        let is_reachable = reply.is_ok();
        let said: Option<serde_json::Value> = reply.ok().and_then(|reply| reply.json().ok());
        let said = said.as_ref().and_then(|status| status["region"].as_str());
        Line {
            name: said.unwrap_or(api.name()).to_owned(),
            latitude: None,
            longitude: None,
            api: Some(api.url().to_owned()),
            link: None,
            reachable: Some(is_reachable),
            place: "-".to_owned(),
            datasets: Vec::new(),
            witness: false,
        }
    };
    Ok(at_once(target.all_at_a_glance()?, line))
}

#[cfg(test)]
mod tests {
    use super::super::reading::DatasetRegions;
    use super::*;
    use crate::test_region::{region, regions_asked_at_once};
    use serde_json::json;
    use std::net::TcpListener;
    use std::time::Instant;

    #[test]
    fn a_region_that_hangs_keeps_no_other_from_being_asked_for_the_members() {
        let target = Target {
            api: regions_asked_at_once(["a", "b"].map(|name| json!({"region": name}))),
            ..Target::default()
        };
        assert_eq!(membership(&target).unwrap().region, "a");
    }

    #[test]
    fn one_that_is_frozen_is_waited_for_once_and_shown_once() {
        let frozen = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = frozen.local_addr().unwrap().to_string();
        let members = ["a", "b"].map(|name| {
            let api = (name == "b").then_some(&address);
            json!({"region": name, "standing": "voting", "api": api})
        });
        let said = json!({"region": "a", "datasets": [{"dataset": "main", "members": members}]});
        let options = List {
            config: None,
            target: Target {
                api: vec![
                    region(move || (200, said.clone())),
                    format!("http://{address}"),
                ],
                ..Target::default()
            },
        };
        let began = Instant::now();
        let lines = lines(&options).unwrap();
        let took = began.elapsed();
        assert!(took < 2 * PATIENCE, "{took:?}");
        let shown = lines.iter().map(|line| (&*line.name, line.reachable));
        let shown: Vec<_> = shown.collect();
        assert_eq!(shown, [("a", Some(true)), ("b", Some(false))]);
    }

    #[test]
    fn one_that_is_silent_is_known_however_its_address_is_spelt() {
        let named = |told: &str, url: &str| {
            let member = |region: &str, api: &str| Member {
                region: region.to_owned(),
                api: Some(api.to_owned()),
                ..Member::default()
            };
            let said = Regions {
                datasets: vec![DatasetRegions {
                    members: vec![member("b", told), member("c", "127.0.0.2:7000")],
                    ..DatasetRegions::default()
                }],
                ..Regions::default()
            };
            let mut lines = [of_member(&member(url, url))];
            name_the_silent(&mut lines, &said);
            lines[0].name.clone()
        };
        for url in [
            "http://127.0.0.1:7000",
            "http://127.0.0.1:7000/",
            "http://localhost:7000",
            "http://LOCALHOST:7000/",
            "http://[::1]:7000",
        ] {
            assert_eq!(named("127.0.0.1:7000", url), "b", "{url}");
        }
        assert_eq!(named("B.test:443", "https://b.TEST/"), "b");
        assert_eq!(named("b.test:80", "http://b.test"), "b");
        let others = ["http://127.0.0.1:7001", "http://127.0.0.3:7000"];
        for url in others {
            assert_eq!(named("127.0.0.1:7000", url), url);
        }
        assert_eq!(named("127.0.0.1:7000", "http://127.0.0.2:7000"), "c");
        assert_eq!(named("b.test:80", "https://b.test"), "https://b.test");
    }

    #[test]
    fn members_that_were_not_named_are_asked_too_whether_they_answer() {
        let witness = region(|| (200, json!({})));
        let member = |name: &str, api: Option<&str>| json!({"region": name, "standing": "voting", "api": api});
        let members = [
            member("w", witness.strip_prefix("http://")),
            member("dead", Some("127.0.0.1:1")),
            member("elsewhere", None),
        ];
        let said = json!({"region": "a", "datasets": [{"dataset": "main", "members": members}]});
        let options = List {
            config: None,
            target: Target {
                api: vec![region(move || (200, said.clone()))],
                ..Target::default()
            },
        };
        let lines = lines(&options).unwrap();
        let shown = lines.iter().map(|line| (&*line.name, row(line)[4].clone()));
        let shown: Vec<_> = shown.collect();
        let shown: Vec<_> = shown.iter().map(|(name, text)| (*name, &**text)).collect();
        let expected = [
            ("a", "yes"),
            ("w", "yes"),
            ("dead", "no"),
            ("elsewhere", "-"),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn members_that_no_topology_names_are_listed_too() {
        let member = |region: &str, standing: &str| Member {
            region: region.to_owned(),
            standing: standing.to_owned(),
            ..Member::default()
        };
        let said = Regions {
            region: "a".to_owned(),
            datasets: vec![
                DatasetRegions {
                    dataset: "main".to_owned(),
                    epoch: Some(2),
                    members: vec![member("a", "voting"), member("b", "joining")],
                    ..DatasetRegions::default()
                },
                DatasetRegions {
                    dataset: "other".to_owned(),
                    epoch: Some(2),
                    members: vec![member("a", "voting")],
                    ..DatasetRegions::default()
                },
            ],
        };
        let mut lines = vec![of_member(&member("a", "voting"))];
        stand(&mut lines, &said);
        let texts: Vec<_> = lines.iter().map(|line| row(line)[5..].join("; ")).collect();
        assert_eq!(texts, ["voting; 2", "main joining, other none; 2"]);
        lines[0].witness = true;
        assert_eq!(row(&lines[0])[5], "voting, a witness");
    }
}
