//! Texts in Meridian's own tables, in a database whose encoding lacks letters.
//!
//! A row that is kept out because the server's encoding can't hold its texts is listed in
//! `meridian.parked` all the same, its key and all: where the encoding isn't UTF8, what isn't ASCII
//! is written as `\u{…}` there, and the backslash itself too, so that it reads back as it was.

use super::error::ApplyError;
use serde_json::Value;
use std::borrow::Cow;
use tokio_postgres::Client;

/// How texts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Armor {
    /// As they are.
    None,
    /// As ASCII.
    Ascii,
}

impl Armor {
    pub(super) async fn of(client: &Client) -> Result<Self, ApplyError> {
        let row = client
            .query_one("SELECT current_setting('server_encoding')", &[])
            .await
            .map_err(ApplyError::server("ask for the database's encoding"))?;
        Ok(match row.get(0) {
            "UTF8" => Self::None,
            _ => Self::Ascii,
        })
    }

    pub(super) fn text(self, text: &str) -> Cow<'_, str> {
        let is_plain = |letter: char| letter.is_ascii() && letter != '\\';
        if self == Self::None || text.chars().all(is_plain) {
            return text.into();
        }
        let letters = text.chars().map(|letter| match letter {
            letter if is_plain(letter) => letter.to_string(),
            letter => letter.escape_unicode().to_string(),
        });
        letters.collect()
    }

    /// The same with all texts and names in a value.
    pub(super) fn value(self, value: Value) -> Value {
        if self == Self::None {
            return value;
        }
        each_text(value, &|text| self.text(&text).into_owned())
    }

    /// A value as it was.
    pub(super) fn undone(self, value: Value) -> Value {
        if self == Self::None {
            return value;
        }
        each_text(value, &|text| plain(&text))
    }
}

fn each_text(value: Value, change: &impl Fn(String) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(values) => {
            let values = values.into_iter();
            Value::Array(values.map(|value| each_text(value, change)).collect())
        }
        Value::Object(members) => {
            let members = members.into_iter();
            let members = members.map(|(name, value)| (change(name), each_text(value, change)));
            Value::Object(members.collect())
        }
        other => other,
    }
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("\\u{") {
        plain.push_str(before);
        let escaped = behind.split_once('}').and_then(|(digits, behind)| {
            let letter = u32::from_str_radix(digits, 16).ok()?;
            Some((char::from_u32(letter)?, behind))
        });
        rest = match escaped {
            Some((letter, behind)) => {
                plain.push(letter);
                behind
            }
            None => {
                plain.push_str("\\u{");
                behind
            }
        };
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_armored_is_ascii_and_reads_back() {
        let value = json!({"key": "é\\u{e9}", "list": ["→", "plain", 7, null]});
        let armored = Armor::Ascii.value(value.clone());
        assert!(armored.to_string().is_ascii(), "{armored}");
        assert_eq!(Armor::Ascii.undone(armored), value);
        assert_eq!(Armor::None.value(value.clone()), value);
        assert_eq!(Armor::Ascii.text("it's \"so\""), "it's \"so\"");
    }
}
