//! What joins a server to its region's replica, from one connection to its loss: the work of
//! `crates/node/src/postgres`, with each wait a place at which anything else may happen.

use super::Beside;
use super::server::Server;
use crate::node::SimReplica;
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_engine_kv::TableReader;
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::changes::Fold;
use meridian_engine_postgres::document;
use meridian_engine_postgres::projection::{Outcome, Projected, Projection, Shown};
use meridian_engine_postgres::tag::Tag;
use meridian_log::{MemoryDisk, Reader};
use meridian_model::{Body, CapturedAt, Change, OriginId, Position, RowName, Vector};
use std::time::Duration;

const READ_BYTES: usize = 1 << 20;

/// The connection's state.
pub(super) struct Agent {
    projection: Projection,
    writing: Option<Writing>,
    /// All before here is captured.
    reached: Lsn,
    /// What the server had been given by then.
    seen: Vector,
    /// Whether the log has that.
    is_noted: bool,
    /// Up to here the log's entries have been looked at.
    followed: Position,
    /// Before here this region's own entries count too.
    own_until: Position,
}

/// A batch on its way.
enum Writing {
    Sent(Projected),
    Holds(u64, Vec<RowName>),
    Answered(u64, Outcome),
}

impl World {
    pub(crate) fn agent(&mut self, index: usize) -> Result<(), Violation> {
        let pause = Duration::from_micros(self.random.u64(500..15_000));
        self.plan(pause, Event::Agent(index));
        let mut beside = std::mem::take(&mut self.postgres[index]);
        let outcome = self.agent_acts(index, &mut beside);
        if self.nodes[index].replica.is_none() {
            beside.disconnect();
        }
        self.postgres[index] = beside;
        outcome
    }

    fn agent_acts(&mut self, index: usize, beside: &mut Beside) -> Result<(), Violation> {
        let Beside { server, agent } = beside;
        let Some(known) = agent else {
            *agent = self.connect(index, server)?;
            return Ok(());
        };
        let stays = match self.random.u32(0..12) {
            0..4 => self.capture(index, server, known)?,
            4..6 => self.begin(index, known),
            6..8 => self.land(index, server, known)?,
            8..10 => {
                known.hear();
                true
            }
            10 => self.note(index, server, known)?,
            _ => {
                let (xid, read_at) = server.horizon();
                known.projection.horizon_candidate(xid, read_at);
                true
            }
        };
        // A connection breaks now and then, with what is on its way over it.
        if !stays || (self.applications_act && self.random.u32(0..400) == 0) {
            beside.disconnect();
        }
        Ok(())
    }

    fn connect(&mut self, index: usize, server: &Server) -> Result<Option<Agent>, Violation> {
        self.flush(index)?;
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let name = node.name.to_string();
        let tables = node.tables();
        let Some(replica) = &mut node.replica else {
            return Ok(None);
        };
        if !replica.is_settled(now) || !replica.staged().is_empty() || !replica.follows() {
            return Ok(None);
        }
        let captured = replica.captured().cloned();
        let (at, seen) = captured.map_or((Lsn(0), Vector::default()), |(at, seen)| {
            (Lsn(at.end), seen)
        });
        if at < server.confirmed() {
            return Err(Violation::Broken {
                region: name,
                what: format!(
                    "the slot may have forgotten the WAL up to {}, and the log has it up to {at}",
                    server.confirmed()
                ),
            });
        }
        let log = replica.reader();
        let mut projection = Projection::new(server.wal_end(), []);
        let position = server.position().map(|tag| tag.position);
        let held = position.filter(|it| *it >= log.start() && *it <= log.end());
        let own_until = log.end();
        let followed = held.unwrap_or_else(|| {
            // Nothing says where the server stands: every row is looked at.
            projection.given_nothing();
            projection.touched(server.names().cloned());
            projection.touched(all_rows(&tables));
            own_until
        });
        Ok(Some(Agent {
            projection,
            writing: None,
            reached: at,
            seen,
            is_noted: true,
            followed,
            own_until,
        }))
    }

    /// Takes some transactions of the WAL and makes them durable. Whether the connection stays.
    fn capture(
        &mut self,
        index: usize,
        server: &mut Server,
        agent: &mut Agent,
    ) -> Result<bool, Violation> {
        for _ in 0..self.random.u32(1..6) {
            let Some(record) = server.read(agent.reached) else {
                agent.projection.passed(agent.reached);
                break;
            };
            if record.tag.is_some() && agent.writing.is_some() {
                // It is committed: what became of it is known at once, and has to be known first.
                if !self.land(index, server, agent)? {
                    return Ok(false);
                }
                agent.hear();
            }
            if !self.take_record(index, server, agent)? {
                return Ok(false);
            }
        }
        self.durable(index, server, agent)
    }

