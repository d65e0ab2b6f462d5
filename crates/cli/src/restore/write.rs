//! Writing differences back, several at once.

use super::compare::{Comparison, Difference};
use crate::client::{Api, encode};
use crate::error::{CliError, CliResult};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const WRITERS: usize = 8;
const WAITING_MAX: usize = 1024;
/// How often a write is made again that the region was too busy for.
const TRIES: u32 = 6;

/// What was written.
#[derive(Debug, Default)]
pub struct Outcome {
    pub put: u64,
    pub deleted: u64,
    /// Table and key of rows that are not any more what they were when they were compared.
    pub changed: Vec<(String, String)>,
}

/// Writes every difference.
pub fn write_all(api: &Api, comparison: &Comparison<'_>) -> CliResult<Outcome> {
    let outcome = Mutex::new(Outcome::default());
    let failure = Mutex::new(None);
    let (queue, waiting) = sync_channel(WAITING_MAX);
    let waiting = Mutex::new(waiting);
    let compared = std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                if let Err(error) = work(api, &waiting, &outcome) {
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                    drop(failure);
                    // The others would go on, and the comparison wait for somebody to take more.
                    drain(&waiting);
                }
            });
        }
        let stop = || CliError::failure("a write failed");
        let compared = comparison.each(|difference| queue.send(difference).map_err(|_| stop()));
        drop(queue);
        compared
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    compared?;
    Ok(outcome.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn work(api: &Api, waiting: &Mutex<Receiver<Difference>>, outcome: &Mutex<Outcome>) -> CliResult {
    while let Some(difference) = next(waiting) {
        let is_written = write(api, &difference)?;
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if is_written {
            outcome.count(&difference);
        } else {
            let Difference { table, key, .. } = difference;
            outcome.changed.push((table, key));
        }
    }
    Ok(())
}

fn next(waiting: &Mutex<Receiver<Difference>>) -> Option<Difference> {
    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.recv().ok()
}

fn drain(waiting: &Mutex<Receiver<Difference>>) {
    while next(waiting).is_some() {}
}

/// Writes one row back; `false` where it is not what it was when it was compared.
fn write(api: &Api, difference: &Difference) -> CliResult<bool> {
    let Difference {
        table,
        key,
        version,
        document,
    } = difference;
    let path = format!("/v1/tables/{}/rows/{}", encode(table), encode(key));
    let tag = version.as_ref().map(|version| format!("\"{version}\""));
    let guard = match &tag {
        Some(tag) => ("if-match", tag.as_str()),
        None => ("if-none-match", "*"),
    };
    let mut tried = 0;
    loop {
        tried += 1;
        let reply = match document {
            Some(document) => api.call("PUT", &path, &[guard], document.as_bytes())?,
            None => api.call("DELETE", &path, &[guard], &[])?,
        };
        match reply.status {
            412 => return Ok(false),
            503 if tried < TRIES => std::thread::sleep(Duration::from_millis(100) * tried),
            _ => {
                reply.success()?;
                return Ok(true);
            }
        }
    }
}
