//! What observers tell each other: whom they hear, and what they think of every service.
//!
//! A message carries its sender's own report and, behind it, the newest that the sender has of every
//! other observer. So where two regions can't speak to each other, a third one lets each know what
//! the other sees. A report's number says which of two is newer, whichever way they came.

use crate::{Service, Status};
use meridian_model::{DecodeError, Micros, RegionName};
use serde::{Deserialize, Serialize};

/// One observer's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub observer: RegionName,
    /// Its number.
    pub number: ReportNumber,
    /// The observers of which it has direct reports that are not too old, in order.
    pub hears: Vec<RegionName>,
    /// Those among them that say that they hear it too, in order.
    pub in_touch: Vec<RegionName>,
    /// What it thinks, of every service that it observes.
    pub opinions: Vec<Opinion>,
}

/// Orders one observer's reports: by its start, then counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ReportNumber {
    /// When the observer's process started, by its wall clock.
    pub started: Micros,
    /// How many it had sent since.
    pub count: u64,
}

/// What an observer thinks of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// The service's region.
    pub region: RegionName,
    /// The service.
    pub service: Service,
    /// How it is.
    pub status: Status,
    /// How long its last answer took, in milliseconds.
    pub response_ms: Option<u32>,
}

/// A message between observers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    /// The sender's own.
    pub own: Report,
    /// The newest that it has of others.
    pub relayed: Vec<Report>,
}

impl Reports {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("reports have no unencodable parts")
    }

    /// Reads a message back.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not reports, or more than that.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (reports, rest) = postcard::take_from_bytes(bytes)?;
        if rest.is_empty() {
            Ok(reports)
        } else {
            Err(DecodeError::Trailing(rest.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reports() -> Reports {
        let opinion = Opinion {
            region: RegionName::new("b"),
            service: Service::Database,
            status: Status::Unhealthy,
            response_ms: Some(200),
        };
        let own = Report {
            observer: RegionName::new("a"),
            number: ReportNumber {
                started: Micros(1),
                count: 300,
            },
            hears: vec![RegionName::new("b")],
            in_touch: Vec::new(),
            opinions: vec![opinion],
        };
        Reports {
            own,
            relayed: Vec::new(),
        }
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let bytes = reports().encode();
        let golden = b"\x01a\x01\xac\x02\x01\x01b\x00\x01\x01b\x01\x03\x01\xc8\x01\x00";
        assert_eq!(bytes, golden);
        assert_eq!(Reports::decode(&bytes).unwrap(), reports());
    }

    #[test]
    fn what_is_cut_or_longer_is_refused() {
        let bytes = reports().encode();
        for end in 0..bytes.len() {
            assert!(Reports::decode(&bytes[..end]).is_err(), "{end}");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(matches!(
            Reports::decode(&longer),
            Err(DecodeError::Trailing(1))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reports::decode(&bytes);
        }
    }
}
