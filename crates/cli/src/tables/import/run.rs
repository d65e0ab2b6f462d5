//! The import from one end to the other.

use super::batch::Batches;
use super::checkpoint::Checkpoint;
use super::options::Options;
use super::prefix::Prefix;
use super::progress::Progress;
use super::sender::{Connections, Event};
use super::source::Source;
use crate::client::Api;
use crate::error::{CliError, CliResult, Exit};
use crate::interrupt;
use crate::output::{self, Format, thousands};
use serde_json::json;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often the state is made durable: an fsync for each batch would be felt.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(200);

/// `meridian tables import`
pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.target.one()?;
    // The file and its header are looked at before anything is left on disk.
    Source::open(options, None)?;
    let checkpoint = Checkpoint::open(options, api.url())?;
    let source = Source::open(options, checkpoint.acknowledged())?;
    let start = source.place();
    if start.rows > 0 {
        output::talk(&format!(
            "continuing after {} rows that are in already",
            thousands(start.rows)
        ));
    }
    let bytes = fs::metadata(&options.file).map_or(0, |file| file.len());
    let mut import = Import {
        prefix: Prefix::new(start),
        progress: Progress::new(bytes),
        checkpoint,
        checkpoint_due: Instant::now(),
        failure: None,
        interrupted: false,
    };
    let stop = AtomicBool::new(false);
    let batches = Batches::new(source, options, import.checkpoint.identity());
    import.transfer(&api, options, batches, &stop)?;
    import.end(format)
}

struct Import {
    prefix: Prefix,
    progress: Progress,
    checkpoint: Checkpoint,
    checkpoint_due: Instant,
    /// What stopped it, and whether the file is at fault.
    failure: Option<(CliError, bool)>,
    interrupted: bool,
}

impl Import {
    fn transfer(
        &mut self,
        api: &Api,
        options: &Options,
        batches: Batches,
        stop: &AtomicBool,
    ) -> CliResult {
        let connections = usize::from(options.connections);
        let (to_send, waiting) = sync_channel(connections);
        let (events, inbox) = channel();
        let shared = Connections {
            api,
            file: options.file.display().to_string(),
            retry_for: Duration::from_secs(options.retry_for),
            batches: Mutex::new(waiting),
            stop,
        };
        let interrupts = interrupt::listen()?;
        thread::scope(|scope| {
            // The receiver ends with the connections, which frees a reader that waits for room.
            let shared = std::sync::Arc::new(shared);
            for _ in 0..connections {
                let (shared, events) = (std::sync::Arc::clone(&shared), events.clone());
                scope.spawn(move || shared.work(&events));
            }
            drop(shared);
            scope.spawn(move || read(batches, &to_send, &events, stop));
            let result = self.follow(&inbox, &interrupts, stop);
            stop.store(true, Ordering::SeqCst);
            result
        })
    }

    /// Keeps the books until reader and connections are done.
    fn follow(
        &mut self,
        inbox: &Receiver<Event>,
        interrupts: &interrupt::Interrupts,
        stop: &AtomicBool,
    ) -> CliResult {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        loop {
            if interrupts.came() && !self.interrupted {
                self.interrupted = true;
                stop.store(true, Ordering::SeqCst);
                self.progress
                    .say("stopping; what is under way is waited for (Ctrl-C again ends at once)");
            }
            match inbox.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => self.take(event)?,
                Err(Timeout) => {}
                Err(Disconnected) => break,
            }
            if Instant::now() >= self.checkpoint_due {
                self.save()?;
            }
        }
        self.save()
    }

    fn take(&mut self, event: Event) -> CliResult {
        match event {
            Event::Acknowledged { number, rows, end } => {
                self.prefix.acknowledge(number, end);
                self.progress.advance(rows, self.prefix.end().offset);
            }
            Event::Retrying { reason, wait } => self.progress.say(&format!(
                "{}; trying again in {:.1} s",
                reason,
                wait.as_secs_f64()
            )),
            Event::Failed {
                error,
                is_malformed,
            } => {
                self.failure.get_or_insert((error, is_malformed));
            }
        }
        Ok(())
    }

    fn save(&mut self) -> CliResult {
        self.checkpoint_due = Instant::now() + CHECKPOINT_EVERY;
        let end = self.prefix.end();
        if end.rows == 0 {
            return Ok(());
        }
        self.checkpoint.advance(end)
    }

    fn end(self, format: Format) -> CliResult {
        self.progress.finish();
        let in_already = thousands(self.prefix.end().rows);
        if let Some((error, is_malformed)) = self.failure {
            if is_malformed {
                self.checkpoint.remove();
                return Err(error);
            }
            output::talk(&format!(
                "the first {in_already} rows are in; the same command continues after them"
            ));
            return Err(error);
        }
        if self.interrupted {
            return Err(CliError::new(
                Exit::Interrupted,
                format!("interrupted; the first {in_already} rows are in"),
            )
            .hint("the same command continues after them"));
        }
        let (rows, total) = (self.progress.rows(), self.prefix.end().rows);
        let (seconds, rate) = (self.progress.seconds(), self.progress.rows_per_second());
        self.checkpoint.remove();
        match format {
            Format::Json => output::json(&json!({
                "rows": rows,
                "rows_total": total,
                "seconds": (seconds * 1000.0).round() / 1000.0,
                "rows_per_second": rate.round(),
            })),
            Format::Text => output::line(&format!(
                "imported {} rows in {seconds:.1} s ({} rows/s)",
                thousands(rows),
                thousands(rate as u64)
            )),
        }
    }
}

/// The reader's work: batches into the channel, until the file's end or the import stops.
fn read(
    mut batches: Batches,
    to_send: &SyncSender<super::batch::Batch>,
    events: &Sender<Event>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::SeqCst) {
        let next = match batches.next() {
            Ok(Some(batch)) => to_send.send(batch).is_ok(),
            Ok(None) => false,
            Err(error) => {
                // What was read before stays on its way: the rows are good.
                let _ = events.send(Event::Failed {
                    error,
                    is_malformed: true,
                });
                false
            }
        };
        if !next {
            return;
        }
    }
}
