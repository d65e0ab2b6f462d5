//! What joins a server to its region's replica, from one connection to its loss: the work of
//! `crates/node/src/postgres`, with each wait a place at which anything else may happen.

use super::Beside;
use super::join::{Directory, shown_rows};
use super::server::Server;
use super::truth::Truth;
use crate::ledger::RecordId;
use crate::node::SimReplica;
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_engine_kv::Snapshot;
use meridian_engine_kv::View;
use meridian_engine_postgres::capture::RowChange;
use meridian_engine_postgres::catalog::TableName;
use meridian_engine_postgres::changes::Fold;
use meridian_engine_postgres::document;
use meridian_engine_postgres::meeting::mark::{Marks, Reading, Writing as MarkWriting};
use meridian_engine_postgres::projection::{Outcome, Projected, Projection, Shown};
use meridian_engine_postgres::tag::Tag;
use meridian_engine_postgres::{Lsn, ServerIdentity};
use meridian_log::{MemoryDisk, Reader};
use meridian_model::{Body, Captured, CapturedAt, Change, OriginId, Position, RowName, Vector};
use meridian_replicate::OwnStanding;
use std::collections::BTreeMap;
use std::time::Duration;

const READ_BYTES: usize = 1 << 20;
/// So many changes of a transaction are told at once; of more each lot is a part.
const PART_CHANGES: usize = 7;

/// The connection's state.
pub(super) struct Agent {
    projection: Projection,
    writing: Option<Writing>,
    marks: Marks,
    looking: Option<Looking>,
    marking: Option<Marking>,
    identity: ServerIdentity,
    own: OriginId,
    /// All before here is captured.
    reached: Lsn,
    /// What has been told of the transaction that comes next.
    telling: Telling,
    /// The part of it that the log had when this began.
    resumed: Option<CapturedAt>,
    /// What the server had been given by then.
    seen: Vector,
    /// Whether the log has that.
    is_noted: bool,
    /// Up to here the log's entries have been looked at.
    followed: Position,
    /// The transactions of which parts were passed there, and not the last.
    passed: BTreeMap<OriginId, Passed>,
    /// Where that began.
    began_at: Position,
    /// Before here this region's own entries count too.
    own_until: Position,
}

/// Where capture and projection begin.
pub(super) struct Begins {
    pub(super) at: CapturedAt,
    pub(super) seen: Vector,
    /// Where the two have met: up to where in the log rows were compared, and those to be written.
    pub(super) met: Option<(Position, Vec<RowName>)>,
}

/// A transaction that is told in parts.
#[derive(Default)]
struct Telling {
    /// The part that comes next.
    part: u32,
    /// What the parts before did to rows.
    rows: Vec<(RowName, Option<String>)>,
}

/// Parts that show nothing before the last has come.
struct Passed {
    at: CapturedAt,
    /// Where in the log they begin.
    begins: Position,
    rows: Vec<RowName>,
}

/// A look at how the server stands, with the position in the log from which on entries may still be
/// written into it.
enum Looking {
    Asked(Position),
    Answered(Position, Reading),
}

