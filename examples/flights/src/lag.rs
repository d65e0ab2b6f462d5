//! How far the regions are behind each other while the import runs, as seen in two ways: by a client
//! that writes a row in the importing region and waits for it in the others, and by what the regions
//! say of themselves.

use anyhow::Result;
use meridian_bench::cluster::Region;
use meridian_bench::latency::Latencies;
use meridian_bench::meridian::MeridianClient;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A table of the probe's own, lest it count among the flights.
const TABLE: &str = "flights_lag";
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
const POLL_INTERVAL: Duration = Duration::from_millis(1);
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

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

/// Every `lag_seconds` that the regions report, until asked to stop.
pub async fn reported(regions: Vec<Region>, stop: Stop) -> Result<Latencies> {
    let mut clients = Vec::new();
    for region in &regions {
        clients.push(MeridianClient::connect(region.api, TABLE).await?);
    }
    let mut lags = Latencies::default();
    while !stop.is_asked() {
        for client in &mut clients {
            let replication = client.json("/v1/replication").await?;
            for seconds in numbers_named("lag_seconds", &replication) {
                lags.record(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            }
        }
        tokio::time::sleep(REPORT_INTERVAL).await;
    }
    Ok(lags)
}

/// All numbers under a name, at any depth.
fn numbers_named(name: &str, value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items
            .iter()
            .flat_map(|item| numbers_named(name, item))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(field, value)| match value.as_f64() {
                Some(number) if field == name => vec![number],
                _ => numbers_named(name, value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lags_are_found_at_any_depth() {
        let replication = json!({"peers": [
            {"peer": "a", "datasets": [{"lag_seconds": 0.5, "lag_transactions": 9}]},
            {"peer": "b", "datasets": [{"lag_seconds": 2}, {"lag_seconds": null}]},
        ]});
        assert_eq!(numbers_named("lag_seconds", &replication), [0.5, 2.0]);
    }
}
