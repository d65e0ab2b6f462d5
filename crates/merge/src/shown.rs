//! The documents of a row that has siblings.

use crate::document::of_base;
use crate::{Row, RowVersion};
use std::borrow::Cow;

/// One of the documents that stand side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// What names its content.
    pub version: RowVersion,
    /// Its JSON text.
    pub document: Cow<'a, str>,
}

/// The documents that a row shows, newest first: none where it is deleted, several where it has
/// siblings.
#[must_use]
pub fn shown(row: &Row) -> Vec<Shown<'_>> {
    let base = of_base(row).map(|document| Shown {
        version: row.named_base(&document),
        document,
    });
    let siblings = row.beside().iter().map(|sibling| Shown {
        version: RowVersion::of_write(sibling.version),
        document: Cow::Borrowed(&sibling.document),
    });
    base.into_iter().chain(siblings).collect()
}
