//! The thread that waits for the disk, so that the dataset's thread need not.
//!
//! It syncs one round at a time. Whoever gave it the round is nudged through the inbox when it is
//! done, because that is where they wait for whatever comes first.

use super::LogDisk;
use super::handle::Input;
use meridian_log::Unsynced;
use std::io;
use std::sync::{Arc, mpsc};

/// A round that was synced, or could not be.
pub(super) struct Synced {
    pub(super) unsynced: Unsynced<LogDisk>,
    pub(super) outcome: io::Result<()>,
}

struct Job {
    unsynced: Unsynced<LogDisk>,
    inbox: Arc<mpsc::Sender<Input>>,
}

/// Syncs rounds. Its thread ends once it is dropped.
pub(super) struct Syncer {
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<Synced>,
}

impl Syncer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start(dataset: &str) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (synced, done) = mpsc::channel();
        std::thread::Builder::new()
            .name(format!("sync-{dataset}"))
            .spawn(move || {
                for Job { unsynced, inbox } in waiting {
                    let outcome = unsynced.sync();
                    // Both may have gone with the dataset's thread.
                    let _ = synced.send(Synced { unsynced, outcome });
                    let _ = inbox.send(Input::Synced);
                }
            })?;
        Ok(Self { jobs, done })
    }

    /// Has a round synced; [`Input::Synced`] comes into `inbox` afterwards.
    pub(super) fn begin(&self, unsynced: Unsynced<LogDisk>, inbox: Arc<mpsc::Sender<Input>>) {
        let job = Job { unsynced, inbox };
        self.jobs
            .send(job)
            .expect("the thread runs for as long as it can be given rounds");
    }

    /// The round that was begun, if it is done.
    pub(super) fn try_end(&self) -> Option<Synced> {
        self.done.try_recv().ok()
    }

    /// Waits for the round that was begun.
    pub(super) fn end(&self) -> Synced {
        self.done
            .recv()
            .expect("the thread answers for each round before it ends")
    }
}
