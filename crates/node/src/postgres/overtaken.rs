//! What a server overtakes that it went back behind.
//!
//! A server that was put back to what it was lacks writes that all regions have, some of them its own.
//! Whoever writes to one of those rows there has not seen them, and the later write stands, as ever. For
//! writes of other regions the tables see that by what the server had been given. To them a region has
//! seen all that it wrote itself, though; so what it overtakes of its own, and of what it seemed to have
//! been given, is told here, and listed as the conflict that it is.

use super::compare::unreadable;
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, Input, TablesSnapshot};
use meridian_engine_kv::TablesError;
use meridian_model::{
    Conflict, ConflictKind, ConflictingWrite, Micros, OriginId, RowDigest, RowName, Strategy,
    Vector,
};
use std::collections::HashSet;

/// Rows that a server went back behind and has not been given again. Of two with the same digest one may
/// be told as a conflict that is none, or not told at all.
#[derive(Debug, Default)]
pub(super) struct Ungiven(HashSet<RowDigest>);

impl Ungiven {
    pub(super) fn of(rows: &[RowName]) -> Self {
        Self(rows.iter().map(RowName::digest).collect())
    }

    /// Takes a row out: the server has been given it, or has overtaken it. Says whether it was in.
    pub(super) fn remove(&mut self, row: &RowName) -> bool {
        !self.0.is_empty() && self.0.remove(&row.digest())
    }

    pub(super) fn clear(&mut self) {
        self.0 = HashSet::new();
    }
}

/// A row that the server wrote without having what the tables show of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blind {
    pub(super) row: RowName,
    /// What the write says that the server had been given.
    pub(super) seen: Vector,
}

/// What gives way to writes of the server, until the tables show these.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    losers: Vec<(RowName, ConflictingWrite)>,
}

impl Overtaken {
    /// A write that `blind` tells of is about to be taken. `tables` show what it overtakes.
    pub(super) fn expect(
        &mut self,
        (own, tables): (OriginId, &TablesSnapshot),
        blind: Blind,
    ) -> Result<(), Trouble> {
        let Blind { row, seen } = blind;
        let last = tables.latest(&row.table, &row.key).map_err(unreadable)?;
        // What the write says itself that it had not seen, the tables list.
        let Some(version) = last.filter(|last| last.origin == own || seen.has_seen(*last)) else {
            return Ok(());
        };
        let document = tables.get(&row.table, &row.key).map_err(unreadable)?;
        let document = document.map(|row| row.document);
        self.losers
            .push((row, ConflictingWrite { version, document }));
        Ok(())
    }

    /// Lists what has been overtaken by now. What the tables don't show yet is left for the next time.
    pub(super) fn list(&mut self, dataset: &DatasetHandle) -> Result<(), Trouble> {
        if self.losers.is_empty() {
            return Ok(());
        }
        let tables = dataset.tables().snapshot();
        let (mut conflicts, mut left) = (Vec::new(), Vec::new());
        for (row, loser) in std::mem::take(&mut self.losers) {
            match winner(&tables, &row).map_err(unreadable)? {
                Some(winner) if winner.version > loser.version => {
                    conflicts.extend(conflict(row, winner, loser));
                }
                _ => left.push((row, loser)),
            }
        }
        self.losers = left;
        dataset.send(Input::Note { conflicts });
        Ok(())
    }
}

fn winner(tables: &TablesSnapshot, row: &RowName) -> Result<Option<ConflictingWrite>, TablesError> {
    let Some(version) = tables.latest(&row.table, &row.key)? else {
        return Ok(None);
    };
    let shown = tables.get(&row.table, &row.key)?;
    Ok(Some(ConflictingWrite {
        version,
        document: shown.map(|row| row.document),
    }))
}

/// `None` where both wrote the same.
fn conflict(row: RowName, winner: ConflictingWrite, loser: ConflictingWrite) -> Option<Conflict> {
    let kind = ConflictKind::of(winner.document.as_deref(), loser.document.as_deref());
    (winner.document != loser.document).then_some(Conflict {
        table: row.table,
        key: row.key,
        kind,
        winner,
        loser,
        // Whoever lists it looks at the clock.
        resolved_at: Micros(0),
        strategy: Strategy::LastWriterWins,
        field: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, Version};

    fn row(table: &str, key: &str) -> RowName {
        RowName {
            table: table.to_owned(),
            key: key.to_owned(),
        }
    }

    fn write(hlc: u64, document: Option<&str>) -> ConflictingWrite {
        let version = Version {
            hlc: Hlc::from_raw(hlc),
            origin: OriginId(1),
        };
        ConflictingWrite {
            version,
            document: document.map(str::to_owned),
        }
    }

    #[test]
    fn a_row_is_ungiven_until_it_is_given_or_overtaken() {
        let mut ungiven = Ungiven::of(&[row("t", "65"), row("t", "97")]);
        assert!(!ungiven.remove(&row("t6", "5")), "another table's");
        assert!(ungiven.remove(&row("t", "65")));
        assert!(!ungiven.remove(&row("t", "65")), "once");
        ungiven.clear();
        assert!(!ungiven.remove(&row("t", "97")));
    }

    #[test]
    fn both_sides_are_told_unless_they_are_the_same() {
        let of = |winner, loser| conflict(row("t", "65"), write(2, winner), write(1, loser));
        let told = of(Some("new"), Some("old")).unwrap();
        assert_eq!(told.kind, ConflictKind::UpdateUpdate);
        assert_eq!(told.loser, write(1, Some("old")));
        let gone = of(None, Some("old")).unwrap();
        assert_eq!(gone.kind, ConflictKind::UpdateDelete);
        assert_eq!(of(Some("same"), Some("same")), None);
    }
}
