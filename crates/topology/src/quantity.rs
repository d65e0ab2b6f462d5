//! Sizes and durations as people write them: `"4MiB"`, `"500ms"`.
//!
//! Whole numbers only: `1.5GiB` has more than one reading once it is rounded, and 1536MiB says it.

use meridian_model::Micros;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Why a text is no size or duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is not a whole number followed by a known unit.
    #[error("{text:?} is not a {kind}")]
    Malformed {
        /// The text.
        text: String,
        /// `size` or `duration`.
        kind: &'static str,
    },
    /// The number is too large to hold.
    #[error("{text:?} is too large for a {kind}")]
    TooLarge {
        /// The text.
        text: String,
        /// `size` or `duration`.
        kind: &'static str,
    },
}

/// Units of size; the first that divides a number is the one to show it in.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
    ("", 1),
];
const DURATION_UNITS_MICROS: [(&str, u64); 5] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// Reads a size in bytes: `"4096"`, `"64KiB"`, `"1MiB"`, `"4GiB"`, and with decimal units `"1MB"`.
///
/// # Errors
/// If the text is not a whole number with one of these units, or exceeds a `u64`.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    parse(text, "size", &SIZE_UNITS)
}

/// Reads a duration: `"250us"`, `"500ms"`, `"5s"`, `"1m"`, `"1h"`.
///
/// # Errors
/// If the text is not a whole number with one of these units, or is too large.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    parse(text, "duration", &DURATION_UNITS_MICROS).map(Duration::from_micros)
}

/// Shows a size in the largest binary unit that divides it: `4GiB`, `1536MiB`, `1000B`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (unit, factor) = SIZE_UNITS
        .into_iter()
        .filter(|(unit, _)| unit.ends_with("iB"))
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// Shows a moment as RFC 3339, in UTC.
///
/// # Panics
/// If it lies beyond the year 9999.
#[must_use]
pub fn format_moment(at: Micros) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1000);
    let text = moment.ok().and_then(|moment| moment.format(&Rfc3339).ok());
    text.expect("moments of a topology were read from such a text")
}

fn parse(text: &str, kind: &'static str, units: &[(&str, u64)]) -> Result<u64, QuantityError> {
    let malformed = || QuantityError::Malformed {
        text: text.to_owned(),
        kind,
    };
    let too_large = || QuantityError::TooLarge {
        text: text.to_owned(),
        kind,
    };
    let digits_end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let unit = unit.trim_start_matches(' ');
    if digits.is_empty() {
        return Err(malformed());
    }
    let factor = units
        .iter()
        .find_map(|(name, factor)| (*name == unit).then_some(*factor))
        .ok_or_else(malformed)?;
    let number: u64 = digits.parse().map_err(|_| too_large())?;
    number.checked_mul(factor).ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("7B", 7),
            ("1KiB", 1024),
            ("1 MiB", 1 << 20),
            ("4GiB", 4 << 30),
            ("2KB", 2000),
            ("3MB", 3_000_000),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in [
            "", "MiB", "-1", "+1", "1.5GiB", "1mib", "1 parsec", "1MiB ", "0x10",
        ] {
            assert!(
                matches!(parse_size(bad), Err(QuantityError::Malformed { .. })),
                "{bad}"
            );
        }
        for large in ["18446744073709551616", "99999999TiB"] {
            assert!(
                matches!(parse_size(large), Err(QuantityError::TooLarge { .. })),
                "{large}"
            );
        }
    }

    #[test]
    fn durations() {
        for (text, duration) in [
            ("250us", Duration::from_micros(250)),
            ("500ms", Duration::from_millis(500)),
            ("5s", Duration::from_secs(5)),
            ("1m", Duration::from_secs(60)),
            ("2 h", Duration::from_secs(7200)),
        ] {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
        for bad in ["", "5", "s", "5 sec", "-5s", "1.5s", "5S"] {
            assert!(
                matches!(parse_duration(bad), Err(QuantityError::Malformed { .. })),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_shown_size_reads_back(bytes: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn a_shown_size_of_whole_units_reads_back(number in 1u64..5000, shift in 0u32..4) {
            let bytes = number << (10 * shift);
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_a_quantity_or_an_error(text: String) {
            let _ = parse_size(&text);
            let _ = parse_duration(&text);
        }
    }
}
