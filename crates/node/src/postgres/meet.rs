//! A dataset and a server meet: for the first time, or after capture lost its thread.
//!
//! A new slot comes with a snapshot of the database as of where its stream begins. The rows in it are
//! compared with the dataset's tables, and each that differs is [judged](meridian_engine_postgres::meeting): what is older is
//! written again, what was written here unseen becomes a transaction of this region. Where nothing
//! tells, nothing is written on either side until somebody has chosen one
//! (`meridian postgres attach --take`); the slot is given up then, so that no WAL waits for it.
//!
//! It can be repeated: what was taken over is the same on both sides the next time.

use super::PostgresConfig;
use super::attach::{View, see, view};
use super::compare::{Chunk, Comparison, unreadable};
use super::control::{Choice, Side};
use super::detached;
use super::evidence::Surroundings;
use super::fills;
use super::history;
use super::mark;
use super::noted;
use super::question::{self, Open};
use super::refill::Refill;
use super::schema::Schema;
use super::status::{Met as MetReport, PostgresState, SharedStatus};
use super::taken::Taken;
use super::taking::Taking;
use super::trouble::Trouble;
use super::ungiven::Ungiven;
use crate::dataset::{DatasetHandle, TablesSnapshot};
use meridian_engine_postgres::capture::create_slot;
use meridian_engine_postgres::meeting::history::Break;
use meridian_engine_postgres::meeting::mark::Mark;
use meridian_engine_postgres::meeting::rest::{Due, Rest};
use meridian_engine_postgres::meeting::{Action, Evidence, Kind, Verdict};
use meridian_engine_postgres::server::connect;
use meridian_engine_postgres::{Lsn, ServerIdentity, Xid};
use meridian_model::{CapturedAt, Position, RowName, Vector, Version};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Who meets.
pub(super) struct Meeting<'a> {
    pub(super) config: &'a PostgresConfig,
    pub(super) dataset: &'a DatasetHandle,
    pub(super) schema: &'a Schema,
    pub(super) status: &'a SharedStatus,
    pub(super) taken: &'a Taken,
    /// Why they meet again; `None` for the first time.
    pub(super) broken: Option<Break>,
    /// Up to where the server was captured, which counts as having seen this.
    pub(super) before: Option<&'a (CapturedAt, Vector)>,
}

/// What it came to.
pub(super) struct Met {
    /// From where on to capture.
    pub(super) at: CapturedAt,
    /// What the server had been given by then.
    pub(super) seen: Vector,
    /// Up to here in the log all rows were compared.
    pub(super) position: Position,
    /// The rows to be written.
    pub(super) dirty: Vec<RowName>,
    /// Those that it has yet to be given: the same, until they are.
    pub(super) ungiven: Ungiven,
    /// The server's mark, where it is worth something here.
    pub(super) mark: Option<Mark>,
}

/// What was found in all.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    local: u64,
    unknown: Open,
    lacking: Open,
}

/// What somebody said about rows of which nothing tells.
#[derive(Debug, Default)]
struct Answer {
    choice: Choice,
    /// Whether rows were asked about that the server lacks.
    covers_lacking: bool,
}

impl Answer {
    /// Which side was chosen for such a row; `None` where nobody was asked.
    fn side(&self, table: &str, verdict: Verdict) -> Option<Side> {
        match verdict {
            Verdict::Unknown => self.choice.of(table),
            Verdict::Lacking if self.covers_lacking => self.choice.of(table),
            Verdict::Lacking | Verdict::Older | Verdict::Local => None,
        }
    }
}

/// A row that differs, and what it comes to.
struct Judged {
    row: RowName,
    document: Option<String>,
    /// Who wrote what the server has.
    writer: Option<Xid>,
    verdict: Verdict,
}

