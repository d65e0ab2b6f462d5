//! One table of the document, read key by key.
//!
//! Opening a table reports every key that it may not have; the getters report values of the wrong
//! type and give `None`, so that reading goes on and finds the other faults too.

use crate::fault::Faults;
use crate::quantity::{QuantityError, format_size, parse_duration, parse_size};
use crate::read::schema::Key;
use crate::suggest::nearest;
use meridian_model::Micros;
use std::ops::RangeInclusive;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and the byte at which the file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: usize,
}

impl<T> At<T> {
    pub(crate) fn with<U>(&self, value: U) -> At<U> {
        At { value, at: self.at }
    }
}

/// A table whose keys are known to be allowed.
pub(crate) struct Section<'d> {
    /// How the table is called in errors: `[clock]`.
    title: &'static str,
    /// Where it begins.
    pub(crate) at: usize,
    keys: &'static [Key],
    table: &'d DeTable<'d>,
}

impl<'d> Section<'d> {
    pub(crate) fn open(
        table: At<&'d DeTable<'d>>,
        title: &'static str,
        keys: &'static [Key],
        faults: &mut Faults<'_>,
    ) -> Self {
        for key in table.value.keys() {
            let name: &str = key.get_ref();
            if !keys.iter().any(|known| known.name == name) {
                let hint = unknown_key_hint(name, keys);
                faults.report(
                    key.span().start,
                    format!("unknown key {name:?} in {title}"),
                    hint,
                );
            }
        }
        Self {
            title,
            at: table.at,
            keys,
            table: table.value,
        }
    }

    /// A table whose keys nobody has looked at; only those of `keys` are read.
    pub(crate) fn unchecked(
        table: At<&'d DeTable<'d>>,
        title: &'static str,
        keys: &'static [Key],
    ) -> Self {
        Self {
            title,
            at: table.at,
            keys,
            table: table.value,
        }
    }

