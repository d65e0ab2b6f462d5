//! A region in small, for the tests of the machine: a PostgreSQL with transaction ids, row locks and
//! a WAL; tables in which the higher version wins; capture that lags; an agent that crashes.

use super::{Batch, Outcome, Projected, Projection, Shown};
use crate::tag::Tag;
use crate::{Lsn, Xid};
use meridian_model::{Hlc, OriginId, Position, RowName, Vector, Version};
use std::collections::{BTreeMap, BTreeSet};

pub(super) type Key = u8;

pub(super) fn name(key: Key) -> RowName {
    RowName {
        table: "public.t".to_owned(),
        key: key.to_string(),
    }
}

fn key(row: &RowName) -> Key {
    row.key.parse().unwrap()
}

fn document(value: u32) -> String {
    format!(r#"{{"v":"{value}"}}"#)
}

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// An application begins a transaction: rows with values, each in a savepoint or not.
    Begin(Vec<(Key, Option<u32>, bool)>),
    /// The oldest open transaction ends.
    End { commits: bool, which: usize },
    /// Another region's entry arrives, older or newer than what is there.
    Remote(Vec<(Key, Option<u32>)>, bool),
    /// Capture tells the next transaction, or that there is none.
    Capture,
    /// The log's new entries are looked at.
    Follow,
    /// A batch is issued and its snapshot taken.
    Issue,
    /// The batch reaches the server.
    Write { loses_connection: bool },
    /// Its outcome comes back.
    Hear,
    /// A snapshot is taken for the horizon.
    Horizon,
    /// Locks that are held are given up.
    Release,
    /// The agent dies.
    Crash,
    /// The server rewrites a row: `VACUUM FREEZE`, `ALTER TABLE`.
    Rewrite(Key),
}

#[derive(Clone, Debug)]
struct Row {
    value: u32,
    xmin: u32,
    /// Where the WAL goes on after what made it so; of the projection itself: `None`.
    written_at: Option<u64>,
}

#[derive(Debug)]
struct Open {
    xid: u32,
    writes: Vec<(Key, Option<u32>, u32)>,
}

#[derive(Debug)]
struct Committed {
    xid: u32,
    changes: Vec<(Key, Option<u32>)>,
    tag: Option<Tag>,
}

