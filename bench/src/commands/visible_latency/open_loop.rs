//! The open loop: write `n` is due at `n / rate`, and goes out on a connection that is free.
//!
//! A thread keeps the time (tokio's timers are too coarse for thousands a second). Where no
//! connection is free at the due time the write goes out late; how late is recorded as the slip.

use super::observer::Observers;
use anyhow::{Context, Result};
use meridian_bench::latency::Latencies;
use meridian_bench::load;
use meridian_bench::meridian::{ApiError, MeridianClient};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct LoopPlan {
    /// Writes a second.
    pub rate: u32,
    /// For how long.
    pub duration: Duration,
    /// Of how many writes one is watched.
    pub sample_every: u32,
    /// The length of a document.
    pub value_bytes: usize,
}

impl LoopPlan {
    fn writes(&self) -> u64 {
        u64::from(self.rate) * self.duration.as_secs()
    }

    fn due(&self, started: Instant, number: u64) -> Instant {
        started + Duration::from_nanos(number * 1_000_000_000 / u64::from(self.rate))
    }
}

/// A watched write.
#[derive(Clone, Copy, Debug)]
pub struct WriteRecord {
    /// Its number.
    pub number: u64,
    /// Just before it was sent.
    pub sent: Instant,
    /// When its acknowledgement arrived.
    pub acknowledged: Instant,
}

/// What the loop did.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// From sent to acknowledged, of every write.
    pub latencies: Latencies,
    /// From due to sent, of every write.
    pub slips: Latencies,
    /// The watched writes.
    pub watched: Vec<WriteRecord>,
    /// Writes that should have been watched, but every observer was still waiting.
    pub not_watched: u64,
    /// From the first write's due time to the last acknowledgement.
    pub duration: Duration,
}

impl Written {
    /// What was reached of the rate.
    #[expect(clippy::cast_precision_loss, reason = "far fewer writes than 2^52")]
    pub fn writes_per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.duration.as_secs_f64()
    }
}

/// A write that is due.
struct Job {
    number: u64,
    due: Instant,
    observer: Option<usize>,
}

/// Writes all that the plan says; a write that fails fails the run.
pub async fn run(
    clients: Vec<MeridianClient>,
    plan: LoopPlan,
    observers: &Arc<Observers>,
) -> Result<Written> {
    let (idle_sender, idle) = channel();
    let mut jobs = Vec::new();
    let mut workers = Vec::new();
    for (index, client) in clients.into_iter().enumerate() {
        let (sender, receiver) = unbounded_channel();
        jobs.push(sender);
        let worker = Worker {
            index,
            client,
            plan,
            jobs: receiver,
            idle: idle_sender.clone(),
            observers: observers.clone(),
        };
        workers.push(tokio::spawn(worker.run()));
    }
    drop(idle_sender);
    let started = Instant::now();
    let (not_watched_sender, not_watched) = tokio::sync::oneshot::channel();
    let timekeeper = Timekeeper {
        plan,
        started,
        idle,
        jobs,
        observers: observers.clone(),
    };
    std::thread::spawn(move || {
        // Nobody waits for it any more when the run has failed.
        let _ = not_watched_sender.send(timekeeper.run());
    });

    let mut written = Written::default();
    for worker in workers {
        let done = worker
            .await
            .context("a writer panicked")?
            .context("write")?;
        written.latencies.merge(&done.latencies);
        written.slips.merge(&done.slips);
        written.watched.extend(done.watched);
    }
    written.duration = started.elapsed();
    written.not_watched = not_watched.await.context("the timekeeper panicked")?;
    Ok(written)
}

/// The thread that says when.
struct Timekeeper {
    plan: LoopPlan,
    started: Instant,
    idle: Receiver<usize>,
    jobs: Vec<UnboundedSender<Job>>,
    observers: Arc<Observers>,
}

impl Timekeeper {
    /// Hands out all writes; how many of them should have been watched and were not.
    fn run(self) -> u64 {
        let mut not_watched = 0;
        for number in 0..self.plan.writes() {
            let due = self.plan.due(self.started, number);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // Waits for a free connection; there is none left when the writers have failed.
            let Ok(worker) = self.idle.recv() else {
                return not_watched;
            };
            let mut observer = None;
            if number % u64::from(self.plan.sample_every) == 0 {
                observer = self.observers.take_idle();
                not_watched += u64::from(observer.is_none());
            }
            let job = Job {
                number,
                due,
                observer,
            };
            if self.jobs[worker].send(job).is_err() {
                return not_watched;
            }
        }
        not_watched
    }
}

/// A connection that writes are sent on.
struct Worker {
    index: usize,
    client: MeridianClient,
    plan: LoopPlan,
    jobs: UnboundedReceiver<Job>,
    idle: Sender<usize>,
    observers: Arc<Observers>,
}

impl Worker {
    async fn run(mut self) -> Result<Written, ApiError> {
        let mut written = Written::default();
        // The timekeeper may have gone, and then there are no jobs either.
        let _ = self.idle.send(self.index);
        while let Some(job) = self.jobs.recv().await {
            let key = load::key(0, job.number);
            let document = load::value(0, job.number, self.plan.value_bytes);
            if let Some(observer) = job.observer {
                self.observers.watch(observer, job.number, &key);
            }
            let sent = Instant::now();
            self.client.put(&key, document).await?;
            let acknowledged = Instant::now();
            written.latencies.record(acknowledged - sent);
            written.slips.record(sent - job.due);
            if job.observer.is_some() {
                written.watched.push(WriteRecord {
                    number: job.number,
                    sent,
                    acknowledged,
                });
            }
            let _ = self.idle.send(self.index);
        }
        Ok(written)
    }
}
