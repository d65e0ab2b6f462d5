//! How a region and its server come together: capture goes on where it stood, or the two meet. The
//! decisions are production's (`meridian_engine_postgres::meeting`); what is read of the server and
//! kept in the data directory, and in which order, is after `crates/node/src/postgres`.

use super::Beside;
use super::agent::{Agent, Begins};
use super::schema::PURSES;
use super::server::Server;
use super::truth::Seen;
use crate::world::World;
use meridian_check::Violation;
use meridian_engine_kv::{Snapshot, View};
use meridian_engine_postgres::document;
use meridian_engine_postgres::meeting::fills::Fills;
use meridian_engine_postgres::meeting::history::{Break, Known, Standing, Start, start};
use meridian_engine_postgres::meeting::mark::{Agreement, Mark, Marks, Noted};
use meridian_engine_postgres::meeting::rest::{self, Due, Rest};
use meridian_engine_postgres::meeting::{Action, Asked, Evidence, Facts, TAKING_OVER, Verdict};
use meridian_engine_postgres::projection::Parked;
use meridian_engine_postgres::{Lsn, ServerIdentity, Xid};
use meridian_log::{MemoryDisk, Reader};
use meridian_model::{CapturedAt, Change, Operation, OriginId, Position, RowName, Vector, Version};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

const READ_BYTES: usize = 1 << 20;
/// So many rows are taken over at once, and all purses.
const ROWS_MAX: usize = 3;

/// What a region's data directory says of its server.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub(super) noted: Noted,
    /// Why they are to meet, where rows were not compared to the end.
    broken: Option<Break>,
    /// Whether rows are still to be given that the log no longer names.
    pub(super) refill: bool,
    /// What the server had been given when they met, as long as that is so.
    pub(super) given: Option<Vector>,
    /// Which rows those are.
    rest: Option<Rest>,
    /// Those of them that applications wrote since, with where that was captured.
    written: Vec<(u64, Lsn)>,
    /// Where tables were filled.
    fills: Fills,
}

impl Directory {
    /// Rows are to be given from now on.
    pub(super) fn begins_refill(&mut self) {
        if !self.refill {
            self.refill = true;
            self.notes(Rest::default());
        }
    }

    fn notes(&mut self, rest: Rest) {
        (self.rest, self.written) = (Some(rest), Vec::new());
    }

    /// Whether it knows of a mark in the server.
    pub(super) fn is_marked(&self) -> bool {
        self.noted.agrees(None) == Agreement::ServerOlder
    }

    /// Whether the server has been marked since.
    pub(super) fn is_older_than(&self, server: &Server) -> bool {
        let mark = server.standing().mark.map(|mark| mark.number);
        self.noted.agrees(mark) == Agreement::DirectoryOlder
    }

    /// Whether it would show if the server had the mark before the one that it has.
    pub(super) fn knows_mark_of(&self, server: &Server) -> bool {
        let mark = server.standing().mark;
        let before = mark.map(|mark| mark.number.saturating_sub(1));
        self.noted.agrees(before) == Agreement::ServerOlder
    }

    /// An application wrote a row.
    pub(super) fn wrote(&mut self, row: &RowName, end: Lsn) {
        if self.refill {
            self.written.push((rest::name(row), end));
        }
    }

    /// The server has been given all of them.
    pub(super) fn ends_refill(&mut self) {
        (self.refill, self.given) = (false, None);
        (self.rest, self.written) = (None, Vec::new());
    }

    /// The rows that are left, as far as the log has what was captured.
    fn left(&self, captured: Option<CapturedAt>) -> Option<Rest> {
        let mut rest = self.rest.clone().filter(|_| self.refill)?;
        for (name, end) in &self.written {
            if captured.is_some_and(|at| end.0 <= at.end) {
                rest.remove(*name);
            }
        }
        Some(rest)
    }
}

/// Who answers where nothing tells.
#[derive(Debug, Default)]
pub(super) struct Operator {
    /// When the answer comes to the question that was asked.
    answers_at: Option<Duration>,
    /// Whether the server was said to be right.
    is_server_right: Option<bool>,
}

impl Operator {
    /// Whether the region waits for an answer.
    pub(super) fn is_thinking(&self, now: Duration) -> bool {
        self.answers_at.is_some_and(|at| now < at)
    }
}

