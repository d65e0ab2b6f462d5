//! Conflict records: how they are staged and how they read back.

use crate::value::{self, Format};
use crate::{Store, Tables, TablesError, keys};
use meridian_merge::{Base, Overtaken};
use meridian_model::{Change, Conflict, ConflictKind, ConflictingWrite, Micros, Strategy};
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
            let at = keys::conflict(applying.position, *index);
            let record = value::encode(&at, &conflict);
            self.staged.put(at, record);
            self.conflicts.total += 1;
            self.conflicts.kept += 1;
            *index += 1;
        }
    }
}
