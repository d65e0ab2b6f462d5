//! What is known of a server when it and the tables meet.

use super::PostgresConfig;
use super::attach::View;
use super::compare::digest_of;
use super::detached;
use super::history::{Break, Standing};
use super::judge::{Basis, States, Writers};
use super::mark::Mark;
use super::parting::Parting;
use super::schema::Schema;
use super::taking;
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, describe};
use meridian_engine_postgres::capture::earlier_timelines;
use meridian_engine_postgres::{ServerIdentity, Xid, document};
use meridian_model::{Body, Operation, Position, RowName, Vector};
use std::collections::BTreeSet;
use tokio_postgres::Client;

const BATCH_BYTES: usize = 1 << 20;

/// Where to look.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a PostgresConfig,
    pub(super) dataset: &'a DatasetHandle,
    pub(super) schema: &'a Schema,
    pub(super) broken: Option<&'a Break>,
    /// Which server, in which of its histories.
    pub(super) identity: ServerIdentity,
}

/// What was found.
pub(super) struct Evidence {
    /// What tells rows apart.
    pub(super) basis: Basis,
    /// Whether what the server says of the log is of this log.
    pub(super) is_same_log: bool,
    /// The server's mark.
    pub(super) mark: Option<Mark>,
    /// Whether somebody may have written to the server unseen: a delete leaves no trace.
    pub(super) may_have_been_written: bool,
    /// Tables whose rows were all written anew since the mark.
    pub(super) rewritten: BTreeSet<String>,
    /// Rows that a constraint keeps out of the server.
    pub(super) parked: BTreeSet<RowName>,
}

/// What the log says of the time since a mark.
#[derive(Default)]
struct Since {
    states: States,
    /// Transactions captured of this region's server which the server still has, and which may be
    /// later than Meridian's last one.
    captured: u32,
}

