//! A client's transaction, evaluated against what is committed and staged.
//!
//! Nothing is staged here: the changes go to the log first and come back through apply.

use crate::fold::{Fold, Folded, Names, Refused, names};
use crate::{
    Action, Limits, Outcome, Precondition, PreconditionKind, Rejection, Request, RowOperation,
    RowOutcome, RowVersion, Store, Tables, TablesError, Tags,
};
use meridian_model::{Change, Edit, IdempotencyKey, Operation, Version};
use meridian_replicate::Executed;
use std::collections::HashMap;

impl<S: Store> Tables<S> {
    /// Evaluates a client's transaction that is to commit with `version`. All operations on a row
    /// are folded into one change; checks come in this order: limits, idempotency key,
    /// preconditions, operations.
    ///
    /// A request that comes to nothing (it deletes rows that aren't there) has no changes, but
    /// still its idempotency key; a replayed request has neither.
    ///
    /// # Errors
    /// [`Rejection`] when the transaction can't be carried out, in whole.
    pub fn execute(
        &self,
        version: Version,
        request: &Request,
    ) -> Result<Executed<Outcome>, Rejection> {
        self.limits.check(request)?;
        if let Some(replayed) = self.replayed(request)? {
            return Ok(replayed);
        }
        for precondition in &request.preconditions {
            self.check_precondition(precondition)?;
        }
        let mut rows = Rows::read(self, request)?;
        for operation in &request.operations {
            rows.operate(operation)?;
        }
        let (changes, rows) = rows.finish(version, &self.limits)?;
        Ok(Executed {
            reply: Outcome {
                version: (!changes.is_empty()).then_some(version),
                replayed: false,
                rows,
            },
            changes,
            idempotency: request.idempotency.clone(),
        })
    }

    pub(crate) fn replayed(
        &self,
        request: &Request,
    ) -> Result<Option<Executed<Outcome>>, Rejection> {
        let Some(IdempotencyKey { key, fingerprint }) = &request.idempotency else {
            return Ok(None);
        };
        let Some(known) = self.idempotent(key)? else {
            return Ok(None);
        };
        if known.fingerprint != *fingerprint {
            return Err(Rejection::IdempotencyKeyReused { key: key.clone() });
        }
        let (_, rows) = Rows::read(self, request)?.finish(known.version, &self.limits)?;
        Ok(Some(Executed {
            changes: Vec::new(),
            idempotency: None,
            reply: Outcome {
                version: Some(known.version),
                replayed: true,
                rows,
            },
        }))
    }

    fn check_precondition(&self, precondition: &Precondition) -> Result<(), Rejection> {
        let Precondition { table, key, kind } = precondition;
        let names = names(self.row(table, key)?.as_ref());
        let holds = match kind {
            PreconditionKind::IfMatch(tags) => tags.include(names.as_ref()),
            PreconditionKind::IfNoneMatch(tags) => !tags.include(names.as_ref()),
        };
        if holds {
            return Ok(());
        }
        Err(Rejection::PreconditionFailed {
            table: table.clone(),
            key: key.clone(),
            version: names.map(|names| names.row),
        })
    }
}

impl Tags {
    /// Whether a row of these names (`None`: not there) is among them.
    fn include(&self, names: Option<&Names>) -> bool {
        let Some(Names { row, siblings }) = names else {
            return false;
        };
        self.name(*row, siblings)
    }

    /// Whether they name a row's content: by its own version, or by those of all its siblings.
    #[must_use]
    pub fn name(&self, row: RowVersion, siblings: &[RowVersion]) -> bool {
        let Self::Versions(tags) = self else {
            return true;
        };
        let includes = |version: &RowVersion| tags.iter().any(|tag| version.is(tag));
        includes(&row) || (!siblings.is_empty() && siblings.iter().all(includes))
    }
}

/// The rows that a request names, in the order in which it first names them.
struct Rows<'a> {
    rows: Vec<(&'a RowOperation, Fold)>,
    index: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Rows<'a> {
    fn read<S: Store>(tables: &Tables<S>, request: &'a Request) -> Result<Self, TablesError> {
        let mut rows = Self {
            rows: Vec::new(),
            index: HashMap::new(),
        };
        for operation in &request.operations {
            let name = (operation.table.as_str(), operation.key.as_str());
            if !rows.index.contains_key(&name) {
                rows.index.insert(name, rows.rows.len());
                let row = tables.row(name.0, name.1)?;
                let strategy = tables.strategies.of(name.0);
                rows.rows.push((operation, Fold::of(row, strategy)));
            }
        }
        Ok(rows)
    }

    fn operate(&mut self, operation: &'a RowOperation) -> Result<(), Rejection> {
        let at = self.index[&(operation.table.as_str(), operation.key.as_str())];
        let fold = &mut self.rows[at].1;
        match &operation.action {
            Action::Put { document } => fold.put(document),
            Action::Delete => fold.delete(),
            Action::Increment { field, by } => fold
                .increment(field, *by)
                .map_err(|refused| refused.rejection(operation, field))?,
            Action::Members { field, add, remove } => fold
                .members(field, add, remove)
                .map_err(|refused| refused.rejection(operation, field))?,
        }
        Ok(())
    }

    fn finish(
        self,
        version: Version,
        limits: &Limits,
    ) -> Result<(Vec<Change>, Vec<RowOutcome>), Rejection> {
        let mut changes = Vec::new();
        let mut outcomes = Vec::new();
        let mut bytes_left = limits.transaction_bytes_max;
        for (RowOperation { table, key, .. }, fold) in self.rows {
            let Folded {
                operation,
                created,
                shown,
            } = fold.finish(version);
            if let Some(operation) = operation {
                let document = shown.as_ref().map(|(_, document)| document.as_str());
                limits.check_document(table, key, document.unwrap_or_default())?;
                // A short put may remove many fields: the change may be larger than the request.
                let max = limits.transaction_bytes_max;
                let left = bytes_left.checked_sub(bytes_of_edit(&operation));
                bytes_left = left.ok_or(Rejection::TransactionTooLarge { max })?;
                changes.push(Change {
                    table: table.clone(),
                    key: key.clone(),
                    operation,
                });
            }
            let (version, document) = shown.unzip();
            outcomes.push(RowOutcome {
                table: table.clone(),
                key: key.clone(),
                created,
                version,
                document,
            });
        }
        Ok((changes, outcomes))
    }
}