/// A meeting under way.
pub(super) struct Meeting {
    broken: Option<Break>,
    identity: ServerIdentity,
    begins: Lsn,
    /// The server in the slot's snapshot.
    server: Seen,
    standing: Standing,
    next: Xid,
    rewritten: BTreeSet<String>,
    earlier: Vec<(u32, Lsn)>,
    /// The rows that are kept out of the server, and those that it refuses.
    parked: (BTreeSet<RowName>, BTreeSet<RowName>),
    settling: Option<Settling>,
}

/// What is still to be carried out.
struct Settling {
    at: CapturedAt,
    seen: Vector,
    position: Position,
    /// The rows to be taken over.
    take: VecDeque<(RowName, Option<String>)>,
    /// Those to be written.
    dirty: Vec<RowName>,
    /// The same, as the server shows them.
    rest: Rest,
    /// The tables of those that count as given.
    filled: BTreeSet<String>,
    /// Those among them of which somebody said so, with the transactions that made them what they are.
    decided: Vec<(RowName, u64)>,
    mark: Option<Mark>,
}

/// A row that differs.
struct Judged {
    row: RowName,
    document: Option<String>,
    /// Who wrote what the server has.
    writer: Option<Xid>,
    verdict: Verdict,
}

impl World {
    /// Connects; capture goes on, or a meeting begins.
    pub(super) fn connect(&mut self, index: usize, beside: &mut Beside) -> Result<(), Violation> {
        if beside.operator.is_thinking(self.time) {
            return Ok(());
        }
        self.flush(index)?;
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let Some(replica) = &mut node.replica else {
            return Ok(());
        };
        if !replica.is_settled(now) || !replica.staged().is_empty() || !replica.follows() {
            return Ok(());
        }
        let server = &mut beside.server;
        let known = Known {
            captured: replica.captured(),
            remembered: beside.directory.broken.as_ref(),
            given: beside.directory.given.as_ref(),
            log_end: replica.reader().end(),
            noted: beside.directory.noted,
        };
        let standing = server.standing();
        match start((server.place(), server.slot()), &standing, &known) {
            Start::GoesOn(at, seen) => {
                let met = None;
                let begins = Begins { at, seen, met };
                self.capture_from(index, beside, begins, standing.mark)
            }
            Start::Meets(broken) => {
                self.met.meetings += u64::from(broken.is_some());
                beside.directory.broken.clone_from(&broken);
                beside.meeting = Some(Meeting {
                    broken,
                    identity: server.identity(),
                    begins: server.create_slot(),
                    server: Seen::of(server),
                    standing,
                    next: server.reading().next,
                    rewritten: match server.standing().mark {
                        Some(mark) => server.rewritten_since(mark.horizon),
                        None => BTreeSet::new(),
                    },
                    earlier: server.earlier_timelines(),
                    parked: Parked::names(server.parked().cloned()),
                    settling: None,
                });
                Ok(())
            }
        }
    }

    /// A meeting goes on.
    pub(super) fn meet(
        &mut self,
        index: usize,
        beside: &mut Beside,
        mut meeting: Meeting,
    ) -> Result<(), Violation> {
        self.flush(index)?;
        let Some(replica) = &self.nodes[index].replica else {
            return Ok(());
        };
        if !replica.staged().is_empty() || !replica.follows() {
            beside.meeting = Some(meeting);
            return Ok(());
        }
        match meeting.settling.take() {
            None => self.weigh(index, beside, meeting),
            Some(settling) => self.take_over(index, beside, meeting, settling),
        }
    }

