//! What the run showed.

use crate::lag::ReportedDelay;
use meridian_bench::latency::{LatencySummary, milliseconds};
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table, rounded, thousands};
use std::fmt;
use std::time::Duration;

/// A region at the end.
#[derive(Clone, Debug)]
pub struct RegionReport {
    /// Its name.
    pub name: &'static str,
    /// Its rows.
    pub rows: u64,
    /// Its checksum.
    pub checksum: String,
    /// The conflicts it has resolved.
    pub conflicts: u64,
    /// How long the transactions of its peers took.
    pub delays: Vec<ReportedDelay>,
}

/// How many touched rows ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// With an acknowledged update.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
    /// With a later version that no client here wrote.
    pub superseded: u64,
}

/// The whole report.
#[derive(Clone, Debug)]
pub struct Report {
    /// Lines of the file.
    pub lines: u64,
    /// Different keys among them.
    pub distinct_keys: u64,
    /// How long the import took.
    pub import: Duration,
    /// Rows that clients touched.
    pub touched: u64,
    /// Rows that two regions wrote at the same time.
    pub contended: u64,
    /// Updates and deletes acknowledged to clients.
    pub acknowledged: u64,
    /// How the touched rows ended.
    pub standings: Standings,
    /// From the last acknowledgement to equal checksums.
    pub converged: Duration,
    /// From acknowledged to visible in both other regions, during the import.
    pub lag_seen: LatencySummary,
    /// The regions at the end.
    pub regions: Vec<RegionReport>,
    /// The machine.
    pub machine: Machine,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand lines")]
        let rate = self.lines as f64 / self.import.as_secs_f64();
        writeln!(
            f,
            "imported   {} lines, {} different keys, in {:.1} s: {} rows/s",
            thousands(self.lines),
            thousands(self.distinct_keys),
            self.import.as_secs_f64(),
            rounded(rate)
        )?;
        writeln!(
            f,
            "meanwhile  {} writes acknowledged to clients of the two other regions, on {} rows,\n           \
             {} of them written in both regions at the same time",
            thousands(self.acknowledged),
            thousands(self.touched),
            thousands(self.contended)
        )?;
        writeln!(
            f,
            "converged  {:.0} ms after the last acknowledgement\n",
            milliseconds(self.converged)
        )?;
        let mut table = Table::new(["region", "rows", "checksum", "conflicts"]);
        for region in &self.regions {
            table.row([
                region.name.to_owned(),
                thousands(region.rows),
                region.checksum.clone(),
                thousands(region.conflicts),
            ]);
        }
        writeln!(f, "{table}")?;
        writeln!(f, "{}", self.delays())?;
        writeln!(
            f,
            "verified   every acknowledged write is there or superseded by a later version: {} rows\n           \
             updated, {} deleted, {} superseded; {} keys - {} deleted = {} rows",
            thousands(self.standings.updated),
            thousands(self.standings.deleted),
            thousands(self.standings.superseded),
            thousands(self.distinct_keys),
            thousands(self.standings.deleted),
            thousands(self.distinct_keys - self.standings.deleted)
        )?;
        writeln!(f, "machine    {}", self.machine)
    }
}

impl Report {
    fn delays(&self) -> Table {
        let mut table = Table::new(["replication lag, ms", "P50", "P99", "max", "count"]);
        let mut row = |name: String, figures: [f64; 3], count: u64| {
            let figures = figures.map(|figure| format!("{figure:.1}"));
            table.row(
                std::iter::once(name)
                    .chain(figures)
                    .chain([thousands(count)]),
            );
        };
        let seen = self.lag_seen;
        row(
            "seen by a client in both others".to_owned(),
            [seen.p50_ms, seen.p99_ms, seen.max_ms],
            seen.count,
        );
        for region in &self.regions {
            for ReportedDelay { peer, visible } in &region.delays {
                row(
                    format!("{peer} to {}", region.name),
                    [visible.p50_ms, visible.p99_ms, visible.max_ms],
                    visible.count,
                );
            }
        }
        table
    }
}
