//! The health record (requirement D3): field names as the owner's documents give them.

use crate::Status;
use meridian_model::Micros;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What one observer knows of one service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `OBSERVER/REGION/SERVICE`.
    pub health_check_id: String,
    /// The region that is observed.
    pub region: String,
    /// Where it is probed.
    pub endpoint: String,
    /// How it is.
    pub status: Status,
    /// When a probe was last answered or given up (RFC 3339); null before the first.
    #[serde(serialize_with = "rfc_3339")]
    pub last_checked: Option<Micros>,
    /// How long the last answer took, in milliseconds; null before the first.
    pub response_time: Option<f64>,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Over the last hundred probes.
    pub metrics: Metrics,
}

/// The figures of a record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// The share of probes answered rightly, in percent.
    pub availability: f64,
    /// Their mean response time, in milliseconds.
    pub average_response_time: f64,
    /// The share of the other probes, in percent.
    pub error_rate: f64,
}

fn rfc_3339<S: Serializer>(at: &Option<Micros>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(at) = at else {
        return serializer.serialize_none();
    };
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1000);
    let text = moment.ok().and_then(|moment| moment.format(&Rfc3339).ok());
    text.ok_or_else(|| serde::ser::Error::custom("a time beyond the year 9999"))?
        .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_documents() {
        let record = Record {
            health_check_id: "us-east-1/eu-west-1/api".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: "http://127.0.0.1:7010/readyz".to_owned(),
            status: Status::Degraded,
            last_checked: Some(Micros(1_700_000_000_250_000)),
            response_time: Some(41.5),
            consecutive_failures: 1,
            metrics: Metrics {
                availability: 99.0,
                average_response_time: 40.0,
                error_rate: 1.0,
            },
        };
        let json = serde_json::to_string(&record).unwrap();
        let expected = r#"{"healthCheckId":"us-east-1/eu-west-1/api","region":"eu-west-1","endpoint":"http://127.0.0.1:7010/readyz","status":"degraded","lastChecked":"2023-11-14T22:13:20.25Z","responseTime":41.5,"consecutiveFailures":1,"metrics":{"availability":99.0,"averageResponseTime":40.0,"errorRate":1.0}}"#;
        assert_eq!(json, expected);
    }
}