    fn example(&self, key: &str) -> &'static str {
        self.keys
            .iter()
            .find(|known| known.name == key)
            .map(|known| known.example)
            .expect("only keys of the schema are read")
    }

    pub(crate) fn value(&self, key: &str) -> Option<At<&'d DeValue<'d>>> {
        self.table.get(key).map(at)
    }

    /// Reports that `key` is not there.
    pub(crate) fn missing(&self, key: &str, faults: &mut Faults<'_>) {
        let hint = format!("add {}", self.example(key));
        faults.report(self.at, format!("{} has no `{key}`", self.title), hint);
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong_type(
        &self,
        key: &str,
        expected: &str,
        found: &At<&DeValue<'_>>,
        faults: &mut Faults<'_>,
    ) {
        let reason = format!("`{key}` must be {expected}, not {}", kind(found.value));
        faults.report(
            found.at,
            reason,
            format!("for example {}", self.example(key)),
        );
    }

    pub(crate) fn text(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<&'d str>> {
        let found = self.value(key)?;
        let text = found.value.as_str();
        if text.is_none() {
            self.wrong_type(key, "a string", &found, faults);
        }
        Some(found.with(text?))
    }

    /// A boolean; `false` where the key is absent.
    pub(crate) fn flag(&self, key: &str, faults: &mut Faults<'_>) -> bool {
        let Some(found) = self.value(key) else {
            return false;
        };
        let flag = found.value.as_bool();
        if flag.is_none() {
            self.wrong_type(key, "true or false", &found, faults);
        }
        flag.unwrap_or_default()
    }

    /// A boolean, or what counts where the key is absent.
    pub(crate) fn flag_or(&self, key: &str, absent: bool, faults: &mut Faults<'_>) -> bool {
        match self.value(key) {
            Some(_) => self.flag(key, faults),
            None => absent,
        }
    }

    /// Like [`Self::text`], and reports an absent key.
    pub(crate) fn required_text(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<&'d str>> {
        if self.value(key).is_none() {
            self.missing(key, faults);
        }
        self.text(key, faults)
    }

    /// A string that is not empty, for a path.
    pub(crate) fn path(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<&'d str>> {
        let path = self.text(key, faults)?;
        if path.value.is_empty() {
            let hint = format!("for example {}", self.example(key));
            faults.report(path.at, format!("`{key}` is empty"), hint);
            return None;
        }
        Some(path)
    }

    pub(crate) fn table(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<&'d DeTable<'d>>> {
        let found = self.value(key)?;
        let table = found.value.as_table();
        if table.is_none() {
            self.wrong_type(key, "a table", &found, faults);
        }
        Some(found.with(table?))
    }

    /// The tables of `[[key]]`; none if the key is absent.
    pub(crate) fn tables(&self, key: &str, faults: &mut Faults<'_>) -> Vec<At<&'d DeTable<'d>>> {
        let Some(found) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = found.value.as_array() else {
            self.wrong_type(key, "an array of tables", &found, faults);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in array.iter().map(at) {
            match element.value.as_table() {
                Some(table) => tables.push(element.with(table)),
                None => self.wrong_type(key, "an array of tables", &element, faults),
            }
        }
        tables
    }

    /// Whether `[[key]]` is absent or an empty array. A value of another type is not "none": it is
    /// reported as what it is.
    pub(crate) fn declares_no(&self, key: &str) -> bool {
        self.value(key)
            .is_none_or(|found| found.value.as_array().is_some_and(|array| array.is_empty()))
    }

    /// The strings of an array, or `None` if the key is absent or no array.
    pub(crate) fn texts(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<Vec<At<&'d str>>>> {
        let found = self.value(key)?;
        let Some(array) = found.value.as_array() else {
            self.wrong_type(key, "an array of strings", &found, faults);
            return None;
        };
        let mut texts = Vec::new();
        for element in array.iter().map(at) {
            match element.value.as_str() {
                Some(text) => texts.push(element.with(text)),
                None => self.wrong_type(key, "an array of strings", &element, faults),
            }
        }
        Some(found.with(texts))
    }

    /// A number of degrees within `range`; reports an absent key.
    pub(crate) fn degrees(
        &self,
        key: &str,
        range: RangeInclusive<f64>,
        faults: &mut Faults<'_>,
    ) -> Option<f64> {
        let Some(found) = self.value(key) else {
            self.missing(key, faults);
            return None;
        };
        let degrees = match found.value {
            DeValue::Integer(_) => integer(found.value).map(|whole| whole as f64),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => {
                self.wrong_type(key, "a number of degrees", &found, faults);
                return None;
            }
        };
        let good = degrees.filter(|degrees| range.contains(degrees));
        if good.is_none() {
            let reason = format!("`{key}` must be from {} to {}", range.start(), range.end());
            faults.report(
                found.at,
                reason,
                format!("for example {}", self.example(key)),
            );
        }
        good
    }

    /// A size in bytes within `range`, as an integer or as `"4MiB"`.
    pub(crate) fn size(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        faults: &mut Faults<'_>,
    ) -> Option<At<u64>> {
        let found = self.value(key)?;
        let size = match found.value {
            DeValue::String(text) => parse_size(text),
            DeValue::Integer(_) => Ok(self.whole(key, &found, faults)?),
            _ => {
                self.wrong_type(key, "a size", &found, faults);
                return None;
            }
        };
        let size = found.with(self.quantity(key, &found, size, faults)?);
        self.within(key, size, range, format_size, faults)
    }

    /// A count within `range`.
    pub(crate) fn count(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        faults: &mut Faults<'_>,
    ) -> Option<At<u64>> {
        let found = self.value(key)?;
        if !matches!(found.value, DeValue::Integer(_)) {
            self.wrong_type(key, "an integer", &found, faults);
            return None;
        }
        let count = found.with(self.whole(key, &found, faults)?);
        self.within(key, count, range, |count| count.to_string(), faults)
    }

    pub(crate) fn duration(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<Duration>> {
        let found = self.value(key)?;
        let Some(text) = found.value.as_str() else {
            self.wrong_type(key, "a duration in a string", &found, faults);
            return None;
        };
        let duration = self.quantity(key, &found, parse_duration(text), faults)?;
        Some(found.with(duration))
    }

    /// A time, as TOML has it with an offset or as RFC 3339 in a string; reports an absent key.
    pub(crate) fn moment(&self, key: &str, faults: &mut Faults<'_>) -> Option<At<Micros>> {
        let Some(found) = self.value(key) else {
            self.missing(key, faults);
            return None;
        };
        let text = match found.value {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(moment) => moment.to_string(),
            _ => {
                self.wrong_type(key, "a date and time", &found, faults);
                return None;
            }
        };
        let moment = OffsetDateTime::parse(&text, &Rfc3339).ok();
        let micros = moment.map(|moment| moment.unix_timestamp_nanos() / 1000);
        let Some(micros) = micros.and_then(|micros| u64::try_from(micros).ok()) else {
            faults.report(
                found.at,
                format!("`{key}`: {text:?} is no date and time with an offset"),
                format!("for example {}", self.example(key)),
            );
            return None;
        };
        Some(found.with(Micros(micros)))
    }

    /// The whole numbers of an array, each within `range`; none if the key is absent.
    pub(crate) fn counts(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        faults: &mut Faults<'_>,
    ) -> Option<At<Vec<u64>>> {
        let found = self.value(key)?;
        let Some(array) = found.value.as_array() else {
            self.wrong_type(key, "an array of integers", &found, faults);
            return None;
        };
        let mut counts = Vec::new();
        for element in array.iter().map(at) {
            if !matches!(element.value, DeValue::Integer(_)) {
                self.wrong_type(key, "an array of integers", &element, faults);
                continue;
            }
            let Some(whole) = self.whole(key, &element, faults) else {
                continue;
            };
            let show = |count: u64| count.to_string();
            let within = self.within(key, element.with(whole), range.clone(), show, faults);
            counts.extend(within.map(|count| count.value));
        }
        Some(found.with(counts))
    }

    /// A whole number that may be negative, within `range`.
    pub(crate) fn signed(
        &self,
        key: &str,
        range: RangeInclusive<i128>,
        faults: &mut Faults<'_>,
    ) -> Option<At<i128>> {
        let found = self.value(key)?;
        if !matches!(found.value, DeValue::Integer(_)) {
            self.wrong_type(key, "an integer", &found, faults);
            return None;
        }
        let number = integer(found.value).filter(|number| range.contains(number));
        if number.is_none() {
            faults.report(
                found.at,
                format!("`{key}` is outside its range"),
                format!("use {} to {}", range.start(), range.end()),
            );
        }
        Some(found.with(number?))
    }

    /// Each key of a table of tables, with its table; others are reported.
    pub(crate) fn named_tables(
        &self,
        key: &str,
        faults: &mut Faults<'_>,
    ) -> Vec<(At<&'d str>, At<&'d DeTable<'d>>)> {
        let Some(tables) = self.table(key, faults) else {
            return Vec::new();
        };
        let mut named = Vec::new();
        for (name, value) in tables.value {
            let name = At {
                value: name.get_ref().as_ref(),
                at: name.span().start,
            };
            match value.get_ref().as_table() {
                Some(table) => named.push((name, name.with(table))),
                None => faults.report(
                    name.at,
                    format!("`{key}.{}` must be a table", name.value),
                    format!("write {} and below it its keys", self.example(key)),
                ),
            }
        }
        named
    }

    fn whole(&self, key: &str, found: &At<&DeValue<'_>>, faults: &mut Faults<'_>) -> Option<u64> {
        let whole = integer(found.value).and_then(|number| u64::try_from(number).ok());
        if whole.is_none() {
            let reason = format!("`{key}` must not be negative or beyond 64 bits");
            faults.report(
                found.at,
                reason,
                format!("for example {}", self.example(key)),
            );
        }
        whole
    }

    fn quantity<T>(
        &self,
        key: &str,
        found: &At<&DeValue<'_>>,
        read: Result<T, QuantityError>,
        faults: &mut Faults<'_>,
    ) -> Option<T> {
        read.map_err(|error| {
            let hint = format!(
                "write a whole number and its unit, for example {}",
                self.example(key)
            );
            faults.report(found.at, format!("`{key}`: {error}"), hint);
        })
        .ok()
    }

    fn within(
        &self,
        key: &str,
        found: At<u64>,
        range: RangeInclusive<u64>,
        show: impl Fn(u64) -> String,
        faults: &mut Faults<'_>,
    ) -> Option<At<u64>> {
        if range.contains(&found.value) {
            return Some(found);
        }
        let reason = format!("`{key}` is {}, outside its range", show(found.value));
        let hint = format!("use {} to {}", show(*range.start()), show(*range.end()));
        faults.report(found.at, reason, hint);
        None
    }
}

fn at<'d>(value: &'d Spanned<DeValue<'d>>) -> At<&'d DeValue<'d>> {
    At {
        value: value.get_ref(),
        at: value.span().start,
    }
}

fn integer(value: &DeValue<'_>) -> Option<i128> {
    let integer = value.as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

fn unknown_key_hint(name: &str, keys: &[Key]) -> String {
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    nearest(name, names.iter().copied()).map_or_else(
        || format!("the keys here are {}", names.join(", ")),
        |near| format!("did you mean {near:?}?"),
    )
}
