//! What differs between the rows of then and now: a walk along both, in the order of keys.

use crate::client::{Api, encode};
use crate::error::{CliError, CliResult, Exit};
use crate::tables::known;
use meridian_engine_kv::{FjallStore, TableReader, TablesError};
use meridian_topology::TablePattern;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, VecDeque};

const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// A row that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub table: String,
    pub key: String,
    /// The version that it has now; `None` where it isn't there.
    pub version: Option<String>,
    /// What it was; `None` where it wasn't there.
    pub document: Option<String>,
}

/// What is compared.
pub struct Comparison<'a> {
    pub api: &'a Api,
    pub then: &'a TableReader<FjallStore>,
    pub dataset: &'a str,
    pub pattern: Option<&'a TablePattern>,
}

#[derive(Deserialize)]
struct Tables {
    datasets: Vec<TablesOfDataset>,
}

#[derive(Deserialize)]
struct TablesOfDataset {
    dataset: String,
    tables: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    rows: Vec<LiveRow>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct LiveRow {
    key: String,
    version: String,
    document: Box<RawValue>,
    /// Only those of a row that has several documents.
    #[serde(default)]
    siblings: Vec<serde::de::IgnoredAny>,
}

impl Comparison<'_> {
    /// Shows each difference.
    pub fn each(&self, mut show: impl FnMut(Difference) -> CliResult) -> CliResult {
        let all = self.tables()?;
        let wanted = |table: &&String| self.pattern.is_none_or(|pattern| pattern.matches(table));
        let tables: Vec<_> = all.iter().filter(wanted).collect();
        if let Some(pattern) = self.pattern.filter(|_| tables.is_empty()) {
            let message = format!(
                "no table of dataset {} is called {pattern}, then or now",
                self.dataset
            );
            return Err(CliError::new(Exit::NotFound, message)
                .hint(known::hint(&pattern.to_string(), &all)));
        }
        for table in tables {
            self.table(table, &mut show)?;
        }
        Ok(())
    }

    fn tables(&self) -> CliResult<BTreeSet<String>> {
        let live: Tables = self.api.get_as_it_is("/v1/tables")?.success()?.json()?;
        let live = live.datasets.into_iter();
        let Some(live) = live.into_iter().find(|live| live.dataset == self.dataset) else {
            return Err(CliError::usage(format!(
                "{} has no dataset {}",
                self.api.place(),
                self.dataset
            )));
        };
        let then = self.then.tables().map_err(|error| unreadable(&error))?;
        Ok(live.tables.into_iter().chain(then).collect())
    }

    fn table(&self, table: &str, show: &mut impl FnMut(Difference) -> CliResult) -> CliResult {
        let mut then = Walk::new(|after| self.then_page(table, after));
        let mut now = Walk::new(|after| self.live_page(table, after));
        loop {
            let (was, is) = (then.peek()?, now.peek()?);
            let key = match (&was, &is) {
                (None, None) => return Ok(()),
                (Some(was), Some(is)) => (&was.0).min(&is.0).clone(),
                (Some(only), None) => only.0.clone(),
                (None, Some(only)) => only.0.clone(),
            };
            let was = was.is_some_and(|row| row.0 == key).then(|| then.take());
            let is = is.is_some_and(|row| row.0 == key).then(|| now.take());
            let (was, is) = (was.flatten(), is.flatten());
            let (was, is) = (was.map(|it| it.1), is.map(|it| it.1));
            if !is_same(was.as_ref(), is.as_ref()) {
                show(Difference {
                    table: table.to_owned(),
                    key,
                    version: is.and_then(|row| row.version),
                    document: was.map(|row| row.document),
                })?;
            }
        }
    }

    fn then_page(&self, table: &str, after: Option<&str>) -> CliResult<Rows> {
        let page = self.then.page(table, after, PAGE_ROWS, PAGE_BYTES);
        let page = page.map_err(|error| unreadable(&error))?;
        let rows = page.rows.into_iter().map(|(key, row)| {
            let then = Row {
                version: None,
                document: row.document,
                has_siblings: !row.siblings.is_empty(),
            };
            (key, then)
        });
        Ok((rows.collect(), page.next))
    }

    fn live_page(&self, table: &str, after: Option<&str>) -> CliResult<Rows> {
        let mut path = format!("/v1/tables/{}/rows?limit={PAGE_ROWS}", encode(table));
        if let Some(after) = after {
            path.push_str(&format!("&after={}", encode(after)));
        }
        let page: Page = self.api.get_as_it_is(&path)?.success()?.json()?;
        let rows = page.rows.into_iter().map(|row| {
            let live = Row {
                version: Some(row.version),
                document: row.document.get().to_owned(),
                has_siblings: !row.siblings.is_empty(),
            };
            (row.key, live)
        });
        Ok((rows.collect(), page.next))
    }
}

fn unreadable(error: &TablesError) -> CliError {
    CliError::failure("read the temporary tables").because(error)
}

/// Whether a row says what it said. One that has come to have siblings doesn't, whichever is the
/// newest. (One that had siblings is put back with the newest of them: no write makes several.)
fn is_same(was: Option<&Row>, is: Option<&Row>) -> bool {
    match (was, is) {
        (Some(was), Some(is)) => {
            (was.has_siblings || !is.has_siblings) && says_the_same(&was.document, &is.document)
        }
        (was, is) => was.is_none() && is.is_none(),
    }
}

/// Whether two documents say the same, however they are written.
fn says_the_same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    read(one).is_some_and(|one| Some(one) == read(other))
}

#[derive(Debug)]
struct Row {
    version: Option<String>,
    /// The newest, where there are several.
    document: String,
    has_siblings: bool,
}

type Rows = (VecDeque<(String, Row)>, Option<String>);

/// A table's rows, page by page.
struct Walk<F> {
    read: F,
    rows: VecDeque<(String, Row)>,
    after: Option<String>,
    is_begun: bool,
}

impl<F: FnMut(Option<&str>) -> CliResult<Rows>> Walk<F> {
    fn new(read: F) -> Self {
        Self {
            read,
            rows: VecDeque::new(),
            after: None,
            is_begun: false,
        }
    }

    fn peek(&mut self) -> CliResult<Option<&(String, Row)>> {
        while self.rows.is_empty() && (!self.is_begun || self.after.is_some()) {
            let (rows, next) = (self.read)(self.after.as_deref())?;
            self.is_begun = true;
            self.rows = rows;
            self.after = next;
        }
        Ok(self.rows.front())
    }

    fn take(&mut self) -> Option<(String, Row)> {
        self.rows.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_the_same_by_what_they_say() {
        assert!(says_the_same(r#"{"a":1,"b":2}"#, r#"{ "b":2, "a":1 }"#));
        assert!(!says_the_same("1", "2"));
    }

    #[test]
    fn a_row_that_came_to_have_siblings_is_another() {
        let row = |document: &str, has_siblings| Row {
            version: None,
            document: document.to_owned(),
            has_siblings,
        };
        assert!(is_same(None, None));
        assert!(!is_same(Some(&row("1", false)), None));
        assert!(is_same(Some(&row("1", false)), Some(&row("1", false))));
        assert!(!is_same(Some(&row("1", false)), Some(&row("1", true))));
        assert!(is_same(Some(&row("1", true)), Some(&row("1", false))));
    }
}
