//! `If-Match` and `If-None-Match` (RFC 9110, section 13.1).

use super::problem::{Kind, Problem};
use axum::http::{HeaderMap, HeaderName, header};
use meridian_engine_kv::{Precondition, PreconditionKind, RowView, Tags};

/// What a request's headers demand of its row.
pub(crate) fn of_row(
    headers: &HeaderMap,
    table: &str,
    key: &str,
) -> Result<Vec<Precondition>, Problem> {
    let kinds = [
        if_match(headers)?.map(PreconditionKind::IfMatch),
        if_none_match(headers)?.map(PreconditionKind::IfNoneMatch),
    ];
    let of = |kind| Precondition {
        table: table.to_owned(),
        key: key.to_owned(),
        kind,
    };
    Ok(kinds.into_iter().flatten().map(of).collect())
}

/// The tags that the row must have one of. A weak one matches nothing here.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<Tags>, Problem> {
    tags(headers, &header::IF_MATCH, |weak, tag| {
        (!weak).then_some(tag)
    })
}

/// The tags of which the row must have none. A weak one counts like a strong one here.
pub(crate) fn if_none_match(headers: &HeaderMap) -> Result<Option<Tags>, Problem> {
    tags(headers, &header::IF_NONE_MATCH, |_, tag| Some(tag))
}

/// Whether the tags name a row's content.
pub(crate) fn include(tags: &Tags, row: &RowView) -> bool {
    let siblings = row.siblings.iter().map(|sibling| sibling.version);
    tags.name(row.version, &siblings.collect::<Vec<_>>())
}

fn tags(
    headers: &HeaderMap,
    name: &HeaderName,
    keep: impl Fn(bool, String) -> Option<String>,
) -> Result<Option<Tags>, Problem> {
    let mut kept = Vec::new();
    let mut any = false;
    let mut present = false;
    for value in headers.get_all(name) {
        present = true;
        let text = value.to_str().map_err(|_| malformed(name))?.trim();
        if text == "*" {
            any = true;
            continue;
        }
        let parsed = parse(text).ok_or_else(|| malformed(name))?;
        kept.extend(parsed.into_iter().filter_map(|(weak, tag)| keep(weak, tag)));
    }
    if !present {
        return Ok(None);
    }
    Ok(Some(if any { Tags::Any } else { Tags::Versions(kept) }))
}

/// A comma-separated list of entity tags: weak or not, and the text within the quotes.
fn parse(mut text: &str) -> Option<Vec<(bool, String)>> {
    let mut parsed = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return (!parsed.is_empty()).then_some(parsed);
        }
        let (weak, opaque) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (tag, rest) = opaque.strip_prefix('"')?.split_once('"')?;
        let rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        parsed.push((weak, tag.to_owned()));
        text = rest;
    }
}

fn malformed(name: &HeaderName) -> Problem {
    Problem::new(Kind::BadHeader, format!("{name} is no list of entity tags"))
        .hint("give * or versions in double quotes, as ETag has them, with commas between them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_static(value));
        values
            .map(|value| (name.clone(), value))
            .collect::<Vec<_>>()
            .into_iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn versions(tags: &[&str]) -> Option<Tags> {
        Some(Tags::Versions(
            tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ))
    }

    #[test]
    fn lists_stars_and_weak_tags() {
        let strong =
            |values: &[&'static str]| if_match(&headers(&header::IF_MATCH, values)).unwrap();
        assert_eq!(strong(&[]), None);
        assert_eq!(strong(&["*"]), Some(Tags::Any));
        assert_eq!(
            strong(&["\"a\" , \"b,c\"", "\"d\""]),
            versions(&["a", "b,c", "d"])
        );
        assert_eq!(
            strong(&["W/\"a\""]),
            versions(&[]),
            "a weak tag never matches"
        );
        let weak = headers(&header::IF_NONE_MATCH, &["W/\"a\", \"b\""]);
        assert_eq!(if_none_match(&weak).unwrap(), versions(&["a", "b"]));
    }

    #[test]
    fn what_is_no_tag_is_an_error() {
        for bad in ["", "a", "\"a", "\"a\" \"b\"", "\"a\"x", "w/\"a\"", ","] {
            let error = if_match(&headers(&header::IF_MATCH, &[bad])).unwrap_err();
            assert_eq!(error.kind(), Kind::BadHeader, "{bad}");
        }
    }
}
