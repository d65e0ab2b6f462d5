//! Large transactions: they come in parts, and show as a whole.
//!
//! A captured transaction that is too large for one entry comes as several of its origin's stream, each
//! numbered, the last marked. The log takes and relays them like any others. The tables *hold* them:
//! they pass over a part, and when the last has come they take in all of them, in the order of the
//! log and before anything that stands behind the last. That goes in steps of bounded size, each
//! committed with the place reached (`Held::next` in the road's state), so memory stays bounded and a
//! crash on the way loses nothing; until it is done the tables are *behind* (`resume.rs`), and who
//! wants a state with whole transactions waits.
//!
//! ```text
//! log      p0 . p1 . . p2(last) x y          p: parts, of one origin; the others: anybody's entries
//! tables   .  .  .  |p0 p1 p2|  x y
//! ```
//!
//! Invariants:
//! - what depends on the transaction depends on its last part, so it stands behind that in every log;
//! - what a region says to have applied of an origin ends before the first part that is held;
//! - the log is kept from the first part on;
//! - whether parts are ever taken in follows from the origin's stream and its cut alone: a stream that
//!   ends within a transaction, for good, leaves nothing of it anywhere, and a transaction that its
//!   origin gives up (another place follows instead) neither.

use crate::resume::{Cause, STEP_BYTES};
use crate::road::Road;
use crate::{Applying, Engine, EngineError, Now, Replica};
use meridian_log::Disk;
use meridian_model::mutation::{Mutation, active};
use meridian_model::{Body, Captured, CapturedAt, Entry, Hlc, OriginId, Position, Version};
use serde::{Deserialize, Serialize};

/// A transaction of which parts are in the log and the last is not, or is not taken in yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// A place of it.
    at: CapturedAt,
    /// When its first part was captured.
    pub(crate) first: Hlc,
    /// Where in the log the parts begin that are still to be taken in.
    pub(crate) next: Position,
}

/// What an entry is to the transactions held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// Nothing: it is whole.
    Nothing,
    /// A part that waits for the last.
    Part,
    /// The last part of this one.
    Completes(Held),
}

impl Road {
    /// Takes notice of a captured transaction, or a part of one, at `position`.
    pub(crate) fn hold(&mut self, position: Position, entry: &Entry, at: CapturedAt) -> Holding {
        let known = self.held.get(&entry.origin).copied();
        let known = known.filter(|held| held.at.is_of(at));
        if at.is_held() && !active(Mutation::PartsShownAtOnce) {
            let begun = Held {
                at,
                first: entry.hlc,
                next: position,
            };
            self.held.insert(entry.origin, known.unwrap_or(begun));
            return Holding::Part;
        }
        self.held.remove(&entry.origin);
        match known {
            Some(held) if at.is_last => Holding::Completes(held),
            _ => Holding::Nothing,
        }
    }
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// Does what a captured transaction says, or holds it.
    pub(crate) fn follow_captured(
        &mut self,
        position: Position,
        entry: &Entry,
        captured: &Captured,
        now: Now,
    ) {
        if self.is_witness() {
            return;
        }
        let mut holding = Holding::Nothing;
        if captured.at.is_held() || self.road.held.contains_key(&entry.origin) {
            self.change_road(|road| holding = road.hold(position, entry, captured.at));
        }
        match holding {
            Holding::Nothing => self.apply(&Applying {
                position,
                version: entry.version(),
                transaction: &captured.transaction,
                captured: Some(captured),
                now: now.wall,
            }),
            Holding::Part if self.follows() => {}
            Holding::Part => self.miss(entry.version()),
            Holding::Completes(held) => self.unfold(Version {
                hlc: held.first,
                origin: entry.origin,
            }),
        }
    }

    /// From here on the tables take in what they held: between the rounds, from where they stand.
    /// Whatever this round has staged is staged again from the log.
    fn unfold(&mut self, first: Version) {
        if self.follows() {
            self.engine.discard();
            self.visible.clear();
            self.stand_at(Cause::Unfolding);
            let staged = std::mem::take(&mut self.staged);
            self.miss_all(&staged);
            self.staged = staged;
        }
        self.miss(first);
    }

    /// Takes in some more of what this origin's last part, at `position`, completes.
    pub(crate) fn unfold_step(
        &mut self,
        position: Position,
        origin: OriginId,
        road: &mut Road,
        now: Now,
    ) -> Result<(), EngineError> {
        let Some(mut held) = road.held.get(&origin).copied() else {
            return Ok(());
        };
        let batch = self
            .log
            .reader()
            .read(held.next, STEP_BYTES)
            .map_err(|error| EngineError::because("read the log", error))?;
        for entry in &batch.entries {
            if held.next == position {
                break;
            }
            let part = held.next;
            held.next = part.next();
            road.held.insert(origin, held);
            if entry.origin != origin {
                continue;
            }
            let body = Body::decode(&entry.body)
                .map_err(|error| EngineError::because("read an entry of the log", error))?;
            let Body::Captured(captured) = &body else {
                continue;
            };
            let applying = Applying {
                position: part,
                version: entry.version(),
                transaction: &captured.transaction,
                captured: Some(captured),
                now: now.wall,
            };
            self.apply_or_set_aside(&applying, position, Some(road))?;
            if !self.is_catching_up() {
                return self.commit_up_to_letter();
            }
        }
        self.engine.commit(position, Some(road.encode()))
    }

    /// From where on the log is needed for what is held.
    pub(crate) fn held_from(&self) -> Position {
        let mut from: Vec<Position> = self.road.held.values().map(|held| held.next).collect();
        if self.behind.is_some() {
            match self.road_of_tables() {
                Ok(road) => from.extend(road.held.values().map(|held| held.next)),
                Err(_) => return self.log.start(),
            }
        }
        from.into_iter().min().unwrap_or(self.log.end())
    }
}
