//! The rows that entries of the log touched: what a projection has to look at.

use crate::dataset::LogDisk;
use meridian_log::{LogError, Reader};
use meridian_model::{Body, OriginId, Position, RowName};

const BATCH_BYTES: usize = 1 << 20;

/// Which entries count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// All.
    Everybodys,
    /// All but those that this origin captured: what they did is in the server already.
    NotCapturedBy(OriginId),
}

/// The rows that the entries from `from` up to and not including `to` touched; a row may be named
/// more than once.
///
/// # Errors
/// [`LogError`] when the log can't be read, or begins only later.
pub(super) fn touched(
    log: &Reader<LogDisk>,
    from: Position,
    to: Position,
    whose: Whose,
) -> Result<Vec<RowName>, LogError> {
    let (mut position, mut rows) = (from, Vec::new());
    while position < to {
        let batch = log.read(position, BATCH_BYTES)?;
        if batch.entries.is_empty() {
            break;
        }
        for entry in &batch.entries {
            if position == to {
                break;
            }
            position = position.next();
            if whose == Whose::NotCapturedBy(entry.origin) && Body::is_captured(&entry.body) {
                continue;
            }
            // What can't be decoded could not be applied either.
            let Ok(body) = Body::decode(&entry.body) else {
                continue;
            };
            let changes = body.transaction().into_iter().flat_map(|it| &it.changes);
            rows.extend(changes.map(|change| RowName {
                table: change.table.clone(),
                key: change.key.clone(),
            }));
        }
    }
    Ok(rows)
}
