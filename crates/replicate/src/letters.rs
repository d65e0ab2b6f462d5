//! Dead letters: transactions that no region's tables can ever take.
//!
//! Whether a transaction is one depends on it alone ([`Engine::objection`]), so every region sets
//! the same ones aside, at their places in its log. Normally applying goes on behind a letter. A
//! dataset that is to stop at one *halts*: its tables stay as they are directly before the letter,
//! while the log goes on taking and relaying (`resume.rs`).
//!
//! ```text
//!            letter, set aside                      letter, to stop at
//!  applying ───────────────────▶ applying   applying ──────────────────▶ halted
//!                                               ▲                          │
//!                                               └── its decision is logged ┘
//!                                                   (what was missed is replayed)
//! ```
//!
//! A decision is an entry like any other ([`Decision`]): the letter goes, and a transaction is made
//! in its place. While halted, decisions are only noted; the one about the letter that the tables
//! stand at sets them going again, at once and to the end.
//!
//! Invariants:
//! - Halted or not, what the tables hold after the same log is the same. Halting only delays.
//! - While halted, position, effects and the road's state in the tables are those directly before
//!   the letter; the letter itself is there already, so that it can be shown.
//! - What a region commits while halted (decisions alone) claims to have seen what its tables had
//!   applied, not what its log holds.

use crate::resume::Cause;
use crate::road::Road;
use crate::{Applying, Engine, EngineError, Executed, Now, Replica, WriteError};
use meridian_log::Disk;
use meridian_model::{Body, DECISIONS_SINCE, Decision, Position, Transaction, Version};
use std::collections::BTreeSet;

/// What a replica remembers about dead letters beside what the tables hold.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// Letters whose decisions are in the log, but not in the tables yet. Empty while the tables
    /// follow the log.
    decided: BTreeSet<Version>,
    /// The same of decisions that this round has staged.
    staged: Vec<Version>,
}

/// What a decision about a dead letter came to.
#[derive(Debug)]
pub struct Decided<R> {
    /// What is made in the letter's place.
    pub executed: Executed<R>,
    /// Whether the letter goes. Not where the request repeats one that was carried out before.
    pub settles: bool,
}

impl Letters {
    /// A decision is on its way into the log that the tables have not followed.
    pub(crate) fn missed(&mut self, letter: Version) {
        self.staged.push(letter);
    }

    /// The decisions staged so far are durable.
    pub(crate) fn logged(&mut self) {
        self.decided.extend(self.staged.drain(..));
    }

    /// The decisions staged so far never were.
    pub(crate) fn rolled_back(&mut self) {
        self.staged.clear();
    }
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// Decides about a dead letter: it goes, here and everywhere, and what `execute` comes to is
    /// made in its place. Also the way on for a dataset that stands at this letter. The reply may
    /// leave once [`Replica::flush`] has succeeded.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is staged then.
    pub fn decide<R, X>(
        &mut self,
        now: Now,
        letter: Version,
        execute: impl FnOnce(&mut E, Version) -> Result<Decided<R>, X>,
    ) -> Result<R, WriteError<X>> {
        let stands_here = self.tables_stopped.is_none() && self.halted_at() == Some(letter);
        let stopped = match stands_here {
            true => self.stopped.as_deref(),
            false => self.stopped(),
        };
        if let Some(reason) = stopped {
            let reason = reason.to_owned();
            return Err(WriteError::Stopped { reason });
        }
        // Nobody waits for more of a region that is leaving, and one that joins has yet to begin.
        if let Some(reason) = self.unready() {
            return Err(WriteError::NotServing { reason });
        }
        self.find_room(now)?;
        let version = DECISIONS_SINCE;
        self.all_speak(version)
            .map_err(|region| WriteError::NotSpoken { region, version })?;
        let hlc = self.clock.tick(now.wall).map_err(WriteError::Clock)?;
        let origin = self.origin;
        let decided =
            execute(&mut self.engine, Version { hlc, origin }).map_err(WriteError::Rejected)?;
        let Executed {
            changes,
            idempotency,
            reply,
        } = decided.executed;
        if decided.settles {
            let mut dependencies = self.applied_of(self.staged_marks.vector());
            dependencies.raise(letter.origin, letter.hlc);
            dependencies.remove(origin);
            let transaction = Transaction {
                dependencies,
                changes,
                idempotency,
            };
            let decision = Decision {
                letter,
                transaction,
            };
            self.stage_own(now, hlc, &Body::Decision(decision));
        }
        Ok(reply)
    }

    /// Applies a transaction, or sets it aside and perhaps stands still before it, with the tables
    /// at `position`. `road` is the road's state there; `None` where that is the latest.
    pub(crate) fn apply_or_set_aside(
        &mut self,
        applying: &Applying<'_>,
        position: Position,
        road: Option<&Road>,
    ) -> Result<(), EngineError> {
        let Some(reason) = self.engine.objection(applying.transaction) else {
            return self.engine.apply(applying);
        };
        self.engine.set_aside(applying, &reason)?;
        let letter = applying.version;
        if self.engine.stops_at_dead_letters() && !self.letters.decided.contains(&letter) {
            let reason =
                format!("it stands at dead letter {letter} until that is decided about: {reason}");
            let road = road.unwrap_or(&self.road).encode();
            let until = Some((position, road));
            self.stand_at(Cause::Letter {
                letter,
                reason,
                until,
            });
            self.miss(letter);
        }
        Ok(())
    }

    /// Does what a decision says, or notes it where the tables don't follow.
    pub(crate) fn follow_decision(
        &mut self,
        position: Position,
        version: Version,
        decision: &Decision,
        now: Now,
    ) {
        if self.follows()
            && let Err(error) = self.settle_letter(decision.letter)
        {
            self.stop_tables(&error);
        }
        self.apply(&Applying {
            position,
            version,
            transaction: &decision.transaction,
            captured: None,
            now: now.wall,
        });
        if !self.follows() {
            self.letters.missed(decision.letter);
        }
    }

    /// A letter goes: the tables have come to the decision about it.
    pub(crate) fn settle_letter(&mut self, letter: Version) -> Result<(), EngineError> {
        self.letters.decided.remove(&letter);
        self.engine.settle(letter)
    }

    /// The letter that the tables stand at.
    fn halted_at(&self) -> Option<Version> {
        match &self.behind.as_ref()?.cause {
            Cause::Letter { letter, .. } => Some(*letter),
            Cause::Row { .. } | Cause::CatchingUp | Cause::Unfolding => None,
        }
    }

    /// Leaves the letter that the tables stand at once it has been decided about, and makes them
    /// follow the log as far as they can.
    pub(crate) fn leave_decided(&mut self, now: Now) {
        let letter = self.halted_at();
        if letter.is_some_and(|letter| self.letters.decided.contains(&letter)) {
            self.stand_at(Cause::CatchingUp);
            while self.is_catching_up() {
                self.catch_up(now);
            }
        }
    }

    /// Commits what was staged before the letter, and the letter, once.
    pub(crate) fn commit_up_to_letter(&mut self) -> Result<(), EngineError> {
        let cause = self.behind.as_mut().map(|behind| &mut behind.cause);
        let Some(Cause::Letter { until, .. }) = cause else {
            return Ok(());
        };
        match until.take() {
            Some((position, road)) => self.engine.commit(position, Some(road)),
            None => Ok(()),
        }
    }
}
