//! `steer-decision`: nanoseconds to decide where a client goes, at 3 and 30 regions.
//!
//! One thread calls the function that DNS, edge and routes call, for thousands of clients in turn, so
//! that neither the branch predictor nor a cache learns one client by heart. Looking up where the
//! client is, is measured apart.

use crate::Common;
use crate::output::workplace;
use anyhow::{Context, Result};
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table as Lines, rounded};
use meridian_steer::{
    Answer, By, Choice, Client, Effective, Geo, Key, Picture, Policy, RegionPicture, Registries,
    Route, Table,
};
use meridian_topology::well_known;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

const CLIENTS: usize = 4096;

/// Cloud regions over all continents; the first three are the built-in topology.
const REGIONS: [&str; 30] = [
    "us-east-1",
    "eu-west-1",
    "ap-northeast-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "ca-west-1",
    "mx-central-1",
    "sa-east-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-east-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-south-1",
    "ap-south-2",
    "me-south-1",
    "me-central-1",
    "il-central-1",
    "af-south-1",
];

/// Options of `steer-decision`.
#[derive(clap::Args)]
pub struct Options {
    /// Decisions in each round
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    decisions: u32,
    /// Rounds, of which the median is shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// End with exit code 2 when a decision at 30 regions takes more nanoseconds than this
    #[arg(long)]
    nanoseconds_max: Option<f64>,
}

/// Runs the benchmark and prints its report.
pub fn run(common: &Common, options: &Options) -> Result<bool> {
    let (_directory, machine) = workplace(&common.data_parent)?;
    let clients = clients();
    let mut policies = Vec::new();
    for (policy, of) in POLICIES {
        let at = |regions: usize| -> Result<f64> {
            let names = &REGIONS[..regions];
            let route = Route::new("app", of(names));
            let picture = picture(names)?;
            let table = Table::compile(&route, &picture, &Effective::default())
                .context("compile the route")?;
            Ok(decisions(options, &table, &clients))
        };
        policies.push(Line {
            policy,
            nanoseconds_at_3: at(3)?,
            nanoseconds_at_30: at(30)?,
        });
    }
    let report = Report {
        benchmark: "steer-decision",
        decisions: options.decisions,
        rounds: options.rounds,
        machine,
        lookup_nanoseconds: lookups(options),
        policies,
    };
    let met = report.policies.iter().all(|line| {
        let limit = options.nanoseconds_max;
        limit.is_none_or(|limit| line.nanoseconds_at_30 <= limit)
    });
    common.output.print(&report)?;
    Ok(met)
}

type PolicyOf = fn(&[&str]) -> Policy;

const POLICIES: [(&str, PolicyOf); 7] = [
    ("latency", |names| Policy::over(By::Latency, names)),
    ("geoproximity", |names| {
        Policy::over(By::Geoproximity, names)
    }),
    ("geolocation", |names| Policy::over(By::Geolocation, names)),
    ("weighted", |names| Policy::over(By::Weighted, names)),
    ("failover", |names| Policy::over(By::Failover, names)),
    ("multivalue", |names| Policy::over(By::Multivalue, names)),
    ("geoproximity of weighted", |names| {
        let groups = names.chunks(3);
        let groups = groups.map(|group| Choice::policy(Policy::over(By::Weighted, group)));
        Policy::new(By::Geoproximity, groups.collect())
    }),
];

fn picture(names: &[&str]) -> Result<Picture> {
    let region = |name: &&str| {
        let place = well_known(name).with_context(|| format!("where {name} is"))?;
        Ok(RegionPicture::healthy(name, place))
    };
    Ok(Picture {
        regions: names.iter().map(region).collect::<Result<_>>()?,
        own: 0,
        has_quorum: true,
    })
}

fn addresses() -> Vec<IpAddr> {
    let mut rng = StdRng::seed_from_u64(1);
    let address = |_| IpAddr::V4(Ipv4Addr::from_bits(rng.random()));
    (0..CLIENTS).map(address).collect()
}

fn clients() -> Vec<Client> {
    let registries = Registries::default();
    let client = |address: IpAddr| Client {
        located: registries.locate(address),
        key: Key::of_network(address, 24),
        key_bits: 24,
        network_bits: 24,
    };
    addresses().into_iter().map(client).collect()
}

fn decisions(options: &Options, table: &Table, clients: &[Client]) -> f64 {
    let mut answer = Answer::default();
    median(options, |number| {
        table.decide(black_box(&clients[number % CLIENTS]), &mut answer);
        black_box(answer.first());
    })
}

fn lookups(options: &Options) -> f64 {
    let (registries, addresses) = (Registries::default(), addresses());
    median(options, |number| {
        black_box(registries.locate(black_box(addresses[number % CLIENTS])));
    })
}

/// Nanoseconds a call: the median of the rounds, after one that doesn't count.
fn median(options: &Options, mut call: impl FnMut(usize)) -> f64 {
    let decisions = options.decisions as usize;
    let mut rounds = Vec::new();
    for _ in 0..=options.rounds {
        let started = Instant::now();
        (0..decisions).for_each(&mut call);
        rounds.push(started.elapsed().as_secs_f64() * 1e9 / f64::from(options.decisions));
    }
    rounds.remove(0);
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

#[derive(Debug, Serialize)]
struct Line {
    policy: &'static str,
    nanoseconds_at_3: f64,
    nanoseconds_at_30: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    decisions: u32,
    rounds: u32,
    machine: Machine,
    lookup_nanoseconds: f64,
    policies: Vec<Line>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Nanoseconds a decision, one thread, medians of {} rounds of {} decisions. Looking up\n\
             where an IPv4 client is takes {} ns more.\n",
            self.rounds,
            rounded(f64::from(self.decisions)),
            rounded(self.lookup_nanoseconds)
        )?;
        let mut lines = Lines::new(["policy", "3 regions", "30 regions"]);
        for line in &self.policies {
            lines.row([
                line.policy.to_owned(),
                rounded(line.nanoseconds_at_3),
                rounded(line.nanoseconds_at_30),
            ]);
        }
        writeln!(f, "{lines}\n{}", self.machine)
    }
}
