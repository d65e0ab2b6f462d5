//! The open loop: insert `n` is due at `n / rate`, and goes out on a connection that is free.
//!
//! Each connection has a thread, which takes the next number, sleeps until it is due and sends it.
//! Where all are busy at the due time it goes out late; how late is recorded as the slip.

use super::observer::{Observers, Sighting, connect};
use anyhow::{Context, Result, bail};
use meridian_bench::latency::Latencies;
use meridian_bench::postgres::Servers;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the connections have to be made before the first insert is due.
const HEAD_START: Duration = Duration::from_millis(200);

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct LoopPlan {
    /// Transactions a second.
    pub rate: u32,
    /// For how long.
    pub duration: Duration,
    /// Of how many one is watched.
    pub sample_every: u32,
    /// The first row's id.
    pub first_id: u64,
    /// The length of a row's text.
    pub value_bytes: usize,
}

impl LoopPlan {
    /// How many transactions that makes.
    pub fn writes(&self) -> u64 {
        u64::from(self.rate) * self.duration.as_secs()
    }

    fn due(&self, started: Instant, number: u64) -> Instant {
        started + Duration::from_nanos(number * 1_000_000_000 / u64::from(self.rate))
    }
}

/// A watched insert.
#[derive(Clone, Copy, Debug)]
struct Watched {
    id: u64,
    sent: Instant,
    acknowledged: Instant,
}

/// What the loop did.
#[derive(Debug, Default)]
pub struct Written {
    /// From sent to acknowledged, of every insert.
    pub latencies: Latencies,
    /// From due to sent, of every insert.
    pub slips: Latencies,
    /// From acknowledged to visible, of those watched; 0 where it was visible before.
    pub from_acknowledged: Latencies,
    /// From sent to visible.
    pub from_sent: Latencies,
    /// How much too late the moments may be.
    pub resolution: Latencies,
    /// Inserts that should have been watched, but every observer was still waiting.
    pub not_watched: u64,
    /// From the first insert's due time to the last acknowledgement.
    pub duration: Duration,
    watched: Vec<Watched>,
}

/// Writes all that the plan says; an insert that fails fails the run.
pub async fn run(
    servers: &Servers,
    server: usize,
    clients: usize,
    plan: LoopPlan,
    observers: Observers,
) -> Result<Written> {
    let port = servers.port(server);
    tokio::task::spawn_blocking(move || run_here(port, clients, plan, observers))
        .await
        .context("the open loop panicked")?
}

fn run_here(port: u16, clients: usize, plan: LoopPlan, observers: Observers) -> Result<Written> {
    let started = Instant::now() + HEAD_START;
    let next = AtomicU64::new(0);
    let observers = Arc::new(observers);
    let mut written = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| write(port, plan, started, &next, &observers)))
            .collect();
        let mut all = Written::default();
        for thread in threads {
            let Ok(done) = thread.join() else {
                bail!("a writer panicked");
            };
            all.merge(done?);
        }
        Ok(all)
    })?;
    written.duration = started.elapsed();
    let observers = Arc::into_inner(observers).context("the writers still hold the observers")?;
    written.join(&observers.finish()?)?;
    Ok(written)
}

fn write(
    port: u16,
    plan: LoopPlan,
    started: Instant,
    next: &AtomicU64,
    observers: &Observers,
) -> Result<Written> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a writer's runtime")?;
    runtime.block_on(async {
        let client = connect(port).await?;
        let insert = client
            .prepare("INSERT INTO pings (id, payload) VALUES ($1, $2)")
            .await?;
        let payload = "x".repeat(plan.value_bytes);
        let mut written = Written::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.writes() {
                return Ok(written);
            }
            let (id, due) = (plan.first_id + number, plan.due(started, number));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut is_watched = false;
            if number.is_multiple_of(u64::from(plan.sample_every)) {
                is_watched = observers.watch(id);
                written.not_watched += u64::from(!is_watched);
            }
            let sent = Instant::now();
            client
                .execute(&insert, &[&id.cast_signed(), &payload])
                .await
                .context("insert a row")?;
            let acknowledged = Instant::now();
            written.latencies.record(acknowledged - sent);
            written.slips.record(sent.saturating_duration_since(due));
            if is_watched {
                written.watched.push(Watched {
                    id,
                    sent,
                    acknowledged,
                });
            }
        }
    })
}

impl Written {
    /// What was reached of the rate.
    #[expect(clippy::cast_precision_loss, reason = "far fewer writes than 2^52")]
    pub fn writes_per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.duration.as_secs_f64()
    }

    fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.slips.merge(&other.slips);
        self.not_watched += other.not_watched;
        self.watched.extend(other.watched);
    }

    fn join(&mut self, sightings: &[Sighting]) -> Result<()> {
        let by_id: HashMap<u64, &Sighting> = sightings.iter().map(|it| (it.id, it)).collect();
        for insert in &self.watched {
            let sighting = by_id
                .get(&insert.id)
                .with_context(|| format!("row {} was never looked for", insert.id))?;
            self.from_sent.record(sighting.visible - insert.sent);
            let acknowledged = insert.acknowledged;
            self.from_acknowledged
                .record(sighting.visible.saturating_duration_since(acknowledged));
            self.resolution.record(sighting.resolution);
        }
        Ok(())
    }
}
