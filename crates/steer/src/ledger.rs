//! The wishes that a region keeps and shares with the others.
//!
//! ```text
//! asker                                     answerer
//!   │ Told{digest, newest wishes} ─────────▶ │  merges, makes durable
//!   │ ◀──────────── Told{digest, all | none} │  all where the digests differ
//!   │ merges, makes durable                  │
//!   └ tells all, where they differ still ──▶ │
//! ```
//!
//! A ledger is a set of rows that only grows, cut to what can still matter: the wishes that stand,
//! and the changes made last. Both are functions of the whole set, so merging is commutative,
//! associative and idempotent with the cut too, and it doesn't matter which messages are lost,
//! repeated or late: two regions that hear each other hold the same in the end. No order of
//! delivery, no membership and no log is needed for that, which is why there is none
//! (`docs/adr/0021-desired-state-is-exchanged-whole.md`).
//!
//! The wishes of one transaction travel together, so they take effect together.

use crate::desired::{Desired, Subject, Wish};
use meridian_model::{Clock, ClockError, DecodeError, Micros, OriginId, Version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64;

/// How many of the newest changes are remembered, beside those that stand.
pub const CHANGES_KEPT: usize = 200;
/// How many of the newest changes are told at once when something is new.
const NEWS: usize = 4;

/// Every wish that stands, and the newest changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    rows: BTreeMap<(Version, Subject), Wish>,
    desired: Desired,
    digest: u64,
}

/// The wishes of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The transaction's version.
    pub version: Version,
    /// Its rows, by subject; at least one.
    pub wishes: Vec<&'a Wish>,
    /// How many of them stand: nothing newer was wanted of their subjects.
    pub standing: usize,
}

/// How much is told, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Telling {
    /// What the ledger comes to, in a number.
    Digest,
    /// That and the newest changes.
    News,
    /// Everything.
    All,
}

/// What one region tells another of its ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What the whole ledger comes to.
    pub digest: u64,
    /// Rows of it.
    pub wishes: Vec<Wish>,
    /// What the sender's region is asked for by clients, in requests a second, if it counts them.
    pub load_per_second: Option<u32>,
}

/// What hearing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Whether there was anything new.
    pub is_new: bool,
    /// Whether the sender holds the same now, as far as this told.
    pub agrees: bool,
}

impl Ledger {
    /// Takes rows over, from here or elsewhere. Whether anything is different now.
    pub fn merge(&mut self, wishes: impl IntoIterator<Item = Wish>) -> bool {
        let before = self.digest;
        for wish in wishes {
            self.desired.merge(wish.clone());
            let key = (wish.version, wish.subject.clone());
            self.rows.entry(key).or_insert(wish);
        }
        self.cut();
        self.digest = xxh3_64(&self.encode());
        self.digest != before
    }

    /// Keeps the newest changes and the wishes that stand.
    fn cut(&mut self) {
        let versions: BTreeSet<_> = self.rows.keys().map(|(version, _)| *version).collect();
        let Some(oldest) = versions.into_iter().rev().nth(CHANGES_KEPT - 1) else {
            return;
        };
        let desired = &self.desired;
        self.rows.retain(|(version, subject), _| {
            let stands = desired
                .wish(subject)
                .is_some_and(|wish| wish.version == *version);
            *version >= oldest || stands
        });
    }

    /// What is wanted now.
    #[must_use]
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// The changes that are remembered, the newest first.
    #[must_use]
    pub fn changes(&self) -> Vec<Change<'_>> {
        let mut changes: Vec<Change<'_>> = Vec::new();
        for ((version, subject), wish) in self.rows.iter().rev() {
            let stands = self.desired.wish(subject).map(|wish| wish.version) == Some(*version);
            match changes.last_mut() {
                Some(change) if change.version == *version => {
                    change.wishes.insert(0, wish);
                    change.standing += usize::from(stands);
                }
                _ => changes.push(Change {
                    version: *version,
                    wishes: vec![wish],
                    standing: usize::from(stands),
                }),
            }
        }
        changes
    }

    /// A version greater than every other here.
    ///
    /// # Errors
    /// [`ClockError`] where another region's clock has used the range up.
    pub fn next_version(&self, now: Micros, origin: OriginId) -> Result<Version, ClockError> {
        let mut clock = Clock::default();
        if let Some((newest, _)) = self.rows.keys().next_back() {
            clock.observe(newest.hlc);
        }
        let hlc = clock.tick(now)?;
        Ok(Version { hlc, origin })
    }

    /// What to tell another region.
    #[must_use]
    pub fn tell(&self, telling: Telling, load_per_second: Option<u32>) -> Told {
        let newest = match telling {
            Telling::Digest => 0,
            Telling::News => NEWS,
            Telling::All => usize::MAX,
        };
        let changes = self.changes().into_iter().take(newest);
        Told {
            digest: self.digest,
            wishes: changes.flat_map(|change| change.wishes).cloned().collect(),
            load_per_second,
        }
    }

    /// Whether another region that told this holds the same.
    #[must_use]
    pub fn agrees(&self, told: &Told) -> bool {
        self.digest == told.digest
    }

    /// Takes over what another region told. What is new has to be durable before anything follows
    /// from it.
    pub fn hear(&mut self, told: Told) -> Heard {
        let is_new = self.merge(told.wishes);
        Heard {
            is_new,
            agrees: self.digest == told.digest,
        }
    }

    /// The rows as bytes, for a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let rows: Vec<_> = self.rows.values().collect();
        postcard::to_stdvec(&rows).expect("wishes have no unencodable parts")
    }

    /// Reads rows back.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not rows, or more than that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let rows: Vec<Wish> = whole(bytes)?;
        let mut ledger = Self::default();
        ledger.merge(rows);
        Ok(ledger)
    }
}

impl Told {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("wishes have no unencodable parts")
    }

    /// Reads a message back.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no such message, or more than that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes)
    }
}

fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(bytes)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::Trailing(rest.len()))
    }
}