impl Meeting<'_> {
    /// Compares, takes over and says what is to be written; `refill` keeps that this is due.
    pub(super) async fn hold(&self, refill: &mut Refill) -> Result<Met, Trouble> {
        self.status.change(|status| {
            status.state = PostgresState::Attaching;
            status.rows_compared = 0;
        });
        let directory = &self.config.directory;
        if let Some(broken) = &self.broken {
            // A slot that stands after a crash in between must not pass for the one that was lost.
            history::remember(directory, broken)?;
        }
        let client = connect(&self.config.server, "attach").await?;
        let slot = create_slot(&self.config.server, &self.config.slot).await?;
        see(&client, Some(&slot.snapshot)).await?;
        let view = view(self.dataset).await?;
        let at = self.before.map(|(at, _)| *at).unwrap_or_default();
        let rest = Ungiven::left(directory, at)?;
        let fills = fills::read(directory)?;
        let surroundings = Surroundings {
            config: self.config,
            dataset: self.dataset,
            schema: self.schema,
            broken: self.broken.as_ref(),
            identity: slot.identity,
            due: match &rest {
                _ if !refill.is_due() => Due::Nothing,
                Some(rest) => Due::Rows(rest),
                None => Due::Unknown,
            },
            fills: &fills,
        };
        let evidence = surroundings.read(&client, &view).await?;
        let mut tally = self.tally(&client, &view, &evidence).await?;
        let answer = match self.answer(&mut tally, &evidence) {
            Ok(answer) => answer,
            Err(trouble) => {
                client.batch_execute("ROLLBACK").await?;
                drop_slot(&client, &self.config.slot).await?;
                return Err(trouble);
            }
        };
        let place = (slot.identity, slot.begins);
        if !refill.is_due() {
            Ungiven::none(directory).begin(Rest::default())?;
        }
        // Before anything is taken over: what is captured from then on counts as having seen more.
        match &self.broken {
            Some(broken) if !broken.is_same_history => {
                refill.begin_from(&evidence.given_within(&view.applied))?;
            }
            _ => refill.begin()?,
        }
        let met = self
            .settle(&client, place, (&view, &evidence), &tally, &answer)
            .await?;
        client.batch_execute("COMMIT").await?;
        history::forget(directory)?;
        detached::met(directory)?;
        Ok(met)
    }

    /// The first time through: counts what nothing tells about.
    async fn tally(
        &self,
        client: &Client,
        view: &View,
        evidence: &Evidence,
    ) -> Result<Tally, Trouble> {
        let mut tally = Tally::default();
        for table in self.schema.parents_first() {
            let kind = self.kind(&table.name.to_string(), evidence);
            let mut comparison = Comparison::new(client, table, &view.tables);
            while let Some(chunk) = comparison.next().await? {
                tally.rows += chunk.rows;
                self.status
                    .change(|status| status.rows_compared = tally.rows);
                for judged in judge(chunk, kind, evidence, view, comparison.has_rows())? {
                    let all = match judged.verdict {
                        Verdict::Older => continue,
                        Verdict::Local => {
                            tally.local += 1;
                            continue;
                        }
                        Verdict::Unknown => &mut tally.unknown,
                        Verdict::Lacking => &mut tally.lacking,
                    };
                    all.add(&view.tables, &judged.row, judged.document.as_deref())?;
                }
            }
        }
        Ok(tally)
    }

    fn kind(&self, table: &str, evidence: &Evidence) -> Kind {
        let is_new = !self.taken.is_empty() && !self.taken.has(table);
        evidence.kind(table, self.schema.merges(table), is_new)
    }

    /// What somebody has said where nothing tells.
    fn answer(&self, tally: &mut Tally, evidence: &Evidence) -> Result<Answer, Trouble> {
        let mut open = std::mem::take(&mut tally.unknown);
        let covers_lacking = evidence.asks(tally.local > 0);
        if covers_lacking {
            open.extend(std::mem::take(&mut tally.lacking));
        }
        let cause = match &self.broken {
            Some(broken) => format!("{}, and ", broken.reason),
            None => String::new(),
        };
        let unread_by = self.dataset.status().choices_unread_by;
        let who = (self.status, self.schema);
        let choice = open.answered(who, unread_by.as_ref(), |rows, first| {
            let reason = format!(
                "{cause}{rows} rows differ between this server and the other regions of which \
                 nothing tells which side is right; the first is {first}"
            );
            Trouble::asking(reason, question::HINT)
        })?;
        Ok(Answer {
            choice: choice.unwrap_or_default(),
            covers_lacking,
        })
    }

    /// The second time through: takes over and collects what is to be written.
    async fn settle(
        &self,
        client: &Client,
        place: (ServerIdentity, Lsn),
        (view, evidence): (&View, &Evidence),
        tally: &Tally,
        answer: &Answer,
    ) -> Result<Met, Trouble> {
        let given = evidence.given_within(&view.applied);
        let before = self.before.map(|(_, seen)| seen);
        let seen = evidence.seen(&view.applied, before);
        let mut taking = Taking::new(self.dataset, place, seen);
        let (mut dirty, mut taken) = (Vec::new(), 0);
        let mut given_up = BTreeSet::new();
        let mut rest = Rest::from(view.position);
        let mut filled = BTreeSet::new();
        for table in self.schema.parents_first() {
            let kind = self.kind(&table.name.to_string(), evidence);
            let mut comparison = Comparison::new(client, table, &view.tables);
            while let Some(chunk) = comparison.next().await? {
                for judged in judge(chunk, kind, evidence, view, comparison.has_rows())? {
                    let Judged {
                        row,
                        document,
                        writer,
                        verdict,
                    } = judged;
                    let side = answer.side(&row.table, verdict);
                    match Action::of(verdict, side == Some(Side::Server)) {
                        Action::Write => {
                            if side.is_some() {
                                taking.give_up(row.clone(), document).await?;
                                given_up.insert(row.clone());
                            }
                            let last = last_write(&view.tables, &row)?;
                            if evidence.counts_as_given(last) {
                                filled.insert(row.table.clone());
                            }
                            rest.add(&row, writer);
                            dirty.push(row);
                        }
                        Action::Take => {
                            taken += 1;
                            let last = last_write(&view.tables, &row)?;
                            match side.is_some() || last.is_some_and(|last| !given.has_seen(last)) {
                                true => taking.take_blind(row, document).await?,
                                false => taking.take(row, document).await?,
                            }
                        }
                    }
                }
            }
        }
        if !self
            .broken
            .as_ref()
            .is_some_and(|broken| broken.is_same_log)
        {
            // What it says is of another log.
            let writer = connect(&self.config.server, "attach").await?;
            mark::forget(&writer, &self.config.dataset).await?;
        }
        noted::give_up(self.dataset, &self.config.directory, given_up)?;
        // Before the rows count as compared, and after what was chosen is told.
        taking.put().await?;
        let filled_at = (self.dataset.origin(), view.position);
        fills::note(&self.config.directory, filled, filled_at)?;
        let mut ungiven = Ungiven::none(&self.config.directory);
        ungiven.begin(rest)?;
        let (at, seen) = taking.finish().await?;
        let report = MetReport {
            reason: self.broken.as_ref().map(|broken| broken.reason.clone()),
            rows_compared: tally.rows,
            rows_taken: taken,
            rows_to_write: dirty.len() as u64,
            take: answer.choice.all,
            take_in: answer.choice.tables.clone(),
        };
        let dataset = self.dataset.name();
        tracing::info!(dataset, ?report, "server and tables were compared");
        self.status.control().decided();
        self.status.change(|status| {
            status.differing.clear();
            status.met = Some(report);
        });
        Ok(Met {
            at,
            seen,
            position: view.position,
            dirty,
            ungiven,
            mark: evidence.mark,
        })
    }
}

