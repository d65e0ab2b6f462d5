//! Dead letters: what no region's tables can ever take, and what is decided about it.
//!
//! Whether a transaction is one depends on it alone, by the hard limits below. They belong to the
//! format of the tables, are no setting, and must be the same in every build that shares a wire
//! version; a client's request meets the narrower limits of its dataset long before. A letter is
//! kept in two records: what a list shows, and the transaction.
//!
//! A decision is evaluated where it is asked for, as a client's request on the rows as they are
//! now, and comes to puts and deletes only: an increment is computed into a put. So two regions that
//! decide about one letter at once make two concurrent writes to a row, of which one stands and
//! both are recorded, and nothing is counted twice.

use crate::{
    Action, Order, Outcome, Rejection, Request, RowOperation, Store, TableReader, Tables,
    TablesError, keys, read, value,
};
use meridian_model::{Change, Edit, IdempotencyKey, Members, Operation, Transaction, Version};
use meridian_replicate::{Applying, Decided, Engine as _, Executed};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The longest name of a table, in bytes.
pub const TABLE_NAME_BYTES_MAX: usize = 255;
/// The longest key of a row, in bytes.
pub const ROW_KEY_BYTES_MAX: usize = 4096;
/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 4096;

/// A dead letter, without its transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Why it can't be applied.
    pub reason: String,
    /// How many rows it would change.
    pub changes: u64,
    /// About how many bytes of names, keys and documents it has.
    pub bytes: u64,
}

/// How many dead letters there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterCounts {
    /// Set aside here, ever.
    pub total: u64,
    /// Of these, still waiting for a decision.
    pub waiting: u64,
}

/// Dead letters, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterPage {
    /// The letters, by the versions of their transactions.
    pub letters: Vec<(Version, Letter)>,
    /// Where the next page goes on (`after`), with older ones; `None` at the end.
    pub next: Option<Version>,
}

/// What is to become of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its transaction is made now, as if a client asked for it.
    Retry,
    /// This is made in its place.
    Edit(Request),
    /// It goes.
    Drop,
}

/// What the tables know of dead letters beside the records.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// With what is staged.
    counts: LetterCounts,
    committed: LetterCounts,
    stops: bool,
}

impl Letters {
    pub(crate) fn with(committed: LetterCounts) -> Self {
        Self {
            counts: committed,
            committed,
            stops: false,
        }
    }

    pub(crate) fn discard(&mut self) {
        self.counts = self.committed;
    }

    /// The counts' record, where it has changed.
    pub(crate) fn changed(&self) -> Option<Vec<u8>> {
        (self.counts != self.committed).then(|| value::encode(keys::LETTER_COUNTS, &self.counts))
    }

    pub(crate) fn committed(&mut self) {
        self.committed = self.counts;
    }

    pub(crate) fn stops(&self) -> bool {
        self.stops
    }
}

/// Why no tables can take the transaction.
pub(crate) fn objection(transaction: &Transaction) -> Option<String> {
    let changes = &transaction.changes;
    if let Some(reason) = changes.iter().find_map(objection_to) {
        return Some(reason);
    }
    // The common case has one change, which repeats nothing.
    if changes.len() > 1 {
        let mut rows = HashSet::with_capacity(changes.len());
        let mut named = changes
            .iter()
            .map(|it| (it.table.as_str(), it.key.as_str()));
        if let Some((table, key)) = named.find(|row| !rows.insert(*row)) {
            return Some(format!("it changes row {key:?} of table {table:?} twice"));
        }
    }
    let key = &transaction.idempotency.as_ref()?.key;
    (key.len() > IDEMPOTENCY_KEY_BYTES_MAX).then(|| {
        let bytes = key.len();
        format!("its idempotency key has {bytes} bytes, of at most {IDEMPOTENCY_KEY_BYTES_MAX}")
    })
}

fn objection_to(change: &Change) -> Option<String> {
    let Change {
        table,
        key,
        operation,
    } = change;
    if !(1..=TABLE_NAME_BYTES_MAX).contains(&table.len()) {
        let bytes = table.len();
        return Some(format!(
            "the name of a table has {bytes} bytes, where 1 to {TABLE_NAME_BYTES_MAX} can be stored"
        ));
    }
    if table.contains('\0') {
        return Some(format!("the name of table {table:?} has a NUL"));
    }
    if !(1..=ROW_KEY_BYTES_MAX).contains(&key.len()) {
        let bytes = key.len();
        return Some(format!(
            "the key of a row in table {table:?} has {bytes} bytes, where 1 to \
             {ROW_KEY_BYTES_MAX} can be stored"
        ));
    }
    let is_by_field = match operation {
        Operation::Increment { by } => is_by_name(by),
        Operation::Edit(edit) => {
            is_by_name(&edit.set) && is_by_name(&edit.by) && is_by_name(&edit.members)
        }
        Operation::Put { .. } | Operation::Delete | Operation::Sibling { .. } => true,
    };
    (!is_by_field).then(|| {
        format!("the changes of row {key:?} of table {table:?} are not by field, each once")
    })
}

