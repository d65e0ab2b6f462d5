//! Documents as clients send them: checked, and kept as their own text.

use super::problem::{Kind, Problem};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// JSON that was walked through and thrown away. Unlike [`serde::de::IgnoredAny`] it looks at
/// everything, so that whatever is stored can be read again: nesting within the limit, no half
/// surrogates.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while let Some(Self) = items.next_element()? {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while let Some((Self, Self)) = members.next_entry()? {}
        Ok(self)
    }
}

/// The text of a body.
pub(crate) fn text(body: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(body).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::new(
            Kind::MalformedJson,
            format!("the body is not UTF-8 from byte {at} on"),
        )
    })
}

/// Checks a document, and takes the space around it away.
pub(crate) fn document(mut text: String) -> Result<String, Problem> {
    check(&text)?;
    text.truncate(text.trim_end_matches(is_space).len());
    let start = text.len() - text.trim_start_matches(is_space).len();
    text.drain(..start);
    Ok(text)
}

/// Reads a JSON object. Serde would take an array of the members' values for it.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    if text.trim_start_matches(is_space).starts_with('{') {
        return serde_json::from_str(text).map_err(|error| problem(&error));
    }
    check(text)?;
    Err(Problem::new(Kind::BadBody, "a JSON object is expected"))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Whether the text is JSON that can be kept.
pub(crate) fn check(text: &str) -> Result<(), Problem> {
    if has_reserved_name(text) {
        return Err(reserved());
    }
    serde_json::from_str::<Checked>(text)
        .map(drop)
        .map_err(|error| problem(&error))
}

/// How serde_json tells itself, by the name of an object's member, that the object stands for a
/// number or for text as it is. An object of a client's with such a name would be taken for one.
const RESERVED: &str = "$serde_json::private::";

/// Whether a member's name begins with [`RESERVED`]. The parser can't be asked: it says nothing else
/// of a true number. So the text's strings are looked at; of text that isn't JSON, whatever comes out
/// is refused by the parser anyway.
fn has_reserved_name(text: &str) -> bool {
    if !text.contains(RESERVED) && !text.contains("\\u") {
        return false;
    }
    let mut rest = text;
    while let Some(begin) = rest.find('"') {
        rest = &rest[begin..];
        let end = end_of_string(rest);
        let (string, behind) = rest.split_at(end);
        rest = behind;
        let is_name = rest.trim_start_matches(is_space).starts_with(':');
        if is_name
            && serde_json::from_str::<String>(string).is_ok_and(|name| name.starts_with(RESERVED))
        {
            return true;
        }
    }
    false
}

fn reserved() -> Problem {
    let detail = format!("a member's name begins with {RESERVED:?}");
    let hint =
        "such names are how numbers of any length are read here; give the member another one";
    Problem::new(Kind::BadBody, detail).hint(hint)
}

/// Whether a field that a request names can be one of a document that is kept.
pub(super) fn check_field(field: &str) -> Result<(), Problem> {
    match field.starts_with(RESERVED) {
        true => Err(reserved()),
        false => Ok(()),
    }
}

/// Where the string ends with which the text begins, quotes included.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, octet) in text.bytes().enumerate().skip(1) {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What is wrong with a body.
fn problem(error: &serde_json::Error) -> Problem {
    let detail = error.to_string();
    // The one syntax error that is none: the parser has no other sign for it.
    if detail.starts_with("recursion limit exceeded") {
        return Problem::new(
            Kind::NestingTooDeep,
            "the JSON is nested more than 127 levels deep",
        )
        .member("line", error.line())
        .member("column", error.column());
    }
    if error.is_data() {
        return Problem::new(Kind::BadBody, detail);
    }
    Problem::new(Kind::MalformedJson, detail)
        .member("line", error.line())
        .member("column", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        document(text.to_owned()).unwrap_err().kind()
    }

    #[test]
    fn a_document_stays_the_clients_own_text() {
        for same in [
            "{\"b\":1, \"a\":1.50}",
            "null",
            "\"\\u00e9\"",
            "1e400",
            "[[[]]]",
            "-0",
        ] {
            assert_eq!(document(format!(" \r\n\t{same}\n ")).unwrap(), same);
        }
    }

    #[test]
    fn an_object_that_would_be_taken_for_a_number_is_refused() {
        for bad in [
            r#"{"$serde_json::private::Number":{}}"#,
            r#"[{"a":{"$serde_json::private::Number" : "1"}}]"#,
            r#"{"\u0024serde_json::private::RawValue":"[1]"}"#,
            r#"{"q\"":1,"$serde_json\u003a:private::Number":"1"}"#,
        ] {
            assert_eq!(kind(bad), Kind::BadBody, "{bad}");
        }
        assert!(check_field("$serde_json::private::Number").is_err());
        assert!(check_field("$serde").is_ok());
        for good in [
            r#"{"a":"$serde_json::private::Number"}"#,
            r#"{"serde_json::private::Number":1,"\u00e9":1.5}"#,
            r#"["\"$serde_json::private::Number\":"]"#,
        ] {
            let kept = document(good.to_owned()).unwrap();
            serde_json::from_str::<serde_json::Value>(&kept).unwrap();
        }
    }

    #[test]
    fn what_could_not_be_read_again_is_refused() {
        for bad in [
            "",
            " ",
            "{",
            "{\"a\":}",
            "[1,]",
            "nul",
            "1 2",
            "\"\u{1}\"",
            "\"\\ud800\"",
            "\u{feff}1",
        ] {
            assert_eq!(kind(bad), Kind::MalformedJson, "{bad:?}");
        }
    }

    #[test]
    fn nesting_has_a_limit_and_no_stack_overflows() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(document(nested(127)).is_ok());
        assert_eq!(kind(&nested(128)), Kind::NestingTooDeep);
        assert_eq!(kind(&nested(10_000)), Kind::NestingTooDeep);
        assert_eq!(kind(&"{\"a\":".repeat(10_000)), Kind::NestingTooDeep);
    }
}