    fn take_record(
        &mut self,
        index: usize,
        server: &Server,
        agent: &mut Agent,
    ) -> Result<bool, Violation> {
        let Some(record) = server.read(agent.reached) else {
            return Ok(true);
        };
        let end = Lsn(agent.reached.0 + 1);
        let (rows, changes) = fold(server, &record.changes).map_err(|what| {
            self.broken_beside(index, format!("a transaction can't be folded: {what}"))
        })?;
        let tag = record.tag.as_ref();
        agent.projection.rows_captured(record.xid, tag, &rows);
        let deviations = agent.projection.transaction_captured(record.xid, tag, end);
        if !deviations.is_empty() {
            let what = format!("the projection's own {deviations:?} count as somebody else's");
            return Err(self.broken_beside(index, what));
        }
        agent.reached = end;
        match tag {
            Some(tag) => agent.saw(tag),
            None if rows.is_empty() => {}
            None => {
                agent.is_noted = true;
                return Ok(self.stage(index, agent, changes));
            }
        }
        Ok(true)
    }

    /// Hands a captured transaction to the replica; whether it took it.
    fn stage(&mut self, index: usize, agent: &Agent, changes: Vec<Change>) -> bool {
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let Some(replica) = &mut node.replica else {
            return false;
        };
        if !replica.is_settled(now) {
            return false;
        }
        let before = replica.staged().len();
        let at = agent.at();
        let taken = replica.capture(now, at, agent.seen.clone(), changes);
        if taken.is_ok() {
            self.wrote(index, before);
        }
        taken.is_ok()
    }

    /// Makes all that was staged durable and visible, and lets the server forget it.
    fn durable(
        &mut self,
        index: usize,
        server: &mut Server,
        agent: &Agent,
    ) -> Result<bool, Violation> {
        self.flush(index)?;
        let Some(replica) = &mut self.nodes[index].replica else {
            return Ok(false);
        };
        if !replica.staged().is_empty() {
            return Ok(false);
        }
        let captured = replica.captured().map_or(0, |(at, _)| at.end);
        let is_there = captured == agent.reached.0 || !agent.is_noted;
        if agent.is_noted && is_there {
            server.confirm(agent.reached);
            if let Some(tag) = agent.projection.shown() {
                replica.keep_from(tag.position);
            }
        }
        // What passes without changes needs no entry of its own.
        Ok(is_there || captured <= agent.reached.0 && server.is_idle(Lsn(captured), agent.reached))
    }

    /// What was seen goes into the log where no transaction carries it.
    fn note(
        &mut self,
        index: usize,
        server: &mut Server,
        agent: &mut Agent,
    ) -> Result<bool, Violation> {
        if agent.is_noted {
            return Ok(true);
        }
        agent.is_noted = true;
        if !self.stage(index, agent, Vec::new()) {
            return Ok(false);
        }
        self.durable(index, server, agent)
    }

    /// Begins to write what the tables show and the server doesn't.
    fn begin(&mut self, index: usize, agent: &mut Agent) -> bool {
        let node = &self.nodes[index];
        let Some(replica) = &node.replica else {
            return false;
        };
        let log = replica.reader();
        let is_behind = agent.followed < log.end();
        let is_due = is_behind || agent.projection.dirty_rows() > 0;
        if agent.writing.is_some() || !is_due || !replica.follows() {
            return true;
        }
        let (snapshot, seen) = (node.tables().snapshot(), replica.applied());
        let Ok(position) = snapshot.position() else {
            return false;
        };
        let Some(rows) = agent.follow(&log, position, replica.origin()) else {
            return false;
        };
        agent.projection.touched(rows);
        let Some(batch) = agent.projection.next_batch() else {
            return true;
        };
        let mut shown = Vec::new();
        for dirty in &batch.rows {
            let Ok(row) = snapshot.get(&dirty.row.table, &dirty.row.key) else {
                return false;
            };
            shown.push(row.map(|row| Shown {
                document: row.document,
                version: row.version.latest,
            }));
        }
        let (id, hold) = (batch.id, batch.hold.clone());
        let projected = agent.projection.projected(batch, position, seen, shown);
        agent.writing = Some(if hold.is_empty() {
            Writing::Sent(projected)
        } else {
            Writing::Holds(id, hold)
        });
        true
    }

