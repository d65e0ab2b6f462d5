//! Rows as documents: how a server's row stands in the dataset's tables.
//!
//! A row's key is its key columns' texts: the text itself where there is one column, a JSON array of
//! texts where there are several, and where the text is empty, which no key is, or would read as such
//! an array. Its document is a JSON object by column name, in the table's
//! order: a column's value is its text as PostgreSQL writes it (`datestyle` ISO, `intervalstyle`
//! postgres, `bytea_output` hex, `extra_float_digits` 3, time zone UTC), `null` for NULL, and a JSON
//! integer for a counter, so that differences add up.

use crate::catalog::{Became, Table};

/// A row's values by column, in the table's order; `None` is NULL.
pub type Values = Vec<Option<String>>;

/// A document or key that doesn't fit its table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It isn't JSON of the right shape.
    #[error("the document of a row of {table} is no object of texts: {reason}")]
    Shape {
        /// The table.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// It has a column that the table lacks, or lacks one that takes no NULL.
    #[error(
        "column {column} of table {table} is not in every region: rows of another region and this \
         server's table differ in it"
    )]
    Columns {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// It is what concurrent counting left of a deleted row, and has no column that takes no NULL.
    #[error("the document of a row of {table} has no column {column}")]
    Incomplete {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The key has another number of columns.
    #[error("{key:?} is no key of {table}")]
    Key {
        /// The table.
        table: String,
        /// The key.
        key: String,
    },
}

/// The key of a row.
#[must_use]
pub fn key(table: &Table, values: &Values) -> String {
    key_of(
        table
            .key
            .iter()
            .map(|column| values[*column].as_deref().unwrap_or_default()),
    )
}

fn key_of<'a>(mut texts: impl ExactSizeIterator<Item = &'a str>) -> String {
    if texts.len() == 1 {
        let text = texts.next().unwrap_or_default();
        return if text.is_empty() || array_of_one(text).is_some() {
            serde_json::to_string(&[text]).expect("texts are JSON")
        } else {
            text.to_owned()
        };
    }
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("texts are JSON")
}

fn array_of_one(key: &str) -> Option<String> {
    // Few begin so, and most are not looked into.
    let parsed = key.starts_with('[').then(|| serde_json::from_str(key));
    let [text]: [String; 1] = parsed?.ok()?;
    Some(text)
}

/// The texts of a key's columns, in the order of the key.
///
/// # Errors
/// [`DocumentError::Key`] when it is none of this table.
pub fn key_values(table: &Table, key: &str) -> Result<Vec<String>, DocumentError> {
    let error = || DocumentError::Key {
        table: table.name.to_string(),
        key: key.to_owned(),
    };
    if table.key.len() == 1 {
        return Ok(vec![array_of_one(key).unwrap_or_else(|| key.to_owned())]);
    }
    let texts: Vec<String> = serde_json::from_str(key).map_err(|_| error())?;
    if texts.len() == table.key.len() {
        Ok(texts)
    } else {
        Err(error())
    }
}

/// A digest of a row's values.
#[must_use]
pub fn digest(values: &Values) -> u64 {
    let text = serde_json::to_string(values).expect("texts are JSON");
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// The document of a row.
#[must_use]
pub fn document(table: &Table, values: &Values) -> String {
    let mut json = Vec::with_capacity(32 * values.len());
    for (column, value) in table.columns.iter().zip(values) {
        json.push(if json.is_empty() { b'{' } else { b',' });
        write(&mut json, column.name.as_str());
        json.push(b':');
        match value {
            None => json.extend_from_slice(b"null"),
            Some(text) if column.is_counter => match serde_json::from_str(text) {
                Ok(number) => write::<serde_json::Value>(&mut json, &number),
                Err(_) => write(&mut json, text.as_str()),
            },
            Some(text) => write(&mut json, text.as_str()),
        }
    }
    if json.is_empty() {
        json.push(b'{');
    }
    json.push(b'}');
    String::from_utf8(json).expect("JSON is UTF-8")
}

fn write<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value).expect("memory takes all JSON");
}

/// The values that a document gives the row with this key: what the server shows once it is written
/// there. What concurrent edits and counters leave of a deleted row says nothing of its key.
///
/// # Errors
/// [`DocumentError`] when it doesn't fit the table, [`DocumentError::Incomplete`] when too little is
/// left to be a row.
pub fn values(table: &Table, key: &str, document: &str) -> Result<Values, DocumentError> {
    let mut object: Object =
        serde_json::from_str(document).map_err(|error| DocumentError::Shape {
            table: table.name.to_string(),
            reason: error.to_string(),
        })?;
    renew(table, &mut object);
    let is_whole = |column: &usize| object.contains_key(&table.columns[*column].name);
    let is_rest = !table.key.iter().all(is_whole);
    if is_rest {
        for (column, text) in table.key.iter().zip(key_values(table, key)?) {
            let name = table.columns[*column].name.clone();
            object.entry(name).or_insert(text.into());
        }
    }
    of_object(table, object, is_rest)
}

type Object = serde_json::Map<String, serde_json::Value>;

fn of_object(table: &Table, mut object: Object, is_rest: bool) -> Result<Values, DocumentError> {
    let shape = |reason: String| DocumentError::Shape {
        table: table.name.to_string(),
        reason,
    };
    let columns = |column: &str| DocumentError::Columns {
        table: table.name.to_string(),
        column: column.to_owned(),
    };
    let mut values = Values::with_capacity(table.columns.len());
    for column in &table.columns {
        // A row from before the column.
        let value = match object.remove(&column.name) {
            None if column.missing.is_some() && !is_rest => {
                values.push(column.missing.clone());
                continue;
            }
            None if column.is_nullable => serde_json::Value::Null,
            None if is_rest => {
                return Err(DocumentError::Incomplete {
                    table: table.name.to_string(),
                    column: column.name.clone(),
                });
            }
            None => return Err(columns(&column.name)),
            Some(value) => value,
        };
        values.push(match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) => Some(number.to_string()),
            other => return Err(shape(format!("{} is {other}", column.name))),
        });
    }
    match object.keys().next() {
        None => Ok(values),
        Some(column) => Err(columns(column)),
    }
}