fn is_by_name<T>(fields: &[(String, T)]) -> bool {
    fields.is_sorted_by(|(one, _), (other, _)| one < other)
}

fn bytes_of(change: &Change) -> usize {
    let operation = match &change.operation {
        Operation::Put { document } => document.len(),
        Operation::Increment { by } => by.iter().map(|(field, _)| field.len() + 8).sum(),
        Operation::Sibling { document } => document.as_ref().map_or(0, String::len),
        Operation::Edit(edit) => bytes_of_edit(edit),
        Operation::Delete => 0,
    };
    change.table.len() + change.key.len() + operation
}

fn bytes_of_edit(Edit { set, by, members }: &Edit) -> usize {
    let of_set = |(field, value): &(String, Option<String>)| {
        field.len() + value.as_ref().map_or(0, String::len)
    };
    let of_members = |(field, members): &(String, Members)| {
        let texts = members.add.iter().chain(&members.remove);
        field.len() + texts.map(String::len).sum::<usize>()
    };
    set.iter().map(of_set).sum::<usize>()
        + by.iter().map(|(field, _)| field.len() + 8).sum::<usize>()
        + members.iter().map(of_members).sum::<usize>()
}

/// What a client would ask for to have these changes made; `None` where no client could, since
/// single fields were written.
#[must_use]
pub fn operations_of(changes: &[Change]) -> Option<Vec<RowOperation>> {
    let mut operations = Vec::new();
    for change in changes {
        let mut push = |action| {
            operations.push(RowOperation {
                table: change.table.clone(),
                key: change.key.clone(),
                action,
            });
        };
        match &change.operation {
            Operation::Put { document }
            | Operation::Sibling {
                document: Some(document),
            } => push(Action::Put {
                document: document.clone(),
            }),
            Operation::Delete | Operation::Sibling { document: None } => push(Action::Delete),
            Operation::Increment { by } => push_increments(&mut push, by),
            Operation::Edit(edit) if edit.set.is_empty() => {
                push_increments(&mut push, &edit.by);
                for (field, Members { add, remove }) in &edit.members {
                    push(Action::Members {
                        field: field.clone(),
                        add: add.clone(),
                        remove: remove.clone(),
                    });
                }
            }
            Operation::Edit(_) => return None,
        }
    }
    Some(operations)
}

fn push_increments(push: &mut impl FnMut(Action), by: &[(String, i64)]) {
    for (field, by) in by {
        let field = field.clone();
        push(Action::Increment { field, by: *by });
    }
}

/// Increments become puts of what they come to.
fn settled(executed: &mut Executed<Outcome>) {
    for change in &mut executed.changes {
        let adds = match &change.operation {
            Operation::Increment { .. } => true,
            Operation::Edit(edit) => !edit.by.is_empty(),
            _ => false,
        };
        if !adds {
            continue;
        }
        let rows = &executed.reply.rows;
        let row = rows
            .iter()
            .find(|row| row.table == change.table && row.key == change.key);
        if let Some(document) = row.and_then(|row| row.document.clone()) {
            change.operation = Operation::Put { document };
        }
    }
}

impl<S: Store> Tables<S> {
    /// The same tables, which ask to be stopped at a dead letter or not.
    #[must_use]
    pub fn stopping_at_dead_letters(mut self, stops: bool) -> Self {
        self.letters.stops = stops;
        self
    }

    /// How many dead letters there are, with what is staged.
    #[must_use]
    pub fn letter_counts(&self) -> LetterCounts {
        self.letters.counts
    }

    /// Evaluates what is decided about a dead letter, in a transaction that is to commit with
    /// `version`.
    ///
    /// # Errors
    /// [`Rejection`] when it can't be carried out, in whole: also where the letter isn't there
    /// (any more), and where a retry would only become a letter again.
    pub fn decide(
        &self,
        version: Version,
        letter: Version,
        verdict: &Verdict,
    ) -> Result<Decided<Outcome>, Rejection> {
        if let Verdict::Edit(request) = verdict
            && let Some(executed) = self.replayed(request)?
        {
            let settles = false;
            return Ok(Decided { executed, settles });
        }
        let at = keys::letter_body(letter);
        let found: Option<Transaction> = self.staged.get(&self.store, &at, |bytes| {
            value::decode(bytes, "letter", &at)
        })?;
        let transaction = found.ok_or(Rejection::LetterNotFound { letter })?;
        let mut executed = match verdict {
            Verdict::Drop => Executed {
                changes: Vec::new(),
                idempotency: None,
                reply: Outcome {
                    version: Some(version),
                    replayed: false,
                    rows: Vec::new(),
                },
            },
            Verdict::Edit(request) => self.execute(version, request)?,
            Verdict::Retry => self
                .execute(version, &retried(letter, &transaction)?)
                .map_err(|rejection| again(letter, rejection))?,
        };
        settled(&mut executed);
        // What is evaluated is within the limits of the dataset; that these are within the format's
        // is a setting's matter.
        let made = Transaction {
            dependencies: transaction.dependencies,
            changes: executed.changes,
            idempotency: executed.idempotency,
        };
        if let Some(reason) = self.objection(&made) {
            return Err(Rejection::LetterAgain { letter, reason });
        }
        executed.changes = made.changes;
        executed.idempotency = made.idempotency;
        let settles = true;
        Ok(Decided { executed, settles })
    }

