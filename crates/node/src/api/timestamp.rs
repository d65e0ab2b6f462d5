//! Times as RFC 3339 writes them.

use meridian_model::Micros;
use time::OffsetDateTime;

/// A time in UTC with microseconds, such as `2026-01-31T23:59:59.000001Z`.
pub(crate) fn rfc_3339(at: Micros) -> String {
    let nanos = i128::from(at.0) * 1000;
    // A clock's reading ends in 2112; only a record that no clock made lies beyond the calendar.
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap_or(time::PrimitiveDateTime::MAX.assume_utc());
    let (date, month) = (time.date(), u8::from(time.month()));
    format!(
        "{:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        date.year(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.microsecond(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_the_calendar() {
        assert_eq!(rfc_3339(Micros(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            rfc_3339(Micros(1_709_210_096_000_042)),
            "2024-02-29T12:34:56.000042Z"
        );
        assert_eq!(rfc_3339(Micros(u64::MAX)), "9999-12-31T23:59:59.999999Z");
    }
}
