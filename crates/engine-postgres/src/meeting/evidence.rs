//! What is known of a server when it and the tables meet.

use super::fills::Fills;
use super::history::{Break, Standing};
use super::is_taking;
use super::judge::{Basis, Has, Kind, Left, States, Verdict, Writers};
use super::mark::Mark;
use super::parting::Parting;
use super::rest::{Due, Rest};
use crate::document::{self, Values};
use crate::tag::Tag;
use crate::{ServerIdentity, Xid};
use meridian_model::mutation::{Mutation, active};
use meridian_model::{
    Body, CapturedAt, Entry, Operation, OriginId, Position, RowName, Vector, Version,
};
use std::collections::BTreeSet;

/// What both sides say.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Why they meet again; `None` for the first time.
    pub broken: Option<&'a Break>,
    /// Which server, in which of its histories.
    pub identity: ServerIdentity,
    /// What the server's rows of Meridian's own say.
    pub standing: &'a Standing,
    /// This region's incarnation.
    pub own: OriginId,
    /// Where its log begins and ends.
    pub log: (Position, Position),
    /// What has been applied to its tables.
    pub applied: &'a Vector,
    /// What the server had yet to be given, as far as the log has what was captured.
    pub due: Due<'a>,
    /// Where its tables were filled.
    pub fills: &'a Fills,
}

/// What tells whose state a row is.
#[derive(Debug)]
pub struct Evidence {
    /// What tells rows apart.
    pub basis: Basis,
    /// The server's mark, where it is worth something from now on.
    pub mark: Option<Mark>,
    /// Whether somebody may have written to the server unseen: a delete leaves no trace.
    may_have_been_written: bool,
    /// Tables whose rows were all written anew since the mark.
    rewritten: BTreeSet<String>,
    /// Tables that the server has yet to be filled with rows of which it counts as having been given.
    ungiven: BTreeSet<String>,
    /// Rows that a constraint keeps out of the server.
    parked: BTreeSet<RowName>,
    /// Rows that it refuses, and may have had as they were before.
    refused: BTreeSet<RowName>,
    /// Where the log doesn't say what applications wrote since these were noted, what the server had been
    /// given by then; nothing counts as that where the directory is older than the server.
    noted: Option<Vector>,
    /// Rows that were compared before, and that it has not been given since.
    rest: Rest,
    /// Whether there are such rows and nobody knows which: what it had been given tells of none.
    is_rest_unknown: bool,
}

/// What the server is asked for besides.
#[derive(Debug)]
pub struct Asked {
    /// Its next transaction.
    pub next: Xid,
    /// Tables whose rows were all written anew since the mark.
    pub rewritten: BTreeSet<String>,
    /// Rows that a constraint keeps out of it.
    pub parked: BTreeSet<RowName>,
    /// Those that it refuses, and may show as they were before.
    pub refused: BTreeSet<RowName>,
}

/// What the log says of the time since a mark.
#[derive(Debug)]
pub struct Since {
    own: OriginId,
    mark: Mark,
    /// What the server was given last.
    given: Option<Tag>,
    parting: Parting,
    /// The place that was captured last.
    reached: CapturedAt,
    states: States,
    /// Transactions captured of this region's server which the server still has, and which may be
    /// later than Meridian's last one.
    captured: u32,
    /// Rows that applications wrote since the server was given something last, and that it may have.
    written: BTreeSet<RowName>,
}

