//! One peer's stream, as its receiver sees it.
//!
//! ```text
//! Disconnected ──connected──▶ Subscribing ──Accept──▶ Streaming
//!      ▲                        ▲  │  ▲                │   │
//!      └──────disconnected──────┘  │  └──gap, silence──┘   │
//!                             Refuse, fork            fork │
//!                                  ▼                       ▼
//!                              Quarantined ──after a pause──▶ Subscribing
//! ```
//!
//! Everything is asked for again from what this region holds, so no message needs to arrive for
//! the stream to be right, only for it to go on.

use crate::Now;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Entry, Marks, Message, OriginId, RegionName, SessionId};
use std::time::Duration;

const SUBSCRIBE_AGAIN_AFTER: Duration = Duration::from_secs(2);
const SILENCE_MAX: Duration = Duration::from_secs(5);
const QUARANTINE_PAUSE: Duration = Duration::from_secs(5);

/// A peer that hasn't answered for so long on a connection that stands isn't about to: its dataset may
/// be waiting for a copy. (A connection to nobody ends long before.)
const UNANSWERED_MAX: Duration = Duration::from_secs(30);

/// Where a peer's stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// No connection.
    Disconnected,
    /// Asked for, not answered yet.
    Subscribing,
    /// Entries flow.
    Streaming,
    /// Nothing is taken from this peer until somebody has looked; asked again now and then.
    Quarantined {
        /// What was found.
        reason: String,
    },
}

/// The state machine of one peer's stream.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    state: StreamState,
    /// Since when the peer is one.
    begun: Duration,
    since: Duration,
    session: SessionId,
    next: u64,
    acknowledged: u64,
    last_heard: Option<Duration>,
    behind_since: Option<Duration>,
    caught_up: bool,
    remaining: u64,
    answered: bool,
    /// Since when the peer has owed an answer on the connection that stands.
    unanswered_since: Option<Duration>,
    /// Since when the peer says that its log no longer holds what follows.
    trimmed_since: Option<Duration>,
    pub(crate) last_error: Option<String>,
    pub(crate) clock_ahead: Duration,
}

/// What is to be done with a message of entries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// These are next.
    Entries(Vec<Entry>),
    /// A repeat or another subscription's.
    Nothing,
    /// Something is missing: ask again.
    Gap,
}

impl Receiver {
    /// Of a peer that has counted, or was named, from now on.
    pub(crate) fn new(now: Now) -> Self {
        Self {
            state: StreamState::Disconnected,
            begun: now.elapsed,
            since: now.elapsed,
            session: SessionId(0),
            next: 0,
            acknowledged: 0,
            last_heard: None,
            behind_since: None,
            caught_up: false,
            remaining: 0,
            answered: false,
            unanswered_since: None,
            trimmed_since: None,
            last_error: None,
            clock_ahead: Duration::ZERO,
        }
    }

    pub(crate) fn state(&self) -> &StreamState {
        &self.state
    }

