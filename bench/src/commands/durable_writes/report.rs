//! The report of `durable-writes`: medians of the rounds, ratios, and what they stand on.

use super::{Options, System};
use clap::ValueEnum;
use meridian_bench::latency::{LatencySummary, median};
use meridian_bench::load::LoadOutcome;
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table, rounded};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// One round of one system.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Acknowledged in the measured time.
    pub writes_per_second: f64,
    /// From before sending to acknowledged.
    pub latency: LatencySummary,
    /// Processor time of the server for a write, warm-up included.
    pub server_microseconds_per_write: f64,
    /// Processor time of the load generator for a write, warm-up included.
    pub client_microseconds_per_write: f64,
    /// Keys counted after the kill and restart: all that were acknowledged.
    pub keys_verified: u64,
}

impl Round {
    /// The figures of a verified round.
    pub fn new(outcome: &LoadOutcome, server: Duration, client: Duration) -> Self {
        let keys = outcome.acknowledged_total();
        #[expect(clippy::cast_precision_loss, reason = "far fewer writes than 2^52")]
        let per_write = |time: Duration| time.as_secs_f64() * 1e6 / keys.max(1) as f64;
        Self {
            writes_per_second: outcome.writes_per_second(),
            latency: outcome.latencies.summary(),
            server_microseconds_per_write: per_write(server),
            client_microseconds_per_write: per_write(client),
            keys_verified: keys,
        }
    }

    /// The same where nothing was stored that could be counted.
    pub fn unverified(mut self) -> Self {
        self.keys_verified = 0;
        self
    }

    /// One line.
    pub fn in_words(&self) -> String {
        format!(
            "{} writes/s, P50 {:.2} ms, P99 {:.2} ms; {} keys verified after a kill",
            rounded(self.writes_per_second),
            self.latency.p50_ms,
            self.latency.p99_ms,
            self.keys_verified
        )
    }
}

/// All rounds of a system.
#[derive(Clone, Debug)]
pub struct SystemFigures {
    /// Which.
    pub system: System,
    version: String,
    /// Its rounds.
    pub rounds: Vec<Round>,
}

impl SystemFigures {
    /// No rounds yet.
    pub fn new(system: System, version: String) -> Self {
        Self {
            system,
            version,
            rounds: Vec::new(),
        }
    }

    /// How many writes this system would do in so many seconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded, and a rate is not negative"
    )]
    pub fn expected_writes(&self, seconds: u64) -> u64 {
        let rate = self.median(|round| round.writes_per_second) as u64;
        (rate * seconds).clamp(1_000, 5_000_000)
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(&self.rounds.iter().map(figure).collect::<Vec<_>>()).unwrap_or(0.0)
    }

    fn medians(&self, meridian: Option<f64>) -> SystemReport {
        let writes_per_second = self.median(|round| round.writes_per_second);
        SystemReport {
            system: name(self.system),
            version: self.version.clone(),
            writes_per_second,
            p50_ms: self.median(|round| round.latency.p50_ms),
            p99_ms: self.median(|round| round.latency.p99_ms),
            server_microseconds_per_write: self.median(|round| round.server_microseconds_per_write),
            client_microseconds_per_write: self.median(|round| round.client_microseconds_per_write),
            meridian_ratio: meridian.map(|meridian| meridian / writes_per_second),
            rounds: self.rounds.clone(),
        }
    }
}

fn name(system: System) -> String {
    let value = system.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// A figure by somebody else's tool.
#[derive(Clone, Debug, Serialize)]
pub struct CrossCheck {
    /// The tool.
    pub tool: &'static str,
    /// How many writes it made.
    pub requests: u64,
    /// What it says.
    pub writes_per_second: f64,
}

#[derive(Debug, Serialize)]
struct SystemReport {
    system: String,
    version: String,
    writes_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    server_microseconds_per_write: f64,
    client_microseconds_per_write: f64,
    /// Meridian's writes a second by this system's; above 1, Meridian does more.
    meridian_ratio: Option<f64>,
    rounds: Vec<Round>,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    clients: u16,
    value_bytes: u32,
    seconds: u64,
    rounds: u16,
    machine: Machine,
    systems: Vec<SystemReport>,
    redis_cross_check: Option<CrossCheck>,
}

impl Report {
    /// Medians of the rounds.
    pub fn new(
        options: &Options,
        machine: Machine,
        figures: Vec<SystemFigures>,
        redis_cross_check: Option<CrossCheck>,
    ) -> Self {
        let meridian = figures
            .iter()
            .find(|figures| figures.system == System::Meridian)
            .map(|figures| figures.median(|round| round.writes_per_second));
        Self {
            benchmark: "durable-writes",
            clients: options.clients,
            value_bytes: options.value_bytes,
            seconds: options.seconds,
            rounds: options.rounds,
            machine,
            systems: figures
                .iter()
                .map(|figures| figures.medians(meridian))
                .collect(),
            redis_cross_check,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Durable writes: {} clients, one request outstanding each, values of {} bytes,\n\
             medians of {} rounds of {} s; all keys counted after a kill and a restart.\n",
            self.clients, self.value_bytes, self.rounds, self.seconds
        )?;
        let mut table = Table::new([
            "system",
            "writes/s",
            "P50 ms",
            "P99 ms",
            "server µs/write",
            "client µs/write",
            "Meridian is",
        ]);
        for system in &self.systems {
            table.row([
                system.system.clone(),
                rounded(system.writes_per_second),
                format!("{:.2}", system.p50_ms),
                format!("{:.2}", system.p99_ms),
                format!("{:.1}", system.server_microseconds_per_write),
                format!("{:.1}", system.client_microseconds_per_write),
                match system.meridian_ratio {
                    Some(ratio) if system.system != "meridian" => format!("{ratio:.2} x"),
                    _ => String::new(),
                },
            ]);
        }
        writeln!(f, "{table}")?;
        if let Some(check) = &self.redis_cross_check {
            writeln!(
                f,
                "cross-check: {} with {} clients says {} writes/s for Redis",
                check.tool,
                self.clients,
                rounded(check.writes_per_second)
            )?;
        }
        for system in &self.systems {
            writeln!(f, "{}: {}", system.system, system.version)?;
        }
        writeln!(f, "machine: {}", self.machine)
    }
}
