//! What several operations of one transaction on one row come to: at most one change.
//!
//! A put or delete replaces what came before it. Increments and members on top of a put (or of a
//! delete, as a document without fields) are computed into the document; by themselves they are
//! summed up by field, so that they merge with those of other regions. Deleting a row that isn't
//! there changes nothing, and so does deleting one that this very transaction made.
//!
//! The table's strategy decides, here and nowhere else, which kind of change a put or delete is:
//!
//! ```text
//! last-writer-wins     put, delete
//! register-per-field   the fields that differ from the document held here; delete
//! add-wins-set         the same, and arrays as members added and removed
//! siblings             sibling, with a document or without
//! ```
//!
//! A put is whole, whatever the strategy, where a document has no fields or siblings are to be
//! replaced.

use crate::changes::Changes;
use crate::differences::{Difference, difference};
use meridian_merge::{
    KeptIncrement, Row, RowVersion, Seen, merge_edit, merge_increment, render, shown,
};
use meridian_model::{Edit, Operation, Strategy, Version};
use std::borrow::Cow;
use std::convert::Infallible;

/// Why a change of a field is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotAnObject,
    NotAnInteger,
    OutOfRange,
    NotASet,
    HasSiblings,
}

/// A row within a transaction.
#[derive(Debug)]
pub(crate) struct Fold {
    row: Option<Row>,
    strategy: Strategy,
    /// The row's document as readers see it before the transaction; of siblings the newest.
    before: Option<String>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Nothing,
    Delete,
    /// A document, or none where the row was deleted first, and changes on top.
    Put(Option<String>, Option<Changes>),
    Change(Changes),
}

/// What the operations came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    /// `None` where nothing is to be written.
    pub(crate) operation: Option<Operation>,
    /// Whether the row is there now and wasn't before.
    pub(crate) created: bool,
    /// The row's version and document as they will be; `None` where it isn't there.
    pub(crate) shown: Option<(RowVersion, String)>,
}

/// The names of a row's content: its own, and of its siblings where it has several.
pub(crate) struct Names {
    pub(crate) row: RowVersion,
    pub(crate) siblings: Vec<RowVersion>,
}

/// The names of a row; `None` where it isn't there.
pub(crate) fn names(row: Option<&Row>) -> Option<Names> {
    let row = row?;
    render(row)?;
    let mut siblings = Vec::new();
    if !row.beside().is_empty() {
        siblings.extend(shown(row).into_iter().map(|shown| shown.version));
    }
    if siblings.len() < 2 {
        siblings.clear();
    }
    Some(Names {
        row: row.named(),
        siblings,
    })
}

impl Fold {
    pub(crate) fn of(row: Option<Row>, strategy: Strategy) -> Self {
        Self {
            before: row.as_ref().and_then(render).map(Cow::into_owned),
            row,
            strategy,
            step: Step::Nothing,
        }
    }

    pub(crate) fn put(&mut self, document: &str) {
        self.step = Step::Put(Some(document.to_owned()), None);
    }

    pub(crate) fn delete(&mut self) {
        self.step = match self.before {
            Some(_) => Step::Delete,
            None => Step::Nothing,
        };
    }

    pub(crate) fn increment(&mut self, field: &str, by: i64) -> Result<(), Refused> {
        self.change(|changes| changes.increment(field, by))
    }

