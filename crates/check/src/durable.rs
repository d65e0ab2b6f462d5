//! Nothing acknowledged is lost: per key, what is found is the last acknowledged write or a later
//! one.
//!
//! Each key has one writer, who numbers its writes and sends the next when it knows, or has given
//! up on, the one before. So a row that shows an earlier number than the last one acknowledged has
//! lost a write, whatever happened to those whose fate nobody knows.

use crate::Violation;
use std::collections::BTreeMap;

/// A write to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Its number was put.
    Put,
    /// The row was deleted.
    Deleted,
}

#[derive(Clone, Debug, Default)]
struct Key {
    /// Every write that was sent, from number 1 on.
    sent: Vec<Written>,
    /// The number of the last acknowledged one; 0 for none.
    acknowledged: usize,
}

/// What a writer sent and what it was told.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    keys: BTreeMap<String, Key>,
}

impl Acknowledged {
    /// A write is about to be sent; gives its number.
    pub fn sent(&mut self, key: &str, write: Written) -> usize {
        let key = self.keys.entry(key.to_owned()).or_default();
        key.sent.push(write);
        key.sent.len()
    }

    /// The last write to this key was acknowledged.
    pub fn acknowledged(&mut self, key: &str) {
        if let Some(key) = self.keys.get_mut(key) {
            key.acknowledged = key.sent.len();
        }
    }

    /// The keys that were written.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Holds what is found under a key, the number of a write or no row, against what its writer
    /// was told.
    ///
    /// # Errors
    /// [`Violation::Lost`] where an acknowledged write is missing.
    pub fn check(&self, region: &str, key: &str, found: Option<usize>) -> Result<(), Violation> {
        let Some(history) = self.keys.get(key) else {
            return Ok(());
        };
        let acknowledged = history.acknowledged;
        // The writes from the last acknowledged one on, any of which may stand.
        let may_stand = &history.sent[acknowledged.saturating_sub(1)..];
        let is_right = match found {
            Some(number) => {
                number >= acknowledged && history.sent.get(number - 1) == Some(&Written::Put)
            }
            None => acknowledged == 0 || may_stand.contains(&Written::Deleted),
        };
        if is_right {
            return Ok(());
        }
        let shown = found.map_or("absent".to_owned(), |number| format!("at {number}"));
        Err(Violation::Lost {
            region: region.to_owned(),
            version: format!("{acknowledged} of row {key}, which is {shown},"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three writes, the second of which was the last to be acknowledged.
    fn history(writes: [Written; 3]) -> Acknowledged {
        let mut history = Acknowledged::default();
        history.sent("k", writes[0]);
        history.sent("k", writes[1]);
        history.acknowledged("k");
        assert_eq!(history.sent("k", writes[2]), 3);
        history
    }

    #[test]
    fn the_last_acknowledged_write_or_a_later_one_stands() {
        let puts = history([Written::Put; 3]);
        for (found, is_right) in [
            (Some(2), true),
            (Some(3), true),
            (Some(1), false),
            (None, false),
        ] {
            assert_eq!(puts.check("a", "k", found).is_ok(), is_right, "{found:?}");
        }
    }

    #[test]
    fn a_row_may_be_absent_where_a_delete_may_stand() {
        let (put, deleted) = (Written::Put, Written::Deleted);
        assert!(history([put, put, deleted]).check("a", "k", None).is_ok());
        assert!(history([put, deleted, put]).check("a", "k", None).is_ok());
        assert!(
            history([put, deleted, put])
                .check("a", "k", Some(1))
                .is_err()
        );
        assert!(history([deleted, put, put]).check("a", "k", None).is_err());
        assert!(Acknowledged::default().check("a", "k", None).is_ok());
    }
}
