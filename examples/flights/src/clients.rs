//! The clients of the two regions that don't import: each follows the import, and as soon as a row
//! is visible in its region changes it, at the same time as its counterpart in the other region.

use crate::clashes::{Clash, Operation};
use anyhow::{Context, Result, bail};
use meridian_bench::cluster::Region;
use meridian_bench::meridian::{MeridianClient, Row};
use meridian_model::Version;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The table of the flights.
pub const TABLE: &str = "flights";
/// Pauses between two looks for a row grow from the first to the last, lest many clients that wait
/// for an import take its processors.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(2);
const POLL_INTERVAL_MAX: Duration = Duration::from_millis(50);

/// A write that a region has acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// What it did.
    pub operation: Operation,
    /// Its version; none for a delete that found nothing to delete any more.
    pub version: Option<Version>,
    /// The document that an update put.
    pub document: Option<Value>,
}

/// A touched row.
#[derive(Clone, Debug, PartialEq)]
pub struct Touched {
    /// Its key.
    pub key: String,
    /// The greater of the versions that the clients had read before they wrote.
    pub seen: Version,
    /// What was acknowledged, one or two writes.
    pub acknowledged: Vec<Acknowledged>,
}

/// Does all that is planned with `pairs` pairs of clients; fails with the first refused write, or
/// when a row isn't visible by `deadline`.
pub async fn run(
    regions: [Region; 2],
    clashes: Vec<Clash>,
    pairs: usize,
    deadline: Instant,
) -> Result<Vec<Touched>> {
    let clashes = Arc::new(clashes);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..pairs {
        let mut pair = Pair {
            clients: [
                MeridianClient::connect(regions[0].api, TABLE).await?,
                MeridianClient::connect(regions[1].api, TABLE).await?,
            ],
            names: [regions[0].name, regions[1].name],
            deadline,
        };
        let (clashes, next) = (clashes.clone(), next.clone());
        tasks.spawn(async move {
            let mut touched = Vec::new();
            while let Some(clash) = clashes.get(next.fetch_add(1, Ordering::Relaxed)) {
                touched.push(pair.clash(clash).await?);
            }
            anyhow::Ok(touched)
        });
    }
    let mut touched = Vec::new();
    while let Some(done) = tasks.join_next().await {
        touched.extend(done.context("a client panicked")??);
    }
    Ok(touched)
}

/// One client in each of the two regions.
struct Pair {
    clients: [MeridianClient; 2],
    names: [&'static str; 2],
    deadline: Instant,
}

impl Pair {
    async fn clash(&mut self, clash: &Clash) -> Result<Touched> {
        let [first, second] = &mut self.clients;
        let [first_operation, second_operation] = clash.operations;
        // Both see the row before either writes: from here on only the other's write is unseen.
        let (first_row, second_row) = tokio::try_join!(
            visible(first, &clash.key, self.deadline),
            visible(second, &clash.key, self.deadline),
        )?;
        let (first_done, second_done) = tokio::try_join!(
            write(
                first,
                self.names[0],
                &clash.key,
                first_operation,
                &first_row
            ),
            write(
                second,
                self.names[1],
                &clash.key,
                second_operation,
                &second_row
            ),
        )?;
        Ok(Touched {
            key: clash.key.clone(),
            seen: first_row.version.max(second_row.version),
            acknowledged: first_done.into_iter().chain(second_done).collect(),
        })
    }
}

async fn visible(client: &mut MeridianClient, key: &str, deadline: Instant) -> Result<Row> {
    let mut pause = POLL_INTERVAL_MIN;
    loop {
        if let Some(row) = client.row(key).await? {
            return Ok(row);
        }
        if Instant::now() > deadline {
            bail!("the row {key} did not become visible in time");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL_INTERVAL_MAX);
    }
}

async fn write(
    client: &mut MeridianClient,
    region: &str,
    key: &str,
    operation: Option<Operation>,
    row: &Row,
) -> Result<Option<Acknowledged>> {
    let Some(operation) = operation else {
        return Ok(None);
    };
    let (version, document) = match operation {
        Operation::Delete => (client.delete(key).await?, None),
        Operation::Update => {
            let document = with_remark(&row.document, region)
                .with_context(|| format!("the row {key} is no JSON object"))?;
            let version = client.put(key, document.to_string().into()).await?;
            (Some(version), Some(document))
        }
    };
    Ok(Some(Acknowledged {
        operation,
        version,
        document,
    }))
}

fn with_remark(document: &[u8], region: &str) -> Option<Value> {
    let mut document: Value = serde_json::from_slice(document).ok()?;
    let remark = Value::String(format!("looked over in {region}"));
    document
        .as_object_mut()?
        .insert("remark".to_owned(), remark);
    Some(document)
}