    /// Compares, and judges what differs.
    fn weigh(
        &mut self,
        index: usize,
        beside: &mut Beside,
        mut meeting: Meeting,
    ) -> Result<(), Violation> {
        let node = &self.nodes[index];
        let Some(replica) = &node.replica else {
            return Ok(());
        };
        let (log, applied) = (replica.reader(), replica.applied());
        let before = replica.captured().map(|(_, seen)| seen.clone());
        let members: Vec<OriginId> = replica.road().members().map(|(_, origin)| origin).collect();
        let tables = node.tables().snapshot();
        let Ok(position) = tables.position() else {
            return Ok(());
        };
        let rest = beside.directory.left(replica.captured().map(|(at, _)| *at));
        let facts = Facts {
            broken: meeting.broken.as_ref(),
            identity: meeting.identity,
            standing: &meeting.standing,
            own: replica.origin(),
            log: (log.start(), log.end()),
            applied: &applied,
            due: match &rest {
                Some(rest) => Due::Rows(rest),
                None if beside.directory.refill => Due::Unknown,
                None => Due::Nothing,
            },
            fills: &beside.directory.fills,
        };
        let given = facts.given(meeting.server.rows.is_empty());
        if let Some(given) = &given
            && facts.unheard(given, members).is_some()
        {
            // It waits for that region.
            beside.server.drop_slot();
            return Ok(());
        }
        let mut since = facts.since(meeting.earlier.clone());
        if let Some((from, since)) = &mut since
            && !self::since(&log, *from, since, &beside.server)
        {
            return Ok(());
        }
        let asked = Asked {
            next: meeting.next,
            rewritten: meeting.rewritten.clone(),
            parked: meeting.parked.0.clone(),
            refused: meeting.parked.1.clone(),
        };
        let evidence = facts.evidence(given, since.map(|(_, since)| since), asked);
        let judged = judge(&evidence, &meeting.server, &beside.server, &tables);
        let is_local = |it: &&Judged| it.verdict == Verdict::Local;
        let asks_for_lacking = evidence.asks(judged.iter().any(|it| is_local(&it)));
        let is_open = |it: &&Judged| match it.verdict {
            Verdict::Unknown => true,
            Verdict::Lacking => asks_for_lacking,
            Verdict::Older | Verdict::Local => false,
        };
        let open: Vec<&RowName> = judged.iter().filter(is_open).map(|it| &it.row).collect();
        // What a transfer moved can't come back by halves: purses are never right in the server.
        let has_purses = open.iter().any(|row| row.table.ends_with(PURSES));
        let answer = beside.operator.is_server_right.filter(|_| !open.is_empty());
        let is_server_right = answer.map(|is_server_right| is_server_right && !has_purses);
        if !open.is_empty() && is_server_right.is_none() {
            beside.server.drop_slot();
            self.ask_operator(beside);
            return Ok(());
        }
        let differing = judged.iter().map(|it| it.row.clone()).collect();
        for row in meeting.server.others(&differing) {
            if let Some(number) = meeting.server.number_of(&row) {
                beside.truth.same(row, number);
            }
        }
        let (mut take, mut dirty, mut decided) = (VecDeque::new(), Vec::new(), Vec::new());
        let (mut rest, mut filled) = (Rest::from(position), BTreeSet::new());
        let is_unclear = meeting.went_back_unseen();
        for judged in judged {
            let is_asked = is_open(&&judged);
            let number = meeting.server.number_of(&judged.row);
            // What counting left of a deleted row is in no server, and is deleted again.
            let is_rest = judged.document.is_none() && self.is_rest(index, &judged.row);
            if !is_rest
                && meeting.lost_nothing()
                && beside.directory.refill
                && judged.verdict != Verdict::Older
                && number.is_some_and(|number| beside.truth.is_decided(&judged.row, number))
            {
                let (row, verdict) = (&judged.row, judged.verdict);
                let what = format!("somebody said what becomes of {row}, and it is {verdict:?}");
                return Err(self.broken_beside(index, what));
            }
            let action = Action::of(judged.verdict, is_asked && is_server_right == Some(true));
            let is_first = evidence.basis.given.is_none() && judged.document.is_none();
            // What was written again may be what tables that were put back have lost.
            let is_same_log = meeting.broken.as_ref().is_some_and(|it| it.is_same_log);
            let is_lost = action == Action::Take && number.is_none() && !is_same_log;
            if !is_asked && !is_first && !is_rest && !is_lost {
                let at = (meeting.begins, &beside.server);
                let wrong = match &judged.document {
                    // Nobody knows how far it went back, and its log has had this.
                    Some(document)
                        if is_unclear && beside.truth.has_been(&judged.row, document) =>
                    {
                        None
                    }
                    _ => {
                        let seen = (&meeting.server, at);
                        beside
                            .truth
                            .is_wrong(seen, &self.ledger, &judged.row, action)
                    }
                };
                if let Some(what) = wrong {
                    let what = format!(
                        "{what} ({:?} for {:?}); they met because {:?}",
                        judged.verdict, judged.document, meeting.broken
                    );
                    return Err(self.broken_beside(index, what));
                }
            }
            match action {
                Action::Write => {
                    // What was deleted before the two first met nobody knows of.
                    if let Some(number) = number.filter(|_| is_first) {
                        beside.truth.same(judged.row.clone(), number);
                    }
                    let number = number.filter(|_| is_asked);
                    decided.extend(number.map(|number| (judged.row.clone(), number)));
                    rest.add(&judged.row, judged.writer);
                    if evidence.counts_as_given(last_write(&tables, &judged.row)) {
                        filled.insert(judged.row.table.clone());
                    }
                    dirty.push(judged.row);
                }
                Action::Take => take.push_back((judged.row, judged.document)),
            }
        }
        beside.directory.begins_refill();
        if meeting
            .broken
            .as_ref()
            .is_some_and(|it| !it.is_same_history)
        {
            beside.directory.given = Some(evidence.given_within(&applied));
        }
        meeting.settling = Some(Settling {
            at: CapturedAt {
                system: meeting.identity.system,
                timeline: meeting.identity.timeline,
                end: meeting.begins.0,
                part: TAKING_OVER,
                is_last: false,
            },
            seen: evidence.seen(&applied, before.as_ref()),
            position,
            take,
            dirty,
            rest,
            filled,
            decided,
            mark: evidence.mark,
        });
        beside.meeting = Some(meeting);
        Ok(())
    }

