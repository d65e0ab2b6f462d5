//! What `scale` reports.

use super::{Axis, Cell, Options};
use crate::commands::visible_latency::report::RateReport;
use clap::ValueEnum;
use meridian_bench::latency::LatencySummary;
use meridian_bench::load::LoadOutcome;
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table, rounded, thousands};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// One cell.
#[derive(Debug, Serialize)]
pub struct CellReport {
    axis: String,
    rows: u64,
    regions: usize,
    value_bytes: usize,
    writes_per_second: f64,
    write: LatencySummary,
    /// Processor time of all regions for a write, until all have it.
    server_microseconds_per_write: f64,
    /// From the acknowledgement to the first read elsewhere; none of one region.
    visible: Option<LatencySummary>,
}

impl CellReport {
    /// The figures of a cell.
    pub fn new(
        cell: Cell,
        outcome: &LoadOutcome,
        used: Duration,
        visible: Option<&RateReport>,
    ) -> Self {
        let writes = outcome.acknowledged_total().max(1);
        #[expect(clippy::cast_precision_loss, reason = "far fewer writes than 2^52")]
        let server_microseconds_per_write = used.as_secs_f64() * 1e6 / writes as f64;
        Self {
            axis: name(cell.axis),
            rows: cell.rows,
            regions: cell.regions,
            value_bytes: cell.value_bytes,
            writes_per_second: outcome.writes_per_second(),
            write: outcome.latencies.summary(),
            server_microseconds_per_write,
            visible: visible.map(|rate| rate.from_acknowledged),
        }
    }

    /// One line.
    pub fn in_words(&self) -> String {
        format!(
            "{} writes/s at {:.1} µs of processor time",
            rounded(self.writes_per_second),
            self.server_microseconds_per_write
        )
    }
}

fn name(axis: Axis) -> String {
    let value = axis.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    clients: u16,
    seconds: u64,
    visible_rate: u32,
    machine: Machine,
    cells: Vec<CellReport>,
}

impl Report {
    /// Everything measured.
    pub fn new(options: &Options, machine: Machine, cells: Vec<CellReport>) -> Self {
        Self {
            benchmark: "scale",
            clients: options.clients,
            seconds: options.seconds,
            visible_rate: options.visible_rate,
            machine,
            cells,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Writes of rows that are there, into the first region, {} clients, {} s a cell; processor\n\
             time of all regions together; visible in another region at {} writes/s.\n",
            self.clients, self.seconds, self.visible_rate
        )?;
        let mut table = Table::new([
            "growing",
            "rows",
            "regions",
            "value bytes",
            "writes/s",
            "P99 ms",
            "µs/write",
            "visible P50 ms",
            "P99 ms",
        ]);
        for cell in &self.cells {
            let seen = |figure: fn(&LatencySummary) -> f64| {
                let figure = cell.visible.as_ref().map(figure);
                figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}"))
            };
            table.row([
                cell.axis.clone(),
                thousands(cell.rows),
                cell.regions.to_string(),
                thousands(cell.value_bytes as u64),
                rounded(cell.writes_per_second),
                format!("{:.2}", cell.write.p99_ms),
                format!("{:.1}", cell.server_microseconds_per_write),
                seen(|visible| visible.p50_ms),
                seen(|visible| visible.p99_ms),
            ]);
        }
        writeln!(f, "{table}")?;
        writeln!(f, "machine: {}", self.machine)
    }
}
