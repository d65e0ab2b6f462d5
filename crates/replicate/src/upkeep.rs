//! Upkeep: what is due by the time (subscriptions, reports, collection, retention), and how
//! things stand.

use crate::{Engine, Now, PeerStatus, Replica};
use meridian_log::{Disk, LogError};
use meridian_model::{Body, Marks, Report, ReportedMark};
use std::time::Duration;

const COLLECT_INTERVAL: Duration = Duration::from_secs(1);

impl<D: Disk, E: Engine> Replica<D, E> {
    /// What is due by the time: membership, subscriptions, reports, collection, retention.
    ///
    /// # Errors
    /// [`LogError`] when the log can't be trimmed.
    pub fn tick(&mut self, now: Now) -> Result<(), LogError> {
        self.settle_proposal();
        self.deliberate(now);
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
                        applied: mark.hlc,
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
        if pause < COLLECT_INTERVAL || is_between || self.stopped().is_some() {
            return;
        }
        self.collected_at = now.elapsed;
        let applied = self.staged_marks.vector();
        let stable = self.road.stable(self.origin, &applied);
        match self.engine.collect(&stable, now.wall) {
            Ok(()) => self.tables_dirty = true,
            Err(error) => self.stop_tables(&error),
        }
    }

    fn trim(&mut self, now: Now) -> Result<(), LogError> {
        let held = self.road.held_by_all(self.origin, self.log.marks());
        let held = self.without_what_joiners_need(now, held);
        if !self.log.would_trim(&held, self.engine.position()) {
            return Ok(());
        }
        if let Err(error) = self.engine.persist() {
            self.stop_tables(&error);
            return Ok(());
        }
        self.log.trim(&held, self.engine.position()).map(|_| ())
    }

    /// Somebody who begins with a copy of these tables needs what came after it. But nobody who
    /// joins makes this region refuse its clients' writes.
    fn without_what_joiners_need(&mut self, now: Now, held: Marks) -> Marks {
        self.sponsor.expire(now.elapsed);
        let spared = self.sponsor.spare(held.clone());
        let is_over_budget = self.log.bytes() > self.config.log_bytes_max;
        let position = self.engine.position();
        if is_over_budget
            && self.log.would_trim(&held, position)
            && !self.log.would_trim(&spared, position)
        {
            self.sponsor.give_up();
            return held;
        }
        spared
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
                clock_ahead: receiver.clock_ahead,
                drifts: receiver.clock_ahead > drift_max,
            })
            .collect()
    }
}