    fn is_rest(&self, index: usize, row: &RowName) -> bool {
        let document = self.nodes[index].document(&row.table, &row.key);
        document.is_some_and(|document| document.get("id").is_none())
    }

    /// Somebody is asked, and thinks for a while.
    fn ask_operator(&mut self, beside: &mut Beside) {
        self.met.asked += 1;
        let pause = Duration::from_millis(self.random.u64(50..1_500));
        beside.operator.answers_at = Some(self.time + pause);
        beside.operator.is_server_right = Some(self.random.bool());
    }

    /// Takes some more rows over, or is done with it.
    fn take_over(
        &mut self,
        index: usize,
        beside: &mut Beside,
        mut meeting: Meeting,
        mut settling: Settling,
    ) -> Result<(), Violation> {
        let is_next =
            |(at, (row, _)): &(usize, &(RowName, _))| *at < ROWS_MAX || row.table.ends_with(PURSES);
        let count = settling.take.iter().enumerate().take_while(is_next).count();
        let rows: Vec<_> = settling.take.drain(..count).collect();
        settling.at.is_last = settling.take.is_empty();
        if settling.at.is_last && !meeting.broken.as_ref().is_some_and(|it| it.is_same_log) {
            // What it says is of another log.
            beside.server.forget_own();
        }
        if settling.at.is_last {
            let filled = std::mem::take(&mut settling.filled);
            if let Some(replica) = &self.nodes[index].replica {
                let at = (replica.origin(), settling.position);
                beside.directory.fills.note(filled, at);
            }
            beside.directory.notes(settling.rest.clone());
            for (row, number) in settling.decided.drain(..) {
                beside.truth.decided(row, number);
            }
        }
        let (at, seen) = (settling.at, settling.seen.clone());
        let changes = rows.iter().map(|(row, document)| Change {
            table: row.table.clone(),
            key: row.key.clone(),
            operation: match document {
                Some(document) => Operation::Put {
                    document: document.clone(),
                },
                None => Operation::Delete,
            },
        });
        let Some(entry) = self.captured_as(index, at, seen, changes.collect()) else {
            return Ok(());
        };
        for (row, _) in rows {
            self.met.taken += 1;
            if let Some(number) = meeting.server.number_of(&row) {
                beside.truth.taken(row, number, entry);
            }
        }
        self.flush(index)?;
        let replica = self.nodes[index].replica.as_ref();
        let captured = replica.and_then(|replica| replica.captured());
        if captured.is_none_or(|(captured, _)| *captured != at) {
            // The log had no room for it, say.
            return Ok(());
        }
        if !settling.at.is_last {
            settling.at.part += 1;
            meeting.settling = Some(settling);
            beside.meeting = Some(meeting);
            return Ok(());
        }
        beside.operator.is_server_right = None;
        beside.operator.answers_at = None;
        beside.directory.broken = None;
        let begins = Begins {
            at: settling.at,
            seen: settling.seen,
            met: Some((settling.position, settling.dirty)),
        };
        self.capture_from(index, beside, begins, settling.mark)
    }