/// A mark on its way into the server.
enum Marking {
    Due(MarkWriting),
    Announced(MarkWriting),
    Written(MarkWriting),
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
        let stays = if let Some(meeting) = beside.meeting.take() {
            self.meet(index, beside, meeting)?;
            true
        } else if let Some(mut agent) = beside.agent.take() {
            let stays = self.acts(index, beside, &mut agent)?;
            beside.agent = Some(agent);
            stays
        } else {
            self.connect(index, beside)?;
            true
        };
        // A connection breaks now and then, with what is on its way over it.
        if !stays || (self.applications_act && self.random.u32(0..400) == 0) {
            beside.disconnect();
        }
        Ok(())
    }

    fn acts(
        &mut self,
        index: usize,
        beside: &mut Beside,
        agent: &mut Agent,
    ) -> Result<bool, Violation> {
        let Beside {
            server,
            directory,
            truth,
            ..
        } = beside;
        match self.random.u32(0..14) {
            0..4 => self.capture(index, server, (truth, directory), agent),
            4..6 => Ok(self.begin(index, agent)),
            6..8 => self.land(index, server, agent),
            8..10 => {
                agent.hear();
                Ok(true)
            }
            10 => self.note(index, server, agent),
            11 => {
                agent.mark(server, directory);
                Ok(true)
            }
            _ => {
                agent.look(server, directory);
                Ok(true)
            }
        }
    }

    /// Takes some transactions of the WAL and makes them durable. Whether the connection stays.
    fn capture(
        &mut self,
        index: usize,
        server: &mut Server,
        (truth, directory): (&mut Truth, &mut Directory),
        agent: &mut Agent,
    ) -> Result<bool, Violation> {
        for _ in 0..self.random.u32(1..6) {
            let Some(record) = server.read(agent.reached) else {
                agent.projection.passed(agent.reached);
                break;
            };
            let empties = record.empties();
            if record.tag.is_some() && agent.writing.is_some() {
                // It is committed: what became of it is known at once, and has to be known first.
                if !self.land(index, server, agent)? {
                    return Ok(false);
                }
                agent.hear();
            }
            if empties {
                // The tables are to show what was there before it.
                if !self.durable(index, server, agent)? {
                    return Ok(false);
                }
                let replica = self.nodes[index].replica.as_ref();
                if !replica.is_some_and(|replica| replica.follows()) {
                    return Ok(true);
                }
            }
            if !self.take_record(index, server, (truth, directory), agent)? {
                return Ok(false);
            }
        }
        self.durable(index, server, agent)
    }

    fn take_record(
        &mut self,
        index: usize,
        server: &Server,
        (truth, directory): (&mut Truth, &mut Directory),
        agent: &mut Agent,
    ) -> Result<bool, Violation> {
        let Some(record) = server.read(agent.reached) else {
            return Ok(true);
        };
        let end = Lsn(agent.reached.0 + 1);
        let tables = self.nodes[index].tables();
        let shown = |table: &TableName| {
            let rows = shown_rows(&tables.snapshot(), &table.to_string());
            rows.into_iter().map(|row| row.key).collect()
        };
        let tag = record.tag.as_ref();
        let (part, is_last) = agent.next_part(&record.changes, tag.is_some());
        let (rows, changes) = fold(server, part, shown).map_err(|what| {
            self.broken_beside(index, format!("a transaction can't be folded: {what}"))
        })?;
        agent.projection.rows_captured(record.xid, tag, &rows);
        let at = CapturedAt {
            end: end.0,
            part: agent.telling.part,
            is_last,
            ..agent.at()
        };
        if tag.is_none() {
            for (row, _) in &rows {
                directory.wrote(row, end);
            }
        }
        agent.telling.rows.extend(rows);
        if !is_last {
            agent.telling.part += 1;
            for (row, _) in &agent.telling.rows {
                truth.in_part(row, record.number);
            }
            return Ok(agent.knows(at) || self.stage(index, agent, at, changes).is_some());
        }
        let Telling { rows, .. } = std::mem::take(&mut agent.telling);
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
                let entry = self.stage(index, agent, at, changes);
                if let (Some(number), Some(entry)) = (record.number, entry) {
                    truth.captured(number, entry);
                    for (row, document) in &rows {
                        if let Some(document) = document {
                            truth.was(row, document);
                        }
                    }
                }
                return Ok(entry.is_some());
            }
        }
        Ok(true)
    }

    /// Hands a captured transaction to the replica; the entry that it is, if that took it.
    fn stage(
        &mut self,
        index: usize,
        agent: &Agent,
        at: CapturedAt,
        changes: Vec<Change>,
    ) -> Option<RecordId> {
        self.captured_as(index, at, agent.seen.clone(), changes)
    }

    /// Whether the log has some parts of a transaction and not the last.
    fn is_within(&self, index: usize) -> bool {
        let replica = self.nodes[index].replica.as_ref();
        let captured = replica.and_then(|replica| replica.captured());
        captured.is_some_and(|(at, _)| !at.is_last)
    }

    /// Hands something captured to the replica.
    pub(super) fn captured_as(
        &mut self,
        index: usize,
        at: CapturedAt,
        seen: Vector,
        changes: Vec<Change>,
    ) -> Option<RecordId> {
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let replica = node.replica.as_mut()?;
        if !replica.is_settled(now) {
            return None;
        }
        let before = replica.staged().len();
        replica.capture(now, at, seen, changes).ok()?;
        self.wrote(index, before)?;
        self.ledger.last()
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
        let told = agent.telling.part;
        let within = replica.captured().map(|(at, _)| *at);
        let within = within.filter(|at| !at.is_last);
        if told > 0 || within.is_some() {
            let next = agent.reached.0 + 1;
            return Ok(within.is_some_and(|at| at.end == next && told <= at.part + 1));
        }
        let captured = Lsn(replica.captured().map_or(0, |(at, _)| at.end));
        // What was seen is to be in the log by now.
        let may_be_noted_later = !agent.is_noted;
        let is_there = server.is_idle(captured, agent.reached, may_be_noted_later);
        if captured > agent.reached || !is_there {
            return Ok(false);
        }
        if agent.is_noted {
            server.confirm(agent.reached);
            replica.keep_from(agent.needs());
        }
        Ok(true)
    }

    /// What was seen goes into the log where no transaction carries it.
    fn note(
        &mut self,
        index: usize,
        server: &mut Server,
        agent: &mut Agent,
    ) -> Result<bool, Violation> {
        // Something else would end a transaction of which parts are missing.
        if agent.is_noted || self.is_within(index) {
            return Ok(true);
        }
        agent.is_noted = true;
        if self.stage(index, agent, agent.at(), Vec::new()).is_none() {
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
        let is_idle = agent.writing.is_none() && !self.is_within(index);
        if !is_idle || !is_due || !replica.follows() {
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
        // What is held back is looked at again with its last part.
        let position = agent.whole_to();
        let Some(batch) = agent.projection.next_batch() else {
            let is_joining = matches!(replica.standing(), OwnStanding::Joining { .. });
            if is_joining && position == agent.followed {
                agent.shows(seen);
            }
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

    pub(super) fn broken_beside(&self, index: usize, what: String) -> Violation {
        Violation::Broken {
            region: self.nodes[index].name.to_string(),
            what,
        }
    }
}

impl Agent {
    /// `None` where the log can't be read.
    pub(super) fn begin<V: View>(
        beside: &mut Beside,
        begins: Begins,
        replica: &SimReplica,
        tables: &Snapshot<V>,
        marks: Marks,
    ) -> Option<Self> {
        let Beside {
            server, directory, ..
        } = beside;
        let log = replica.reader();
        let mut projection = Projection::new(server.wal_end(), server.parked().cloned());
        // Whatever kept them out may be mended since.
        projection.retry_parked();
        let position = server.standing().given.map(|tag| tag.position);
        let position = position.filter(|it| *it >= log.start() && *it <= log.end());
        let followed = match (begins.met, position) {
            (Some((position, dirty)), _) => {
                projection.given_nothing();
                projection.touched(dirty);
                position
            }
            (None, Some(position)) if !directory.refill => position,
            // Nothing says where the server stands: every row is looked at.
            (None, _) => {
                projection.given_nothing();
                projection.touched(differing(server, tables));
                if projection.dirty_rows() > 0 {
                    directory.begins_refill();
                }
                tables.position().ok()?
            }
        };
        let resumed = Some(begins.at).filter(|at| !at.is_last);
        let end = begins.at.end - u64::from(resumed.is_some());
        let reached = Lsn(end).max(server.confirmed()?);
        let mut agent = Self {
            projection,
            writing: None,
            marks,
            looking: None,
            marking: None,
            identity: server.identity(),
            own: replica.origin(),
            reached,
            telling: Telling::default(),
            resumed,
            seen: begins.seen,
            is_noted: true,
            followed,
            passed: BTreeMap::new(),
            began_at: followed,
            own_until: log.end(),
        };
        if position != Some(followed) && log.start() < followed {
            // Every row was looked at here, but for those of which parts were passed before.
            agent.followed = log.start();
            agent.follow(&log, followed, replica.origin())?;
        }
        Some(agent)
    }

    /// The changes of a transaction that are told next, and whether they are its last. What the
    /// projection wrote is told at once.
    fn next_part<'a>(&self, changes: &'a [RowChange], is_tagged: bool) -> (&'a [RowChange], bool) {
        if is_tagged {
            return (changes, true);
        }
        let told = self.telling.part as usize * PART_CHANGES;
        let rest = changes.get(told..).unwrap_or_default();
        match rest.split_at_checked(PART_CHANGES) {
            Some((part, more)) => (part, more.is_empty()),
            None => (rest, true),
        }
    }

    /// Whether the log has this part from before.
    fn knows(&self, at: CapturedAt) -> bool {
        let is_it = |resumed: &CapturedAt| resumed.is_of(at) && at.part <= resumed.part;
        self.resumed.as_ref().is_some_and(is_it)
    }

    fn at(&self) -> CapturedAt {
        CapturedAt {
            system: self.identity.system,
            timeline: self.identity.timeline,
            end: self.reached.0,
            part: 0,
            is_last: true,
        }
    }

    /// From where on the log is needed.
    fn needs(&self) -> Position {
        let shown = self.projection.shown().map(|tag| tag.position);
        let shown = shown.unwrap_or(self.began_at);
        self.marks.needs().map_or(shown, |needs| needs.min(shown))
    }

    /// Looks how the server stands, some step further.
    fn look(&mut self, server: &Server, directory: &mut Directory) {
        self.looking = match self.looking.take() {
            None => {
                let shown = self.projection.shown().map(|tag| tag.position);
                let is_clean = self.projection.dirty_rows() == 0;
                let settled = is_clean.then_some(self.whole_to()).or(shown);
                Some(Looking::Asked(settled.unwrap_or(self.began_at)))
            }
            Some(Looking::Asked(settled)) => Some(Looking::Answered(settled, server.reading())),
            Some(Looking::Answered(settled, reading)) => {
                self.stands(reading, settled, directory);
                None
            }
        };
    }

    fn stands(&mut self, found: Reading, settled: Position, directory: &mut Directory) {
        self.projection.horizon_candidate(found.oldest, found.lsn);
        if directory.refill {
            let is_over = self.projection.dirty_rows() == 0
                && !self.projection.is_writing()
                && self.projection.uncaptured_batches() == 0;
            if is_over {
                directory.ends_refill();
            }
            return;
        }
        let who = (self.identity.system, self.own);
        self.marks.observe(found, settled, who);
        if self.is_noted
            && let Some(writing) = self.marks.due(self.reached)
        {
            self.marking = Some(Marking::Due(writing));
        }
    }

    /// The mark on its way, if any, gets some step further.
    fn mark(&mut self, server: &mut Server, directory: &mut Directory) {
        self.marking = match self.marking.take() {
            Some(Marking::Due(writing)) => {
                directory.noted = writing.before;
                Some(Marking::Announced(writing))
            }
            Some(Marking::Announced(writing)) => {
                server.write_mark(writing.mark);
                Some(Marking::Written(writing))
            }
            Some(Marking::Written(writing)) => {
                directory.noted = writing.after;
                self.marks.written(&writing);
                None
            }
            None => None,
        };
    }

    fn saw(&mut self, tag: &Tag) {
        self.seen = tag.seen.clone();
        self.is_noted = false;
    }

    /// The server shows all of this, though no batch of its own says so: while its region joins, that is
    /// told where nobody writes, too.
    fn shows(&mut self, seen: Vector) {
        let is_due = self.projection.dirty_rows() > 0 || self.projection.uncaptured_batches() > 0;
        if !is_due && self.seen != seen {
            self.seen = seen;
            self.is_noted = false;
        }
    }

    fn hear(&mut self) {
        match self.writing.take() {
            Some(Writing::Answered(id, outcome)) => self.projection.outcome(id, outcome),
            other => self.writing = other,
        }
    }

    /// Up to here the tables show all that the log holds, where they stand at the position reached.
    fn whole_to(&self) -> Position {
        let begun = self.passed.values().map(|passed| passed.begins);
        begun.min().unwrap_or(self.followed).min(self.followed)
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
                let here = self.followed;
                let is_early = here < self.own_until;
                self.followed = self.followed.next();
                let Ok(body) = Body::decode(&entry.body) else {
                    continue;
                };
                let is_own = matches!(body, Body::Captured(_)) && entry.origin == own;
                let changes = body.transaction().into_iter().flat_map(|it| &it.changes);
                let changes = changes.filter(|_| !is_own || is_early);
                let touched = changes.map(|change| RowName {
                    table: change.table.clone(),
                    key: change.key.clone(),
                });
                let Body::Captured(Captured { at, .. }) = &body else {
                    rows.extend(touched);
                    continue;
                };
                let passed = self.passed.remove(&entry.origin);
                let mut passed = passed.filter(|it| it.at.is_of(*at));
                if at.is_held() {
                    let parts = passed.get_or_insert_with(|| Passed {
                        at: *at,
                        begins: here,
                        rows: Vec::new(),
                    });
                    parts.rows.extend(touched);
                    self.passed
                        .extend(passed.map(|parts| (entry.origin, parts)));
                    continue;
                }
                rows.extend(touched);
                let parts = passed.filter(|_| at.is_last).into_iter();
                rows.extend(parts.flat_map(|parts| parts.rows));
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
    changes: &[RowChange],
    shown: impl Fn(&TableName) -> Vec<String>,
) -> Result<Folded, String> {
    let schema = &server.schema;
    let mut fold = Fold::default();
    for change in changes {
        let taken = fold.take(change.clone(), schema, &shown);
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

/// The rows that server and tables don't show alike.
fn differing<V: View>(server: &Server, tables: &Snapshot<V>) -> Vec<RowName> {
    let here = server.schema.tables();
    let here = here.flat_map(|table| shown_rows(tables, &table.name.to_string()));
    let both = here.chain(server.rows.keys().cloned());
    let differs = |row: &RowName| {
        let shown = tables.get(&row.table, &row.key).ok().flatten();
        let shown = shown.map(|shown| server.schema.values(row, &shown.document));
        shown.as_ref() != server.values(row)
    };
    both.filter(differs).collect()
}
