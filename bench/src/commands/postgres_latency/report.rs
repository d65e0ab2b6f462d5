//! The report of `postgres-latency`.

use super::Options;
use super::open_loop::Written;
use meridian_bench::latency::{LatencySummary, median};
use meridian_bench::machine::Machine;
use meridian_bench::postgres::System;
use meridian_bench::table::{Table, rounded, thousands};
use serde::Serialize;
use std::fmt;

/// One run at one rate.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// What was measured.
    pub system: System,
    /// Transactions a second asked for.
    pub rate: u32,
    /// Transactions acknowledged; both servers had the same rows afterwards.
    pub written: u64,
    /// What was reached of the rate.
    pub writes_per_second: f64,
    /// From the acknowledgement at the writer to visible in the other server; 0 where it was visible
    /// before.
    pub from_acknowledged: LatencySummary,
    /// From sent by the writer to visible in the other server.
    pub from_sent: LatencySummary,
    /// From sent to acknowledged, of all.
    pub write: LatencySummary,
    /// How much too late the moments may be.
    pub resolution: LatencySummary,
    /// From due to sent.
    pub schedule_slip: LatencySummary,
    /// Transactions that should have been watched, but every observer was still waiting.
    pub not_watched: u64,
}

impl Round {
    /// The figures of a run.
    pub fn new(system: System, rate: u32, written: &Written) -> Self {
        Self {
            system,
            rate,
            written: written.latencies.count(),
            writes_per_second: written.writes_per_second(),
            from_acknowledged: written.from_acknowledged.summary(),
            from_sent: written.from_sent.summary(),
            write: written.latencies.summary(),
            resolution: written.resolution.summary(),
            schedule_slip: written.slips.summary(),
            not_watched: written.not_watched,
        }
    }

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

/// Medians of a system's rounds at one rate.
#[derive(Debug, Serialize)]
struct Figures {
    system: System,
    rate: u32,
    writes_per_second: f64,
    acknowledged_ms_p50: f64,
    acknowledged_ms_p99: f64,
    sent_ms_p50: f64,
    sent_ms_p99: f64,
    write_ms_p50: f64,
    slip_ms_p99: f64,
    resolution_ms_p99: f64,
    not_watched: u64,
    /// Meridian's P99 from the acknowledgement by this system's, the median of the rounds' ratios;
    /// below 1, Meridian is faster.
    meridian_p99_ratio: Option<f64>,
    /// The same of P50.
    meridian_p50_ratio: Option<f64>,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    benchmark: &'static str,
    postgresql: String,
    seconds: u64,
    rounds: u16,
    value_bytes: u32,
    machine: Machine,
    figures: Vec<Figures>,
    runs: Vec<Round>,
}

impl Report {
    /// Medians of the rounds.
    pub fn new(options: &Options, machine: Machine, postgresql: String, runs: Vec<Round>) -> Self {
        let mut figures = Vec::new();
        for rate in &options.rates {
            for system in &options.systems {
                figures.push(Figures::of(*system, *rate, &runs));
            }
        }
        Self {
            benchmark: "postgres-latency",
            postgresql,
            seconds: options.seconds,
            rounds: options.rounds,
            value_bytes: options.value_bytes,
            machine,
            figures,
            runs,
        }
    }

    /// Meridian's P99 by native's, at each rate.
    pub fn p99_ratios(&self) -> impl Iterator<Item = f64> + '_ {
        self.figures
            .iter()
            .filter_map(|figures| figures.meridian_p99_ratio)
    }
}

impl Figures {
    fn of(system: System, rate: u32, runs: &[Round]) -> Self {
        let of = |system: System| {
            runs.iter()
                .filter(move |run| run.system == system && run.rate == rate)
        };
        let middle = |figure: fn(&Round) -> f64| {
            median(&of(system).map(figure).collect::<Vec<_>>()).unwrap_or_default()
        };
        let ratio = |figure: fn(&Round) -> f64| {
            let pairs = of(System::Meridian).zip(of(system));
            let ratios: Vec<f64> = pairs
                .map(|(meridian, other)| figure(meridian) / figure(other).max(f64::EPSILON))
                .collect();
            median(&ratios).filter(|_| system != System::Meridian)
        };
        Self {
            system,
            rate,
            writes_per_second: middle(|run| run.writes_per_second),
            acknowledged_ms_p50: middle(|run| run.from_acknowledged.p50_ms),
            acknowledged_ms_p99: middle(|run| run.from_acknowledged.p99_ms),
            sent_ms_p50: middle(|run| run.from_sent.p50_ms),
            sent_ms_p99: middle(|run| run.from_sent.p99_ms),
            write_ms_p50: middle(|run| run.write.p50_ms),
            slip_ms_p99: middle(|run| run.schedule_slip.p99_ms),
            resolution_ms_p99: middle(|run| run.resolution.p99_ms),
            not_watched: of(system).map(|run| run.not_watched).sum(),
            meridian_p99_ratio: ratio(|run| run.from_acknowledged.p99_ms),
            meridian_p50_ratio: ratio(|run| run.from_acknowledged.p50_ms),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Commit in one PostgreSQL {} to visible in another on the same machine, no WAN: rows of {}\n\
             bytes, one a transaction, {} s at each rate, medians of {} rounds in turns, milliseconds.\n",
            self.postgresql, self.value_bytes, self.seconds, self.rounds
        )?;
        let mut table = Table::new([
            "system",
            "tx/s",
            "reached",
            "ack P50",
            "ack P99",
            "sent P50",
            "sent P99",
            "write P50",
            "slip P99",
            "resolution P99",
            "Meridian's P99 is",
        ]);
        for figures in &self.figures {
            let times = [
                figures.acknowledged_ms_p50,
                figures.acknowledged_ms_p99,
                figures.sent_ms_p50,
                figures.sent_ms_p99,
                figures.write_ms_p50,
                figures.slip_ms_p99,
                figures.resolution_ms_p99,
            ];
            let ratio = figures.meridian_p99_ratio;
            table.row(
                [
                    figures.system.name().to_owned(),
                    thousands(figures.rate.into()),
                    rounded(figures.writes_per_second),
                ]
                .into_iter()
                .chain(times.map(|figure| format!("{figure:.2}")))
                .chain([ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} x"))]),
            );
        }
        writeln!(f, "{table}")?;
        for figures in self.figures.iter().filter(|it| it.not_watched > 0) {
            writeln!(
                f,
                "{} at {}: {} rows could not be watched because every observer was waiting",
                figures.system.name(),
                figures.rate,
                thousands(figures.not_watched)
            )?;
        }
        writeln!(f, "machine: {}", self.machine)
    }
}