impl Facts<'_> {
    /// Whether what the server says of the log is of this log.
    #[must_use]
    pub fn is_same_log(&self) -> bool {
        self.broken.is_some_and(|broken| broken.is_same_log)
    }

    /// What the server had been given of the tables; `is_empty` says whether it has no rows at all.
    #[must_use]
    pub fn given(&self, is_empty: bool) -> Option<Vector> {
        let given = self.standing.given.as_ref().map(|tag| tag.seen.clone());
        match self.broken {
            Some(broken) if broken.is_same_log => {
                let mut given = given.unwrap_or_default();
                if broken.is_same_history {
                    // What it wrote itself it has.
                    given.raise(self.own, self.applied.get(self.own));
                }
                Some(given)
            }
            // It is to be filled, whatever it says.
            _ if is_empty => None,
            _ => given,
        }
    }

    /// Which of the members' streams the server had been given more of than the tables have: its rows
    /// would seem to be its own.
    #[must_use]
    pub fn unheard(
        &self,
        given: &Vector,
        members: impl IntoIterator<Item = OriginId>,
    ) -> Option<OriginId> {
        let mut others = members.into_iter().filter(|origin| *origin != self.own);
        others.find(|origin| self.applied.get(*origin) < given.get(*origin))
    }

    /// The server's mark, where it is of this server and this log.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.standing.mark.filter(|mark| {
            self.is_same_log()
                && mark.system == self.identity.system
                && mark.origin == self.own
                && mark.from <= self.log.1
        })
    }

    /// Begins to look what the log says of the time since the mark, and from where on it is to be read;
    /// `None` where it doesn't reach back so far. `earlier` says up to where the server has the WAL of
    /// its timelines before this one.
    #[must_use]
    pub fn since(&self, earlier: Vec<(u32, crate::Lsn)>) -> Option<(Position, Since)> {
        let mark = self.mark().filter(|mark| mark.from >= self.log.0)?;
        let ServerIdentity { system, timeline } = self.identity;
        let since = Since {
            own: self.own,
            mark,
            given: self.standing.given.clone(),
            parting: Parting {
                system,
                timeline,
                goes_on: self.broken.is_some_and(|broken| broken.is_same_history),
                is_unclear: self.broken.is_some_and(|broken| broken.is_unclear),
                earlier,
            },
            reached: CapturedAt::default(),
            states: States::default(),
            captured: 0,
            written: BTreeSet::new(),
        };
        Some((mark.from, since))
    }

    /// Whether the log lacks what this region had captured of the server: then it doesn't say either what
    /// the last writes were.
    fn is_directory_older(&self) -> bool {
        let mark = self.standing.mark;
        !self.is_same_log() && mark.is_some_and(|mark| mark.origin == self.own)
    }

    /// The tables that a server which went back had yet to be filled with.
    fn ungiven(&self) -> BTreeSet<String> {
        if !self.broken.is_some_and(|broken| broken.went_back) {
            return BTreeSet::new();
        }
        let given = self.standing.given.as_ref().map(|tag| tag.position);
        let (is_same_log, is_marked) = (self.is_same_log(), self.mark().is_some());
        self.fills.after(|origin, from| match origin == self.own {
            true => !is_same_log || given.is_none_or(|given| given <= from),
            false => !is_marked,
        })
    }

    /// All of it.
    #[must_use]
    pub fn evidence(
        &self,
        given: Option<Vector>,
        since: Option<Since>,
        mut asked: Asked,
    ) -> Evidence {
        let standing = self.standing;
        let last_own = latest(&standing.writers);
        let may_have_been_written = match (&since, last_own) {
            (Some(since), Some(last)) => asked.next.0.wrapping_sub(last.0) > since.captured + 1,
            _ => true,
        };
        if let Some(since) = &since {
            // It may have been there after it had been noted.
            asked.parked.retain(|row| !since.written.contains(row));
            asked.refused.retain(|row| !since.written.contains(row));
        }
        let noted = match &standing.given {
            Some(_) if self.is_directory_older() => Some(Vector::default()),
            Some(tag) => Some(tag.seen.clone()),
            // After a detach: what was noted then is all that is known.
            None => None,
        };
        let noted = noted.filter(|_| since.is_none());
        let writers = self.mark().map(|mark| Writers {
            horizon: mark.horizon,
            since: since.map(|since| since.states),
        });
        let broken = self.broken.filter(|it| it.is_same_log && !it.went_back);
        let said = standing.given.as_ref().filter(|_| broken.is_some());
        let due = match active(Mutation::LostTwiceForgotten) {
            true => Due::Nothing,
            false => self.due.left(said),
        };
        Evidence {
            basis: Basis {
                given,
                own: match self.is_same_log() {
                    true => standing.let_in.iter().copied().chain(last_own).collect(),
                    false => Vec::new(),
                },
                writers,
            },
            mark: standing.mark.filter(|_| self.is_same_log()),
            may_have_been_written,
            rewritten: asked.rewritten,
            ungiven: self.ungiven(),
            parked: asked.parked,
            refused: asked.refused,
            noted,
            rest: match due {
                Due::Rows(rest) => rest.clone(),
                Due::Nothing | Due::Unknown => Rest::default(),
            },
            is_rest_unknown: matches!(due, Due::Unknown),
        }
    }
}