    /// The batch reaches the server. Whether the connection stays.
    fn land(
        &mut self,
        index: usize,
        server: &mut Server,
        agent: &mut Agent,
    ) -> Result<bool, Violation> {
        let (id, outcome) = match agent.writing.take() {
            Some(Writing::Sent(batch)) => {
                let applied = server.apply(&batch, agent.reached);
                let outcome = applied.map_err(|what| self.broken_beside(index, what))?;
                let in_purses = server.in_purses();
                if in_purses != 0 {
                    let what = format!("half of a transfer shows: {in_purses} in all purses");
                    return Err(self.broken_beside(index, what));
                }
                (batch.id, outcome)
            }
            Some(Writing::Holds(id, rows)) => (id, server.hold(&rows)),
            other => {
                agent.writing = other;
                return Ok(true);
            }
        };
        agent.writing = Some(Writing::Answered(id, outcome));
        // The answer gets lost now and then.
        Ok(!(self.applications_act && self.random.u32(0..40) == 0))
    }

    fn broken_beside(&self, index: usize, what: String) -> Violation {
        Violation::Broken {
            region: self.nodes[index].name.to_string(),
            what,
        }
    }
}

impl Agent {
    fn at(&self) -> CapturedAt {
        CapturedAt {
            system: 1,
            timeline: 1,
            end: self.reached.0,
            part: 0,
            is_last: true,
        }
    }

    fn saw(&mut self, tag: &Tag) {
        self.seen = tag.seen.clone();
        self.is_noted = false;
    }

    fn hear(&mut self) {
        match self.writing.take() {
            Some(Writing::Answered(id, outcome)) => self.projection.outcome(id, outcome),
            other => self.writing = other,
        }
    }

    /// The rows that entries up to `to` touched; `None` where they can't be read.
    fn follow(
        &mut self,
        log: &Reader<MemoryDisk>,
        to: Position,
        own: OriginId,
    ) -> Option<Vec<RowName>> {
        let mut rows = Vec::new();
        while self.followed < to {
            let batch = log.read(self.followed, READ_BYTES).ok()?;
            for entry in &batch.entries {
                if self.followed == to {
                    break;
                }
                let is_early = self.followed < self.own_until;
                self.followed = self.followed.next();
                let Ok(body) = Body::decode(&entry.body) else {
                    continue;
                };
                let is_own = matches!(body, Body::Captured(_)) && entry.origin == own;
                if is_own && !is_early {
                    continue;
                }
                let changes = body.transaction().into_iter().flat_map(|it| &it.changes);
                rows.extend(changes.map(|change| RowName {
                    table: change.table.clone(),
                    key: change.key.clone(),
                }));
            }
        }
        Some(rows)
    }

    /// Why there is still something to do, if there is.
    pub(super) fn is_at_rest(&self, server: &Server, replica: &SimReplica) -> Result<(), String> {
        if self.reached != server.wal_end() {
            return Err(format!(
                "captured up to {}, the WAL goes to {}",
                self.reached,
                server.wal_end()
            ));
        }
        let dirty = self.projection.dirty_rows();
        if dirty > 0 || self.writing.is_some() {
            return Err(format!("{dirty} rows are not written yet"));
        }
        if self.followed != replica.reader().end() || !self.is_noted {
            return Err("the log goes on".to_owned());
        }
        Ok(())
    }
}

type Folded = (Vec<(RowName, Option<String>)>, Vec<Change>);

/// What a transaction did to each row, and its changes.
fn fold(
    server: &Server,
    changes: &[meridian_engine_postgres::capture::RowChange],
) -> Result<Folded, String> {
    let schema = &server.schema;
    let mut fold = Fold::default();
    for change in changes {
        let taken = fold.take(change.clone(), schema, |_| Vec::new());
        taken.map_err(|error| error.to_string())?;
    }
    let rows = fold.touched().map(|(table, key, values)| {
        let row = RowName {
            table: table.to_string(),
            key: key.to_owned(),
        };
        let document = values.map(|values| document::document(schema.of(&row), values));
        (row, document)
    });
    let rows = rows.collect();
    let changes = fold.changes(schema).map_err(|error| error.to_string())?;
    Ok((rows, changes))
}

fn all_rows(tables: &TableReader<meridian_engine_kv::MemoryStore>) -> Vec<RowName> {
    let mut rows = Vec::new();
    for table in tables.tables().unwrap_or_default() {
        let Ok(page) = tables.page(&table, None, usize::MAX, usize::MAX) else {
            continue;
        };
        rows.extend(page.rows.into_iter().map(|(key, _)| RowName {
            table: table.clone(),
            key,
        }));
    }
    rows
}
