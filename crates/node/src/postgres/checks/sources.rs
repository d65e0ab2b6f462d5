//! Where rows of the server come from that the tables show otherwise: the log tells of states that
//! they had.

use super::super::schema::Schema;
use super::super::trouble::Trouble;
use super::confirm::Confirmed;
use super::report::RowSource;
use crate::dataset::{DatasetHandle, describe};
use meridian_engine_postgres::document;
use meridian_model::{Body, Operation, RowName};
use std::collections::{BTreeMap, BTreeSet};

const BATCH_BYTES: usize = 1 << 20;

/// The rows with where the server's state of each comes from.
pub(super) fn tell_apart(
    dataset: &DatasetHandle,
    schema: &Schema,
    rows: Vec<Confirmed>,
) -> Result<Vec<(Confirmed, RowSource)>, Trouble> {
    let mut states = BTreeMap::new();
    for row in &rows {
        if let Some(stored) = &row.server {
            states.insert(row.name.clone(), document::digest(&stored.values));
        }
    }
    let older = had(dataset, schema, &states)?;
    let told = rows.into_iter().map(|row| {
        let source = match &row.server {
            None => RowSource::Nothing,
            Some(_) if older.contains(&row.name) => RowSource::Older,
            Some(_) => RowSource::Unknown,
        };
        (row, source)
    });
    Ok(told.collect())
}

/// The rows that were once as the server has them, as far as the log goes back.
pub(in super::super) fn had(
    dataset: &DatasetHandle,
    schema: &Schema,
    states: &BTreeMap<RowName, u64>,
) -> Result<BTreeSet<RowName>, Trouble> {
    if states.is_empty() {
        return Ok(BTreeSet::new());
    }
    let log = dataset.log();
    let (mut position, end) = (log.start(), log.end());
    let mut older = BTreeSet::new();
    while position < end {
        let batch = log.read(position, BATCH_BYTES).map_err(|error| {
            let hint = "the dataset's log can't be read; is the disk sound?";
            Trouble::lasting(describe(&error), hint)
        })?;
        if batch.entries.is_empty() {
            break;
        }
        for entry in &batch.entries {
            position = position.next();
            let Ok(body) = Body::decode(&entry.body) else {
                continue;
            };
            let changes = body.transaction().into_iter().flat_map(|it| &it.changes);
            for change in changes {
                let Operation::Put { document } = &change.operation else {
                    continue;
                };
                let row = RowName {
                    table: change.table.clone(),
                    key: change.key.clone(),
                };
                let Some(state) = states.get(&row) else {
                    continue;
                };
                let table = schema.named(&row.table);
                let values =
                    table.and_then(|table| document::values(table, &row.key, document).ok());
                if values.is_some_and(|values| document::digest(&values) == *state) {
                    older.insert(row);
                }
            }
        }
    }
    Ok(older)
}
