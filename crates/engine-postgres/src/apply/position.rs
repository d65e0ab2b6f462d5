//! The rows of Meridian's own in the server: how far it is, and which rows are kept out of it.

use super::armor::Armor;
use super::at_once::Sent;
use super::error::{ApplyError, Refusal, xid};
use super::{Applier, session};
use crate::projection::{Parked, Projected};
use crate::tag::{Seal, Tag};
use crate::{Lsn, Xid};
use meridian_model::{Position, RowName};
use std::borrow::Cow;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, SimpleQueryMessage};

/// The table with each dataset's position.
pub const POSITION_TABLE_SQL: &str = "CREATE TABLE IF NOT EXISTS meridian.position \
    (dataset text PRIMARY KEY, position bigint, seen jsonb)";
/// The table with the rows that constraints keep out.
pub const PARKED_TABLE_SQL: &str = "CREATE TABLE IF NOT EXISTS meridian.parked \
    (dataset text, \"table\" text, key text, parked jsonb, PRIMARY KEY (dataset, \"table\", key))";

/// Says how far the server is, and marks the transaction as ours → the mark's place, the transaction's id.
/// Fails where the session's lock ([`Applier::take_over`]) is gone, as a trigger that gives up all locks has
/// it, and somebody else has it by now; else it has it again, and to the transaction's end in a way that no
/// trigger gives up.
pub(super) const WRITE: &str = "INSERT INTO meridian.position (dataset, position, seen) \
    VALUES ($1, $2, ($3::text)::jsonb) \
    ON CONFLICT (dataset) DO UPDATE SET position = excluded.position, seen = excluded.seen \
    RETURNING pg_logical_emit_message(true, 'meridian', \
        $4::bytea || sha256($5::bytea || xidsend(pg_current_xact_id()::xid)))::text, \
        (pg_current_xact_id()::xid)::text, \
        CASE WHEN NOT (pg_try_advisory_lock(hashtext('meridian'), hashtext($1)) \
        AND pg_try_advisory_xact_lock(hashtext('meridian'), hashtext($1))) \
        THEN current_setting('meridian.another session writes for this dataset') END";
/// Checks what could wait, and commits.
const COMMIT: &str = "SET CONSTRAINTS ALL IMMEDIATE; COMMIT";
const UNPARK: &str = "DELETE FROM meridian.parked p \
    USING unnest($2::text[], $3::text[]) u(t, k) \
    WHERE p.dataset = $1 AND p.\"table\" = u.t AND p.key = u.k";
/// What the row is called that names the transactions which let parked rows in.
pub const LET_IN_SUFFIX: &str = "#let-in";
/// What the row is called that says up to which of its transactions the server was captured.
pub const MARK_SUFFIX: &str = "#mark";

/// Notes that this transaction wrote rows which the log doesn't name again, those that had been parked
/// and those that made room for the decision, and forgets those from before the mark.
const LET_IN: &str = "INSERT INTO meridian.position AS p (dataset, seen) \
    VALUES ($1::text || $2, jsonb_build_array((pg_current_xact_id()::xid)::text)) \
    ON CONFLICT (dataset) DO UPDATE SET seen = excluded.seen || COALESCE(( \
        SELECT jsonb_agg(u.x) FROM jsonb_array_elements_text(p.seen) u(x), meridian.position m \
        WHERE m.dataset = $1 || $3 \
        AND age(u.x::xid) <= age((m.seen ->> 'horizon')::xid)), '[]')";
const PARK: &str = "INSERT INTO meridian.parked (dataset, \"table\", key, parked) \
    SELECT $1, u.t, u.k, u.p::jsonb FROM unnest($2::text[], $3::text[], $4::text[]) u(t, k, p)";

pub(super) async fn has_parked_table(client: &Client) -> Result<bool, ApplyError> {
    let row = client
        .query_one("SELECT to_regclass('meridian.parked') IS NOT NULL", &[])
        .await
        .map_err(ApplyError::server("look for meridian.parked"))?;
    Ok(row.get(0))
}

pub(super) async fn read(client: &Client, dataset: &str) -> Result<Option<Tag>, ApplyError> {
    let row = client
        .query_opt(
            "SELECT position, seen::text FROM meridian.position \
             WHERE dataset = $1 AND position IS NOT NULL",
            &[&dataset],
        )
        .await
        .map_err(ApplyError::server("read meridian.position"))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let position: i64 = row.get(0);
    Ok(Some(Tag {
        position: Position(position.cast_unsigned()),
        seen: parsed(row.get(1), "a vector")?,
    }))
}

pub(super) async fn read_parked(
    client: &Client,
    dataset: &str,
    armor: Armor,
) -> Result<Vec<Parked>, ApplyError> {
    client
        .query(
            "SELECT parked::text FROM meridian.parked WHERE dataset = $1 ORDER BY \"table\", key",
            &[&dataset],
        )
        .await
        .map_err(ApplyError::server("read meridian.parked"))?
        .iter()
        .map(|row| {
            let armored: serde_json::Value = parsed(row.get(0), "a parked row")?;
            parsed(&armor.undone(armored).to_string(), "a parked row")
        })
        .collect()
}

