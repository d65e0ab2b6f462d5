//! What `catch-up` reports.

use super::{Options, System};
use clap::ValueEnum;
use meridian_bench::bulk::BulkPlan;
use meridian_bench::latency::median;
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table, rounded, thousands};
use serde::Serialize;
use std::fmt;

/// One round: moments after the return, except for the first.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CatchUp {
    /// How long the writes took while it was away.
    pub write_seconds: f64,
    /// It answers.
    pub ready_seconds: f64,
    /// It has applied everything.
    pub applied_seconds: f64,
    /// Checksums or digests were compared and are equal.
    pub equal_seconds: f64,
}

impl CatchUp {
    /// One line.
    pub fn in_words(&self, plan: BulkPlan) -> String {
        format!(
            "{} transactions in {:.2} s, equal after {:.2} s",
            thousands(plan.transactions()),
            self.applied_seconds,
            self.equal_seconds
        )
    }
}

/// All rounds of a system with transactions of one size.
pub struct Figures {
    /// Which.
    pub system: System,
    /// The size.
    pub rows_per_transaction: u64,
    /// Its rounds.
    pub rounds: Vec<CatchUp>,
}

impl Figures {
    /// No rounds yet.
    pub fn new(system: System, rows_per_transaction: u64) -> Self {
        Self {
            system,
            rows_per_transaction,
            rounds: Vec::new(),
        }
    }

    /// What they are about.
    pub fn in_words(&self) -> String {
        let rows = self.rows_per_transaction;
        format!("{}, {rows} row(s) a transaction", name(self.system))
    }

    fn median(&self, figure: impl Fn(&CatchUp) -> f64) -> f64 {
        median(&self.rounds.iter().map(figure).collect::<Vec<_>>()).unwrap_or(0.0)
    }
}

fn name(system: System) -> String {
    let value = system.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

#[derive(Debug, Serialize)]
struct SystemReport {
    system: String,
    rows_per_transaction: u64,
    write_seconds: f64,
    ready_seconds: f64,
    applied_seconds: f64,
    equal_seconds: f64,
    transactions_per_second: f64,
    megabytes_per_second: f64,
    /// Meridian's transactions a second by this system's; above 1, Meridian is faster.
    meridian_ratio: Option<f64>,
    rounds: Vec<CatchUp>,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    rows: u64,
    value_bytes: u32,
    regions: u64,
    rounds: u16,
    machine: Machine,
    systems: Vec<SystemReport>,
}

impl Report {
    /// Medians of the rounds.
    pub fn new(options: &Options, machine: Machine, figures: &[Figures]) -> Self {
        let systems = figures.iter().map(|one| {
            let applied = |figures: &Figures| figures.median(|round| round.applied_seconds);
            let meridian = figures.iter().find(|other| {
                other.system == System::Meridian
                    && other.rows_per_transaction == one.rows_per_transaction
            });
            let plan = options.plan(one.rows_per_transaction);
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
            let per_second = |count: u64| count as f64 / applied(one);
            SystemReport {
                system: name(one.system),
                rows_per_transaction: one.rows_per_transaction,
                write_seconds: one.median(|round| round.write_seconds),
                ready_seconds: one.median(|round| round.ready_seconds),
                applied_seconds: applied(one),
                equal_seconds: one.median(|round| round.equal_seconds),
                transactions_per_second: per_second(plan.transactions()),
                megabytes_per_second: per_second(plan.bytes()) / 1e6,
                meridian_ratio: meridian.map(|meridian| applied(one) / applied(meridian)),
                rounds: one.rounds.clone(),
            }
        });
        Self {
            benchmark: "catch-up",
            rows: options.rows,
            value_bytes: options.value_bytes,
            regions: options.regions,
            rounds: options.rounds,
            machine,
            systems: systems.collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Catch-up: {} rows with documents of {} bytes written while one is away, medians of {}\n\
             rounds; seconds from its return. MB are 10^6 bytes of keys and documents.\n",
            thousands(self.rows),
            self.value_bytes,
            self.rounds
        )?;
        let mut table = Table::new([
            "system",
            "rows/tx",
            "answers s",
            "applied s",
            "equal s",
            "tx/s",
            "MB/s",
            "Meridian is",
        ]);
        for system in &self.systems {
            table.row([
                system.system.clone(),
                system.rows_per_transaction.to_string(),
                format!("{:.2}", system.ready_seconds),
                format!("{:.2}", system.applied_seconds),
                format!("{:.2}", system.equal_seconds),
                rounded(system.transactions_per_second),
                format!("{:.1}", system.megabytes_per_second),
                match system.meridian_ratio {
                    Some(ratio) if system.system != "meridian" => format!("{ratio:.2} x"),
                    _ => String::new(),
                },
            ]);
        }
        writeln!(f, "{table}")?;
        writeln!(f, "machine: {}", self.machine)
    }
}
