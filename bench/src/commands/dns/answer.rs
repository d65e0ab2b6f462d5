//! `dns-answer`: nanoseconds from a question's octets to an answer's, without sockets.
//!
//! One thread asks the function that the server's threads call, with the questions of `dns` and in
//! their random order, so that a name is as rarely in a cache as it is under load. What `dns` measures
//! above this is the kernel's. Times are the thread's own processor time, so that other work on the
//! machine counts little.

use super::{QUESTIONS, served, world};
use crate::Common;
use crate::output::workplace;
use anyhow::{Context, Result, ensure};
use meridian_bench::latency::median;
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table, rounded, thousands};
use meridian_dns::{CookieSecret, Limiter, Moment, Responder, Transport, View};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use world::Asked;

/// Options of `dns-answer`.
#[derive(clap::Args)]
pub struct Options {
    /// Plain names in the zone
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    names: u32,
    /// Rounds of 200,000 questions each, of which the median is shown
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

/// Runs the benchmark and prints its report.
pub fn run(common: &Common, options: &Options) -> Result<bool> {
    let (_directory, machine) = workplace(&common.data_parent)?;
    let view = served::view(&world::zone_file(options.names))?;
    let measure = |asked| nanoseconds(&view, asked, options.rounds);
    let report = Report {
        benchmark: "dns-answer",
        names: options.names,
        rounds: options.rounds,
        machine,
        static_nanoseconds: measure(world::static_questions(QUESTIONS, options.names))?,
        geo_nanoseconds: measure(world::steered_questions(QUESTIONS))?,
    };
    common.output.print(&report)?;
    Ok(true)
}

fn nanoseconds(view: &View, asked: Vec<Asked>, rounds: u32) -> Result<f64> {
    let messages: Vec<_> = asked.iter().map(|asked| asked.message()).collect();
    // Loopback is exempt from limits; from elsewhere each answer would be counted too.
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut responder = Responder::new(Limiter::new(200, false), CookieSecret::new(rand::random()));
    let mut answer = Vec::new();
    let mut of_rounds = Vec::new();
    for _ in 0..=rounds {
        let before = processor_time()?;
        for message in &messages {
            let now = Moment {
                seconds: 0,
                elapsed_ms: 0,
            };
            let message = black_box(message);
            let outcome = responder.respond(view, message, from, Transport::Udp, now, &mut answer);
            ensure!(outcome.is_sent(), "a question was not answered");
        }
        let spent = processor_time()? - before;
        of_rounds.push(spent.as_secs_f64() * 1e9 / messages.len() as f64);
    }
    // The first fills caches.
    Ok(median(&of_rounds[1..]).unwrap_or_default())
}

/// What this thread has taken of its processor.
fn processor_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).context("read this thread's processor time")
}

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    names: u32,
    rounds: u32,
    machine: Machine,
    static_nanoseconds: f64,
    geo_nanoseconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Nanoseconds an answer, one thread without sockets, {} names; medians of {} rounds.\n",
            thousands(u64::from(self.names)),
            self.rounds
        )?;
        let mut table = Table::new(["asked", "ns"]);
        table.row(["static".to_owned(), rounded(self.static_nanoseconds)]);
        table.row(["geo with ECS".to_owned(), rounded(self.geo_nanoseconds)]);
        writeln!(f, "{table}\n{}", self.machine)
    }
}