/// Brings a row from before columns were renamed or dropped to what they are called now.
fn renew(table: &Table, object: &mut Object) {
    for (name, became) in &table.former {
        let Some(value) = object.remove(name) else {
            continue;
        };
        if let Became::Column(now) = became
            && !object.contains_key(now)
        {
            object.insert(now.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Column, TableName};

    fn table(key: &[usize]) -> Table {
        let column = |name: &str, type_name: &str, is_counter| Column {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            is_nullable: true,
            is_counter,
            is_identity_always: false,
            missing: None,
        };
        Table {
            name: TableName {
                schema: "public".to_owned(),
                name: "t".to_owned(),
            },
            columns: vec![
                column("a", "integer", false),
                column("b", "text", false),
                column("n", "bigint", true),
            ],
            key: key.to_vec(),
            unique: Vec::new(),
            references: Vec::new(),
            former: std::collections::BTreeMap::new(),
        }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_row_goes_there_and_back() {
        let table = table(&[0]);
        for row in [
            vec![text("1"), text("it's \"so\""), text("-7")],
            vec![text("1"), None, None],
        ] {
            let document = document(&table, &row);
            assert_eq!(values(&table, "1", &document), Ok(row));
        }
        let document = document(&table, &vec![text("1"), text("x"), text("3")]);
        assert_eq!(document, r#"{"a":"1","b":"x","n":3}"#);
    }

    #[test]
    fn a_row_from_before_the_table_was_altered_is_what_it_is_now() {
        let mut table = table(&[0]);
        let old = r#"{"a":"1","was":"x","gone":"y"}"#;
        let refused = values(&table, "1", old).unwrap_err().to_string();
        assert!(
            refused.contains("column gone of table public.t"),
            "{refused}"
        );
        table.columns[2].missing = text("0");
        table.columns[2].is_nullable = false;
        let was = ("was".to_owned(), Became::Column("b".to_owned()));
        let gone = ("gone".to_owned(), Became::Gone);
        table.former = [was, gone].into();
        let now = vec![text("1"), text("x"), text("0")];
        assert_eq!(values(&table, "1", old), Ok(now.clone()));
        // What was written under the new name counts.
        let both = r#"{"a":"1","b":"x","was":"y"}"#;
        assert_eq!(values(&table, "1", both), Ok(now.clone()));
        // Under the key's old name it is a whole row all the same.
        let id = ("id".to_owned(), Became::Column("a".to_owned()));
        table.former.extend([id]);
        let old = r#"{"id":"1","was":"x"}"#;
        assert_eq!(values(&table, "1", old), Ok(now));
    }

    #[test]
    fn a_key_of_several_columns_is_unambiguous() {
        let one = table(&[1]);
        let row = vec![text("1"), text("[x"), None];
        assert_eq!(key(&one, &row), "[x");
        assert_eq!(key_values(&one, "[x"), Ok(vec!["[x".to_owned()]));
        for exotic in ["", r#"[""]"#, r#"["[\"\"]"]"#, r#"["a","b"]"#, "[]"] {
            let key = key(&one, &vec![text("1"), text(exotic), None]);
            assert!(!key.is_empty());
            assert_eq!(key_values(&one, &key), Ok(vec![exotic.to_owned()]));
        }
        let [empty, array] = ["", r#"[""]"#].map(|it| key(&one, &vec![None, text(it), None]));
        assert_ne!(empty, array);
        let two = table(&[1, 0]);
        assert_eq!(key(&two, &row), r#"["[x","1"]"#);
        assert_eq!(
            key_values(&two, r#"["[x","1"]"#),
            Ok(vec!["[x".to_owned(), "1".to_owned()])
        );
        assert!(key_values(&two, "[x").is_err());
        assert!(key_values(&two, r#"["x"]"#).is_err());
    }

    #[test]
    fn what_is_left_of_a_deleted_row_takes_its_key_from_its_name() {
        let mut two = table(&[1, 0]);
        let rest = r#"{"n":5}"#;
        let row = vec![text("7"), text("x"), text("5")];
        assert_eq!(values(&two, &key(&two, &row), rest), Ok(row));
        assert!(matches!(
            values(&two, "7", rest),
            Err(DocumentError::Key { .. })
        ));
        two.key = vec![0];
        two.columns[1].is_nullable = false;
        assert!(matches!(
            values(&two, "7", rest),
            Err(DocumentError::Incomplete { column, .. }) if column == "b"
        ));
        // A whole row of another shape is another matter.
        assert!(matches!(
            values(&two, "7", r#"{"a":"7","n":5}"#),
            Err(DocumentError::Columns { column, .. }) if column == "b"
        ));
    }

    #[test]
    fn a_document_of_another_shape_of_the_table_is_told() {
        let table = table(&[0]);
        let column = |document: &str| values(&table, "1", document);
        let later = vec![text("1"), None, None];
        assert_eq!(column(r#"{"a":"1","b":null}"#), Ok(later));
        assert!(matches!(
            column(r#"{"a":"1","b":null,"n":1,"z":"1"}"#),
            Err(DocumentError::Columns { column, .. }) if column == "z"
        ));
        assert!(matches!(
            column(r#"{"a":["1"],"b":null,"n":1}"#),
            Err(DocumentError::Shape { .. })
        ));
        assert!(matches!(column("7"), Err(DocumentError::Shape { .. })));
    }
}
