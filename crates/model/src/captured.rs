//! Transactions that were committed elsewhere first: captured from an engine beside this region.

use crate::{RowName, Transaction, Vector};
use serde::{Deserialize, Serialize};

/// The lowest wire version in which there are captured transactions.
pub const CAPTURES_SINCE: u16 = 2;
/// The lowest wire version in which they say what they collided with.
pub const COLLISIONS_SINCE: u16 = 4;
/// The lowest wire version in which they say what they absorb.
pub const ABSORBED_SINCE: u16 = 5;

/// A transaction that an engine committed before this region's log had it.
///
/// Its dependencies are what the engine had been given of the other origins before it, which may be
/// less than what this region's tables showed by then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// Where it stands in the engine's history.
    pub at: CapturedAt,
    /// What it did; nothing where only the place and what was seen there are told.
    pub transaction: Transaction,
    /// What is to be listed as a conflict though the dependencies don't tell of it. Nothing, as a rule;
    /// where there is something, it stands behind the rest ([`crate::Body::encode`]).
    #[serde(skip)]
    pub collisions: Collisions,
    /// Increments up to here count no more beside what it puts or deletes, seen or not. Nothing, but in a
    /// region that joins: what the others had collected by then they keep apart no longer, and its engine
    /// may not have been given it yet. Where there is something, it stands behind the collisions.
    #[serde(skip)]
    pub absorbed: Vector,
}

/// Writes that gave way to others without having met them: listed as conflicts by every region that
/// applies this, and of no consequence for any row.
///
/// To its own writes, and to what it had been given, an engine has always seen everything, as far as
/// merging goes: what is collected rests on that. An engine that was put back to what it was has not;
/// and a person may say of which side a row is right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collisions {
    /// The changes, by their places in ascending order, to rows of which the engine had not what the tables show.
    pub blind: Vec<u32>,
    /// Rows that both sides had otherwise, of which somebody chose one.
    pub chosen: Vec<Chosen>,
}

/// A row that an engine and the tables had otherwise, of which somebody chose one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The row.
    pub row: RowName,
    /// How the engine had it: its document as JSON text, `None` where it had none. What the tables
    /// show when they come to this is the other side.
    pub document: Option<String>,
    /// Whether the engine's stands.
    pub stands: bool,
}

impl Collisions {
    /// Whether there is nothing to list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blind.is_empty() && self.chosen.is_empty()
    }
}

/// A place in the history of an engine that takes writes of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedAt {
    /// Which server (PostgreSQL's system identifier).
    pub system: u64,
    /// Which of its histories (PostgreSQL's timeline).
    pub timeline: u32,
    /// Where its history goes on after the transaction, in bytes (the WAL position after the commit).
    pub end: u64,
    /// A transaction that is too large for one entry comes in parts, numbered from 0.
    pub part: u32,
    /// Whether no more parts follow.
    pub is_last: bool,
}

/// The parts of a transaction that is not to be held until its last has come are numbered from here on:
/// it is too large for that.
const PARTS_NOT_HELD_FROM: u32 = 1 << 30;

impl CapturedAt {
    /// The place of the first part of a transaction that is shown part by part.
    #[must_use]
    pub fn not_held(self) -> Self {
        let part = self.part | PARTS_NOT_HELD_FROM;
        Self { part, ..self }
    }

    /// Whether this is a part of a transaction that shows nowhere before its last part has come.
    #[must_use]
    pub fn is_held(self) -> bool {
        !self.is_last && self.part < PARTS_NOT_HELD_FROM
    }

    /// Whether both are parts of one transaction.
    #[must_use]
    pub fn is_of(self, other: Self) -> bool {
        let place = |at: Self| (at.system, at.timeline, at.end);
        place(self) == place(other)
    }
}