impl Since {
    /// An entry of the log, with its position there. `values` reads a table's document.
    ///
    /// What ended before the mark, or was captured before the log's position as of what the server was
    /// given last, is no later than Meridian's last transaction.
    pub fn take(
        &mut self,
        position: Position,
        entry: &Entry,
        values: impl Fn(&RowName, &str) -> Option<Values>,
    ) {
        let given = self.given.as_ref();
        let is_later = given.is_none_or(|given| position >= given.position);
        let Ok(body) = Body::decode(&entry.body) else {
            return;
        };
        let captured = match &body {
            Body::Captured(captured) if entry.origin == self.own => Some(captured.at),
            _ => None,
        };
        if let Some(at) = captured {
            let is_same = (at.system, at.timeline) == (self.reached.system, self.reached.timeline);
            if is_same && at.end < self.reached.end {
                self.states.went_back();
            }
            self.reached = at;
        }
        let has = match captured {
            // What was taken over stands somewhere before the place where that was.
            Some(at) if is_taking(at) && self.parting.has(at) == Has::No => Has::Perhaps,
            Some(at) => self.parting.has(at),
            None if given.is_some_and(|given| given.seen.has_seen(entry.version())) => Has::Yes,
            None => Has::No,
        };
        let Some(transaction) = body.transaction() else {
            return;
        };
        // A batch may come into the server long after it was made of the tables: what was captured before
        // it had not seen it.
        let had_seen = |given: &Tag| {
            let mut others = given.seen.iter().filter(|(origin, _)| *origin != self.own);
            others.all(|(origin, hlc)| transaction.dependencies.get(origin) >= hlc)
        };
        let is_own = captured.is_some_and(|at| {
            let is_later = is_later && self.mark.is_before(at.end) && given.is_none_or(had_seen);
            at.is_last && !is_taking(at) && is_later
        });
        let is_there = is_own && has == Has::Yes && !transaction.changes.is_empty();
        self.captured += u32::from(is_there);
        let is_applications = captured.is_some_and(|at| !is_taking(at)) && is_later;
        for change in &transaction.changes {
            let row = RowName {
                table: change.table.clone(),
                key: change.key.clone(),
            };
            if is_applications && has != Has::No {
                self.written.insert(row.clone());
            }
            let left = match &change.operation {
                Operation::Put { document } => values(&row, document)
                    .map_or(Left::Sum, |values| Left::Row(document::digest(&values))),
                Operation::Delete => Left::Nothing,
                _ => Left::Sum,
            };
            self.states.had(row, entry.version(), left, has);
        }
    }
}

impl Evidence {
    /// The kind of a table: whether several writes make its rows together, and whether it was never
    /// given anything.
    #[must_use]
    pub fn kind(&self, table: &str, merges: bool, is_new: bool) -> Kind {
        Kind {
            merges,
            is_rewritten: self.rewritten.contains(table),
            is_new,
            is_parked: false,
            is_ungiven: self.ungiven.contains(table),
        }
    }

    /// A row that the server has and the tables have otherwise or not at all, by its writer and a digest
    /// of its values; `last` is the last write to it that the tables remember.
    #[must_use]
    pub fn of_row(
        &self,
        kind: Kind,
        row: &RowName,
        writer: (Xid, u64),
        last: Option<Version>,
    ) -> Verdict {
        if self.rest.is_as_compared(row, Some(writer.0)) {
            return Verdict::Older;
        }
        let is_out = self.parked.contains(row) || self.refused.contains(row);
        let is_parked = self.is_rest_unknown || is_out;
        let kind = Kind { is_parked, ..kind };
        self.basis.of_row(kind, row, writer, last)
    }

    /// A row that the server lacks; `has_rows` says whether its table has any.
    #[must_use]
    pub fn of_lack(
        &self,
        kind: Kind,
        row: &RowName,
        last: Option<Version>,
        has_rows: bool,
    ) -> Verdict {
        let is_parked = self.parked.contains(row) && !active(Mutation::ParkedTakenForDeleted);
        let is_out = match &self.noted {
            // An application may have written it since that was noted.
            Some(seen) => is_parked && last.is_some_and(|last| seen.has_seen(last)),
            None => is_parked,
        };
        match self.basis.of_lack(kind, last) {
            _ if is_out || self.rest.is_as_compared(row, None) => Verdict::Older,
            Verdict::Local if is_parked || self.refused.contains(row) => Verdict::Lacking,
            // A table that is empty as a whole may have been emptied to be filled again.
            Verdict::Local if !has_rows || self.is_rest_unknown => Verdict::Unknown,
            verdict => verdict,
        }
    }

