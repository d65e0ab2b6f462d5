//! Moments as people write them: RFC 3339.

use meridian_model::Micros;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment as RFC 3339 in UTC, with as many digits of the second as it has.
#[must_use]
pub fn format_time(at: Micros) -> String {
    let nanos = i128::from(at.0) * 1000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    let text = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("{} microseconds after 1970", at.0))
}

/// The moment that RFC 3339 text names; `None` where it is none, or before 1970.
#[must_use]
pub fn parse_time(text: &str) -> Option<Micros> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let micros = moment.unix_timestamp_nanos().div_euclid(1000);
    u64::try_from(micros).ok().map(Micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        for text in ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000001Z"] {
            assert_eq!(format_time(parse_time(text).unwrap()), text);
        }
        assert_eq!(
            parse_time("2026-03-01T14:00:00+02:00"),
            parse_time("2026-03-01T12:00:00Z")
        );
        for bad in ["", "yesterday", "2026-03-01", "1969-12-31T23:59:59Z"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