pub(super) async fn forget_parked(
    client: &Client,
    dataset: &str,
    armor: Armor,
    tables: &[String],
) -> Result<(), ApplyError> {
    let tables: Vec<_> = tables.iter().map(|table| armor.text(table)).collect();
    let delete = "DELETE FROM meridian.parked WHERE dataset = $1 AND \"table\" = ANY ($2::text[])";
    let deleted = client.execute(delete, &[&dataset, &tables]).await;
    deleted.map_err(ApplyError::server("forget rows of dropped tables"))?;
    Ok(())
}

fn parsed<T: serde::de::DeserializeOwned>(
    text: &str,
    expected: &'static str,
) -> Result<T, ApplyError> {
    serde_json::from_str(text).map_err(|_| ApplyError::Answer {
        answer: text.to_owned(),
        expected,
    })
}

impl Applier {
    /// Writes how far the server is, marks the transaction as ours, checks what was deferred, and
    /// commits; the transaction's id, and a WAL position after it. All of it is sent together: where it
    /// fails, the transaction is to be rolled back.
    pub(super) async fn commit(
        &mut self,
        projected: &Projected,
        (parked, lets_in): (&[Parked], bool),
    ) -> Result<(Xid, Lsn), Refusal> {
        self.record_parked(projected, (parked, lets_in)).await?;
        let write = self.prepared(WRITE).await?;
        let (position, seen, seal) = self.sealed(projected);
        let secret = seal.secret.as_slice();
        let params: [&(dyn ToSql + Sync); 5] =
            [&self.dataset, &position, &seen, &seal.content, &secret];
        let written = Sent::send(self.client.query_one(&write, &params)).await?;
        let (written, end) = tokio::join!(biased; written.answered(), self.commit_and_look());
        Ok((xid(written?.get(1))?, end?))
    }

    /// Checks what was deferred and commits; a WAL position after that. One message: each costs the
    /// server and the session a turn of their own.
    pub(super) async fn commit_and_look(&self) -> Result<Lsn, Refusal> {
        let commit = format!("{COMMIT}; {}", session::WAL_POSITION);
        let answers = self.client.simple_query(&commit).await?;
        let end = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(session::lsn(end.unwrap_or_default())?)
    }

    /// What is written with this batch: the position, what the server has seen then, and the tag's seal.
    pub(super) fn sealed(&self, projected: &Projected) -> (i64, String, Seal) {
        let tag = Tag {
            position: projected.position,
            seen: projected.seen.clone(),
        };
        (
            tag.position.0.cast_signed(),
            json(&tag.seen),
            (self.seal)(&tag),
        )
    }

    async fn record_parked(
        &mut self,
        projected: &Projected,
        (parked, lets_in): (&[Parked], bool),
    ) -> Result<(), Refusal> {
        if !self.records_parked {
            return Ok(());
        }
        if lets_in {
            let note = self.prepared(LET_IN).await?;
            self.client
                .execute(&note, &[&self.dataset, &LET_IN_SUFFIX, &MARK_SUFFIX])
                .await?;
        }
        let armor = self.armor;
        let before = projected.rows.iter().filter(|(dirty, _)| dirty.is_parked);
        let before = before.map(|(dirty, _)| &dirty.row);
        let (tables, keys) = names(armor, before.chain(parked.iter().map(|it| &it.row)));
        if tables.is_empty() {
            return Ok(());
        }
        let unpark = self.prepared(UNPARK).await?;
        self.client
            .execute(&unpark, &[&self.dataset, &tables, &keys])
            .await?;
        let (tables, keys) = names(armor, parked.iter().map(|it| &it.row));
        let rows: Vec<String> = parked
            .iter()
            .map(|it| {
                let value = serde_json::to_value(it).expect("words and names are JSON");
                armor.value(value).to_string()
            })
            .collect();
        let park = self.prepared(PARK).await?;
        self.client
            .execute(&park, &[&self.dataset, &tables, &keys, &rows])
            .await?;
        Ok(())
    }

    /// Where the WAL goes on.
    ///
    /// # Errors
    /// [`ApplyError`] from the server.
    pub async fn wal_position(&self) -> Result<Lsn, ApplyError> {
        session::wal_position(&self.client).await
    }
}

/// Whether a row that was out is in the server now. What it says is older than the position before, so
/// that nobody finds it in the log from there on.
pub(super) fn lets_in(projected: &Projected, parked: &[Parked]) -> bool {
    let is_out = |row: &RowName| parked.iter().any(|parked| parked.row == *row);
    let mut rows = projected.rows.iter();
    rows.any(|(dirty, document)| dirty.is_parked && document.is_some() && !is_out(&dirty.row))
}

/// The tables and keys of rows, as they are listed.
fn names<'a>(
    armor: Armor,
    rows: impl Iterator<Item = &'a RowName>,
) -> (Vec<Cow<'a, str>>, Vec<Cow<'a, str>>) {
    rows.map(|row| (armor.text(&row.table), armor.text(&row.key)))
        .unzip()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("words, numbers and maps by text are JSON")
}
