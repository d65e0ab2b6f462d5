//! `visible-latency`: from a commit in one region to its visibility to a reader in another.
//!
//! Writes go to the first region in an open loop: each is due at a fixed time whatever the others
//! take, so that a slow region cannot hide behind a slow client. Of some writes the key is watched in
//! another region by GETs in a tight loop, from just before the PUT is sent until the row is there.
//! The moment recorded is when the reply arrived that first showed the row: an upper bound, exact to
//! the time since the GET before it was sent, which is reported as the resolution.
//!
//! Everything runs on one machine with one clock, so the two moments can be subtracted.

mod observer;
mod open_loop;
pub mod report;

use crate::Common;
use crate::output::{talk, workplace};
use anyhow::{Context, Result, ensure};
use meridian_bench::cluster::{Cluster, Region};
use meridian_bench::latency::Latencies;
use meridian_bench::meridian::MeridianClient;
use observer::{Observers, Sighting};
use open_loop::{LoopPlan, WriteRecord};
use report::{RateReport, Report};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CONVERGENCE_DEADLINE: Duration = Duration::from_secs(60);
const CONVERGENCE_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Options of `visible-latency`.
#[derive(clap::Args)]
pub struct Options {
    /// Writes a second, one run for each
    #[arg(long, value_delimiter = ',', default_value = "200,1000,3000,10000",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rates: Vec<u32>,
    /// Seconds of each run
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections that writes are sent on; the most that can be outstanding
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clients: u16,
    /// Writes a second that are watched in another region
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    samples_per_second: u32,
    /// Keys that can be watched at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    observers: u16,
    /// Pause between two GETs of a watched key
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    poll_interval_microseconds: u64,
    /// Length of a document
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(14..=65536))]
    value_bytes: u32,
    /// First of the regions' ports; without it a free block is found
    #[arg(long)]
    base_port: Option<u16>,
    /// End with exit code 2 when a P99 from the acknowledgement is above this many milliseconds
    #[arg(long)]
    p99_ms_max: Option<f64>,
}

impl Options {
    /// The defaults but for these.
    pub fn brief(rate: u32, seconds: u64, value_bytes: usize) -> Result<Self> {
        Ok(Self {
            rates: vec![rate],
            seconds,
            clients: 64,
            samples_per_second: 100,
            observers: 8,
            poll_interval_microseconds: 100,
            value_bytes: u32::try_from(value_bytes).context("the value is too long")?,
            base_port: None,
            p99_ms_max: None,
        })
    }
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace(&common.data_parent)?;
    let cluster = Cluster::start(&common.meridian, directory.path(), options.base_port).await?;
    let rates = measure_all(&cluster.regions, options).await;
    if rates.is_err() {
        talk(&format!(
            "the last words of `meridian up`:\n{}",
            cluster.log_tail()
        ));
    }
    cluster.stop().await.context("stop the regions")?;
    let rates = rates?;
    let met = options.p99_ms_max.is_none_or(|limit| {
        rates
            .iter()
            .all(|rate| rate.from_acknowledged.p99_ms <= limit)
    });
    common.output.print(&Report::new(options, machine, rates))?;
    Ok(met)
}

async fn measure_all(regions: &[Region], options: &Options) -> Result<Vec<RateReport>> {
    let mut rates = Vec::new();
    for rate in &options.rates {
        talk(&format!("{rate} writes/s for {} s", options.seconds));
        let report = measure(regions, *rate, options)
            .await
            .with_context(|| format!("measure at {rate} writes/s"))?;
        talk(&format!("  {}", report.in_words()));
        rates.push(report);
    }
    Ok(rates)
}

