//! Lists of its own that a region gives page by page, newest first, with figures about the whole beside.

use crate::client::{Api, encode};
use crate::error::CliResult;
use serde_json::{Map, Value};

/// The most that a region gives at once.
const PAGE: u64 = 1000;

/// The beginning of a list.
#[derive(Debug, Default)]
pub struct Pages {
    /// Its entries.
    pub entries: Vec<Value>,
    /// What the last page said besides.
    figures: Map<String, Value>,
}

impl Pages {
    /// A number that the region says about the whole list.
    pub fn figure(&self, name: &str) -> u64 {
        let figure = self.figures.get(name);
        figure.and_then(Value::as_u64).unwrap_or_default()
    }

    /// Takes a page in; gives where the next begins.
    fn add(&mut self, mut page: Map<String, Value>, member: &str, limit: u64) -> Option<String> {
        let left = limit.saturating_sub(self.entries.len() as u64);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if let Some(Value::Array(entries)) = page.remove(member) {
            self.entries.extend(entries.into_iter().take(left));
        }
        let next = page.remove("next");
        self.figures = page;
        next.and_then(|next| next.as_str().map(str::to_owned))
    }
}

/// Reads the list at `path`, whose pages have their entries in `member`, up to `limit` entries. The
/// figures are read even if no entry is wanted.
pub fn read(api: &Api, path: &str, member: &str, limit: u64) -> CliResult<Pages> {
    let mut pages = Pages::default();
    let mut after: Option<String> = None;
    loop {
        let left = limit.saturating_sub(pages.entries.len() as u64);
        let mut wanted = format!("{path}?limit={}", left.clamp(1, PAGE));
        if let Some(after) = &after {
            wanted.push_str(&format!("&after={}", encode(after)));
        }
        after = pages.add(api.get_as_it_is(&wanted)?.json()?, member, limit);
        if after.is_none() || pages.entries.len() as u64 >= limit {
            return Ok(pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(entries: &[u32], next: Option<&str>, total: u64) -> Map<String, Value> {
        let page = json!({"letters": entries, "next": next, "total": total});
        page.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn pages_add_up_to_what_is_wanted() {
        let mut pages = Pages::default();
        let next = pages.add(page(&[1, 2], Some("b"), 8), "letters", 3);
        assert_eq!(next.as_deref(), Some("b"));
        assert_eq!(pages.add(page(&[3, 4], None, 9), "letters", 3), None);
        assert_eq!(pages.entries, [1, 2, 3]);
        assert_eq!((pages.figure("total"), pages.figure("kept")), (9, 0));
    }
}
