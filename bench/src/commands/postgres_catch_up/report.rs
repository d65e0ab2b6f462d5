//! What `postgres-catch-up` reports.

use super::Options;
use meridian_bench::latency::median;
use meridian_bench::machine::Machine;
use meridian_bench::postgres::System;
use meridian_bench::table::{Table, rounded, thousands};
use serde::Serialize;
use std::fmt;

/// One round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CatchUp {
    /// What was measured.
    pub system: System,
    /// How many servers.
    pub regions: usize,
    /// Rows in each transaction.
    pub rows_per_transaction: u64,
    /// How many transactions were missed.
    pub transactions: u64,
    /// How long they took to write.
    pub write_seconds: f64,
    /// From going on until all servers had them.
    pub seconds: f64,
    /// The processor time of all servers and regions meanwhile.
    pub processor_seconds: f64,
    /// Of it, that of the servers.
    pub servers_seconds: f64,
}

impl CatchUp {
    /// One line.
    pub fn in_words(&self) -> String {
        format!(
            "{}, {} servers, {} row(s) a transaction: {} transactions in {:.2} s, {}/s",
            self.system.name(),
            self.regions,
            self.rows_per_transaction,
            thousands(self.transactions),
            self.seconds,
            rounded(self.per_second())
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn per_second(&self) -> f64 {
        self.transactions as f64 / self.seconds
    }

    fn processor_us(&self) -> f64 {
        self.us_of_each(self.processor_seconds)
    }

    fn servers_us(&self) -> f64 {
        self.us_of_each(self.servers_seconds)
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn us_of_each(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.transactions as f64
    }
}

/// Medians of a system's rounds of one kind.
#[derive(Debug, Serialize)]
struct Figures {
    system: System,
    regions: u64,
    rows_per_transaction: u64,
    seconds: f64,
    transactions_per_second: f64,
    rows_per_second: f64,
    /// Of all servers and regions, for each transaction.
    processor_us_per_transaction: f64,
    /// Of it, that of the servers.
    servers_us_per_transaction: f64,
    /// Meridian's transactions a second by this system's, the median of the rounds' ratios; above 1,
    /// Meridian is faster.
    meridian_ratio: Option<f64>,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    postgresql: String,
    rows: u64,
    accounts: u64,
    rounds: u16,
    machine: Machine,
    figures: Vec<Figures>,
    runs: Vec<CatchUp>,
}

impl Report {
    /// Medians of the rounds.
    pub fn new(
        options: &Options,
        machine: Machine,
        postgresql: String,
        runs: Vec<CatchUp>,
    ) -> Self {
        let mut figures = Vec::new();
        for regions in &options.regions {
            for rows in &options.rows_per_transaction {
                for system in &options.systems {
                    figures.push(Figures::of(*system, *regions, *rows, &runs));
                }
            }
        }
        Self {
            benchmark: "postgres-catch-up",
            postgresql,
            rows: options.rows,
            accounts: options.accounts,
            rounds: options.rounds,
            machine,
            figures,
            runs,
        }
    }
}

impl Figures {
    fn of(system: System, regions: u64, rows_per_transaction: u64, runs: &[CatchUp]) -> Self {
        let of = |system: System| {
            runs.iter().filter(move |run| {
                run.system == system
                    && run.regions as u64 == regions
                    && run.rows_per_transaction == rows_per_transaction
            })
        };
        let middle = |figure: fn(&CatchUp) -> f64| {
            median(&of(system).map(figure).collect::<Vec<_>>()).unwrap_or_default()
        };
        let pairs = of(System::Meridian).zip(of(system));
        let ratios: Vec<f64> = pairs
            .map(|(meridian, other)| meridian.per_second() / other.per_second())
            .collect();
        let per_second = middle(CatchUp::per_second);
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let rows_per_second = per_second * rows_per_transaction as f64;
        Self {
            system,
            regions,
            rows_per_transaction,
            seconds: middle(|run| run.seconds),
            transactions_per_second: per_second,
            rows_per_second,
            processor_us_per_transaction: middle(CatchUp::processor_us),
            servers_us_per_transaction: middle(CatchUp::servers_us),
            meridian_ratio: median(&ratios).filter(|_| system != System::Meridian),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Catch-up between PostgreSQL {} servers on one machine: {} rows written while replication\n\
             is paused, medians of {} rounds in turns; µs of processor time of all servers and regions.\n",
            self.postgresql,
            thousands(self.rows),
            self.rounds
        )?;
        let mut table = Table::new([
            "system",
            "servers",
            "rows/tx",
            "seconds",
            "tx/s",
            "rows/s",
            "µs/tx",
            "of it servers",
            "Meridian is",
        ]);
        for figures in &self.figures {
            let ratio = figures.meridian_ratio;
            table.row([
                figures.system.name().to_owned(),
                figures.regions.to_string(),
                thousands(figures.rows_per_transaction),
                format!("{:.2}", figures.seconds),
                rounded(figures.transactions_per_second),
                rounded(figures.rows_per_second),
                format!("{:.1}", figures.processor_us_per_transaction),
                format!("{:.1}", figures.servers_us_per_transaction),
                ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} x")),
            ]);
        }
        writeln!(f, "{table}")?;
        writeln!(f, "machine: {}", self.machine)
    }
}
