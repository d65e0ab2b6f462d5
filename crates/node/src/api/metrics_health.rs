//! Metrics of what this region's observer sees and of the verdicts.

use super::health::verdict;
use super::metrics::{Samples, gauges, signed};
use super::state::ApiState;
use meridian_health::Status;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// 0 unknown, 1 healthy, 2 degraded, 3 unhealthy: what alerts compare with.
fn figure(status: Status) -> i64 {
    match status {
        Status::Unknown => 0,
        Status::Healthy => 1,
        Status::Degraded => 2,
        Status::Unhealthy => 3,
    }
}

pub(super) fn encode(state: &ApiState, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let seen = state.api().health.seen();
    let seen = seen.borrow().clone();
    let (mut regions, mut verdicts, mut opinions) = (Vec::new(), Vec::new(), Vec::new());
    for (region, health) in &seen.regions {
        let of_region = || vec![("region", region.to_string())];
        regions.push((of_region(), figure(verdict(&health.verdict))));
        let of_service =
            |service: &str| [of_region(), vec![("service", service.to_owned())]].concat();
        for (service, status) in health.verdict.iter() {
            verdicts.extend(status.map(|it| (of_service(service.as_str()), figure(it))));
        }
        for (service, status) in health.seen.iter() {
            opinions.extend(status.map(|it| (of_service(service.as_str()), figure(it))));
        }
    }
    let records = state.api().health.look(|observer| {
        let records = observer.records();
        let figures = records.map(|record| {
            let failures = signed(record.consecutive_failures.into());
            (record.health_check_id, record.response_time, failures)
        });
        figures.collect::<Vec<_>>()
    });
    let (mut times, mut failures): (Samples<f64>, Samples<i64>) = (Vec::new(), Vec::new());
    for (check, response_ms, in_a_row) in records {
        let labels = || vec![("check", check.clone())];
        times.extend(response_ms.map(|ms| (labels(), ms / 1000.0)));
        failures.push((labels(), in_a_row));
    }
    let quorum = vec![(Vec::new(), i64::from(seen.has_quorum))];
    let what = "1 while enough observers are in touch to change verdicts";
    gauges(encoder, "meridian_health_quorum", what, &quorum)?;
    let what = "The verdict about a region: 0 unknown, 1 healthy, 2 degraded, 3 unhealthy";
    gauges(encoder, "meridian_health_region", what, &regions)?;
    let what = "The verdict about a service: 0 unknown, 1 healthy, 2 degraded, 3 unhealthy";
    gauges(encoder, "meridian_health_verdict", what, &verdicts)?;
    let what = "What this region sees of a service: 0 unknown, 1 healthy, 2 degraded, 3 unhealthy";
    gauges(encoder, "meridian_health_seen", what, &opinions)?;
    let what = "How long a service last took to answer a probe from here";
    gauges(encoder, "meridian_health_response_seconds", what, &times)?;
    let what = "Failed probes since the last that was answered rightly";
    gauges(encoder, "meridian_health_failures", what, &failures)
}
