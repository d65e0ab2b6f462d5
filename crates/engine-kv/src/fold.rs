//! What several operations of one transaction on one row come to: at most one change.
//!
//! A put or delete replaces what came before it. Increments on top of a put (or of a delete, as a
//! document without fields) are computed into the document; increments alone are summed by field,
//! so that they merge with those of other regions. Deleting a row that isn't there changes
//! nothing, and so does deleting one that this very transaction made.

use meridian_merge::{KeptIncrement, Row, RowVersion, merge_increment, render, with_increments};
use meridian_model::{Operation, Version};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Why an increment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotAnObject,
    NotAnInteger,
    OutOfRange,
}

/// A row within a transaction.
#[derive(Debug)]
pub(crate) struct Fold {
    row: Option<Row>,
    /// The row's document as readers see it before the transaction.
    before: Option<String>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Nothing,
    Delete,
    /// A document, or none where the row was deleted first, and increments on top.
    Put(Option<String>, Option<Sums>),
    Increment(Sums),
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

impl Fold {
    pub(crate) fn of(row: Option<Row>) -> Self {
        Self {
            before: row.as_ref().and_then(render).map(Cow::into_owned),
            row,
            step: Step::Nothing,
        }
    }

    /// The version of the row before the transaction; `None` where it isn't there.
    pub(crate) fn version_before(&self) -> Option<RowVersion> {
        self.before.as_ref()?;
        self.row.as_ref().map(Row::named)
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
        match &mut self.step {
            Step::Put(document, sums) => sums
                .get_or_insert_with(|| Sums::on(document.as_deref()))
                .add(field, by),
            Step::Increment(sums) => sums.add(field, by),
            Step::Nothing => {
                let mut sums = Sums::on(self.before.as_deref());
                sums.add(field, by)?;
                self.step = Step::Increment(sums);
                Ok(())
            }
            Step::Delete => {
                let mut sums = Sums::on(None);
                sums.add(field, by)?;
                self.step = Step::Put(None, Some(sums));
                Ok(())
            }
        }
    }

    /// The one change, and the row once a transaction of this version has made it.
    pub(crate) fn finish(self, version: Version) -> Folded {
        let there = self.before.is_some();
        let mut named = RowVersion::of_write(version);
        let (operation, document) = match self.step {
            Step::Nothing => {
                let version = self.row.map(|row| row.named());
                return Folded {
                    operation: None,
                    created: false,
                    shown: version.zip(self.before),
                };
            }
            Step::Delete => (Operation::Delete, None),
            Step::Put(document, sums) => {
                let document = with_sums(document, sums);
                let operation = Operation::Put {
                    document: document.clone(),
                };
                (operation, Some(document))
            }
            Step::Increment(sums) => {
                let by: Vec<(String, i64)> = sums.by.into_iter().collect();
                let increment = KeptIncrement { version, by };
                let row = merge_increment(self.row, &increment);
                let document = render(&row).map(Cow::into_owned);
                named = row.named();
                (Operation::Increment { by: increment.by }, document)
            }
        };
        Folded {
            operation: Some(operation),
            created: !there && document.is_some(),
            shown: document.map(|document| (named, document)),
        }
    }
}

fn with_sums(document: Option<String>, sums: Option<Sums>) -> String {
    let sums: Vec<(String, i128)> = sums
        .into_iter()
        .flat_map(|sums| sums.by)
        .map(|(field, by)| (field, i128::from(by)))
        .collect();
    match (document, sums.is_empty()) {
        (Some(document), true) => document,
        (document, _) => with_increments(document.as_deref(), &sums)
            .expect("there is a document, or an increment that makes one")
            .into_owned(),
    }
}

/// Increments by field, on top of a document that is parsed once however many there are.
#[derive(Debug)]
struct Sums {
    /// `None` where the document is no object.
    fields: Option<Map<String, Value>>,
    by: BTreeMap<String, i64>,
}

impl Sums {
    fn on(document: Option<&str>) -> Self {
        let fields = match document.map(serde_json::from_str) {
            None => Some(Map::new()),
            Some(Ok(Value::Object(fields))) => Some(fields),
            Some(_) => None,
        };
        Self {
            fields,
            by: BTreeMap::new(),
        }
    }

    fn add(&mut self, field: &str, by: i64) -> Result<(), Refused> {
        let start = self.start(field)?;
        let sum = self.by.get(field).copied().unwrap_or(0);
        let sum = sum.checked_add(by).ok_or(Refused::OutOfRange)?;
        let result = start.checked_add(i128::from(sum));
        result
            .and_then(|result| i64::try_from(result).ok())
            .ok_or(Refused::OutOfRange)?;
        self.by.insert(field.to_owned(), sum);
        Ok(())
    }

    fn start(&self, field: &str) -> Result<i128, Refused> {
        let fields = self.fields.as_ref().ok_or(Refused::NotAnObject)?;
        let Some(value) = fields.get(field) else {
            return Ok(0);
        };
        let number = value.as_number().ok_or(Refused::NotAnInteger)?;
        // Documents keep their numbers' text; an integer is what reads as one.
        number.as_str().parse().map_err(|_| Refused::NotAnInteger)
    }
}
