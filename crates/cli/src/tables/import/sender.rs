//! Sends batches over one connection, again and again while the region cannot take them.

use super::batch::Batch;
use super::source::Place;
use crate::client::Api;
use crate::error::{CliError, CliResult};
use crate::retry::Backoff;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// Replies that say "not now".
const NOT_NOW: [u16; 5] = [429, 502, 503, 504, 507];
/// How long a wait is before it looks whether the import was stopped.
const SLICE: Duration = Duration::from_millis(50);

/// What the connections and the reader tell the one who keeps the state.
#[derive(Debug)]
pub enum Event {
    /// A batch is acknowledged.
    Acknowledged {
        /// Its number.
        number: u64,
        /// Its rows.
        rows: u64,
        /// The place after it.
        end: Place,
    },
    /// A batch will be sent again.
    Retrying {
        /// Why.
        reason: String,
        /// After how long.
        wait: Duration,
    },
    /// The import cannot go on.
    Failed {
        /// Why.
        error: CliError,
        /// Whether the file itself is at fault, so that there is nothing to resume.
        is_malformed: bool,
    },
}

/// What all connections of an import share.
pub struct Connections<'a> {
    /// The region.
    pub api: &'a Api,
    /// The file, for errors.
    pub file: String,
    /// For how long a batch is tried.
    pub retry_for: Duration,
    /// The batches to send.
    pub batches: Mutex<Receiver<Batch>>,
    /// Set when the import is to stop.
    pub stop: &'a AtomicBool,
}

impl Connections<'_> {
    /// One connection's work: until there are no more batches or the import stops.
    pub fn work(&self, events: &Sender<Event>) {
        while let Some(batch) = self.next() {
            let event = match self.deliver(&batch, events) {
                Ok(true) => Event::Acknowledged {
                    number: batch.number,
                    rows: batch.rows(),
                    end: batch.end,
                },
                Ok(false) => return,
                Err(error) => {
                    self.stop.store(true, Ordering::SeqCst);
                    Event::Failed {
                        error,
                        is_malformed: false,
                    }
                }
            };
            let is_over = matches!(event, Event::Failed { .. });
            if events.send(event).is_err() || is_over {
                return;
            }
        }
    }

    fn next(&self) -> Option<Batch> {
        if self.stop.load(Ordering::SeqCst) {
            return None;
        }
        // A connection that panicked held no batch half taken.
        let batches = self.batches.lock().unwrap_or_else(|held| held.into_inner());
        batches.recv().ok()
    }

    /// Whether the batch was acknowledged; not, if the import was stopped first.
    fn deliver(&self, batch: &Batch, events: &Sender<Event>) -> CliResult<bool> {
        let began = Instant::now();
        let mut backoff = Backoff::new();
        loop {
            let failure = match self.attempt(batch)? {
                None => return Ok(true),
                Some(failure) => failure,
            };
            let wait = backoff.wait().mul_f64(0.5 + fastrand::f64() / 2.0);
            if began.elapsed() + wait > self.retry_for {
                return Err(failure);
            }
            let reason = failure.message().to_owned();
            let _ = events.send(Event::Retrying { reason, wait });
            if !self.pause(wait) {
                return Ok(false);
            }
        }
    }

    /// Sends once: nothing if it is acknowledged, the reason if it may be tried again.
    fn attempt(&self, batch: &Batch) -> CliResult<Option<CliError>> {
        let headers = [("idempotency-key", batch.key.as_str())];
        let body = batch.body.as_bytes();
        let reply = match self.api.call("POST", "/v1/transactions", &headers, body) {
            Ok(reply) => reply,
            Err(error) => return Ok(Some(error.into())),
        };
        if reply.is_success() {
            return Ok(None);
        }
        if NOT_NOW.contains(&reply.status) {
            return Ok(Some(reply.refusal()));
        }
        Err(reply.refusal().at(format!(
            "rows {} to {} ({}, from line {})",
            batch.start.rows + 1,
            batch.end.rows,
            self.file,
            batch.start.line
        )))
    }

    /// Waits; whether the import still goes on.
    fn pause(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}
