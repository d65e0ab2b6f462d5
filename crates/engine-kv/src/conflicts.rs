//! Conflict records: how they are staged and how they read back.

use crate::value::{self, Format};
use crate::{Store, Tables, TablesError, keys, read};
use meridian_merge::{Base, Overtaken};
use meridian_model::{
    Change, Chosen, Conflict, ConflictKind, ConflictingWrite, Micros, RowName, Strategy,
};
use meridian_replicate::Applying;
use serde::Deserialize;

/// A record of format 1: only the last writer ever won.
#[derive(Deserialize)]
struct Conflict1 {
    table: String,
    key: String,
    kind: ConflictKind,
    winner: ConflictingWrite,
    loser: ConflictingWrite,
    resolved_at: Micros,
}

/// Reads a conflict back.
pub(crate) fn decode(bytes: &[u8], at: &[u8]) -> Result<Conflict, TablesError> {
    let (format, body) = value::open(bytes, "conflict", at)?;
    if format == Format::Two {
        return value::decode_body(body, "conflict", at);
    }
    let Conflict1 {
        table,
        key,
        kind,
        winner,
        loser,
        resolved_at,
    } = value::decode_body(body, "conflict", at)?;
    Ok(Conflict {
        table,
        key,
        kind,
        winner,
        loser,
        resolved_at,
        strategy: Strategy::LastWriterWins,
        field: None,
    })
}

/// Records that come from no transaction stand behind those of the last one that is committed.
const NOTED: u32 = 1 << 31;

impl<S: Store> Tables<S> {
    /// Stages a conflict that no transaction brought: what was found where the rows are shown.
    pub fn note_conflict(&mut self, conflict: &Conflict) {
        let number = u32::try_from(self.conflicts.total & u64::from(NOTED - 1)).unwrap_or_default();
        let at = keys::conflict(self.position, NOTED | number);
        let record = value::encode(&at, conflict);
        self.staged.put(at, record);
        self.conflicts.total += 1;
        self.conflicts.kept += 1;
    }

    /// Stages what a change met. `index` counts the conflicts of the transaction.
    pub(crate) fn stage_conflicts(
        &mut self,
        applying: &Applying<'_>,
        change: &Change,
        conflicts: Vec<Overtaken>,
        index: &mut u32,
    ) {
        for overtaken in conflicts {
            let Overtaken {
                winner,
                loser,
                strategy,
                field,
            } = overtaken;
            let side = |base: Base| ConflictingWrite {
                version: base.version,
                document: base.document,
            };
            let conflict = Conflict {
                table: change.table.clone(),
                key: change.key.clone(),
                kind: ConflictKind::of(winner.document.as_deref(), loser.document.as_deref()),
                winner: side(winner),
                loser: side(loser),
                resolved_at: applying.now,
                strategy,
                field,
            };
            self.stage_conflict(applying, &conflict, index);
        }
    }

    fn stage_conflict(&mut self, applying: &Applying<'_>, conflict: &Conflict, index: &mut u32) {
        let at = keys::conflict(applying.position, *index);
        self.collector.note_conflict(&at);
        let record = value::encode(&at, conflict);
        self.staged.put(at, record);
        self.conflicts.total += 1;
        self.conflicts.kept += 1;
        *index += 1;
    }

    /// What a row shows that the change in this place is about to overtake, if it is made blindly.
    pub(crate) fn overtaken_blindly(
        &self,
        applying: &Applying<'_>,
        place: usize,
        change: &Change,
    ) -> Result<Option<ConflictingWrite>, TablesError> {
        let blind = applying.captured.map_or(&[][..], |it| &it.collisions.blind);
        let is_blind = u32::try_from(place).is_ok_and(|place| blind.binary_search(&place).is_ok());
        match is_blind {
            true => self.write_shown(&change.table, &change.key),
            false => Ok(None),
        }
    }

    /// The write that a row shows, with what is staged; `None` where nothing is remembered of it.
    fn write_shown(&self, table: &str, key: &str) -> Result<Option<ConflictingWrite>, TablesError> {
        let Some(row) = self.row(table, key)? else {
            return Ok(None);
        };
        let version = row.version;
        let document = read::live(row).map(|row| row.document);
        Ok(Some(ConflictingWrite { version, document }))
    }

    /// Stages what a change overtook that its engine had not been given.
    pub(crate) fn stage_blind(
        &mut self,
        applying: &Applying<'_>,
        Change { table, key, .. }: &Change,
        loser: ConflictingWrite,
        index: &mut u32,
    ) -> Result<(), TablesError> {
        let winner = self.write_shown(table, key)?;
        let Some(winner) = winner.filter(|winner| winner.document != loser.document) else {
            return Ok(());
        };
        let kind = ConflictKind::of(winner.document.as_deref(), loser.document.as_deref());
        self.stage_collision(applying, (table, key), kind, (winner, loser), index);
        Ok(())
    }

    /// Stages a conflict that doesn't follow from the versions.
    fn stage_collision(
        &mut self,
        applying: &Applying<'_>,
        (table, key): (&str, &str),
        kind: ConflictKind,
        (winner, loser): (ConflictingWrite, ConflictingWrite),
        index: &mut u32,
    ) {
        let conflict = Conflict {
            table: table.to_owned(),
            key: key.to_owned(),
            kind,
            winner,
            loser,
            resolved_at: applying.now,
            strategy: Strategy::LastWriterWins,
            field: None,
        };
        self.stage_conflict(applying, &conflict, index);
    }

    /// Stages both sides of the rows of which somebody chose one.
    pub(crate) fn stage_chosen(
        &mut self,
        applying: &Applying<'_>,
        index: &mut u32,
    ) -> Result<(), TablesError> {
        let chosen = applying
            .captured
            .map_or(&[][..], |it| &it.collisions.chosen);
        for Chosen {
            row: RowName { table, key },
            document,
            stands,
        } in chosen
        {
            let version = applying.version;
            let engine = ConflictingWrite {
                version,
                document: document.clone(),
            };
            let shown = self.write_shown(table, key)?;
            if *stands && shown.is_none() {
                continue;
            }
            let shown = shown.unwrap_or(ConflictingWrite {
                version,
                document: None,
            });
            if engine.document == shown.document {
                continue;
            }
            let sides = if *stands {
                (engine, shown)
            } else {
                (shown, engine)
            };
            self.stage_collision(applying, (table, key), ConflictKind::Chosen, sides, index);
        }
        Ok(())
    }
}