impl Surroundings<'_> {
    /// Looks, in the transaction of `client`, which sees one snapshot.
    pub(super) async fn read(&self, client: &Client, view: &View) -> Result<Evidence, Trouble> {
        let standing = Standing::read(client, self.config).await?;
        let is_same_log = self.broken.is_some_and(|broken| broken.is_same_log);
        let given = self.given(client, &standing, view).await?;
        if let Some(given) = &given {
            self.must_have_been_heard(given, view)?;
        }
        let own = self.dataset.origin();
        let (start, end) = (self.dataset.log().start(), self.dataset.log().end());
        let mark = standing.mark.filter(|mark| {
            is_same_log
                && mark.system == self.identity.system
                && mark.origin == own
                && mark.from <= end
        });
        let since = match mark {
            Some(mark) if mark.from >= start => {
                let after = standing.given.as_ref().map(|given| given.position);
                let (earlier, parting) = ((mark, after), self.parting().await?);
                Some(self.since((mark.from, end), earlier, &parting)?)
            }
            _ => None,
        };
        let last_own = latest(&standing.writers);
        let may_have_been_written = match (&since, last_own) {
            (Some(since), Some(last)) => {
                let next = next_xid(client).await?;
                next.0.wrapping_sub(last.0) > since.captured + 1
            }
            _ => true,
        };
        let rewritten = match mark {
            Some(mark) => self.rewritten(client, mark.horizon).await?,
            None => BTreeSet::new(),
        };
        let writers = mark.map(|mark| Writers {
            horizon: mark.horizon,
            own: standing.let_in.iter().copied().chain(last_own).collect(),
            since: since.map(|since| since.states),
        });
        Ok(Evidence {
            basis: Basis { given, writers },
            is_same_log,
            mark: standing.mark,
            may_have_been_written,
            rewritten,
            parked: self.parked(client).await?,
        })
    }

    /// What the server had been given of the tables.
    async fn given(
        &self,
        client: &Client,
        standing: &Standing,
        view: &View,
    ) -> Result<Option<Vector>, Trouble> {
        let given = standing.given.as_ref().map(|tag| tag.seen.clone());
        match self.broken {
            Some(broken) if broken.is_same_log => {
                let mut given = given.unwrap_or_default();
                if broken.is_same_history {
                    // What it wrote itself it has.
                    let own = self.dataset.origin();
                    given.raise(own, view.applied.get(own));
                }
                Ok(Some(given))
            }
            // It is to be filled, whatever it says.
            _ if self.is_empty(client).await? => Ok(None),
            _ => Ok(given),
        }
    }

    async fn is_empty(&self, client: &Client) -> Result<bool, Trouble> {
        for table in self.schema.parents_first() {
            let query = format!("SELECT EXISTS (SELECT FROM {})", table.name.sql());
            if client.query_one(&query, &[]).await?.try_get(0)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The tables must have all that the server had been given: else its rows would seem to be its own.
    fn must_have_been_heard(&self, given: &Vector, view: &View) -> Result<(), Trouble> {
        let own = self.dataset.origin();
        for (region, origin) in self.dataset.status().members {
            if origin != own && view.applied.get(origin) < given.get(origin) {
                return Err(Trouble::passing(format!(
                    "the server has more of region {region} than is known here; waits for that region"
                )));
            }
        }
        Ok(())
    }

    /// Where the server's history left the one that was captured.
    async fn parting(&self) -> Result<Parting, Trouble> {
        let ServerIdentity { system, timeline } = self.identity;
        Ok(Parting {
            system,
            timeline,
            goes_on: self.broken.is_some_and(|broken| broken.is_same_history),
            earlier: earlier_timelines(&self.config.server, timeline).await?,
        })
    }

    /// `earlier` are the mark and the log's position as of what the server was given last: what ended
    /// before the one, or was captured before the other, is no later than Meridian's last transaction.
    fn since(
        &self,
        (from, to): (Position, Position),
        (mark, given): (Mark, Option<Position>),
        parting: &Parting,
    ) -> Result<Since, Trouble> {
        let (log, own) = (self.dataset.log(), self.dataset.origin());
        let (mut position, mut since) = (from, Since::default());
        while position < to {
            let batch = log.read(position, BATCH_BYTES).map_err(|error| {
                Trouble::lasting(
                    describe(&error),
                    "the dataset's log can't be read; is the disk sound?",
                )
            })?;
            if batch.entries.is_empty() {
                break;
            }
            for entry in &batch.entries {
                let is_later = given.is_none_or(|given| position >= given);
                position = position.next();
                let Ok(body) = Body::decode(&entry.body) else {
                    continue;
                };
                let is_there = match &body {
                    Body::Captured(captured) if entry.origin == own => {
                        let at = captured.at;
                        let is_whole = at.is_last && !taking::is_taking(at);
                        is_whole && is_later && at.end > mark.lsn.0 && parting.has(at)
                    }
                    _ => false,
                };
                let Some(transaction) = body.transaction() else {
                    continue;
                };
                since.captured += u32::from(is_there && !transaction.changes.is_empty());
                for change in &transaction.changes {
                    let Operation::Put { document } = &change.operation else {
                        continue;
                    };
                    let table = self.schema.named(&change.table);
                    let values = table.and_then(|table| document::values(table, document).ok());
                    let row = RowName {
                        table: change.table.clone(),
                        key: change.key.clone(),
                    };
                    if let Some(values) = values {
                        since.states.had(row, digest_of(&values));
                    }
                }
            }
        }
        Ok(since)
    }

    async fn rewritten(&self, client: &Client, horizon: Xid) -> Result<BTreeSet<String>, Trouble> {
        // A table that was rewritten has no older transaction in it.
        let query = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c \
            WHERE (c.oid = ($1::text)::regclass OR c.oid IN \
                (SELECT relid FROM pg_catalog.pg_partition_tree(($1::text)::regclass))) \
            AND c.relfrozenxid <> '0'::xid \
            AND pg_catalog.age(c.relfrozenxid) <= pg_catalog.age(($2::text)::xid))";
        let mut rewritten = BTreeSet::new();
        for table in self.schema.parents_first() {
            let row = client
                .query_one(query, &[&table.name.sql(), &horizon.0.to_string()])
                .await?;
            if row.try_get(0)? {
                rewritten.insert(table.name.to_string());
            }
        }
        Ok(rewritten)
    }

    async fn parked(&self, client: &Client) -> Result<BTreeSet<RowName>, Trouble> {
        let parked = meridian_engine_postgres::apply::parked(client, &self.config.dataset).await?;
        let mut rows = detached::kept_out(&self.config.directory)?;
        rows.extend(parked.into_iter().map(|parked| parked.row));
        Ok(rows)
    }
}

fn latest(writers: &[Xid]) -> Option<Xid> {
    let later = |one: Xid, other: Xid| if one.precedes(other) { other } else { one };
    writers.iter().copied().reduce(later)
}

async fn next_xid(client: &Client) -> Result<Xid, Trouble> {
    let query = "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::xid::text";
    let row = client.query_one(query, &[]).await?;
    let text: String = row.try_get(0)?;
    let next = text.parse().map(Xid);
    next.map_err(|_| Trouble::passing(format!("the server answered {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_writer_is_the_one_after_all_others() {
        assert_eq!(latest(&[]), None);
        assert_eq!(latest(&[Xid(5), Xid(9), Xid(7)]), Some(Xid(9)));
        let wrapped = [Xid(u32::MAX - 5), Xid(10)];
        assert_eq!(latest(&wrapped), Some(Xid(10)));
    }
}
