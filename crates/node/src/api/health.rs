//! How all regions are: verdicts, who sees what, the health records (requirement D3), what changed.

use super::incoming::{Incoming, page_limit};
use super::json::serialized;
use super::problem::Problem;
use super::state::ApiState;
use super::timestamp::rfc_3339;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_health::{
    Change, ChangedBy, Needs, Observer, PerService, Record, Report, Service, Status, majority,
};
use meridian_model::{Micros, RegionName};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};
use utoipa::ToSchema;

/// How all regions are, as this one has it.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthReply {
    region: String,
    /// `standard`, `moderate`, `default` or `fast`.
    preset: &'static str,
    /// Whether enough observers are in touch to change verdicts about other regions. Without, this
    /// region goes by what it sees itself.
    has_quorum: bool,
    regions: Vec<RegionReport>,
    /// What each observer says that is heard, this one first.
    observers: Vec<ObserverReport>,
    /// The health record of each service that is probed from here.
    #[schema(value_type = Vec<HealthRecord>)]
    records: Vec<Record>,
    summary: Summary,
    /// What changed since the process started, the newest first.
    history: Vec<ChangeReport>,
}

/// How a region is.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegionReport {
    region: String,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`: the verdict about those services that most
    /// need, `api` and `database`, and less the others.
    verdict: &'static str,
    /// The service to blame, if it isn't healthy.
    because: Option<&'static str>,
    /// Whether all of it is expected to be away.
    maintenance: bool,
    /// The services that somebody observes.
    services: Vec<ServiceReport>,
}

/// How a service is.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceReport {
    service: &'static str,
    /// What the observers came to.
    verdict: &'static str,
    /// What this region sees itself; null if it doesn't probe the service.
    seen: Option<&'static str>,
    /// Why the last probe from here failed, if it did.
    reason: Option<String>,
}

/// What an observer says.
#[derive(Serialize, ToSchema)]
pub(crate) struct ObserverReport {
    observer: String,
    /// Whom it hears directly.
    hears: Vec<String>,
    /// Who of these hears it too.
    in_touch: Vec<String>,
    /// Whether that, with itself, is a majority: then its opinions count.
    votes: bool,
    opinions: Vec<OpinionReport>,
}

/// What an observer says of a service.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpinionReport {
    region: String,
    service: &'static str,
    status: &'static str,
    /// How long the last answer took; null before the first.
    response_ms: Option<u32>,
}

/// The records in short.
#[derive(Serialize, ToSchema)]
pub(crate) struct Summary {
    /// Services that are probed from here.
    checks: usize,
    /// Those that are healthy.
    healthy: usize,
    /// The share of the last hundred probes of each that were answered rightly, in percent; 100 of
    /// none.
    success_rate: f64,
}

/// Something that changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangeReport {
    /// When (RFC 3339).
    at: String,
    region: String,
    service: &'static str,
    from: &'static str,
    to: &'static str,
    /// `probes`, what this region sees, or `vote`, the verdict.
    by: &'static str,
    /// Why the last probe failed, of what this region sees.
    reason: Option<String>,
    /// How many said what, of a verdict.
    votes: Option<VotesReport>,
    /// Whether it was expected.
    maintenance: bool,
}

/// How many observers say what.
#[derive(Serialize, ToSchema)]
pub(crate) struct VotesReport {
    unknown: u8,
    healthy: u8,
    degraded: u8,
    unhealthy: u8,
}

/// What this region knows of one service.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "only described; the record itself is of crates/health"
)]
pub(crate) struct HealthRecord {
    /// `OBSERVER/REGION/SERVICE`.
    health_check_id: String,
    region: String,
    endpoint: String,
    status: String,
    /// When a probe was last answered or given up (RFC 3339); null before the first.
    last_checked: Option<String>,
    /// How long the last answer took, in milliseconds; null before the first.
    response_time: Option<f64>,
    /// Failures since the last success.
    consecutive_failures: u32,
    metrics: HealthMetrics,
}

/// Over the last hundred probes.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "only described; the record itself is of crates/health"
)]
pub(crate) struct HealthMetrics {
    /// The share answered rightly, in percent.
    availability: f64,
    /// Their mean response time, in milliseconds.
    average_response_time: f64,
    /// The share of the others, in percent.
    error_rate: f64,
}

/// Shows how all regions are.
#[utoipa::path(
    get,
    path = "/v1/health",
    tag = "region",
    params(("limit" = Option<u32>, Query, description = "At most so many changes, 1 to 1000; 100.")),
    responses(
        (status = 200, description = "How they are.", body = HealthReply),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn health(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [limit] = Incoming::new(request).query(["limit"])?;
    let limit = page_limit(limit.as_deref())?;
    let api = state.api();
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since_1970.unwrap_or_default().as_micros();
    let wall = Micros(u64::try_from(micros).unwrap_or(u64::MAX));
    let preset = api.topology.health.preset.as_str();
    let reply = api
        .health
        .look(|observer| reply(observer, preset, wall, limit));
    Ok(serialized(StatusCode::OK, &reply))
}

fn reply(observer: &Observer, preset: &'static str, wall: Micros, limit: usize) -> HealthReply {
    let observers = observer.setup().observers.as_slice();
    let records: Vec<_> = observer.records().collect();
    let healthy = records.iter().filter(|it| it.status == Status::Healthy);
    let availability = records.iter().map(|it| it.metrics.availability);
    let summary = Summary {
        checks: records.len(),
        healthy: healthy.count(),
        success_rate: match records.len() {
            0 => 100.0,
            checks => availability.sum::<f64>() / checks as f64,
        },
    };
    let regions = observers.iter();
    let reports = observer.all_reports();
    let history = observer.history().iter().rev().take(limit);
    HealthReply {
        region: observer.own().to_string(),
        preset,
        has_quorum: observer.has_quorum(),
        regions: regions.map(|name| region(observer, name, wall)).collect(),
        observers: reports.map(|report| said(&report, observers)).collect(),
        summary,
        records,
        history: history.map(change).collect(),
    }
}

fn region(observer: &Observer, name: &RegionName, wall: Micros) -> RegionReport {
    let health = observer.region(name, wall);
    let (verdict, because) = Needs::default().status(&health.verdict);
    let services = Service::ALL.into_iter().filter_map(|service| {
        let seen = health.seen[service];
        let verdict = health.verdict[service].or(seen.map(|_| Status::Unknown))?;
        Some(ServiceReport {
            service: service.as_str(),
            verdict: verdict.as_str(),
            seen: seen.map(Status::as_str),
            reason: observer.reason(name, service).map(str::to_owned),
        })
    });
    RegionReport {
        region: name.to_string(),
        verdict: verdict.as_str(),
        because: because.map(Service::as_str),
        maintenance: health.maintenance,
        services: services.collect(),
    }
}

fn said(report: &Report, observers: &[RegionName]) -> ObserverReport {
    let names = |names: &[RegionName]| names.iter().map(ToString::to_string).collect();
    let in_touch = report.in_touch.iter().filter(|it| observers.contains(it));
    ObserverReport {
        observer: report.observer.to_string(),
        hears: names(&report.hears),
        in_touch: names(&report.in_touch),
        votes: in_touch.count() + 1 >= majority(observers.len()),
        opinions: report
            .opinions
            .iter()
            .map(|opinion| OpinionReport {
                region: opinion.region.to_string(),
                service: opinion.service.as_str(),
                status: opinion.status.as_str(),
                response_ms: opinion.response_ms,
            })
            .collect(),
    }
}

fn change(change: &Change) -> ChangeReport {
    let (by, reason, votes) = match &change.by {
        ChangedBy::Probes(reason) => ("probes", reason.clone(), None),
        ChangedBy::Vote(votes) => {
            let votes = VotesReport {
                unknown: votes.unknown,
                healthy: votes.healthy,
                degraded: votes.degraded,
                unhealthy: votes.unhealthy,
            };
            ("vote", None, Some(votes))
        }
    };
    ChangeReport {
        at: rfc_3339(change.at),
        region: change.region.to_string(),
        service: change.service.as_str(),
        from: change.from.as_str(),
        to: change.to.as_str(),
        by,
        reason,
        votes,
        maintenance: change.maintenance,
    }
}

/// The verdict about a region for those who need what most need.
pub(crate) fn verdict(verdicts: &PerService<Option<Status>>) -> Status {
    Needs::default().status(verdicts).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_health::{Answer, Input, Output, Preset, Setup, Target};
    use meridian_model::Now;
    use serde_json::json;
    use std::time::Duration;

    fn at(ms: u64) -> Now {
        Now {
            wall: Micros(1_700_000_000_000_000 + ms * 1000),
            elapsed: Duration::from_millis(ms),
        }
    }

    /// A region alone whose `api` answers and whose `cache` doesn't.
    fn observer() -> Observer {
        let own = RegionName::new("us-east-1");
        let target = |service, endpoint: &str| Target {
            region: own.clone(),
            service,
            endpoint: endpoint.to_owned(),
        };
        let setup = Setup {
            own: own.clone(),
            observers: vec![own.clone()],
            targets: vec![
                target(Service::Api, "the region itself"),
                target(Service::Cache, "redis://10.0.0.5:6379"),
            ],
            cadence: Preset::Fast.cadence(),
            maintenance: Vec::new(),
        };
        let mut observer = Observer::new(setup, at(0));
        for ms in (0..2000).step_by(100) {
            for output in observer.step(at(ms), Input::Tick) {
                let Output::Probe { id: probe, target } = output else {
                    continue;
                };
                let answer = match target.service {
                    Service::Api => Answer::Right,
                    _ => Answer::Wrong("nobody listens there".to_owned()),
                };
                observer.step(at(ms + 20), Input::Answer { probe, answer });
            }
        }
        observer
    }

    #[test]
    fn the_reply_says_who_sees_what_and_why() {
        let reply = reply(&observer(), "fast", at(2000).wall, 1);
        let json = serde_json::to_value(&reply).unwrap();
        assert_eq!(json["has_quorum"], true);
        assert_eq!(
            json["regions"],
            json!([{
                "region": "us-east-1", "verdict": "degraded", "because": "cache",
                "maintenance": false,
                "services": [
                    {"service": "api", "verdict": "healthy", "seen": "healthy", "reason": null},
                    {"service": "cache", "verdict": "unhealthy", "seen": "unhealthy",
                        "reason": "nobody listens there"},
                ]
            }])
        );
        assert_eq!(json["observers"][0]["votes"], true);
        assert_eq!(
            json["summary"],
            json!({"checks": 2, "healthy": 1, "success_rate": 50.0})
        );
        // The newest alone was asked for.
        let history = json["history"].as_array().unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!(
            (&history[0]["service"], &history[0]["by"]),
            (&json!("cache"), &json!("vote"))
        );
        assert_eq!(history[0]["votes"]["unhealthy"], 1);
    }

    #[test]
    fn records_have_the_fields_of_the_documents_and_no_other() {
        let reply = reply(&observer(), "fast", at(2000).wall, 1);
        let json = serde_json::to_value(&reply).unwrap();
        let record = json["records"][1].as_object().unwrap();
        let fields: Vec<_> = record.keys().map(String::as_str).collect();
        let expected = [
            "healthCheckId",
            "region",
            "endpoint",
            "status",
            "lastChecked",
            "responseTime",
            "consecutiveFailures",
            "metrics",
        ];
        assert_eq!(fields, expected);
        let metrics: Vec<_> = record["metrics"].as_object().unwrap().keys().collect();
        assert_eq!(
            metrics,
            ["availability", "averageResponseTime", "errorRate"]
        );
        assert_eq!(record["healthCheckId"], "us-east-1/us-east-1/cache");
        assert_eq!(record["status"], "unhealthy");
    }
}
