//! The relations that the stream has described, and changes as changes of these.

use super::pgoutput::{self, DecodeError, Message};
use super::{Datum, Relation, RowChange, Tuple};
use std::collections::HashMap;
use std::sync::Arc;

/// The relations that the stream has described, by id. A description holds until the next of the
/// same relation; an equal one doesn't take its place, so that whoever kept one knows by the
/// pointer that nothing changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Relations(HashMap<u32, Arc<Relation>>);

/// A change that doesn't fit its relation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// It is no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The relation was never described.
    #[error("a change is of relation {0}, which was not described before")]
    Relation(u32),
    /// It has more or fewer values than the relation has columns.
    #[error("a row of {relation} has {values} values for {columns} columns")]
    Columns {
        /// The relation.
        relation: String,
        /// How many values.
        values: usize,
        /// How many columns.
        columns: usize,
    },
    /// It doesn't belong into a transaction.
    #[error("a transaction has a message of kind {0:?} among its changes")]
    Kind(char),
}

impl Relations {
    /// Takes a relation's description, or gives the change that a message is of.
    pub(super) fn replay(&mut self, message: &[u8]) -> Result<Option<RowChange>, RowError> {
        let change = match pgoutput::decode(message)? {
            Message::Relation(relation) => {
                self.learn(relation);
                return Ok(None);
            }
            Message::Type | Message::Origin => return Ok(None),
            Message::Insert { relation, new } => {
                let relation = self.relation(relation)?;
                fits(&relation, &new)?;
                RowChange::Insert { relation, new }
            }
            Message::Update { relation, old, new } => {
                let relation = self.relation(relation)?;
                fits(&relation, &new)?;
                if let Some(old) = &old {
                    fits(&relation, old)?;
                }
                let new = filled(new, old.as_ref());
                RowChange::Update { relation, old, new }
            }
            Message::Delete { relation, old } => {
                let relation = self.relation(relation)?;
                fits(&relation, &old)?;
                RowChange::Delete { relation, old }
            }
            Message::Truncate { relations } => RowChange::Truncate {
                relations: relations
                    .into_iter()
                    .map(|relation| self.relation(relation))
                    .collect::<Result<_, _>>()?,
            },
            Message::Begin { .. } | Message::Commit { .. } | Message::Logical { .. } => {
                return Err(RowError::Kind(char::from(message[0])));
            }
        };
        Ok(Some(change))
    }

    fn learn(&mut self, relation: Relation) {
        let known = self.0.get(&relation.oid);
        if known.is_none_or(|known| **known != relation) {
            self.0.insert(relation.oid, Arc::new(relation));
        }
    }

    fn relation(&self, oid: u32) -> Result<Arc<Relation>, RowError> {
        self.0.get(&oid).cloned().ok_or(RowError::Relation(oid))
    }
}

fn fits(relation: &Relation, tuple: &Tuple) -> Result<(), RowError> {
    if tuple.len() == relation.columns.len() {
        return Ok(());
    }
    Err(RowError::Columns {
        relation: relation.name.to_string(),
        values: tuple.len(),
        columns: relation.columns.len(),
    })
}

/// The new row, with large values that the update left alone taken from the old one. Of an old row
/// that has its key's columns only, the others are NULL; since an unchanged large value never is, a
/// text there is always the value itself.
fn filled(mut new: Tuple, old: Option<&Tuple>) -> Tuple {
    for (new, old) in new.iter_mut().zip(old.into_iter().flatten()) {
        if let (Datum::Unchanged, Datum::Text(_)) = (&*new, old) {
            *new = old.clone();
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::super::pgoutput::encode::encode;
    use super::super::{RelationColumn, Tuple};
    use super::*;
    use crate::catalog::TableName;

    fn relation(columns: &[&str]) -> Relation {
        Relation {
            oid: 7,
            name: TableName {
                schema: "public".to_owned(),
                name: "t".to_owned(),
            },
            replica_identity: 'f',
            columns: columns
                .iter()
                .map(|name| RelationColumn {
                    name: (*name).to_owned(),
                    is_identity: true,
                    type_oid: 25,
                    type_modifier: -1,
                })
                .collect(),
        }
    }

    fn text(text: &str) -> Datum {
        Datum::Text(text.to_owned())
    }

    fn relations() -> Relations {
        let mut relations = Relations::default();
        let described = encode(&Message::Relation(relation(&["id", "body"])));
        assert_eq!(relations.replay(&described), Ok(None));
        relations
    }

    fn update(old: Option<Tuple>, new: Tuple) -> (Option<Tuple>, Tuple) {
        let message = encode(&Message::Update {
            relation: 7,
            old,
            new,
        });
        match relations().replay(&message) {
            Ok(Some(RowChange::Update { old, new, .. })) => (old, new),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_unchanged_value_is_taken_from_the_old_row_where_that_has_it() {
        let old = vec![text("1"), text("large")];
        let new = vec![text("2"), Datum::Unchanged];
        assert_eq!(
            update(Some(old.clone()), new.clone()),
            (Some(old), vec![text("2"), text("large")])
        );
        // The key's columns only: the rest of it is NULL because it isn't told.
        let old = Some(vec![text("1"), Datum::Null]);
        assert_eq!(update(old.clone(), new.clone()), (old, new.clone()));
        assert_eq!(update(None, new.clone()), (None, new));
    }

    #[test]
    fn an_equal_description_changes_no_pointer() {
        let mut relations = relations();
        let insert = encode(&Message::Insert {
            relation: 7,
            new: vec![text("1"), text("a")],
        });
        let of = |relations: &mut Relations| match relations.replay(&insert) {
            Ok(Some(RowChange::Insert { relation, .. })) => relation,
            other => panic!("{other:?}"),
        };
        let first = of(&mut relations);
        let again = encode(&Message::Relation(relation(&["id", "body"])));
        relations.replay(&again).unwrap();
        assert!(Arc::ptr_eq(&first, &of(&mut relations)));
        let renamed = encode(&Message::Relation(relation(&["id", "text"])));
        relations.replay(&renamed).unwrap();
        assert!(!Arc::ptr_eq(&first, &of(&mut relations)));
    }

    #[test]
    fn a_change_that_fits_no_relation_is_refused() {
        let mut relations = relations();
        let mut insert =
            |relation, new| relations.replay(&encode(&Message::Insert { relation, new }));
        assert_eq!(insert(8, vec![]), Err(RowError::Relation(8)));
        assert_eq!(
            insert(7, vec![text("1")]).unwrap_err().to_string(),
            "a row of public.t has 1 values for 2 columns"
        );
        let truncate = encode(&Message::Truncate { relations: vec![9] });
        assert_eq!(relations.replay(&truncate), Err(RowError::Relation(9)));
        assert!(matches!(relations.replay(b"X"), Err(RowError::Decode(_))));
    }
}
