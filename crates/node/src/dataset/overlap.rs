//! Using the wait for the disk: while one round is synced, the next one's clients are served.
//!
//! ```text
//! dataset's thread  stage 1 │ write 1 │ stage 2 … │ tables 1, replies 1 │ write 2 │ stage 3 …
//! sync thread                         │ sync 1    │                               │ sync 2 …
//! ```
//!
//! Only clients' transactions go on top of a round under way ([`Replica::begin_flush`] says why).
//! Whatever else comes in waits until that round has landed. A round of one client is synced in
//! place: nobody else is there to use the wait, and the way to another thread and back would make
//! that client wait longer.
//!
//! [`Replica::begin_flush`]: meridian_replicate::Replica::begin_flush

use super::handle::Input;
use super::replies::Staged;
use super::syncer::Synced;
use super::thread::Worker;
use meridian_replicate::{CommitError, Now};

/// How many clients make a round worth another thread.
const REPLIES_MIN: usize = 2;

impl Worker {
    /// Whether a round is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins to commit the round without waiting for the disk; `false` where it has to be committed
    /// in place.
    pub(super) fn begin_commit(&mut self, now: Now) -> bool {
        if self.replies.len() < REPLIES_MIN || !self.mended.is_empty() {
            return false;
        }
        // Nobody holds a handle any more: the thread is about to end.
        let Some(inbox) = self.inbox.upgrade() else {
            return false;
        };
        match self.replica.begin_flush(now) {
            Ok(None) => false,
            Ok(Some(unsynced)) => {
                self.under_way = Some(std::mem::take(&mut self.replies));
                self.syncer.begin(unsynced, inbox);
                true
            }
            Err(error) => {
                let replies = std::mem::take(&mut self.replies);
                self.conclude(now, true, &Err(error), replies);
                true
            }
        }
    }

    /// Ends the round under way if that can be, or has to be, before `input` is looked at; whether it
    /// has landed.
    pub(super) fn land_before(&mut self, input: &Input) -> bool {
        match input {
            Input::Execute { .. } | Input::Synced => self.land_if_synced(),
            _ => self.land(),
        }
    }

    /// Ends the round under way if it is synced; whether it has landed.
    fn land_if_synced(&mut self) -> bool {
        if !self.is_under_way() {
            return false;
        }
        let synced = self.syncer.try_end();
        synced.is_some_and(|synced| self.end_commit(synced))
    }

    /// Ends the round under way, if there is one, once it is synced; whether there was.
    pub(super) fn land(&mut self) -> bool {
        self.is_under_way() && {
            let synced = self.syncer.end();
            self.end_commit(synced)
        }
    }

    fn end_commit(&mut self, synced: Synced) -> bool {
        let Some(mut replies) = self.under_way.take() else {
            return false;
        };
        let now = self.clock.now();
        let Synced { unsynced, outcome } = synced;
        let committed = self.replica.finish_flush(now, unsynced, outcome);
        if matches!(committed, Err(CommitError::Log(_))) {
            // What was staged on top of it is undone with it.
            replies.append(&mut self.replies);
        }
        self.conclude(now, true, &committed, replies);
        true
    }
}

/// The replies of the round under way.
pub(super) type UnderWay = Option<Vec<Staged>>;
