//! The rows that entries of the log touched: what a projection has to look at.
//!
//! The parts of a large transaction touch nothing before the last has come: the tables don't show them
//! (`meridian_replicate`'s `held.rs`). With the last, all of them touch theirs.

use super::trouble::Trouble;
use crate::dataset::{LogDisk, describe};
use meridian_log::{LogError, Reader};
use meridian_model::{Body, CapturedAt, OriginId, Position, RowName};
use std::collections::BTreeMap;

const BATCH_BYTES: usize = 1 << 20;

/// Which entries count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// All.
    Everybodys,
    /// All but those that this origin captured: what they did is in the server already.
    NotCapturedBy(OriginId),
    /// The parts of one transaction.
    Parts(OriginId, CapturedAt),
}

/// Large transactions of which parts were passed and not the last: a place of each, and where in the
/// log it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed(BTreeMap<OriginId, (CapturedAt, Position)>);

impl Passed {
    /// Takes notice of what an origin captured; where the parts begin that this is the last of.
    fn take(&mut self, origin: OriginId, at: CapturedAt, position: Position) -> Option<Position> {
        let known = self.0.get(&origin).copied();
        let known = known.filter(|(place, _)| place.is_of(at));
        if at.is_held() {
            self.0.insert(origin, known.unwrap_or((at, position)));
            return None;
        }
        self.0.remove(&origin);
        known.filter(|_| at.is_last).map(|(_, begins)| begins)
    }

    /// Before here nothing is held.
    pub(super) fn first(&self) -> Option<Position> {
        self.0.values().map(|(_, begins)| *begins).min()
    }

    /// The rest of what these origins began comes to nobody.
    pub(super) fn forget(&mut self, gone: impl Fn(OriginId) -> bool) {
        self.0.retain(|origin, _| !gone(*origin));
    }
}

/// Tells `take` the rows that the entries from `from` up to and not including `to` touched; a row may
/// be named more than once.
///
/// # Errors
/// [`Trouble`] when the log can't be read, or begins only later; whatever `take` says.
pub(super) fn touched(
    log: &Reader<LogDisk>,
    (from, to): (Position, Position),
    whose: Whose,
    passed: &mut Passed,
    take: &mut dyn FnMut(RowName) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut position = from;
    while position < to {
        let batch = log.read(position, BATCH_BYTES);
        let batch = batch.map_err(|error| unreadable(&error))?;
        if batch.entries.is_empty() {
            break;
        }
        for entry in &batch.entries {
            if position == to {
                break;
            }
            let here = position;
            position = position.next();
            if whose == Whose::NotCapturedBy(entry.origin)
                && let Some(at) = Body::captured_at(&entry.body)
            {
                passed.take(entry.origin, at, here);
                continue;
            }
            // What can't be decoded could not be applied either.
            let Ok(body) = Body::decode(&entry.body) else {
                continue;
            };
            let captured = match &body {
                Body::Captured(captured) => Some(captured.at),
                _ => None,
            };
            match (whose, captured) {
                (Whose::Parts(origin, at), Some(part))
                    if origin == entry.origin && part.is_held() && part.is_of(at) => {}
                (Whose::Parts(..), _) => continue,
                (_, Some(at)) => {
                    let begins = passed.take(entry.origin, at, here);
                    if at.is_held() {
                        continue;
                    }
                    if let Some(begins) = begins {
                        let parts = Whose::Parts(entry.origin, at);
                        touched(log, (begins, here), parts, passed, take)?;
                    }
                }
                (_, None) => {}
            }
            let changes = body.transaction().into_iter().flat_map(|it| &it.changes);
            for change in changes {
                take(RowName {
                    table: change.table.clone(),
                    key: change.key.clone(),
                })?;
            }
        }
    }
    Ok(())
}

fn unreadable(error: &LogError) -> Trouble {
    Trouble::lasting(
        describe(error),
        "the dataset's log can't be read; is the disk sound?",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_tells_where_the_parts_begin() {
        let at = |end, is_last| CapturedAt {
            end,
            is_last,
            ..CapturedAt::default()
        };
        let (one, other) = (OriginId(1), OriginId(2));
        let mut passed = Passed::default();
        assert_eq!(passed.take(one, at(10, false), Position(5)), None);
        assert_eq!(passed.take(other, at(10, false), Position(6)), None);
        assert_eq!(passed.take(one, at(10, false), Position(7)), None);
        assert_eq!(passed.first(), Some(Position(5)));
        assert_eq!(
            passed.take(one, at(10, true), Position(8)),
            Some(Position(5))
        );
        assert_eq!(passed.first(), Some(Position(6)));
        // It was given up, and something else stands in its place.
        assert_eq!(passed.take(other, at(20, true), Position(9)), None);
        assert_eq!(passed.first(), None);
        assert_eq!(
            passed.take(one, at(30, false).not_held(), Position(9)),
            None
        );
        assert_eq!(passed.first(), None);
        passed.take(one, at(40, false), Position(10));
        passed.forget(|origin| origin == one);
        assert_eq!(passed.first(), None);
    }
}