    /// Capture and projection go on from here.
    fn capture_from(
        &mut self,
        index: usize,
        beside: &mut Beside,
        begins: Begins,
        mark: Option<Mark>,
    ) -> Result<(), Violation> {
        let mut marks = Marks::new(beside.directory.noted);
        if let Some(noted) = marks.adopt(mark) {
            beside.directory.noted = noted;
        }
        let node = &self.nodes[index];
        let (Some(replica), Some(confirmed)) = (&node.replica, beside.server.confirmed()) else {
            return Ok(());
        };
        let at = Lsn(begins.at.end);
        if !beside.server.is_idle(at, confirmed, false) {
            let what = format!(
                "the slot may have forgotten the WAL up to {confirmed}, and the log has it up to {at}"
            );
            return Err(self.broken_beside(index, what));
        }
        let joined = Agent::begin(beside, begins, replica, &node.tables().snapshot(), marks);
        beside.agent = joined;
        Ok(())
    }
}

impl Meeting {
    /// Whether the server is as it was, only capture lost its place, and it says what it was given.
    fn lost_nothing(&self) -> bool {
        let broken = self.broken.as_ref();
        broken.is_some_and(|broken| broken.is_same_history) && self.standing.given.is_some()
    }

    /// Whether nobody knows how far the server went back.
    fn went_back_unseen(&self) -> bool {
        self.broken.as_ref().is_some_and(|broken| broken.is_unclear)
    }
}

/// Reads what the log says since a mark; whether it could be read.
fn since(
    log: &Reader<MemoryDisk>,
    from: Position,
    since: &mut meridian_engine_postgres::meeting::Since,
    server: &Server,
) -> bool {
    let (mut position, end) = (from, log.end());
    while position < end {
        let Ok(batch) = log.read(position, READ_BYTES) else {
            return false;
        };
        for entry in &batch.entries {
            since.take(position, entry, |row, document| {
                let table = server.schema.named(&row.table);
                document::values(table, &row.key, document).ok()
            });
            position = position.next();
        }
    }
    true
}

/// The rows that differ, and what each comes to.
fn judge(
    evidence: &Evidence,
    seen: &Seen,
    server: &Server,
    tables: &Snapshot<impl View>,
) -> Vec<Judged> {
    let mut judged = Vec::new();
    let last = |row: &RowName| last_write(tables, row);
    for table in server.schema.tables() {
        let name = table.name.to_string();
        let kind = evidence.kind(&name, table.has_counters(), false);
        let there = seen.rows.iter().filter(|(row, _)| row.table == name);
        let mut has_rows = false;
        for (row, ((values, xmin), _)) in there {
            has_rows = true;
            let shown = tables.get(&row.table, &row.key).ok().flatten();
            let shown = shown.map(|shown| server.schema.values(row, &shown.document));
            if shown.as_ref() == Some(values) {
                continue;
            }
            let writer = (Xid(*xmin), document::digest(values));
            judged.push(Judged {
                verdict: evidence.of_row(kind, row, writer, last(row)),
                row: row.clone(),
                writer: Some(writer.0),
                document: Some(document::document(table, values)),
            });
        }
        for row in shown_rows(tables, &name) {
            if !seen.rows.contains_key(&row) {
                judged.push(Judged {
                    verdict: evidence.of_lack(kind, &row, last(&row), has_rows),
                    row,
                    document: None,
                    writer: None,
                });
            }
        }
    }
    judged
}

fn last_write(tables: &Snapshot<impl View>, row: &RowName) -> Option<Version> {
    let copies = tables.look(std::slice::from_ref(row)).ok()?;
    copies.first().and_then(|copy| copy.holds.latest())
}

/// The rows of a table.
pub(super) fn shown_rows(tables: &Snapshot<impl View>, table: &str) -> Vec<RowName> {
    let page = tables.page(table, None, usize::MAX, usize::MAX);
    let rows = page.map(|page| page.rows).unwrap_or_default();
    let names = rows.into_iter().map(|(key, _)| RowName {
        table: table.to_owned(),
        key,
    });
    names.collect()
}