/// Writes at a rate into the first region and watches some of the writes in the others.
pub async fn measure(regions: &[Region], rate: u32, options: &Options) -> Result<RateReport> {
    let table = format!("visible-{rate}");
    let (writer, others) = regions.split_first().context("there are no regions")?;
    let observers = Arc::new(Observers::start(
        others,
        &table,
        options.observers.into(),
        Duration::from_micros(options.poll_interval_microseconds),
    ));
    let plan = LoopPlan {
        rate,
        duration: Duration::from_secs(options.seconds),
        sample_every: (rate / options.samples_per_second).max(1),
        value_bytes: options.value_bytes as usize,
    };
    let mut clients = Vec::new();
    for _ in 0..options.clients {
        clients.push(MeridianClient::connect(writer.api, &table).await?);
    }
    let written = open_loop::run(clients, plan, &observers).await?;
    let observers = Arc::into_inner(observers).context("the writers still hold the observers")?;
    let sightings = tokio::task::spawn_blocking(|| observers.finish()).await??;
    let written_rows = written.latencies.count();
    let converged_seconds = converge(regions, &table, written_rows).await?;
    let seen = Seen::join(&written.watched, &sightings)?;
    Ok(RateReport {
        rate,
        written: written_rows,
        writes_per_second: written.writes_per_second(),
        from_acknowledged: seen.from_acknowledged.summary(),
        from_sent: seen.from_sent.summary(),
        write: written.latencies.summary(),
        resolution: seen.resolution.summary(),
        schedule_slip: written.slips.summary(),
        before_acknowledged: seen.before_acknowledged,
        not_watched: written.not_watched,
        converged_seconds,
    })
}

/// The watched writes and when they were seen.
#[derive(Default)]
struct Seen {
    from_acknowledged: Latencies,
    from_sent: Latencies,
    resolution: Latencies,
    before_acknowledged: u64,
}

impl Seen {
    fn join(watched: &[WriteRecord], sightings: &[Sighting]) -> Result<Self> {
        let by_number: HashMap<u64, &Sighting> = sightings
            .iter()
            .map(|sighting| (sighting.number, sighting))
            .collect();
        let mut seen = Self::default();
        for write in watched {
            let sighting = by_number
                .get(&write.number)
                .with_context(|| format!("write {} was never looked for", write.number))?;
            let acknowledged = write.acknowledged;
            seen.from_sent.record(sighting.visible - write.sent);
            seen.from_acknowledged
                .record(sighting.visible.saturating_duration_since(acknowledged));
            seen.resolution.record(sighting.resolution);
            seen.before_acknowledged += u64::from(sighting.visible < acknowledged);
        }
        Ok(seen)
    }
}

/// Waits until every region holds all rows and the same checksum; says how long that took.
async fn converge(regions: &[Region], table: &str, rows: u64) -> Result<f64> {
    let started = Instant::now();
    loop {
        let mut checksums = Vec::new();
        for region in regions {
            let mut client = MeridianClient::connect(region.api, table).await?;
            checksums.push(client.checksum().await?);
        }
        let equal = checksums.windows(2).all(|pair| pair[0] == pair[1]);
        if equal && checksums.iter().all(|checksum| checksum.rows == rows) {
            return Ok(started.elapsed().as_secs_f64());
        }
        ensure!(
            started.elapsed() < CONVERGENCE_DEADLINE,
            "{rows} rows were written, but after {} s the regions hold {checksums:?}",
            CONVERGENCE_DEADLINE.as_secs()
        );
        tokio::time::sleep(CONVERGENCE_POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use meridian_bench::stand_in::{Behaviour, start};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_delay_between_regions_is_what_is_measured() {
        let delay = Duration::from_millis(25);
        let regions = start(Behaviour {
            delay,
            ..Behaviour::default()
        })
        .await
        .unwrap();
        let options = Command::parse_from(["test", "--seconds", "1", "--samples-per-second", "50"]);
        let report = measure(&regions, 200, &options.options).await.unwrap();
        assert_eq!(report.written, 200);
        let watched = report.from_sent.count;
        assert_eq!(watched + report.not_watched, 50);
        assert!(watched >= 25, "{report:?}");
        assert!(report.from_sent.p50_ms >= 25.0, "{report:?}");
        assert!(report.from_acknowledged.p50_ms >= 20.0, "{report:?}");
        assert!(report.from_acknowledged.p50_ms <= report.from_sent.p50_ms);
        assert!(report.resolution.p50_ms < 25.0, "{report:?}");
    }
}
