//! What `postgres-cost` reports.

use super::Options;
use meridian_bench::latency::median;
use meridian_bench::machine::Machine;
use meridian_bench::postgres::System;
use meridian_bench::postgres::pgbench::Run;
use meridian_bench::table::{Table, rounded};
use serde::Serialize;
use std::fmt;

/// One run of `pgbench`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// What was measured.
    pub system: System,
    /// What `pgbench` says.
    pub run: Run,
    /// From its end until both servers had the same rows; the comparison itself included.
    pub behind_seconds: f64,
    /// The processor time of all servers and regions until then.
    pub processor_seconds: f64,
    /// Of it, that of the servers.
    pub servers_seconds: f64,
}

impl Round {
    /// One line.
    pub fn in_words(&self) -> String {
        format!(
            "{}: {} tx/s, equal after {:.2} s, {:.0} µs/tx",
            self.system.name(),
            rounded(self.run.transactions_per_second),
            self.behind_seconds,
            self.processor_us()
        )
    }

    fn processor_us(&self) -> f64 {
        self.us_of_each(self.processor_seconds)
    }

    fn servers_us(&self) -> f64 {
        self.us_of_each(self.servers_seconds)
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn us_of_each(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.run.transactions.max(1) as f64
    }
}

/// Medians of a system's rounds.
#[derive(Debug, Serialize)]
struct Figures {
    system: System,
    transactions_per_second: f64,
    latency_ms_mean: f64,
    behind_seconds: f64,
    processor_us_per_transaction: f64,
    /// Of it, that of the servers.
    servers_us_per_transaction: f64,
    /// Meridian's transactions a second by this system's, the median of the rounds' ratios; above 1,
    /// the application gets more done with Meridian.
    meridian_ratio: Option<f64>,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    postgresql: String,
    seconds: u64,
    rounds: u16,
    clients: u16,
    scale: u32,
    machine: Machine,
    figures: Vec<Figures>,
    runs: Vec<Round>,
}

impl Report {
    /// Medians of the rounds.
    pub fn new(options: &Options, machine: Machine, postgresql: String, runs: Vec<Round>) -> Self {
        let systems = options.systems.iter();
        Self {
            benchmark: "postgres-cost",
            postgresql,
            seconds: options.seconds,
            rounds: options.rounds,
            clients: options.clients,
            scale: options.scale,
            machine,
            figures: systems.map(|system| Figures::of(*system, &runs)).collect(),
            runs,
        }
    }
}

impl Figures {
    fn of(system: System, runs: &[Round]) -> Self {
        let of = |system: System| runs.iter().filter(move |run| run.system == system);
        let middle = |figure: fn(&Round) -> f64| {
            median(&of(system).map(figure).collect::<Vec<_>>()).unwrap_or_default()
        };
        let pairs = of(System::Meridian).zip(of(system));
        let ratios: Vec<f64> = pairs
            .map(|(meridian, other)| {
                meridian.run.transactions_per_second / other.run.transactions_per_second
            })
            .collect();
        Self {
            system,
            transactions_per_second: middle(|round| round.run.transactions_per_second),
            latency_ms_mean: middle(|round| round.run.latency_ms_mean),
            behind_seconds: middle(|round| round.behind_seconds),
            processor_us_per_transaction: middle(Round::processor_us),
            servers_us_per_transaction: middle(Round::servers_us),
            meridian_ratio: median(&ratios).filter(|_| system != System::Meridian),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "pgbench -N, {} clients, scale {}, into the first of two PostgreSQL {} servers on one\n\
             machine, {} s, medians of {} rounds in turns; µs of processor time of all servers and regions.\n",
            self.clients, self.scale, self.postgresql, self.seconds, self.rounds
        )?;
        let mut table = Table::new([
            "joined by",
            "tx/s",
            "mean ms",
            "equal after s",
            "µs/tx",
            "of it servers",
            "Meridian is",
        ]);
        for figures in &self.figures {
            let ratio = figures.meridian_ratio;
            table.row([
                figures.system.name().to_owned(),
                rounded(figures.transactions_per_second),
                format!("{:.2}", figures.latency_ms_mean),
                format!("{:.2}", figures.behind_seconds),
                format!("{:.0}", figures.processor_us_per_transaction),
                format!("{:.0}", figures.servers_us_per_transaction),
                ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} x")),
            ]);
        }
        writeln!(f, "{table}")?;
        writeln!(f, "machine: {}", self.machine)
    }
}
