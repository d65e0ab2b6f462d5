//! What a person is asked: which side is right about rows of which nothing tells.

use super::compare::unreadable;
use super::control::{Choice, Side};
use super::schema::Schema;
use super::status::{Differing, DifferingRow, SharedStatus};
use super::trouble::Trouble;
use crate::dataset::TablesSnapshot;
use meridian_model::{RegionName, RowName};
use serde_json::Value;
use std::collections::BTreeMap;

/// Of the rows that differ, so many are shown per table.
const ROWS_MAX: usize = 5;
/// And so many in all.
const ROWS_MAX_ALL: usize = 50;
/// Of a row that is shown, so many columns are.
const COLUMNS_MAX: usize = 50;
/// Of a value, so many characters are.
const CHARS_MAX: usize = 100;

/// Rows of which nothing tells which side is right, by table.
#[derive(Debug, Default)]
pub(super) struct Open(BTreeMap<String, Differing>);

impl Open {
    /// A row that the server has so, and the tables otherwise.
    ///
    /// # Errors
    /// [`Trouble`] when the tables can't be read.
    pub(super) fn add(
        &mut self,
        tables: &TablesSnapshot,
        row: &RowName,
        server: Option<&str>,
    ) -> Result<(), Trouble> {
        let differing = self.0.entry(row.table.clone()).or_default();
        differing.table.clone_from(&row.table);
        differing.rows += 1;
        if differing.first.len() >= ROWS_MAX {
            return Ok(());
        }
        let shown = tables.get(&row.table, &row.key).map_err(unreadable)?;
        let shown = shown.map(|row| row.document);
        differing.keys.push(row.key.clone());
        differing.first.push(DifferingRow {
            key: row.key.clone(),
            server: server.and_then(bounded),
            tables: shown.as_deref().and_then(bounded),
        });
        Ok(())
    }

    /// Those of the other as well.
    pub(super) fn extend(&mut self, other: Self) {
        for (table, more) in other.0 {
            let differing = self.0.entry(table).or_default();
            differing.table = more.table;
            differing.rows += more.rows;
            differing.keys.extend(more.keys);
            differing.first.extend(more.first);
        }
    }

    /// What somebody has chosen for all of them; `None` where there is nothing to choose. What a server
    /// has and gives up is told to all regions, so none of them may be one that doesn't read that.
    ///
    /// # Errors
    /// The question, as `ask` puts it with the number of rows and the first of them.
    pub(super) fn answered(
        self,
        (status, schema): (&SharedStatus, &Schema),
        unread_by: Option<&RegionName>,
        ask: impl FnOnce(u64, &str) -> Trouble,
    ) -> Result<Option<Choice>, Trouble> {
        let choice = status.control().choice();
        let stranger = choice
            .tables
            .keys()
            .find(|name| schema.named(name).is_none());
        if let Some(stranger) = stranger {
            let reason =
                format!("a side was chosen for {stranger}, and no such table replicates here");
            status.control().falls_short(&choice);
            status.change(|status| status.differing = listed(self.0.into_values()));
            return Err(Trouble::asking(reason, NAMES));
        }
        if self.0.is_empty() {
            status.change(|status| status.differing.clear());
            return Ok(None);
        }
        let gives_up = |table: &String| choice.of(table) == Some(Side::Regions);
        let untold = unread_by.filter(|_| self.0.keys().any(gives_up));
        if let Some(region) = untold {
            status.control().falls_short(&choice);
            status.change(|status| status.differing = listed(self.0.into_values()));
            return Err(Trouble::untold(region));
        }
        let left = self
            .0
            .into_values()
            .filter(|it| choice.of(&it.table).is_none());
        let left: Vec<Differing> = left.collect();
        let Some(first) = left.first() else {
            return Ok(Some(choice));
        };
        let rows = left.iter().map(|table| table.rows).sum();
        let mut trouble = ask(rows, &first.first());
        if !choice.is_empty() {
            let hint = trouble.hint.unwrap_or_default();
            trouble.hint = Some(format!("{TOGETHER}; {hint}"));
        }
        status.control().falls_short(&choice);
        status.change(|status| status.differing = listed(left));
        Err(trouble)
    }
}