    pub(crate) fn stage_letter(
        &mut self,
        applying: &Applying<'_>,
        reason: &str,
    ) -> Result<(), TablesError> {
        let (at, transaction) = (keys::letter(applying.version), applying.transaction);
        if self.staged.get(&self.store, &at, |_| Ok(()))?.is_none() {
            self.letters.counts.total += 1;
            self.letters.counts.waiting += 1;
        }
        let bytes: usize = transaction.changes.iter().map(bytes_of).sum();
        let letter = Letter {
            reason: reason.to_owned(),
            changes: transaction.changes.len() as u64,
            bytes: bytes as u64,
        };
        let record = value::encode(&at, &letter);
        self.staged.put(at, record);
        let body = keys::letter_body(applying.version);
        let record = value::encode(&body, transaction);
        self.staged.put(body, record);
        Ok(())
    }

    pub(crate) fn stage_settled(&mut self, letter: Version) -> Result<(), TablesError> {
        let at = keys::letter(letter);
        if self.staged.get(&self.store, &at, |_| Ok(()))?.is_some() {
            self.letters.counts.waiting = self.letters.counts.waiting.saturating_sub(1);
            self.staged.remove(at);
            self.staged.remove(keys::letter_body(letter));
        }
        Ok(())
    }
}

/// Why a retry comes to nothing.
fn again(letter: Version, rejection: Rejection) -> Rejection {
    if matches!(rejection, Rejection::Tables(_)) {
        return rejection;
    }
    let text = rejection.to_string();
    let reason = text.split("\n\n").next().unwrap_or_default().to_owned();
    Rejection::LetterAgain { letter, reason }
}

fn retried(letter: Version, transaction: &Transaction) -> Result<Request, Rejection> {
    let idempotency: Option<IdempotencyKey> = transaction.idempotency.clone();
    let operations = operations_of(&transaction.changes).ok_or_else(|| Rejection::LetterAgain {
        letter,
        reason: "it writes single fields of rows, on top of what its region held".to_owned(),
    })?;
    Ok(Request {
        operations,
        preconditions: Vec::new(),
        idempotency,
    })
}

impl<S: Store> TableReader<S> {
    /// The dead letters older than `after` (from the newest where it is `None`), newest first, at
    /// most `limit`.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn letters(&self, after: Option<Version>, limit: usize) -> Result<LetterPage, TablesError> {
        let mut range = keys::letters();
        if let Some(after) = after {
            range.end = keys::letter(after);
        }
        let mut page = LetterPage::default();
        let view = self.store.view();
        read::try_visit_in(&view, &range, Order::Descending, |at, bytes| {
            if page.letters.len() == limit.max(1) {
                page.next = page.letters.last().map(|(version, _)| *version);
                return Ok(ControlFlow::Break(()));
            }
            let version = keys::decode_letter(at);
            let version = version.ok_or_else(|| TablesError::damaged("letter", at))?;
            let letter = value::decode(bytes, "letter", at)?;
            page.letters.push((version, letter));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(page)
    }

    /// A dead letter with its transaction; `None` where it isn't there (any more).
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn letter(&self, version: Version) -> Result<Option<(Letter, Transaction)>, TablesError> {
        use crate::View as _;
        let view = self.store.view();
        let (at, body) = (keys::letter(version), keys::letter_body(version));
        let (Some(letter), Some(transaction)) = (view.get(&at)?, view.get(&body)?) else {
            return Ok(None);
        };
        Ok(Some((
            value::decode(letter.as_ref(), "letter", &at)?,
            value::decode(transaction.as_ref(), "letter", &body)?,
        )))
    }

    /// How many dead letters there are.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn letter_counts(&self) -> Result<LetterCounts, TablesError> {
        use crate::View as _;
        let key = keys::LETTER_COUNTS;
        match self.store.view().get(key)? {
            Some(bytes) => value::decode(bytes.as_ref(), "meta", key),
            None => Ok(LetterCounts::default()),
        }
    }
}
