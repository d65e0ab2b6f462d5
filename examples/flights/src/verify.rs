//! Whether what the regions hold in the end follows from what they acknowledged.
//!
//! A row stands as the greatest version acknowledged for it left it. Something newer that no client
//! here wrote is no loss (an import that retries writes a row again) and is counted; anything older,
//! or a row that is gone without a delete that explains it, is a lost write.

use crate::clashes::Operation;
use crate::clients::{Acknowledged, Touched};
use crate::data::NULL;
use meridian_bench::meridian::Row;
use meridian_model::Version;
use serde_json::Value;

/// What became of a touched row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An acknowledged update stands.
    Updated,
    /// An acknowledged delete stands.
    Deleted,
    /// A later version stands that no client here wrote.
    Superseded,
}

/// An acknowledged write is lost, or a row holds what nobody wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {key}: {what}")]
pub struct Mismatch {
    /// The row.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

/// Judges a touched row by what a region holds of it.
pub fn judge(touched: &Touched, found: Option<&Row>) -> Result<Standing, Mismatch> {
    let mismatch = |what: String| {
        Err(Mismatch {
            key: touched.key.clone(),
            what,
        })
    };
    match found {
        None => {
            let newest = |operation| newest(&touched.acknowledged, operation);
            match (newest(Operation::Update), newest(Operation::Delete)) {
                (_, None) => mismatch("is gone, and no client deleted it".to_owned()),
                (Some(update), Some(delete)) if update > delete => mismatch(format!(
                    "is gone, although the update {update} is newer than the delete {delete}"
                )),
                _ => Ok(Standing::Deleted),
            }
        }
        Some(row) => {
            let newer = |write: &&Acknowledged| write.version > Some(row.version);
            if let Some(lost) = touched.acknowledged.iter().find(newer) {
                return mismatch(format!(
                    "holds {}, although {lost:?} was acknowledged and is newer",
                    row.version
                ));
            }
            if row.version <= touched.seen {
                return mismatch(format!("is as it was before {:?}", touched.acknowledged));
            }
            judge_present(touched, row)
        }
    }
}

/// A row that is there, with nothing acknowledged that is newer.
fn judge_present(touched: &Touched, row: &Row) -> Result<Standing, Mismatch> {
    let own = |write: &&Acknowledged| write.version == Some(row.version);
    let Some(write) = touched.acknowledged.iter().find(own) else {
        return Ok(Standing::Superseded);
    };
    let document: Option<Value> = serde_json::from_slice(&row.document).ok();
    if write.operation == Operation::Update && write.document == document {
        return Ok(Standing::Updated);
    }
    Err(Mismatch {
        key: touched.key.clone(),
        what: format!(
            "holds {} under the version of {write:?}",
            String::from_utf8_lossy(&row.document)
        ),
    })
}

fn newest(acknowledged: &[Acknowledged], operation: Operation) -> Option<Version> {
    let of_kind = acknowledged
        .iter()
        .filter(|write| write.operation == operation);
    of_kind.filter_map(|write| write.version).max()
}

/// Whether a document has a line's values, as numbers or as text.
pub fn has_values(
    document: &[u8],
    columns: &csv::StringRecord,
    values: &csv::StringRecord,
) -> bool {
    let Ok(Value::Object(document)) = serde_json::from_slice(document) else {
        return false;
    };
    columns.iter().zip(values).all(|(column, value)| {
        let text = as_text(document.get(column));
        text == value || (text.is_empty() && value == NULL)
    })
}

/// A field as a line would have it; one that is missing or null is empty there.
pub fn as_text(field: Option<&Value>) -> String {
    match field {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};
    use serde_json::json;

    fn version(hlc: u64, origin: u64) -> Version {
        Version {
            hlc: Hlc::from_raw(hlc),
            origin: OriginId(origin),
        }
    }

    fn update(hlc: u64, origin: u64) -> Acknowledged {
        Acknowledged {
            operation: Operation::Update,
            version: Some(version(hlc, origin)),
            document: Some(json!({"hlc": hlc})),
        }
    }

    fn delete(version: Option<Version>) -> Acknowledged {
        Acknowledged {
            operation: Operation::Delete,
            version,
            document: None,
        }
    }

    fn row(hlc: u64, origin: u64) -> Row {
        Row {
            version: version(hlc, origin),
            document: json!({"hlc": hlc}).to_string().into(),
        }
    }

    fn judged(acknowledged: &[Acknowledged], found: Option<&Row>) -> Option<Standing> {
        let touched = Touched {
            key: "k".into(),
            seen: version(1, 1),
            acknowledged: acknowledged.to_vec(),
        };
        judge(&touched, found).ok()
    }

    #[test]
    fn the_greatest_acknowledged_version_stands() {
        let updates = [update(5, 1), update(5, 2)];
        assert_eq!(judged(&updates, Some(&row(5, 2))), Some(Standing::Updated));
        assert_eq!(
            judged(&updates, Some(&row(5, 1))),
            None,
            "the origin decides a tie"
        );
        assert_eq!(judged(&updates, Some(&row(4, 9))), None, "older than both");
        assert_eq!(
            judged(&updates, Some(&row(6, 1))),
            Some(Standing::Superseded)
        );
        assert_eq!(judged(&updates, None), None, "nobody deleted it");
    }

    #[test]
    fn a_delete_stands_only_against_older_updates() {
        let newer = [update(5, 1), delete(Some(version(6, 2)))];
        assert_eq!(judged(&newer, None), Some(Standing::Deleted));
        assert_eq!(judged(&newer, Some(&row(5, 1))), None, "the delete is lost");
        let older = [update(5, 1), delete(Some(version(4, 2)))];
        assert_eq!(judged(&older, None), None, "the update is lost");
        assert_eq!(judged(&older, Some(&row(5, 1))), Some(Standing::Updated));
        let nothing = delete(None);
        assert_eq!(judged(&[update(5, 1), nothing.clone()], None), None);
        let twice = [delete(Some(version(6, 2))), nothing.clone()];
        assert_eq!(judged(&twice, None), Some(Standing::Deleted));
        assert_eq!(judged(&[nothing], Some(&row(1, 1))), None, "as it was");
    }

    #[test]
    fn a_row_under_an_acknowledged_version_holds_what_that_wrote() {
        let mut changed = row(5, 1);
        changed.document = "{}".into();
        assert_eq!(judged(&[update(5, 1)], Some(&changed)), None);
        assert_eq!(
            judged(&[delete(Some(version(5, 1)))], Some(&row(5, 1))),
            None
        );
    }

    #[test]
    fn values_compare_as_numbers_and_as_text() {
        let columns = csv::StringRecord::from(vec!["a", "b", "c"]);
        let values = csv::StringRecord::from(vec!["517", "UA", "NA"]);
        let has = |document: Value| has_values(document.to_string().as_bytes(), &columns, &values);
        assert!(has(json!({"a": 517, "b": "UA", "c": "NA"})));
        assert!(has(json!({"a": "517", "b": "UA", "c": null, "more": 1})));
        assert!(has(json!({"a": 517, "b": "UA"})));
        assert!(!has(json!({"a": 518, "b": "UA", "c": null})));
        assert!(!has(json!({"a": null, "b": "UA", "c": null})));
        assert!(!has(json!({"a": 517, "c": null})));
        assert!(!has(json!([517])));
    }
}
