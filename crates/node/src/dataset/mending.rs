//! The thread's part in repair: exact views of the tables, and rows taken over into them.

use super::handle::{ExactView, Shown, StoppedView};
use super::thread::Worker;
use meridian_model::{RowName, Vector};
use meridian_replicate::compare::{Mended, Mending};
use meridian_replicate::{Engine, Now};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// For so long the tables catch up between two rounds.
const CATCHING_UP: Duration = Duration::from_millis(50);

impl Worker {
    /// The committed tables and all that they have applied. Nobody else writes, so the two belong
    /// together, whatever is staged at this moment.
    pub(super) fn view(&self) -> Option<ExactView> {
        let snapshot = self.replica.engine().reader().snapshot();
        let follows = self.replica.follows();
        follows.then(|| (snapshot, self.replica.applied()))
    }

    /// Where a damaged row has stopped the tables, with their state there.
    pub(super) fn standstill(&self) -> Option<StoppedView> {
        let standstill = self.replica.standstill()?;
        Some((self.replica.engine().reader().snapshot(), standstill))
    }

    /// The state of the row that stops the tables. What a good copy must have seen is all that the
    /// log holds, so that nothing that is applied to the row later has to be applied to that copy.
    pub(super) fn blocked_copy(&self, row: &RowName) -> Option<(u64, Vector)> {
        if self.replica.blocked_by() != Some(row) {
            return None;
        }
        let snapshot = self.replica.engine().reader().snapshot();
        let copy = snapshot.look(std::slice::from_ref(row)).ok()?;
        Some((copy.first()?.state, self.replica.marks().vector()))
    }

    pub(super) fn mend(&mut self, mendings: &[Mending], reply: oneshot::Sender<Vec<Mended>>) {
        let mut outcomes = Vec::with_capacity(mendings.len());
        for mending in mendings {
            let mended = self.replica.mend(|tables| tables.mend(mending));
            outcomes.push(mended.unwrap_or_else(|error| {
                tracing::warn!(row = %mending.name, %error, "a row could not be mended");
                Mended::MovedOn
            }));
        }
        self.mended.push((outcomes, reply));
    }

    /// Tells what became of rows once the round's fate is known: one that the log refused took the
    /// mended rows with it.
    pub(super) fn answer_mended(&mut self, committed: bool) {
        let stands = committed && self.replica.follows();
        for (mut outcomes, reply) in std::mem::take(&mut self.mended) {
            if !stands {
                outcomes.fill(Mended::MovedOn);
            }
            // Whoever asked may be gone; the rows are mended all the same.
            let _ = reply.send(outcomes);
        }
    }

    pub(super) fn unblock(&mut self, mending: &Mending) -> bool {
        let mut outcome = Mended::MovedOn;
        let unblocked = self.replica.unblock(|tables| {
            outcome = tables.mend(mending)?;
            Ok(outcome == Mended::Staged)
        });
        if let Err(error) = unblocked {
            tracing::warn!(row = %mending.name, %error, "the row that stops the tables is not mended");
            return false;
        }
        outcome == Mended::Staged
    }

    /// Lets tables that a damaged row has stopped go on, as far as they can.
    pub(super) fn go_on(&mut self, now: Now) {
        if self.replica.is_catching_up() {
            // Faster than a round can bring more.
            let until = now.elapsed + CATCHING_UP;
            while self.replica.is_catching_up() && self.clock.now().elapsed < until {
                self.replica.catch_up(now);
            }
            self.publish_shown();
            self.publish_applied();
        }
        self.repairs.waits_for(self.replica.blocked_by());
    }

    /// Tells what the tables show, for those who must not wait for this thread.
    pub(super) fn publish_shown(&mut self) {
        let shown = self.replica.follows().then(|| Shown {
            position: self.replica.engine().position(),
            applied: Arc::new(self.replica.applied()),
        });
        self.publish_shown.send_replace(shown);
    }

    /// Tells readers what is applied, and streams that there is more in the log.
    pub(super) fn publish_applied(&mut self) {
        self.publish.send_replace(Arc::new(self.replica.applied()));
    }
}
