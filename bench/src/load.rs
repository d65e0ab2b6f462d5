//! The closed-loop load of the durable-write comparison: each client keeps exactly one write
//! outstanding and writes keys that nobody else writes.
//!
//! Keys and values follow from the client's number and a counter alone, so that a sample of what
//! was acknowledged can be read back and compared without having kept it. Values are JSON documents
//! of hexadecimal noise: valid for a store of documents, opaque to the others, and of no use to
//! compression beyond their alphabet.

use crate::latency::Latencies;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// One client's connection to a store.
pub trait KeyWriter: Send + 'static {
    /// Why a write was not acknowledged.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Writes `value` under `key`; returns once the store has acknowledged it as durable.
    fn write(
        &mut self,
        key: &str,
        value: Bytes,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// How long and how large.
#[derive(Clone, Copy, Debug)]
pub struct LoadPlan {
    /// Load before anything is recorded.
    pub warmup: Duration,
    /// Load that is recorded.
    pub measured: Duration,
    /// The length of each value.
    pub value_bytes: usize,
}

/// What a load did.
#[derive(Clone, Debug, Default)]
pub struct LoadOutcome {
    /// How many writes each client got acknowledged, warm-up included: its keys count from 0 to this.
    pub acknowledged: Vec<u64>,
    /// Latencies of the writes acknowledged in the measured time.
    pub latencies: Latencies,
    /// The measured time.
    pub measured: Duration,
}

impl LoadOutcome {
    /// All acknowledged writes, warm-up included.
    #[must_use]
    pub fn acknowledged_total(&self) -> u64 {
        self.acknowledged.iter().sum()
    }

    /// Acknowledged writes a second in the measured time.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far fewer writes than 2^52")]
    pub fn writes_per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.measured.as_secs_f64()
    }

    /// `count` acknowledged writes as (client, number), spread evenly over all clients and times,
    /// each client's last one included.
    #[must_use]
    pub fn sample(&self, count: u64) -> Vec<(usize, u64)> {
        let clients = u64::try_from(self.acknowledged.len()).unwrap_or(1).max(1);
        let per_client = (count / clients).max(1);
        self.acknowledged
            .iter()
            .enumerate()
            .flat_map(|(client, total)| {
                (1..=per_client.min(*total))
                    .map(move |step| (client, total * step / per_client.min(*total) - 1))
            })
            .collect()
    }
}

/// The key of a client's write `number`.
#[must_use]
pub fn key(client: usize, number: u64) -> String {
    format!("bench-{client:03}-{number:010}")
}

/// The value of a client's write `number`: a JSON document of `length` bytes (14 at least).
#[must_use]
pub fn value(client: usize, number: u64, length: usize) -> Bytes {
    const OPEN: &[u8] = b"{\"noise\":\"";
    const CLOSE: &[u8] = b"\"}";
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let noise_end = length.saturating_sub(CLOSE.len()).max(OPEN.len() + 2);
    let mut text = Vec::with_capacity(noise_end + CLOSE.len());
    text.extend_from_slice(OPEN);
    let mut state = number.wrapping_mul(0x1_0000).wrapping_add(client as u64);
    while text.len() < noise_end {
        let mut bits = split_mix(&mut state);
        for _ in 0..16.min(noise_end - text.len()) {
            text.push(HEX[(bits & 15) as usize]);
            bits >>= 4;
        }
    }
    text.extend_from_slice(CLOSE);
    text.into()
}

/// The next number of `SplitMix64` (Steele, Lea and Flood, 2014).
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Runs the load, one task for each writer.
///
/// # Errors
/// The first write that failed: a figure with failed writes in it is no figure.
pub async fn run<W: KeyWriter>(writers: Vec<W>, plan: LoadPlan) -> Result<LoadOutcome, W::Error> {
    let started = Instant::now();
    let clients: Vec<_> = writers
        .into_iter()
        .enumerate()
        .map(|(client, writer)| tokio::spawn(run_client(client, writer, plan, started)))
        .collect();
    let mut outcome = LoadOutcome {
        measured: plan.measured,
        ..LoadOutcome::default()
    };
    for client in clients {
        let (acknowledged, latencies) = client.await.expect("a client's task does not panic")?;
        outcome.acknowledged.push(acknowledged);
        outcome.latencies.merge(&latencies);
    }
    Ok(outcome)
}

async fn run_client<W: KeyWriter>(
    client: usize,
    mut writer: W,
    plan: LoadPlan,
    started: Instant,
) -> Result<(u64, Latencies), W::Error> {
    let measured_from = started + plan.warmup;
    let measured_until = measured_from + plan.measured;
    let mut latencies = Latencies::default();
    let mut number = 0;
    loop {
        let value = value(client, number, plan.value_bytes);
        let sent = Instant::now();
        if sent >= measured_until {
            return Ok((number, latencies));
        }
        writer.write(&key(client, number), value).await?;
        number += 1;
        let acknowledged = Instant::now();
        if acknowledged >= measured_from && acknowledged < measured_until {
            latencies.record(acknowledged - sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    #[derive(Debug, thiserror::Error)]
    #[error("full")]
    struct Full;

    struct Shelf {
        rows: Arc<Mutex<BTreeMap<String, Bytes>>>,
        room: usize,
    }

    impl KeyWriter for Shelf {
        type Error = Full;

        async fn write(&mut self, key: &str, value: Bytes) -> Result<(), Full> {
            tokio::task::yield_now().await;
            let mut rows = self.rows.lock().unwrap();
            if rows.len() == self.room {
                return Err(Full);
            }
            assert!(rows.insert(key.to_owned(), value).is_none(), "{key} twice");
            Ok(())
        }
    }

    const PLAN: LoadPlan = LoadPlan {
        warmup: Duration::from_millis(5),
        measured: Duration::from_millis(20),
        value_bytes: 256,
    };

    fn shelves(room: usize) -> (Arc<Mutex<BTreeMap<String, Bytes>>>, Vec<Shelf>) {
        let rows = Arc::new(Mutex::new(BTreeMap::new()));
        let shelf = || Shelf {
            rows: rows.clone(),
            room,
        };
        let shelves = (0..4).map(|_| shelf()).collect();
        (rows, shelves)
    }

    #[tokio::test]
    async fn every_acknowledged_write_is_counted_and_can_be_recomputed() {
        let (rows, writers) = shelves(usize::MAX);
        let outcome = run(writers, PLAN).await.unwrap();
        let rows = rows.lock().unwrap();
        assert_eq!(outcome.acknowledged_total(), rows.len() as u64);
        assert!(outcome.latencies.count() > 0);
        assert!(outcome.latencies.count() <= outcome.acknowledged_total());
        let sample = outcome.sample(40);
        assert_eq!(sample.len(), 40);
        for (client, number) in sample {
            assert_eq!(rows[&key(client, number)], value(client, number, 256));
        }
        for (client, total) in outcome.acknowledged.iter().enumerate() {
            assert!(outcome.sample(4).contains(&(client, total - 1)));
        }
    }

    #[tokio::test]
    async fn a_failed_write_fails_the_load() {
        let (_, writers) = shelves(10);
        assert!(run(writers, PLAN).await.is_err());
    }

    #[test]
    fn values_are_documents_of_the_length_asked_for() {
        assert_ne!(value(1, 2, 256), value(2, 1, 256));
        for length in [14, 15, 256, 1_000] {
            let value = value(3, 9, length);
            assert_eq!(value.len(), length);
            serde_json::from_slice::<serde_json::Value>(&value).unwrap();
        }
    }
}