/// How large a change of fields is; other changes are no larger than the operations they come
/// from.
fn bytes_of_edit(operation: &Operation) -> usize {
    let Operation::Edit(Edit { set, by, members }) = operation else {
        return 0;
    };
    let set = set
        .iter()
        .map(|(field, value)| field.len() + value.as_ref().map_or(0, String::len));
    let by = by.iter().map(|(field, _)| field.len() + size_of::<i64>());
    let members = members.iter().map(|(field, members)| {
        let texts = members.add.iter().chain(&members.remove);
        field.len() + texts.map(String::len).sum::<usize>()
    });
    set.chain(by).chain(members).sum()
}

impl Refused {
    fn rejection(self, operation: &RowOperation, field: &str) -> Rejection {
        let table = operation.table.clone();
        let key = operation.key.clone();
        let field = field.to_owned();
        match self {
            Self::NotAnObject => Rejection::NotAnObject { table, key, field },
            Self::NotAnInteger => Rejection::NotAnInteger { table, key, field },
            Self::OutOfRange => Rejection::OutOfRange { table, key, field },
            Self::NotASet => Rejection::NotASet { table, key, field },
            Self::HasSiblings => Rejection::HasSiblings { table, key, field },
        }
    }
}

impl Limits {
    fn check(&self, request: &Request) -> Result<(), Rejection> {
        let operations = request.operations.len();
        if operations == 0 {
            return Err(Rejection::Empty);
        }
        if operations > self.operations_max {
            let max = self.operations_max;
            return Err(Rejection::TooManyOperations { operations, max });
        }
        if let Some(IdempotencyKey { key, .. }) = &request.idempotency {
            self.check_idempotency_key(key)?;
        }
        for Precondition { table, key, .. } in &request.preconditions {
            self.check_name(table, key)?;
        }
        let mut bytes = 0;
        for RowOperation { table, key, action } in &request.operations {
            self.check_name(table, key)?;
            if let Action::Put { document } = action {
                self.check_document(table, key, document)?;
            }
            bytes += table.len() + key.len() + action.bytes();
        }
        let max = self.transaction_bytes_max;
        if bytes > max {
            return Err(Rejection::TransactionTooLarge { max });
        }
        Ok(())
    }

    fn check_idempotency_key(&self, key: &str) -> Result<(), Rejection> {
        let max = self.idempotency_bytes_max;
        if (1..=max).contains(&key.len()) {
            return Ok(());
        }
        let bytes = key.len();
        Err(Rejection::BadIdempotencyKey { bytes, max })
    }

    fn check_name(&self, table: &str, key: &str) -> Result<(), Rejection> {
        let max = self.table_bytes_max;
        if !(1..=max).contains(&table.len()) || table.contains('\0') {
            let table = table.to_owned();
            return Err(Rejection::BadTable { table, max });
        }
        let max = self.key_bytes_max;
        if !(1..=max).contains(&key.len()) {
            let table = table.to_owned();
            let bytes = key.len();
            return Err(Rejection::BadKey { table, bytes, max });
        }
        Ok(())
    }

    fn check_document(&self, table: &str, key: &str, document: &str) -> Result<(), Rejection> {
        let (bytes, max) = (document.len(), self.document_bytes_max);
        if bytes <= max {
            return Ok(());
        }
        Err(Rejection::DocumentTooLarge {
            table: table.to_owned(),
            key: key.to_owned(),
            bytes,
            max,
        })
    }
}

impl Action {
    fn bytes(&self) -> usize {
        match self {
            Self::Put { document } => document.len(),
            Self::Delete => 0,
            Self::Increment { field, .. } => field.len() + size_of::<i64>(),
            Self::Members { field, add, remove } => {
                let members = add.iter().chain(remove);
                field.len() + members.map(String::len).sum::<usize>()
            }
        }
    }
}