fn judge(
    chunk: Chunk,
    kind: Kind,
    evidence: &Evidence,
    view: &View,
    has_rows: bool,
) -> Result<Vec<Judged>, Trouble> {
    let mut judged = Vec::new();
    for row in chunk.only_there.into_iter().chain(chunk.different) {
        let last = last_write(&view.tables, &row.name)?;
        let writer = (row.writer, row.digest);
        judged.push(Judged {
            verdict: evidence.of_row(kind, &row.name, writer, last),
            row: row.name,
            document: Some(row.document),
            writer: Some(row.writer),
        });
    }
    for row in chunk.only_here {
        let last = last_write(&view.tables, &row)?;
        let verdict = evidence.of_lack(kind, &row, last, has_rows);
        judged.push(Judged {
            row,
            document: None,
            writer: None,
            verdict,
        });
    }
    Ok(judged)
}

fn last_write(tables: &TablesSnapshot, row: &RowName) -> Result<Option<Version>, Trouble> {
    let copies = tables.look(std::slice::from_ref(row)).map_err(unreadable)?;
    Ok(copies.first().and_then(|copy| copy.holds.latest()))
}

/// Drops the slot, unless somebody reads it.
pub(super) async fn drop_slot(client: &Client, slot: &str) -> Result<(), Trouble> {
    let drop = "SELECT pg_catalog.pg_drop_replication_slot(slot_name) \
                FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND NOT active \
                AND database = pg_catalog.current_database()";
    client.execute(drop, &[&slot]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_holds_for_the_rows_that_were_asked_about() {
        let all = Some(Side::Server);
        let choice = Choice {
            all,
            ..Choice::default()
        };
        let mut answer = Answer {
            choice,
            covers_lacking: false,
        };
        let sides = |answer: &Answer| {
            let verdicts = [
                Verdict::Unknown,
                Verdict::Lacking,
                Verdict::Older,
                Verdict::Local,
            ];
            verdicts.map(|verdict| answer.side("public.t", verdict))
        };
        assert_eq!(sides(&answer), [all, None, None, None]);
        answer.covers_lacking = true;
        assert_eq!(sides(&answer), [all, all, None, None]);
    }
}
