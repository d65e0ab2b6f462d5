//! What a server had yet to be given of the rows that were compared last. Pure.
//!
//! What had been decided to be written is written in one transaction, which says with its position that
//! the server has all of it. Until then what the server had been given before says nothing of these rows:
//! a table that comes in with a part of its rows lacks others of which it counts as having been given the
//! last write. So each row is known by who had written what the server showed of it. As long as that is
//! so, it is older: what becomes of it was decided already. Anything else was written since.
//!
//! That holds for a server that only its slot was lost of. One that went back may be as it was before
//! they were compared.

use crate::Xid;
use crate::tag::Tag;
use meridian_model::{Position, RowName};
use std::collections::HashMap;
use xxhash_rust::xxh3::Xxh3;

/// The rows, each by a digest of its name, with who had written what the server showed of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// What is given to the server from behind here in the log has all of them.
    pub from: Position,
    /// No writer where there was no such row.
    rows: HashMap<u64, Option<Xid>>,
}

impl Rest {
    /// No rows yet.
    #[must_use]
    pub fn from(from: Position) -> Self {
        Self {
            from,
            rows: HashMap::new(),
        }
    }

    /// Rows as they were written down.
    #[must_use]
    pub fn noted(from: Position, rows: impl IntoIterator<Item = (u64, Option<Xid>)>) -> Self {
        Self {
            from,
            rows: rows.into_iter().collect(),
        }
    }

    /// The rows as they are to be written down.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (u64, Option<Xid>)> {
        self.rows.iter().map(|(name, writer)| (*name, *writer))
    }

    /// A row, and who had written what the server showed of it; `None` where there was none.
    pub fn add(&mut self, row: &RowName, writer: Option<Xid>) {
        self.rows.insert(name(row), writer);
    }

    /// Takes a row out, by the digest of its name: the server was given it, or an application has written
    /// it. Says whether it was in.
    pub fn remove(&mut self, name: u64) -> bool {
        self.rows.remove(&name).is_some()
    }

    /// Of the rows only these, by the digests of their names.
    pub fn keep_only(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.rows.retain(|name, _| is_kept(*name));
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the row is one of these, and as it was.
    pub(super) fn is_as_compared(&self, row: &RowName, writer: Option<Xid>) -> bool {
        !self.is_empty() && self.rows.get(&name(row)) == Some(&writer)
    }

    /// Whether the server has been given all of them by now.
    fn was_given(&self, given: &Tag) -> bool {
        given.position > self.from
    }
}

/// What is known of what a server has yet to be given.
#[derive(Clone, Copy, Debug)]
pub enum Due<'a> {
    /// It has all.
    Nothing,
    /// These rows, unless it says that it was given more since.
    Rows(&'a Rest),
    /// Some rows, and nobody knows which.
    Unknown,
}

impl Due<'_> {
    /// What is left by what the server says that it was given last; `None` where it says nothing, or that
    /// says nothing of the time since.
    pub(super) fn left(self, given: Option<&Tag>) -> Self {
        match (self, given) {
            (Self::Rows(rest), Some(given)) if rest.was_given(given) => Self::Nothing,
            (Self::Rows(rest), Some(_)) => Self::Rows(rest),
            (Self::Rows(_), None) => Self::Unknown,
            (due, _) => due,
        }
    }
}

/// A digest of a row's name. It is kept on disk: how it is made must not change.
#[must_use]
pub fn name(row: &RowName) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(row.table.as_bytes());
    hasher.update(&[0]);
    hasher.update(row.key.as_bytes());
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::Vector;

    fn row(key: &str) -> RowName {
        RowName {
            table: "public.t".to_owned(),
            key: key.to_owned(),
        }
    }

    #[test]
    fn a_row_is_as_compared_until_it_is_written() {
        let mut rest = Rest::from(Position(5));
        rest.add(&row("lacking"), None);
        rest.add(&row("older"), Some(Xid(7)));
        assert!(rest.is_as_compared(&row("lacking"), None));
        assert!(!rest.is_as_compared(&row("lacking"), Some(Xid(7))));
        assert!(rest.is_as_compared(&row("older"), Some(Xid(7))));
        assert!(!rest.is_as_compared(&row("older"), Some(Xid(8))), "again");
        assert!(!rest.is_as_compared(&row("older"), None));
        assert!(!rest.is_as_compared(&row("another"), None));
        let again = Rest::noted(rest.from, rest.rows());
        assert_eq!(again, rest);
        assert!(rest.remove(name(&row("older"))));
        assert!(!rest.is_as_compared(&row("older"), Some(Xid(7))));
    }

    #[test]
    fn digests_of_names_stay_as_they_are() {
        assert_eq!(name(&row("1")), 752_652_010_557_783_308);
    }

    #[test]
    fn the_server_says_whether_it_was_given_all() {
        let rest = Rest::from(Position(5));
        let given = |position| Tag {
            position: Position(position),
            seen: Vector::default(),
        };
        let left = |given: Option<&Tag>| Due::Rows(&rest).left(given);
        assert!(matches!(left(Some(&given(5))), Due::Rows(_)));
        assert!(matches!(left(Some(&given(6))), Due::Nothing));
        assert!(matches!(left(None), Due::Unknown));
        assert!(matches!(Due::Nothing.left(None), Due::Nothing));
    }
}
