//! How long transactions take to the other regions, in two ways: a client writes a row in the
//! importing region and waits for it in the others while the import runs; and the regions say
//! themselves, for all transactions.

use anyhow::{Context, Result};
use meridian_bench::cluster::Region;
use meridian_bench::latency::Latencies;
use meridian_bench::meridian::MeridianClient;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A table of the probe's own, lest it count among the flights.
const TABLE: &str = "flights_lag";
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// When to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends all that were given this.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// From acknowledged in `from` to visible in every other region, until asked to stop. Timers of a
/// millisecond make each figure up to two too large.
pub async fn probe(from: Region, others: Vec<Region>, stop: Stop) -> Result<Latencies> {
    let mut writer = MeridianClient::connect(from.api, TABLE).await?;
    let mut readers = Vec::new();
    for region in &others {
        readers.push(MeridianClient::connect(region.api, TABLE).await?);
    }
    let mut lags = Latencies::default();
    let mut number = 0_u64;
    while !stop.is_asked() {
        let key = number.to_string();
        writer.put(&key, "{}".into()).await?;
        let acknowledged = Instant::now();
        for reader in &mut readers {
            while reader.row(&key).await?.is_none() {
                if stop.is_asked() && acknowledged.elapsed() > Duration::from_secs(60) {
                    anyhow::bail!("the row {key} of the lag probe did not become visible in time");
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        lags.record(acknowledged.elapsed());
        number += 1;
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
    Ok(lags)
}

/// The delay of one peer's transactions in a region, as the region reports it: from their commit there
/// to visible here, since the process started.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ReportedDelay {
    /// Where the transactions come from.
    pub peer: String,
    /// Its percentiles.
    pub visible: Percentiles,
}

/// Percentiles as a region reports them.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// How many transactions.
    pub count: u64,
}

/// What a region reports of the transactions of its peers.
pub async fn reported(region: &Region) -> Result<Vec<ReportedDelay>> {
    let mut client = MeridianClient::connect(region.api, TABLE).await?;
    let replication = client.json("/v1/replication").await?;
    serde_json::from_value(replication["peers"].clone())
        .with_context(|| format!("{} reports no delays: {replication}", region.name))
}
