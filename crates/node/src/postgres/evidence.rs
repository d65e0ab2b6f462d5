//! What is known of a server when it and the tables meet: read of both, for the decision
//! ([`meeting`](meridian_engine_postgres::meeting)).

use super::PostgresConfig;
use super::attach::View;
use super::detached;
use super::history;
use super::schema::Schema;
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, describe};
use meridian_engine_postgres::capture::earlier_timelines;
use meridian_engine_postgres::meeting::fills::Fills;
use meridian_engine_postgres::meeting::history::Break;
use meridian_engine_postgres::meeting::rest::Due;
use meridian_engine_postgres::meeting::{Asked, Evidence, Facts, Since};
use meridian_engine_postgres::projection::Parked;
use meridian_engine_postgres::{ServerIdentity, Xid, document};
use meridian_model::{Position, RowName, Vector};
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
    /// What it had yet to be given.
    pub(super) due: Due<'a>,
    /// Where its tables were filled.
    pub(super) fills: &'a Fills,
}

impl Surroundings<'_> {
    /// Looks, in the transaction of `client`, which sees one snapshot.
    pub(super) async fn read(&self, client: &Client, view: &View) -> Result<Evidence, Trouble> {
        let standing = history::standing(client, self.config).await?;
        let facts = Facts {
            broken: self.broken,
            identity: self.identity,
            standing: &standing,
            own: self.dataset.origin(),
            log: (self.dataset.log().start(), self.dataset.log().end()),
            applied: &view.applied,
            due: self.due,
            fills: self.fills,
        };
        let is_empty = !facts.is_same_log() && self.is_empty(client).await?;
        let given = facts.given(is_empty);
        if let Some(given) = &given {
            self.must_have_been_heard(&facts, given)?;
        }
        let timeline = self.identity.timeline;
        let since = match facts.mark() {
            Some(_) => facts.since(earlier_timelines(&self.config.server, timeline).await?),
            None => None,
        };
        let since = since.map(|(from, since)| self.since(from, since, facts.log.1));
        let (parked, refused) = self.parked(client).await?;
        let asked = Asked {
            next: next_xid(client).await?,
            rewritten: match facts.mark() {
                Some(mark) => self.rewritten(client, mark.horizon).await?,
                None => BTreeSet::new(),
            },
            parked,
            refused,
        };
        Ok(facts.evidence(given, since.transpose()?, asked))
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

    /// The tables must have all that the server had been given.
    fn must_have_been_heard(&self, facts: &Facts<'_>, given: &Vector) -> Result<(), Trouble> {
        let members = self.dataset.status().members;
        let origins = members.values().copied();
        let Some(unheard) = facts.unheard(given, origins) else {
            return Ok(());
        };
        let mut members = members.iter();
        let region = members.find(|(_, origin)| **origin == unheard);
        let region = region.map(|(region, _)| region.to_string());
        Err(Trouble::passing(format!(
            "the server has more of region {} than is known here; waits for that region",
            region.unwrap_or_default()
        )))
    }

    /// What the log says from the mark on.
    fn since(&self, from: Position, mut since: Since, to: Position) -> Result<Since, Trouble> {
        let (log, mut position) = (self.dataset.log(), from);
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
                since.take(position, entry, |row, document| {
                    let table = self.schema.named(&row.table)?;
                    document::values(table, &row.key, document).ok()
                });
                position = position.next();
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

    /// The rows that a constraint keeps out of the server, and those that it refuses.
    async fn parked(
        &self,
        client: &Client,
    ) -> Result<(BTreeSet<RowName>, BTreeSet<RowName>), Trouble> {
        let parked = meridian_engine_postgres::apply::parked(client, &self.config.dataset).await?;
        let (mut parked, refused) = Parked::names(parked);
        parked.extend(detached::kept_out(&self.config.directory)?);
        Ok((parked, refused))
    }
}

async fn next_xid(client: &Client) -> Result<Xid, Trouble> {
    let query = "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::xid::text";
    let row = client.query_one(query, &[]).await?;
    let text: String = row.try_get(0)?;
    let next = text.parse().map(Xid);
    next.map_err(|_| Trouble::passing(format!("the server answered {text:?}")))
}