#[derive(Debug)]
struct Entry {
    is_own: bool,
    keys: Vec<Key>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    rows: BTreeMap<Key, Row>,
    open: Vec<Open>,
    next_xid: u32,
    wal: Vec<Committed>,
    position_row: u64,
    tables: BTreeMap<Key, (Version, Option<u32>)>,
    log: Vec<Entry>,
    clock: u64,
    captured: usize,
    machine: Projection,
    followed: usize,
    /// Entries before this one are touched whoever wrote them.
    own_until: usize,
    issued: Option<Projected>,
    holding: Option<(u64, BTreeSet<Key>)>,
    held: BTreeSet<Key>,
    heard: Option<(u64, Outcome)>,
    pub(super) batches: usize,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            open: Vec::new(),
            // Near the end: ids wrap around in the middle of a run.
            next_xid: u32::MAX - 20,
            wal: Vec::new(),
            position_row: 0,
            tables: BTreeMap::new(),
            log: Vec::new(),
            clock: 1000,
            captured: 0,
            machine: Projection::default(),
            followed: 0,
            own_until: 0,
            issued: None,
            holding: None,
            held: BTreeSet::new(),
            heard: None,
            batches: 0,
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Begin(writes) => self.begin(writes),
            Step::End { commits, which } => self.end(*commits, *which),
            Step::Remote(writes, is_newer) => self.remote(writes, *is_newer),
            Step::Capture => self.capture(),
            Step::Follow => self.follow(),
            Step::Issue => self.issue(),
            Step::Write { loses_connection } => self.write(*loses_connection),
            Step::Hear => self.hear(),
            Step::Horizon => self.horizon(),
            Step::Release => self.release(),
            Step::Crash => self.crash(),
            Step::Rewrite(key) => self.rewrite(*key),
        }
    }

    /// Writing ends, and everything comes to rest.
    pub(super) fn settle(&mut self) {
        self.held.clear();
        while !self.open.is_empty() {
            self.end(true, 0);
        }
        for _ in 0..200 {
            self.capture();
            self.follow();
            self.issue();
            self.write(false);
            self.hear();
            let is_quiet = self.captured == self.wal.len()
                && self.followed == self.log.len()
                && self.machine.dirty_rows() == 0;
            if is_quiet {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub(super) fn check(&self) {
        let server: BTreeMap<Key, u32> = self
            .rows
            .iter()
            .map(|(key, row)| (*key, row.value))
            .collect();
        let tables: BTreeMap<Key, u32> = self
            .tables
            .iter()
            .filter_map(|(key, (_, value))| Some((*key, (*value)?)))
            .collect();
        assert_eq!(server, tables, "server and tables differ");
    }

    fn take_xid(&mut self) -> u32 {
        let xid = self.next_xid;
        self.next_xid = self.next_xid.wrapping_add(1).max(3);
        xid
    }

    fn begin(&mut self, writes: &[(Key, Option<u32>, bool)]) {
        let is_locked = |key: &Key| {
            self.held.contains(key)
                || self
                    .open
                    .iter()
                    .any(|open| open.writes.iter().any(|(other, ..)| other == key))
        };
        let writes: Vec<_> = writes.iter().filter(|(key, ..)| !is_locked(key)).collect();
        let xid = self.take_xid();
        let writes = writes
            .into_iter()
            .map(|(key, value, in_savepoint)| {
                let writer = if *in_savepoint { self.take_xid() } else { xid };
                (*key, *value, writer)
            })
            .collect();
        self.open.push(Open { xid, writes });
    }

    fn end(&mut self, commits: bool, which: usize) {
        if self.open.is_empty() {
            return;
        }
        let open = self.open.remove(which % self.open.len());
        if !commits {
            return;
        }
        let mut changes = Vec::new();
        for (key, value, xmin) in open.writes {
            let is_there = self.rows.contains_key(&key);
            match value {
                Some(value) => {
                    let written_at = Some(self.wal.len() as u64 + 1);
                    self.rows.insert(
                        key,
                        Row {
                            value,
                            xmin,
                            written_at,
                        },
                    );
                }
                None if is_there => {
                    self.rows.remove(&key);
                }
                None => continue,
            }
            changes.push((key, value));
        }
        self.wal.push(Committed {
            xid: open.xid,
            changes,
            tag: None,
        });
    }

    fn version(&mut self, is_newer: bool, origin: u64) -> Version {
        self.clock += 1;
        let hlc = if is_newer { self.clock } else { self.clock / 2 };
        Version {
            hlc: Hlc::from_raw(hlc),
            origin: OriginId(origin),
        }
    }

    fn merge(&mut self, is_own: bool, version: Version, changes: &[(Key, Option<u32>)]) {
        // What a transaction does last to a row counts.
        let last: BTreeMap<Key, Option<u32>> = changes.iter().copied().collect();
        for (key, value) in &last {
            let held = self.tables.get(key).map(|(version, _)| *version);
            if held.is_none_or(|held| held < version) {
                self.tables.insert(*key, (version, *value));
            }
        }
        let keys = changes.iter().map(|(key, _)| *key).collect();
        self.log.push(Entry { is_own, keys });
    }

    fn remote(&mut self, writes: &[(Key, Option<u32>)], is_newer: bool) {
        let version = self.version(is_newer, 2);
        self.merge(false, version, writes);
    }

    fn capture(&mut self) {
        let Some(committed) = self.wal.get(self.captured) else {
            self.machine.passed(Lsn(self.wal.len() as u64));
            return;
        };
        let (xid, tag) = (Xid(committed.xid), committed.tag.clone());
        let changes = committed.changes.clone();
        if tag.is_some() {
            self.hear();
        }
        let rows: Vec<_> = changes
            .iter()
            .map(|(key, value)| (name(*key), value.map(document)))
            .collect();
        self.captured += 1;
        for row in rows.chunks(1) {
            self.machine.rows_captured(xid, tag.as_ref(), row);
        }
        let end = Lsn(self.captured as u64);
        let deviations = self.machine.transaction_captured(xid, tag.as_ref(), end);
        assert!(deviations.is_empty(), "the model has no triggers");
        if tag.is_none() {
            let version = self.version(true, 1);
            self.merge(true, version, &changes);
        }
    }

    fn follow(&mut self) {
        for (at, entry) in self.log.iter().enumerate().skip(self.followed) {
            if !entry.is_own || at < self.own_until {
                self.machine
                    .touched(entry.keys.iter().map(|key| name(*key)));
            }
        }
        self.followed = self.log.len();
    }

    fn issue(&mut self) {
        // The position of the batch is that of the snapshot: what is before it has been followed.
        self.follow();
        let Some(batch) = self.machine.next_batch() else {
            return;
        };
        if !batch.hold.is_empty() {
            let keys = batch.hold.iter().map(key).collect();
            self.holding = Some((batch.id, keys));
            return;
        }
        let shown: Vec<_> = batch
            .rows
            .iter()
            .map(|row| self.shown(key(&row.row)))
            .collect();
        let position = Position(self.log.len() as u64);
        let projected = self
            .machine
            .projected(batch, position, Vector::default(), shown);
        self.issued = Some(projected);
    }

    fn shown(&self, key: Key) -> Option<Shown> {
        let (version, value) = self.tables.get(&key)?;
        Some(Shown {
            document: document((*value)?),
            version: *version,
        })
    }

    fn locked(&self, key: Key) -> bool {
        self.open
            .iter()
            .any(|open| open.writes.iter().any(|(other, ..)| *other == key))
    }

    /// What the applier does, in small.
    fn write(&mut self, loses_connection: bool) {
        if let Some((id, keys)) = self.holding.take() {
            let outcome = if keys.iter().any(|key| self.locked(*key)) {
                self.held.clear();
                Outcome::Locked
            } else {
                self.held.extend(&keys);
                self.probe(keys)
            };
            self.heard = Some((id, outcome));
            return;
        }
        let Some(projected) = self.issued.take() else {
            return;
        };
        self.held.clear();
        let mut outcome = self.apply(&projected);
        if loses_connection {
            outcome = Outcome::Unknown;
        }
        self.heard = Some((projected.id, outcome));
    }

    fn probe(&self, keys: impl IntoIterator<Item = Key>) -> Outcome {
        Outcome::Unsure {
            found: keys
                .into_iter()
                .map(|key| (name(key), self.rows.get(&key).map(|row| Xid(row.xmin))))
                .collect(),
            read_at: Lsn(self.wal.len() as u64),
        }
    }

    fn apply(&mut self, projected: &Projected) -> Outcome {
        if projected
            .rows
            .iter()
            .any(|(dirty, _)| self.locked(key(&dirty.row)))
        {
            return Outcome::Locked;
        }
        let mut unsure = Vec::new();
        for (dirty, wanted) in &projected.rows {
            let Some(row) = self.rows.get(&key(&dirty.row)) else {
                continue;
            };
            let xmin = Xid(row.xmin);
            let is_same = wanted.as_ref() == Some(&document(row.value));
            let is_captured = dirty.known == Some(xmin) || xmin.precedes(projected.horizon);
            if !is_same && !is_captured {
                unsure.push(key(&dirty.row));
            } else if !is_same {
                assert!(
                    row.written_at.is_none_or(|at| at <= self.captured as u64),
                    "row {} was overwritten before capture had seen it",
                    dirty.row
                );
            }
        }
        if !unsure.is_empty() {
            return self.probe(unsure);
        }
        self.batches += 1;
        let xid = self.take_xid();
        let mut changes = Vec::new();
        for (dirty, wanted) in &projected.rows {
            let key = key(&dirty.row);
            let value = wanted.as_ref().map(|wanted| {
                let digits: String = wanted.chars().filter(char::is_ascii_digit).collect();
                digits.parse().unwrap()
            });
            let before = self.rows.get(&key).map(|row| row.value);
            if before == value {
                continue;
            }
            changes.push((key, value));
            match value {
                Some(value) => {
                    let row = Row {
                        value,
                        xmin: xid,
                        written_at: None,
                    };
                    self.rows.insert(key, row);
                }
                None => {
                    self.rows.remove(&key);
                }
            }
        }
        self.position_row = projected.position.0;
        let tag = Tag {
            position: projected.position,
            seen: projected.seen.clone(),
        };
        self.wal.push(Committed {
            xid,
            changes,
            tag: Some(tag),
        });
        Outcome::Committed {
            xid: Xid(xid),
            end: Lsn(self.wal.len() as u64),
            parked: Vec::new(),
        }
    }

    fn hear(&mut self) {
        if let Some((id, outcome)) = self.heard.take() {
            self.machine.outcome(id, outcome);
        }
    }

    fn horizon(&mut self) {
        // A transaction that runs holds the snapshot's xmin at its id.
        let oldest = self
            .open
            .iter()
            .map(|open| Xid(open.xid))
            .reduce(|a, b| if a.precedes(b) { a } else { b });
        let xmin = oldest.unwrap_or(Xid(self.next_xid));
        self.machine
            .horizon_candidate(xmin, Lsn(self.wal.len() as u64));
    }

    fn crash(&mut self) {
        self.machine = Projection::new(Lsn(self.wal.len() as u64), []);
        self.followed = usize::try_from(self.position_row).unwrap();
        self.own_until = self.log.len();
        (self.issued, self.heard, self.holding) = (None, None, None);
        self.held.clear();
    }

    fn release(&mut self) {
        let is_idle = self.issued.is_none() && self.heard.is_none() && self.holding.is_none();
        if is_idle && !self.held.is_empty() {
            self.held.clear();
            self.machine.let_go();
        }
    }

    fn rewrite(&mut self, key: Key) {
        if self.locked(key) {
            return;
        }
        let xid = self.take_xid();
        if let Some(row) = self.rows.get_mut(&key) {
            row.xmin = xid;
        }
    }

    pub(super) fn batch(&mut self) -> Option<Batch> {
        self.machine.next_batch()
    }
}
