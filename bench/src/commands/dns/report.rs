//! What `dns` found.

use super::Kind;
use super::load::Run;
use super::systems::System;
use meridian_bench::latency::median;
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table, rounded, thousands};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// One run of the load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    pub queries_per_second: f64,
    pub lost: u64,
    /// The server's processor time, in its own code and the kernel's.
    pub processor_microseconds_per_query: f64,
    /// Once the zone was loaded.
    pub loaded_megabytes: f64,
    /// After the load.
    pub resident_megabytes: f64,
}

impl Round {
    pub fn new(run: Run, spent: Duration, loaded_bytes: u64, resident_bytes: u64) -> Self {
        Self {
            queries_per_second: run.queries_per_second,
            lost: run.lost,
            processor_microseconds_per_query: spent.as_secs_f64() * 1e6
                / run.completed.max(1) as f64,
            loaded_megabytes: loaded_bytes as f64 / 1e6,
            resident_megabytes: resident_bytes as f64 / 1e6,
        }
    }

    pub fn in_words(&self) -> String {
        format!(
            "{} queries/s, {:.2} µs of processor time each",
            rounded(self.queries_per_second),
            self.processor_microseconds_per_query
        )
    }
}

/// All rounds of one system under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    pub system: &'static str,
    pub kind: Kind,
    pub threads: usize,
    pub rounds: Vec<Round>,
}

impl Cell {
    pub fn new(system: System, kind: Kind, threads: usize) -> Self {
        Self {
            system: system.name(),
            kind,
            threads,
            rounds: Vec::new(),
        }
    }

    pub fn is(&self, system: System, kind: Kind, threads: usize) -> bool {
        (self.system, self.kind, self.threads) == (system.name(), kind, threads)
    }

    fn median(&self, figure: fn(&Round) -> f64) -> f64 {
        median(&self.rounds.iter().map(figure).collect::<Vec<_>>()).unwrap_or(0.0)
    }
}

/// Meridian's figures over another's: medians of the rounds' ratios, each round's runs being
/// neighbours in time.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    pub to: &'static str,
    pub kind: Kind,
    pub threads: usize,
    pub queries_per_second: f64,
    /// Above 1 where a query costs Meridian less.
    pub queries_per_processor_second: f64,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    names: u32,
    seconds: u64,
    machine: Machine,
    versions: Vec<String>,
    cells: Vec<Cell>,
    ratios: Vec<Ratio>,
}

impl Report {
    pub fn new(
        names: u32,
        seconds: u64,
        machine: Machine,
        versions: Vec<(System, String)>,
        cells: Vec<Cell>,
    ) -> Self {
        let versions = versions.into_iter();
        let ratios = cells.iter().filter_map(|cell| ratio(&cells, cell));
        Self {
            benchmark: "dns",
            names,
            seconds,
            machine,
            versions: versions
                .map(|(system, version)| format!("{} {version}", system.name()))
                .collect(),
            ratios: ratios.collect(),
            cells,
        }
    }

    /// Whether Meridian answers at least so many times as many queries as gdnsd, under every load.
    pub fn is_met(&self, limit: f64) -> bool {
        let mut ratios = self.ratios.iter().filter(|ratio| ratio.to == "gdnsd");
        ratios.all(|ratio| ratio.queries_per_second >= limit)
    }

    fn ratio_to(&self, cell: &Cell) -> Option<&Ratio> {
        self.ratios.iter().find(|ratio| {
            (ratio.to, ratio.kind, ratio.threads) == (cell.system, cell.kind, cell.threads)
        })
    }
}

fn ratio(cells: &[Cell], to: &Cell) -> Option<Ratio> {
    let own = cells.iter().find(|cell| {
        (cell.system, cell.kind, cell.threads) == (System::Meridian.name(), to.kind, to.threads)
    })?;
    if own.system == to.system {
        return None;
    }
    let ratio = |of: fn(&Round, &Round) -> f64| {
        let rounds = own.rounds.iter().zip(&to.rounds);
        median(&rounds.map(|(own, to)| of(own, to)).collect::<Vec<_>>())
    };
    Some(Ratio {
        to: to.system,
        kind: to.kind,
        threads: to.threads,
        queries_per_second: ratio(|own, to| own.queries_per_second / to.queries_per_second)?,
        queries_per_processor_second: ratio(|own, to| {
            to.processor_microseconds_per_query / own.processor_microseconds_per_query
        })?,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Queries by datagram, {} names, {} s of load in each round; medians of {} rounds.\n{}\n",
            thousands(u64::from(self.names)),
            self.seconds,
            self.cells.first().map_or(0, |cell| cell.rounds.len()),
            self.versions.join(", ")
        )?;
        let mut table = Table::new([
            "asked, threads, system",
            "queries/s",
            "server µs/query",
            "MB loaded",
            "MB after",
            "Meridian is",
            "per processor second",
        ]);
        for cell in &self.cells {
            let kind = match cell.kind {
                Kind::Static => "static",
                Kind::Geo => "geo with ECS",
            };
            let ratio = self.ratio_to(cell);
            let times = |of: fn(&Ratio) -> f64| {
                ratio.map_or_else(String::new, |ratio| format!("{:.2} ×", of(ratio)))
            };
            table.row([
                format!("{kind}, {}, {}", cell.threads, cell.system),
                rounded(cell.median(|round| round.queries_per_second)),
                format!(
                    "{:.2}",
                    cell.median(|round| round.processor_microseconds_per_query)
                ),
                format!("{:.1}", cell.median(|round| round.loaded_megabytes)),
                format!("{:.1}", cell.median(|round| round.resident_megabytes)),
                times(|ratio| ratio.queries_per_second),
                times(|ratio| ratio.queries_per_processor_second),
            ]);
        }
        writeln!(f, "{table}\n{}", self.machine)
    }
}
