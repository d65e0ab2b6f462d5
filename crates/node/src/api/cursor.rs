//! Where a page of a list begins that goes through the datasets by name: a dataset, and a place in
//! its part of the list. `DATASET:PLACE`, or `DATASET:` for the beginning of that dataset's part.

use super::problem::{Kind, Problem};
use std::fmt::Display;
use std::str::FromStr;

/// The end of the page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor<P> {
    dataset: String,
    place: Option<P>,
}

impl<P: FromStr + Copy> Cursor<P> {
    /// Reads what a client sends back as `after`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let parsed = text.split_once(':').and_then(|(dataset, place)| {
            let place = match place {
                "" => None,
                place => Some(place.parse().ok()?),
            };
            let dataset = dataset.to_owned();
            Some(Self { dataset, place })
        });
        parsed.ok_or_else(|| {
            let detail = format!("after is no place in this list: {text:?}");
            Problem::new(Kind::BadQuery, detail).hint("send back the last page's next as it was")
        })
    }

    /// Where a dataset's part begins on this page; `None` where it was on an earlier one.
    pub(crate) fn start(cursor: Option<&Self>, dataset: &str) -> Option<Option<P>> {
        match cursor {
            Some(cursor) if dataset < cursor.dataset.as_str() => None,
            Some(cursor) if dataset == cursor.dataset => Some(cursor.place),
            _ => Some(None),
        }
    }
}

/// The cursor to a place in a dataset's part.
pub(crate) fn at(dataset: &str, place: impl Display) -> String {
    format!("{dataset}:{place}")
}

/// The cursor to the beginning of a dataset's part.
pub(crate) fn at_beginning(dataset: &str) -> String {
    at(dataset, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        let cursor = Cursor::<u32>::parse(&at("m", 7)).unwrap();
        assert_eq!(Cursor::start(Some(&cursor), "a"), None, "it was before");
        assert_eq!(Cursor::start(Some(&cursor), "m"), Some(Some(7)));
        assert_eq!(Cursor::start(Some(&cursor), "z"), Some(None));
        assert_eq!(Cursor::<u32>::start(None, "a"), Some(None));
        let beginning = Cursor::<u32>::parse(&at_beginning("m")).unwrap();
        assert_eq!(Cursor::start(Some(&beginning), "m"), Some(None));
    }

    #[test]
    fn what_is_no_place_is_an_error() {
        for bad in ["", "m", "m:x", ":x"] {
            let problem = Cursor::<u32>::parse(bad).unwrap_err();
            assert_eq!(problem.kind(), Kind::BadQuery, "{bad}");
        }
    }
}