/// How to say which side is right.
pub(super) const HINT: &str = "say which side is right with `meridian postgres attach --region \
                               REGION`: --take server sends the server's rows to all regions, --take \
                               regions writes theirs here, --take TABLE=SIDE says it for one table; \
                               without --take it lists rows that differ";

const TOGETHER: &str = "nothing was written, and what was said of other tables holds no more: say a \
                        side for all tables that differ in one command";

const NAMES: &str = "name tables with their schemas, as `meridian postgres attach --region REGION` does \
                     without --take; nothing was written";

fn listed(all: impl IntoIterator<Item = Differing>) -> Vec<Differing> {
    let mut left = ROWS_MAX_ALL;
    let mut all: Vec<Differing> = all.into_iter().collect();
    for differing in &mut all {
        differing.keys.truncate(ROWS_MAX);
        differing.first.truncate(ROWS_MAX.min(left));
        left -= differing.first.len();
    }
    all
}

/// A document, its long values cut.
fn bounded(document: &str) -> Option<Value> {
    let Value::Object(columns) = serde_json::from_str(document).ok()? else {
        return None;
    };
    let columns = columns.into_iter().take(COLUMNS_MAX);
    let columns = columns.map(|(name, value)| match value {
        Value::String(text) => (name, Value::String(cut(text))),
        value => (name, value),
    });
    Some(Value::Object(columns.collect()))
}

fn cut(text: String) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differing(table: &str, rows: usize) -> Differing {
        let first = (0..rows.min(ROWS_MAX)).map(|key| DifferingRow {
            key: key.to_string(),
            server: None,
            tables: None,
        });
        Differing {
            table: table.to_owned(),
            rows: rows as u64,
            keys: Vec::new(),
            first: first.collect(),
        }
    }

    fn open(tables: &[&str]) -> Open {
        let differing = |table: &&str| ((*table).to_owned(), differing(table, 1));
        Open(tables.iter().map(differing).collect())
    }

    fn answered(open: Open, status: &SharedStatus, unread_by: Option<&str>) -> Result<(), Trouble> {
        let region = unread_by.map(RegionName::new);
        let who = (status, &Schema::default());
        let ask = |rows, first: &str| Trouble::asking(format!("{rows}, {first}"), HINT);
        open.answered(who, region.as_ref(), ask).map(drop)
    }

    fn chose(side: Side) -> SharedStatus {
        let status = SharedStatus::default();
        status.control().attach(Choice {
            all: Some(side),
            ..Choice::default()
        });
        status
    }

    #[test]
    fn what_not_every_region_can_be_told_is_not_given_up() {
        let status = chose(Side::Regions);
        let refused = answered(open(&["public.t"]), &status, Some("b")).unwrap_err();
        assert!(refused.is_question, "it isn't tried again every moment");
        assert!(refused.reason.contains("region b"), "{}", refused.reason);
        assert!(refused.hint.is_some_and(|hint| hint.contains("upgrade")));
        assert!(
            status.control().choice().is_empty(),
            "it is to be said again"
        );
        assert_eq!(status.now().differing.len(), 1);
        for (side, unread_by) in [(Side::Regions, None), (Side::Server, Some("b"))] {
            let status = chose(side);
            assert!(answered(open(&["public.t"]), &status, unread_by).is_ok());
            assert_eq!(status.control().choice().all, Some(side));
        }
        // Where nothing differs nothing is given up.
        assert!(answered(open(&[]), &chose(Side::Regions), Some("b")).is_ok());
    }

    #[test]
    fn long_values_are_cut() {
        let long = "é".repeat(CHARS_MAX + 1);
        let document = json!({"id": "1", "note": long, "none": null}).to_string();
        let cut = "é".repeat(CHARS_MAX) + "…";
        assert_eq!(
            bounded(&document),
            Some(json!({"id": "1", "note": cut, "none": null}))
        );
    }

    #[test]
    fn of_very_many_tables_the_first_rows_are_shown() {
        let all = (0..20).map(|table| differing(&table.to_string(), 7));
        let listed = listed(all);
        assert_eq!(listed.len(), 20);
        assert_eq!(listed.iter().map(|it| it.rows).sum::<u64>(), 140);
        let shown: Vec<usize> = listed.iter().map(|it| it.first.len()).collect();
        assert_eq!(shown, [[ROWS_MAX; 10], [0; 10]].concat());
    }
}