    pub(crate) fn members(
        &mut self,
        field: &str,
        add: &[String],
        remove: &[String],
    ) -> Result<(), Refused> {
        self.change(|changes| changes.members(field, add, remove))
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Changes) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        match &mut self.step {
            Step::Put(document, changes) => {
                change(changes.get_or_insert_with(|| Changes::on(document.as_deref())))
            }
            Step::Change(changes) => change(changes),
            Step::Nothing => {
                if self.has_siblings() {
                    return Err(Refused::HasSiblings);
                }
                let mut changes = Changes::on(self.before.as_deref());
                change(&mut changes)?;
                self.step = Step::Change(changes);
                Ok(())
            }
            Step::Delete => {
                let mut changes = Changes::on(None);
                change(&mut changes)?;
                self.step = Step::Put(None, Some(changes));
                Ok(())
            }
        }
    }

    /// Whether several documents stand.
    fn has_siblings(&self) -> bool {
        let row = self.row.as_ref();
        row.is_some_and(|row| !row.beside().is_empty() && shown(row).len() > 1)
    }

    /// Whether writes stand beside the base, of which changes of fields know nothing.
    fn stands_beside(&self) -> bool {
        self.row
            .as_ref()
            .is_some_and(|row| !row.beside().is_empty())
    }

    /// The one change, and the row once a transaction of this version has made it.
    pub(crate) fn finish(mut self, version: Version) -> Folded {
        match std::mem::replace(&mut self.step, Step::Nothing) {
            Step::Nothing => self.unchanged(),
            Step::Delete => Folded {
                operation: Some(match self.strategy {
                    Strategy::Siblings => Operation::Sibling { document: None },
                    _ => Operation::Delete,
                }),
                created: false,
                shown: None,
            },
            Step::Put(document, changes) => {
                let document = match changes {
                    Some(changes) => changes.done(document),
                    None => document,
                };
                match document {
                    Some(document) => self.finish_put(document, version),
                    // Members removed from what was deleted before.
                    None => {
                        self.delete();
                        self.finish(version)
                    }
                }
            }
            // What shows is not the base alone, and changes of fields are on top of the base.
            Step::Change(changes) if self.stands_beside() => {
                match changes.done(self.before.clone()) {
                    Some(document) => self.finish_put(document, version),
                    None => self.unchanged(),
                }
            }
            Step::Change(changes) if changes.only_increments() => {
                let by = changes.into_increments();
                let increment = KeptIncrement { version, by };
                let row = merge_increment(self.row.take(), &increment);
                self.finished(Operation::Increment { by: increment.by }, &row)
            }
            Step::Change(changes) => match changes.into_edit() {
                Some(edit) => self.finish_edit(edit, version),
                None => self.unchanged(),
            },
        }
    }

    fn unchanged(self) -> Folded {
        let version = self.row.map(|row| row.named());
        Folded {
            operation: None,
            created: false,
            shown: version.zip(self.before),
        }
    }

    fn finish_put(self, document: String, version: Version) -> Folded {
        let operation = match self.strategy {
            Strategy::LastWriterWins => Operation::Put {
                document: document.clone(),
            },
            Strategy::Siblings => Operation::Sibling {
                document: Some(document.clone()),
            },
            Strategy::RegisterPerField | Strategy::AddWinsSet => {
                let sets = self.strategy == Strategy::AddWinsSet;
                match difference(self.before.as_deref(), &document, sets) {
                    Difference::Fields(edit) if !self.stands_beside() => {
                        return if edit == Edit::default() {
                            self.unchanged()
                        } else {
                            self.finish_edit(edit, version)
                        };
                    }
                    _ => Operation::Put {
                        document: document.clone(),
                    },
                }
            }
        };
        Folded {
            operation: Some(operation),
            created: self.before.is_none(),
            shown: Some((RowVersion::of_write(version), document)),
        }
    }

    fn finish_edit(mut self, edit: Edit, version: Version) -> Folded {
        let seen = Seen {
            version,
            dependencies: None,
            absorbed: None,
        };
        let none_kept = || Ok::<_, Infallible>(Vec::new());
        let Ok(merged) = merge_edit(self.row.take(), &edit, seen, none_kept);
        self.finished(Operation::Edit(edit), &merged.row)
    }

    fn finished(self, operation: Operation, row: &Row) -> Folded {
        let document = render(row).map(Cow::into_owned);
        Folded {
            operation: Some(operation),
            created: self.before.is_none() && document.is_some(),
            shown: document.map(|document| (row.named_showing(&document), document)),
        }
    }
}
