//! Dead letters: transactions that no region's tables can ever take.
//!
//! Whether a transaction is one depends on it alone ([`Engine::objection`]), so every region sets
//! the same ones aside, at their places in its log. Normally applying goes on behind a letter. A
//! dataset that is to stop at one *halts*: its tables stay as they are directly before the letter,
//! while the log goes on taking and relaying.
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
//! stand at sets them going again.
//!
//! Invariants:
//! - Halted or not, what the tables hold after the same log is the same. Halting only delays.
//! - While halted, position, effects and the road's state in the tables are those directly before
//!   the letter; the letter itself is there already, so that it can be shown.
//! - What a region commits while halted (decisions alone) claims to have seen what its tables had
//!   applied, not what its log holds.

use crate::{Applying, CommitError, Engine, EngineError, Executed, Now, Replica, WriteError};
use meridian_log::Disk;
use meridian_model::{
    Body, DECISIONS_SINCE, Decision, Hlc, OriginId, Position, Transaction, Vector, Version,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a replica remembers about dead letters beside what the tables hold.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    halt: Option<Halt>,
    /// Letters whose decisions are in the log, but not in the tables yet. Empty unless halted.
    decided: BTreeSet<Version>,
    /// The same of decisions that this round has staged.
    staged: Vec<Version>,
}

/// The tables stand before this letter.
#[derive(Debug)]
struct Halt {
    letter: Version,
    position: Position,
    /// The road's state at the position, until the tables are committed up to it.
    road: Option<Vec<u8>>,
    /// Per origin the first reading that the tables have not followed.
    missed: BTreeMap<OriginId, Hlc>,
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
    /// The tables did not follow a write of this version.
    pub(crate) fn missed(&mut self, version: Version) {
        if let Some(halt) = &mut self.halt {
            halt.missed.entry(version.origin).or_insert(version.hlc);
        }
    }

    /// The decisions staged so far are durable.
    pub(crate) fn logged(&mut self) {
        self.decided.extend(self.staged.drain(..));
    }
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// What the tables show, which is less than the log holds where they stand at a dead letter.
    #[must_use]
    pub fn applied(&self) -> Vector {
        self.applied_of(self.log.marks().vector())
    }

    fn applied_of(&self, mut logged: Vector) -> Vector {
        let missed = self.letters.halt.iter().flat_map(|halt| &halt.missed);
        for (origin, first) in missed {
            logged.remove(*origin);
            logged.raise(*origin, Hlc::from_raw(first.raw().saturating_sub(1)));
        }
        logged
    }

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
        let stands_here = self.letters.halt.as_ref().map(|halt| halt.letter) == Some(letter);
        let stopped = match stands_here {
            true => self.stopped.as_deref(),
            false => self.stopped(),
        };
        if let Some(reason) = stopped {
            let reason = reason.to_owned();
            return Err(WriteError::Stopped { reason });
        }
        let (bytes, bytes_max) = (self.log.bytes() + self.staged_bytes(), self.log_bytes_max());
        if bytes > bytes_max {
            return Err(WriteError::LogBudget { bytes, bytes_max });
        }
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

    /// Applies a transaction, or sets it aside and perhaps stands still before it.
    pub(crate) fn apply_or_set_aside(
        &mut self,
        applying: &Applying<'_>,
    ) -> Result<(), EngineError> {
        let Some(reason) = self.engine.objection(applying.transaction) else {
            return self.engine.apply(applying);
        };
        self.engine.set_aside(applying, &reason)?;
        let letter = applying.version;
        if self.engine.stops_at_dead_letters() && !self.letters.decided.contains(&letter) {
            self.tables_stopped = Some(format!(
                "it stands at dead letter {letter} until that is decided about: {reason}"
            ));
            self.letters.halt = Some(Halt {
                letter,
                position: applying.position,
                road: Some(self.road.encode()),
                missed: BTreeMap::from([(letter.origin, letter.hlc)]),
            });
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
        if self.tables_stopped.is_some() {
            self.letters.staged.push(decision.letter);
        } else {
            self.letters.decided.remove(&decision.letter);
            if let Err(error) = self.engine.settle(decision.letter) {
                self.stop_tables(&error);
            }
        }
        self.apply(position, version, &decision.transaction, now);
    }

    /// Whether the tables stand at a dead letter.
    pub(crate) fn is_halted(&self) -> bool {
        self.letters.halt.is_some()
    }

    /// Whether the letter that the tables stand at has been decided about.
    pub(crate) fn is_decided(&self) -> bool {
        let halt = self.letters.halt.as_ref();
        halt.is_some_and(|halt| self.letters.decided.contains(&halt.letter))
    }

    /// The tables may follow again; what they missed must be replayed.
    pub(crate) fn leave_letter(&mut self) {
        self.letters.halt = None;
        self.tables_stopped = None;
    }

    /// Commits what was staged before the letter, and the letter, once.
    pub(crate) fn commit_up_to_letter(&mut self) -> Result<(), EngineError> {
        let Some(halt) = &mut self.letters.halt else {
            return Ok(());
        };
        match halt.road.take() {
            Some(road) => self.engine.commit(halt.position, Some(road)),
            None => Ok(()),
        }
    }

    /// The tables' part of a commit while they stand at a letter.
    pub(crate) fn commit_halted(&mut self, now: Now) -> Result<(), CommitError> {
        let failed = match self.commit_up_to_letter() {
            Err(error) => with_causes(&error),
            Ok(()) if !self.is_decided() => return Ok(()),
            Ok(()) => {
                self.leave_letter();
                match self.replay(now) {
                    Ok(()) => return Ok(()),
                    Err(error) => with_causes(&error),
                }
            }
        };
        // From here only a restart helps, as after any failure of the tables.
        self.letters.halt = None;
        self.engine.discard();
        self.tables_stopped = Some(failed.clone());
        Err(CommitError::Tables { reason: failed })
    }

    /// The log did not take this round: a halt in it never was.
    pub(crate) fn letters_rolled_back(&mut self) {
        self.letters.staged.clear();
        let halt = self.letters.halt.as_ref();
        if halt.is_some_and(|halt| halt.road.is_some()) {
            self.leave_letter();
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