    /// Whether rows that are [lacking](Verdict::Lacking) are asked about; `has_local` says whether any
    /// row turned out to be written unseen.
    #[must_use]
    pub fn asks(&self, has_local: bool) -> bool {
        self.may_have_been_written || has_local
    }

    /// Whether the server counts as having been given the last write to a row.
    #[must_use]
    pub fn counts_as_given(&self, last: Option<Version>) -> bool {
        let given = self.basis.given.as_ref();
        last.is_some_and(|last| given.is_some_and(|given| given.has_seen(last)))
    }

    /// What the server had been given, without what no region has any more: nobody could wait for that.
    #[must_use]
    pub fn given_within(&self, applied: &Vector) -> Vector {
        let given = self.basis.given.clone().unwrap_or_default();
        let readings = given.iter();
        let readings = readings.map(|(origin, hlc)| (origin, hlc.min(applied.get(origin))));
        readings.collect()
    }

    /// What the server's writes from now on count as having seen, where `before` is what they did so far:
    /// what it had been given, and no less than was said before. Others have collected by that, and add
    /// no increment to what comes later.
    #[must_use]
    pub fn seen(&self, applied: &Vector, before: Option<&Vector>) -> Vector {
        let mut seen = self.given_within(applied);
        let before = before.filter(|_| !active(Mutation::SeenGoesBack));
        for (origin, hlc) in before.into_iter().flat_map(Vector::iter) {
            seen.raise(origin, hlc);
        }
        seen
    }
}

