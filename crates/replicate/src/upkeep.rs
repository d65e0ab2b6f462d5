//! Upkeep: what is due by the time (subscriptions, reports, collection, retention), and how
//! things stand.

use crate::{Engine, Now, PeerStatus, Replica};
use meridian_log::{Disk, Log, LogError};
use meridian_model::{Body, Hlc, Mark, Marks, Micros, Report, ReportedMark};
use std::time::Duration;

const COLLECT_INTERVAL: Duration = Duration::from_secs(1);

impl<D: Disk, E: Engine> Replica<D, E> {
    /// What is due by the time: membership, subscriptions, reports, collection, retention.
    ///
    /// # Errors
    /// [`LogError`] when the log can't be trimmed.
    pub fn tick(&mut self, now: Now) -> Result<(), LogError> {
        self.deliberate(now);
        self.note_trimmed(now);
        for (peer, receiver) in &mut self.receivers {
            if receiver.wants_subscription(now) {
                let message =
                    receiver.subscribe(now, &self.config.region, self.origin, self.log.marks());
                self.outgoing.push((peer.clone(), message));
            }
        }
        self.report(now);
        self.collect(now);
        self.trim(now)
    }

    fn report(&mut self, now: Now) {
        let pause = now.elapsed.saturating_sub(self.reported_at);
        let is_due = self.report_due && pause >= self.config.report_interval;
        if !is_due || !self.road.begun || self.stopped().is_some() {
            return;
        }
        self.report_due = false;
        self.reported_at = now.elapsed;
        let seen = self.seen_by_own_writes();
        let others = self
            .staged_marks
            .iter()
            .filter(|(origin, _)| *origin != self.origin);
        let positions: Vec<_> = others
            .map(|(origin, mark)| {
                (
                    origin,
                    ReportedMark {
                        held: mark.sequence,
                        applied: mark.hlc.min(seen.get(origin)),
                    },
                )
            })
            .collect();
        if positions.is_empty() {
            return;
        }
        match self.clock.tick(now.wall) {
            Ok(hlc) => self.stage_own(now, hlc, &Body::Report(Report { positions })),
            Err(error) => self.clock_failed(error),
        }
    }

    fn collect(&mut self, now: Now) {
        let pause = now.elapsed.saturating_sub(self.collected_at);
        // Once a next epoch is known, somebody may rely on this region to count as it says.
        let is_between = self.road.next_decided().is_some();
        if pause < COLLECT_INTERVAL || is_between || self.stopped().is_some() || !self.follows() {
            return;
        }
        self.collected_at = now.elapsed;
        let stable = self.road.stable(self.origin, &self.seen_by_own_writes());
        match self.engine.collect(&stable, now.wall) {
            Ok(()) => self.tables_dirty = true,
            Err(error) => self.stop_tables(&error),
        }
    }

    /// Entries go that every member has, the tables have applied, nobody who joins was promised and
    /// that are old enough. Before the disk budget makes clients be refused, age gives way, and what
    /// nobody but those that have yet to begin lacks; then the promises: whoever joins begins again.
    pub(crate) fn trim(&mut self, now: Now) -> Result<(), LogError> {
        self.sponsor.expire(now.elapsed);
        let marks = self.log.marks();
        // The log may refuse the epoch in which somebody counts no more.
        let road = self.durable_road();
        let held = road.held_by_begun(self.origin, marks);
        if !self.log.would_trim(&held, self.followed_to()) {
            return Ok(());
        }
        let by_all = road.held_by_all(self.origin, marks);
        let old = self.without_what_is_young(now, self.sponsor.spare(by_all));
        let spared = self.sponsor.spare(held.clone());
        let budget = self.config.log_bytes_max;
        self.trim_above(0, &old)?;
        self.trim_above(budget / 4 * 3, &spared)?;
        if self.trim_above(budget / 8 * 7, &held)? {
            self.sponsor.give_up();
        }
        Ok(())
    }

    /// Removes what may go while the log takes more than `bytes`; whether there was any.
    fn trim_above(&mut self, bytes: u64, held: &Marks) -> Result<bool, LogError> {
        let position = self.followed_to();
        let is_due = |log: &Log<D>| log.bytes() > bytes && log.would_trim(held, position);
        if !is_due(&self.log) {
            return Ok(false);
        }
        if let Err(error) = self.engine.persist() {
            self.stop_tables(&error);
            return Ok(false);
        }
        while is_due(&self.log) {
            self.log.trim_oldest(held, position)?;
        }
        Ok(true)
    }

    /// Somebody may come for entries that every member has, to add them to a backup.
    fn without_what_is_young(&self, now: Now, held: Marks) -> Marks {
        let kept = self.config.log_retention;
        if kept.is_zero() {
            return held;
        }
        let kept = u64::try_from(kept.as_micros()).unwrap_or(u64::MAX);
        let oldest = Hlc::at(Micros(now.wall.0.saturating_sub(kept)));
        let old = |mark: Mark| Mark {
            hlc: mark.hlc.min(oldest),
            ..mark
        };
        held.iter()
            .map(|(origin, mark)| (origin, old(mark)))
            .collect()
    }

    /// How each peer's stream stands.
    pub fn peers(&self, now: Now) -> Vec<PeerStatus> {
        let drift_max = self.config.drift_max;
        self.receivers
            .iter()
            .map(|(region, receiver)| PeerStatus {
                region: region.clone(),
                origin: self.road.member(region),
                state: receiver.state().clone(),
                lag: receiver.lag(now),
                lag_transactions: receiver.remaining(),
                last_error: receiver.last_error.clone(),
                wire_version: self.wire_versions.get(region).copied(),
                clock_ahead: receiver.clock_ahead,
                drifts: receiver.clock_ahead > drift_max,
            })
            .collect()
    }
}
