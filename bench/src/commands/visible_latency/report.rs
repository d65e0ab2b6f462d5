//! The report of `visible-latency`.

use super::Options;
use meridian_bench::latency::LatencySummary;
use meridian_bench::machine::Machine;
use meridian_bench::table::{Table, rounded, thousands};
use serde::Serialize;
use std::fmt;

/// What was measured at one rate.
#[derive(Debug, Serialize)]
pub struct RateReport {
    /// Writes a second asked for.
    pub rate: u32,
    /// Writes acknowledged, all of them counted in every region afterwards.
    pub written: u64,
    /// What was reached of the rate.
    pub writes_per_second: f64,
    /// From the acknowledgement at the writer to visible in another region; 0 where it was visible
    /// before the acknowledgement had reached the writer.
    pub from_acknowledged: LatencySummary,
    /// From sent by the writer to visible in another region.
    pub from_sent: LatencySummary,
    /// From sent to acknowledged, of all writes.
    pub write: LatencySummary,
    /// How much too late the moments may be.
    pub resolution: LatencySummary,
    /// From due to sent.
    pub schedule_slip: LatencySummary,
    /// Watched writes that were visible before they were acknowledged.
    pub before_acknowledged: u64,
    /// Writes that should have been watched, but every observer was still waiting: the figures then
    /// leave out some of the worst moments.
    pub not_watched: u64,
    /// From the last acknowledgement to equal checksums with all rows in every region.
    pub converged_seconds: f64,
}

impl RateReport {
    /// One line.
    pub fn in_words(&self) -> String {
        format!(
            "{} watched: P50 {:.2} ms, P99 {:.2} ms from the acknowledgement",
            thousands(self.from_acknowledged.count),
            self.from_acknowledged.p50_ms,
            self.from_acknowledged.p99_ms
        )
    }
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    seconds: u64,
    value_bytes: u32,
    poll_interval_microseconds: u64,
    machine: Machine,
    rates: Vec<RateReport>,
}

impl Report {
    /// Everything measured.
    pub fn new(options: &Options, machine: Machine, rates: Vec<RateReport>) -> Self {
        Self {
            benchmark: "visible-latency",
            seconds: options.seconds,
            value_bytes: options.value_bytes,
            poll_interval_microseconds: options.poll_interval_microseconds,
            machine,
            rates,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Commit in one region to visible in another, three regions on one machine, no WAN:\n\
             documents of {} bytes, {} s at each rate, milliseconds.\n",
            self.value_bytes, self.seconds
        )?;
        let mut table = Table::new([
            "writes/s",
            "reached",
            "watched",
            "ack P50",
            "ack P99",
            "ack max",
            "sent P50",
            "sent P99",
            "sent max",
            "write P99",
            "resolution P50",
            "P99",
            "slip P99",
        ]);
        for rate in &self.rates {
            table.row(
                [
                    thousands(rate.rate.into()),
                    rounded(rate.writes_per_second),
                    thousands(rate.from_acknowledged.count),
                ]
                .into_iter()
                .chain(
                    [
                        rate.from_acknowledged.p50_ms,
                        rate.from_acknowledged.p99_ms,
                        rate.from_acknowledged.max_ms,
                        rate.from_sent.p50_ms,
                        rate.from_sent.p99_ms,
                        rate.from_sent.max_ms,
                        rate.write.p99_ms,
                        rate.resolution.p50_ms,
                        rate.resolution.p99_ms,
                        rate.schedule_slip.p99_ms,
                    ]
                    .map(|figure| format!("{figure:.2}")),
                ),
            );
        }
        writeln!(f, "{table}")?;
        for rate in self.rates.iter().filter(|rate| rate.not_watched > 0) {
            writeln!(
                f,
                "at {}: {} writes could not be watched because every observer was waiting",
                rate.rate,
                thousands(rate.not_watched)
            )?;
        }
        writeln!(f, "machine: {}", self.machine)
    }
}