fn latest(writers: &[Xid]) -> Option<Xid> {
    let later = |one: Xid, other: Xid| if one.precedes(other) { other } else { one };
    writers.iter().copied().reduce(later)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lsn;
    use crate::meeting::history::Break;
    use meridian_model::{Captured, Change, HistoryHash, Hlc, Sequence, Transaction};

    const OWN: OriginId = OriginId(1);

    fn row(key: &str) -> RowName {
        RowName {
            table: "public.t".to_owned(),
            key: key.to_owned(),
        }
    }

    /// What becomes of two rows that a server lacks, and of which it counts as having been given the last
    /// write.
    fn lacks(due: Due<'_>, given_at: Option<u64>, went_back: bool) -> [Verdict; 2] {
        lacks_of((due, &Fills::default()), given_at, went_back)
    }

    fn lacks_of(
        (due, fills): (Due<'_>, &Fills),
        given_at: Option<u64>,
        went_back: bool,
    ) -> [Verdict; 2] {
        let applied: Vector = [(OWN, Hlc::from_raw(9))].into_iter().collect();
        let broken = Break {
            reason: String::new(),
            is_same_history: !went_back,
            than: None,
            is_same_log: true,
            is_unclear: false,
            went_back,
        };
        let standing = Standing {
            given: given_at.map(|position| Tag {
                position: Position(position),
                seen: applied.clone(),
            }),
            ..Standing::default()
        };
        let facts = Facts {
            broken: Some(&broken),
            identity: ServerIdentity {
                system: 1,
                timeline: 1,
            },
            standing: &standing,
            own: OWN,
            log: (Position(0), Position(50)),
            applied: &applied,
            due,
            fills,
        };
        let asked = Asked {
            next: Xid(1),
            rewritten: BTreeSet::new(),
            parked: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        let evidence = facts.evidence(facts.given(false), None, asked);
        let last = Version {
            hlc: Hlc::from_raw(5),
            origin: OWN,
        };
        let kind = evidence.kind("public.t", false, false);
        ["due", "other"].map(|key| evidence.of_lack(kind, &row(key), Some(last), true))
    }

    #[test]
    fn a_row_that_was_to_be_written_is_not_taken_for_deleted() {
        let mut rest = Rest::from(Position(20));
        rest.add(&row("due"), None);
        let of = |due, given_at| lacks(due, given_at, false);
        let (older, local) = (Verdict::Older, Verdict::Local);
        assert_eq!(of(Due::Rows(&rest), Some(20)), [older, local]);
        assert_eq!(
            of(Due::Rows(&rest), Some(21)),
            [local, local],
            "it was given"
        );
        assert_eq!(of(Due::Nothing, Some(20)), [local, local]);
    }

    #[test]
    fn while_nobody_knows_which_rows_were_to_be_written_a_lack_is_asked_about() {
        let unknown = [Verdict::Unknown; 2];
        let rest = Rest::from(Position(20));
        assert_eq!(lacks(Due::Unknown, Some(20), false), unknown);
        assert_eq!(lacks(Due::Rows(&rest), None, false), unknown);
        assert_eq!(lacks(Due::Rows(&rest), Some(20), true), unknown);
    }

    #[test]
    fn a_server_that_went_back_before_a_fill_has_deleted_nothing_of_that() {
        let filled = |origin, from| {
            let mut fills = Fills::default();
            fills.note(["public.t".to_owned()].into(), (origin, Position(from)));
            fills
        };
        let of = |fills: &Fills, given_at, went_back| {
            let [one, other] = lacks_of((Due::Nothing, fills), Some(given_at), went_back);
            assert_eq!(one, other);
            one
        };
        let (lacking, local) = (Verdict::Lacking, Verdict::Local);
        let own = filled(OWN, 20);
        assert_eq!(of(&own, 20, true), lacking);
        assert_eq!(of(&own, 21, true), local, "it was given");
        assert_eq!(of(&own, 20, false), local, "it lost nothing");
        // Of another log no position tells, and the server has no mark of this one.
        assert_eq!(of(&filled(OriginId(2), 5), 21, true), lacking);
    }

    /// What becomes of rows that a server lacks which went back, or whose directory did, and that are noted
    /// as kept out and as refused. The server has a mark of this incarnation, and had been given what is
    /// before 20; `since` makes what the log says of the time after.
    fn noted(
        (is_same_log, origin): (bool, OriginId),
        since: impl FnOnce(&Facts<'_>) -> Option<Since>,
    ) -> [Verdict; 2] {
        let seen: Vector = [(OWN, Hlc::from_raw(9))].into_iter().collect();
        let broken = Break {
            reason: String::new(),
            is_same_history: false,
            is_same_log,
            is_unclear: false,
            went_back: true,
            than: None,
        };
        let given = Tag {
            position: Position(20),
            seen: seen.clone(),
        };
        let mark = Mark {
            number: 1,
            system: 1,
            origin,
            horizon: Xid(5),
            next: Xid(5),
            lsn: Lsn(10),
            from: Position(0),
            is_renewed: false,
            written: None,
        };
        let standing = Standing {
            given: Some(given),
            mark: Some(mark),
            ..Standing::default()
        };
        let facts = Facts {
            broken: Some(&broken),
            identity: ServerIdentity {
                system: 1,
                timeline: 2,
            },
            standing: &standing,
            own: OWN,
            log: (Position(0), Position(50)),
            applied: &seen,
            due: Due::Nothing,
            fills: &Fills::default(),
        };
        let asked = Asked {
            next: Xid(9),
            rewritten: BTreeSet::new(),
            parked: [row("out")].into(),
            refused: [row("refused")].into(),
        };
        let evidence = facts.evidence(facts.given(false), since(&facts), asked);
        let last = Version {
            hlc: Hlc::from_raw(5),
            origin: OWN,
        };
        let kind = evidence.kind("public.t", false, false);
        ["out", "refused"].map(|key| evidence.of_lack(kind, &row(key), Some(last), true))
    }

    /// A transaction of an application that wrote this row, and ended there.
    fn captured(key: &str, end: u64, dependencies: Vector) -> Entry {
        let at = CapturedAt {
            system: 1,
            timeline: 1,
            end,
            part: 0,
            is_last: true,
        };
        let RowName { table, key } = row(key);
        let transaction = Transaction {
            dependencies,
            changes: vec![Change {
                table,
                key,
                operation: Operation::Put {
                    document: "{}".to_owned(),
                },
            }],
            idempotency: None,
        };
        let body = Body::Captured(Captured {
            at,
            transaction,
            ..Captured::default()
        });
        Entry {
            origin: OWN,
            sequence: Sequence(1),
            hlc: Hlc::from_raw(5),
            history: HistoryHash::default(),
            body: body.encode(),
        }
    }

    /// The log says that an application wrote this row at this position.
    fn written(key: &str, at: u64, facts: &Facts<'_>) -> Since {
        let (_, mut since) = facts.since(vec![(1, Lsn(100))]).unwrap();
        let entry = captured(key, 50, Vector::default());
        since.take(Position(at), &entry, |_, _| None);
        since
    }

    #[test]
    fn what_ended_before_the_last_batch_or_the_mark_came_in_is_no_later_than_these() {
        let seen = |hlc| -> Vector { [(OriginId(2), Hlc::from_raw(hlc))].into_iter().collect() };
        let mark = Mark {
            number: 1,
            system: 1,
            origin: OWN,
            horizon: Xid(5),
            next: Xid(5),
            lsn: Lsn(10),
            from: Position(0),
            is_renewed: false,
            written: Some(Lsn(40)),
        };
        let counted = |position, end, dependencies| {
            let mut since = Since {
                own: OWN,
                mark,
                given: Some(Tag {
                    position: Position(20),
                    seen: seen(7),
                }),
                parting: Parting {
                    system: 1,
                    timeline: 1,
                    goes_on: true,
                    is_unclear: false,
                    earlier: Vec::new(),
                },
                reached: CapturedAt::default(),
                states: States::default(),
                captured: 0,
                written: BTreeSet::new(),
            };
            let entry = captured("k", end, dependencies);
            since.take(Position(position), &entry, |_, _| None);
            since.captured
        };
        assert_eq!(counted(20, 41, seen(7)), 1);
        assert_eq!(counted(19, 41, seen(7)), 0, "the batch was made of it");
        assert_eq!(counted(20, 41, seen(6)), 0, "the batch had yet to come");
        assert_eq!(counted(20, 40, seen(7)), 0, "the mark had yet to come");
    }

    #[test]
    fn a_row_that_was_there_after_it_was_noted_as_kept_out_is_not_lacking_for_that() {
        let (older, lacking, local) = (Verdict::Older, Verdict::Lacking, Verdict::Local);
        let of = |key, at| noted((true, OWN), |facts| Some(written(key, at, facts)));
        // What is refused may have been there as it was before.
        assert_eq!(of("other", 20), [older, lacking]);
        assert_eq!(of("out", 20), [local, lacking]);
        assert_eq!(of("refused", 20), [older, local]);
        assert_eq!(of("out", 19), [older, lacking], "it was noted since");
    }

    #[test]
    fn what_an_older_directory_lacks_may_have_been_a_write_to_a_row_that_is_noted() {
        let (older, lacking) = (Verdict::Older, Verdict::Lacking);
        let of = |origin| noted((false, origin), |_| None);
        assert_eq!(of(OWN), [lacking, lacking]);
        let before = "an incarnation before";
        assert_eq!(of(OriginId(2)), [older, lacking], "{before}");
    }

    #[test]
    fn a_row_that_may_have_been_written_since_it_was_noted_as_kept_out_is_asked_about() {
        let seen = |hlc| -> Vector { [(OWN, Hlc::from_raw(hlc))].into_iter().collect() };
        let of = |noted| {
            let evidence = Evidence {
                basis: Basis {
                    given: Some(seen(9)),
                    ..Basis::default()
                },
                mark: None,
                may_have_been_written: true,
                rewritten: BTreeSet::new(),
                ungiven: BTreeSet::new(),
                parked: [row("out")].into(),
                refused: BTreeSet::new(),
                noted: Some(seen(noted)),
                rest: Rest::default(),
                is_rest_unknown: false,
            };
            let last = Version {
                hlc: Hlc::from_raw(5),
                origin: OWN,
            };
            evidence.of_lack(Kind::default(), &row("out"), Some(last), true)
        };
        assert_eq!(of(5), Verdict::Older);
        assert_eq!(of(4), Verdict::Lacking);
    }

    #[test]
    fn the_latest_writer_is_the_one_after_all_others() {
        assert_eq!(latest(&[]), None);
        assert_eq!(latest(&[Xid(5), Xid(9), Xid(7)]), Some(Xid(9)));
        let wrapped = [Xid(u32::MAX - 5), Xid(10)];
        assert_eq!(latest(&wrapped), Some(Xid(10)));
    }
}