    /// Whether this peer has answered, one way or the other, since the process started.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered
    }

    pub(crate) fn disconnected(&mut self, now: Now, reason: String) {
        self.answered = true;
        self.unanswered_since = None;
        self.trimmed_since = None;
        self.last_error = Some(reason);
        if !matches!(self.state, StreamState::Quarantined { .. }) {
            self.enter(now, StreamState::Disconnected);
        }
        self.behind_since.get_or_insert(now.elapsed);
    }

    /// Asks for the stream from what is held.
    pub(crate) fn subscribe(
        &mut self,
        now: Now,
        region: &RegionName,
        origin: OriginId,
        marks: &Marks,
    ) -> Message {
        self.session = SessionId(self.session.0 + 1);
        self.next = 0;
        self.acknowledged = 0;
        if !matches!(self.state, StreamState::Quarantined { .. }) {
            self.enter(now, StreamState::Subscribing);
        }
        self.since = now.elapsed;
        self.unanswered_since.get_or_insert(now.elapsed);
        Message::Subscribe {
            session: self.session,
            region: region.clone(),
            origin,
            marks: marks.clone(),
        }
    }

    pub(crate) fn accepted(&mut self, now: Now, session: SessionId, behind: u64) {
        if session != self.session {
            return;
        }
        self.answered = true;
        self.unanswered_since = None;
        self.trimmed_since = None;
        self.last_error = None;
        self.last_heard = Some(now.elapsed);
        self.enter(now, StreamState::Streaming);
        self.note_remaining(now, behind);
    }

    pub(crate) fn quarantine(&mut self, now: Now, reason: String) {
        self.caught_up = false;
        self.answered = true;
        self.unanswered_since = None;
        self.last_error = Some(reason.clone());
        self.behind_since.get_or_insert(now.elapsed);
        self.enter(now, StreamState::Quarantined { reason });
    }

    /// The peer has refused the stream; `is_trimmed` where its log no longer holds what is needed.
    pub(crate) fn refused(&mut self, now: Now, reason: String, is_trimmed: bool) {
        let since = self.trimmed_since.unwrap_or(now.elapsed);
        self.trimmed_since = is_trimmed.then_some(since);
        self.quarantine(now, reason);
    }

    /// For how long the peer has said that its log no longer holds what is needed.
    pub(crate) fn trimmed_for(&self, now: Now) -> Duration {
        let since = self.trimmed_since.unwrap_or(now.elapsed);
        now.elapsed.saturating_sub(since)
    }

    /// For how long nothing has come on the stream.
    pub(crate) fn silent_for(&self, now: Now) -> Duration {
        let silent = |heard| now.elapsed.saturating_sub(heard);
        self.last_heard.map_or(Duration::MAX, silent)
    }

    /// Whether entries or heartbeats keep coming.
    pub(crate) fn is_flowing(&self, now: Now) -> bool {
        let heard = self.last_heard.unwrap_or_default();
        self.state == StreamState::Streaming && now.elapsed.saturating_sub(heard) < SILENCE_MAX
    }

    /// Something arrived that cannot be used; the stream is asked for again.
    pub(crate) fn lost_step(&mut self, now: Now, reason: &str) {
        self.caught_up = false;
        self.last_error = Some(reason.to_owned());
        self.enter(now, StreamState::Subscribing);
        self.since = now.elapsed.saturating_sub(SUBSCRIBE_AGAIN_AFTER);
    }

    /// The log took nothing: what was acknowledged to nobody is asked for again after a pause.
    pub(crate) fn rolled_back(&mut self, now: Now, reason: &str) {
        if self.state == StreamState::Streaming {
            self.caught_up = false;
            self.last_error = Some(reason.to_owned());
            self.enter(now, StreamState::Subscribing);
        }
    }

    pub(crate) fn take(
        &mut self,
        now: Now,
        session: SessionId,
        index: u64,
        remaining: u64,
        entries: Vec<Entry>,
    ) -> Taken {
        if session < self.session && !entries.is_empty() && self.state == StreamState::Subscribing {
            // What was sent before the peer read the subscription is still on its way, and the
            // answer is behind it.
            self.since = now.elapsed;
        }
        if session != self.session || self.state != StreamState::Streaming || index < self.next {
            return Taken::Nothing;
        }
        if index > self.next && !mutation::active(Mutation::NoDependencyCheck) {
            return Taken::Gap;
        }
        self.next = index + 1;
        self.last_heard = Some(now.elapsed);
        self.note_remaining(now, remaining);
        Taken::Entries(entries)
    }

    fn note_remaining(&mut self, now: Now, remaining: u64) {
        self.remaining = remaining;
        if remaining == 0 {
            self.behind_since = None;
            self.caught_up = true;
        } else {
            self.behind_since.get_or_insert(now.elapsed);
        }
    }

    /// The index to acknowledge now that all that was taken is durable.
    pub(crate) fn acknowledgement(&mut self) -> Option<(SessionId, u64)> {
        let due = self.state == StreamState::Streaming && self.next > self.acknowledged;
        self.acknowledged = self.next;
        due.then_some((self.session, self.next))
    }

    /// Whether it is time to ask (again).
    pub(crate) fn wants_subscription(&self, now: Now) -> bool {
        let waited = now.elapsed.saturating_sub(self.since);
        match &self.state {
            StreamState::Disconnected => false,
            StreamState::Subscribing => waited >= SUBSCRIBE_AGAIN_AFTER,
            StreamState::Quarantined { .. } => waited >= QUARANTINE_PAUSE,
            StreamState::Streaming => {
                let heard = self.last_heard.unwrap_or(self.since);
                now.elapsed.saturating_sub(heard) >= SILENCE_MAX
            }
        }
    }

    /// For how long this region has known that the peer has entries which it lacks, or has not
    /// known whether it does.
    pub(crate) fn lag(&self, now: Now) -> Duration {
        let unknown = match self.state {
            StreamState::Streaming => None,
            _ => Some(self.last_heard.unwrap_or(self.begun)),
        };
        let since = match (self.behind_since, unknown) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        since.map_or(Duration::ZERO, |since| now.elapsed.saturating_sub(since))
    }

    /// Whether all that the peer had at some moment since this region listens to it is here.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Whether the peer is there and has entries which this region lacks, or may have: before it has
    /// answered on a new connection, it may.
    pub(crate) fn is_ahead(&self, now: Now) -> bool {
        let within =
            |at: Option<Duration>, most| at.is_some_and(|at| now.elapsed.saturating_sub(at) < most);
        let is_there = within(self.last_heard, SILENCE_MAX);
        match self.state {
            StreamState::Streaming => is_there && self.remaining > 0,
            StreamState::Subscribing => is_there || within(self.unanswered_since, UNANSWERED_MAX),
            StreamState::Disconnected | StreamState::Quarantined { .. } => false,
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    fn enter(&mut self, now: Now, state: StreamState) {
        self.state = state;
        self.since = now.elapsed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::Micros;

    #[test]
    fn a_peer_that_is_new_is_not_behind_for_longer_than_it_has_been_one() {
        let at = |seconds| Now {
            wall: Micros(0),
            elapsed: Duration::from_secs(seconds),
        };
        let mut receiver = Receiver::new(at(1000));
        assert_eq!(receiver.lag(at(1002)), Duration::from_secs(2));
        receiver.disconnected(at(1003), "nobody listens".to_owned());
        assert_eq!(receiver.lag(at(1004)), Duration::from_secs(4));
    }

    #[test]
    fn what_the_log_refused_is_yet_to_be_caught_up_with() {
        let now = Now {
            wall: Micros(0),
            elapsed: Duration::from_secs(1),
        };
        let (region, origin) = (RegionName::new("b"), OriginId(2));
        let mut receiver = Receiver::new(now);
        receiver.subscribe(now, &region, origin, &Marks::default());
        receiver.accepted(now, SessionId(1), 1);
        assert!(!receiver.has_caught_up());
        let taken = receiver.take(now, SessionId(1), 0, 0, Vec::new());
        assert_eq!(taken, Taken::Entries(Vec::new()));
        assert!(receiver.has_caught_up());
        receiver.rolled_back(now, "the disk is full");
        assert!(!receiver.has_caught_up(), "what was taken is not held");
    }
}
