//! How a region says it stands, as far as the CLI shows it.
//!
//! Read leniently: a region of a later version may say more, one of an earlier version less.

use crate::client::Api;
use crate::error::CliResult;
use serde::{Deserialize, Serialize};

/// What a region said about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reading {
    /// Clients' transactions committed since its process started.
    pub writes_total: Option<u64>,
    /// Conflicts recorded.
    pub conflicts: Option<u64>,
    /// The size of its logs on disk.
    pub log_bytes: Option<u64>,
    /// Which datasets don't take writes, which servers aren't captured, which streams are
    /// quarantined, and why; and which faults are at work.
    pub troubles: Vec<String>,
    /// What each dataset promises, a line for each.
    pub promises: Vec<String>,
    /// How each route spreads clients over the regions, a line for each.
    pub routes: Vec<String>,
    /// Whether it holds no tables.
    pub witness: bool,
    /// How far it is behind each other region, for each dataset.
    pub peers: Vec<PeerReading>,
}

/// How far a region is behind another in one dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerReading {
    /// The other region.
    #[serde(alias = "peer")]
    pub region: String,
    /// The dataset.
    pub dataset: String,
    /// How the stream from it stands.
    pub state: String,
    /// For how long something has been missing here.
    pub lag_seconds: Option<f64>,
    /// How many transactions are.
    pub lag_transactions: Option<u64>,
    /// What last went wrong.
    pub last_error: Option<String>,
    /// How far the other region's clock was ahead when it last sent.
    pub clock_ahead_seconds: f64,
    /// Whether that is more than is allowed.
    pub drift_alert: bool,
}

/// The part of `/v1/status` that is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    witness: bool,
    datasets: Vec<DatasetStatus>,
    routes: Vec<RouteStatus>,
    aside_waiting: u64,
    faults: Vec<FaultStatus>,
}

/// How a route spreads clients.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RouteStatus {
    name: String,
    policy: String,
    regions: Vec<RouteRegionStatus>,
}

/// How a route has a region.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RouteRegionStatus {
    region: String,
    tier: String,
    share: f64,
    drain_ignored: bool,
}

/// A fault at work.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FaultStatus {
    id: String,
    what: String,
    remaining_seconds: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DatasetStatus {
    dataset: String,
    state: String,
    reason: Option<String>,
    hint: Option<String>,
    transactions_local: Option<u64>,
    conflicts: Option<u64>,
    log_bytes: Option<u64>,
    dead_letters: u64,
    promises: Option<Promises>,
    postgres: Option<Server>,
}

/// How a dataset stands with its PostgreSQL server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    state: String,
    reason: Option<String>,
    hint: Option<String>,
    rows_refused: u64,
}

/// What a dataset promises, and which regions take its writes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Promises {
    consistency: String,
    acknowledgement: String,
    writes: String,
    home: Option<String>,
    read_replicas: Vec<String>,
}

/// The part of `/v1/replication` that is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Replication {
    /// Every peer in every dataset.
    pub peers: Vec<PeerReading>,
}

impl Reading {
    /// Asks a region.
    pub fn ask(api: &Api) -> CliResult<Self> {
        let status: Status = api.get("/v1/status")?.json()?;
        let replication: Replication = api.get("/v1/replication")?.json()?;
        let datasets = &status.datasets;
        Ok(Self {
            writes_total: sum(datasets.iter().map(|it| it.transactions_local)),
            conflicts: sum(datasets.iter().map(|it| it.conflicts)),
            log_bytes: sum(datasets.iter().map(|it| it.log_bytes)),
            troubles: [
                troubles(datasets, &replication.peers),
                datasets.iter().flat_map(server_troubles).collect(),
                datasets.iter().filter_map(letters_trouble).collect(),
                aside_trouble(status.aside_waiting).into_iter().collect(),
                status.faults.iter().map(fault_trouble).collect(),
            ]
            .concat(),
            promises: datasets.iter().filter_map(promise).collect(),
            routes: status.routes.iter().map(route).collect(),
            witness: status.witness,
            peers: replication.peers,
        })
    }
}

/// How a route spreads clients, on one line.
fn route(route: &RouteStatus) -> String {
    let regions = route.regions.iter().map(|region| {
        let is_out = ["down", "drained"].contains(&region.tier.as_str());
        let share = if region.share < 1.0 && !is_out {
            format!(" {:.0}%", region.share * 100.0)
        } else {
            String::new()
        };
        let ignored = if region.drain_ignored {
            ", its drain ignored"
        } else {
            ""
        };
        format!("{} {}{share}{ignored}", region.region, region.tier)
    });
    let regions: Vec<_> = regions.collect();
    format!(
        "route {} ({}): {}",
        route.name,
        route.policy,
        regions.join("; ")
    )
}

/// What a dataset promises, for people.
fn promise(dataset: &DatasetStatus) -> Option<String> {
    let promises = dataset.promises.as_ref()?;
    let mut writes = match &promises.home {
        Some(home) => format!("home {home}"),
        None => promises.writes.clone(),
    };
    if !promises.read_replicas.is_empty() {
        writes.push_str(", read replicas ");
        writes.push_str(&promises.read_replicas.join(", "));
    }
    let (name, read) = (&dataset.dataset, &promises.consistency);
    let acknowledgement = &promises.acknowledgement;
    Some(format!(
        "dataset {name}: writes {writes}; acknowledgement {acknowledgement}; reads {read}"
    ))
}

/// What somebody should look at.
fn troubles(datasets: &[DatasetStatus], peers: &[PeerReading]) -> Vec<String> {
    let streams = peers.iter().filter_map(stream_trouble);
    datasets.iter().filter_map(trouble).chain(streams).collect()
}

/// A stream from which nothing is taken, or a clock that is ahead.
fn stream_trouble(peer: &PeerReading) -> Option<String> {
    let is_quarantined = peer.state == "quarantined";
    (is_quarantined || peer.drift_alert).then(|| {
        let (dataset, region) = (&peer.dataset, &peer.region);
        let what = if is_quarantined {
            "takes nothing from"
        } else {
            "hears"
        };
        format!("dataset {dataset} {what} {region}: {}", remark(peer))
    })
}

fn letters_trouble(dataset: &DatasetStatus) -> Option<String> {
    let DatasetStatus {
        dataset,
        dead_letters,
        ..
    } = dataset;
    match dead_letters {
        0 => None,
        1 => Some(format!(
            "dataset {dataset} has 1 dead letter, which waits for a decision"
        )),
        many => Some(format!(
            "dataset {dataset} has {many} dead letters, which wait for decisions"
        )),
    }
}

/// That something is set aside, and where to look.
fn aside_trouble(waiting: u64) -> Option<String> {
    let what = match waiting {
        0 => return None,
        1 => "1 transaction that it alone held is set aside and waits for a decision".to_owned(),
        many => {
            format!("{many} transactions that it alone held are set aside and wait for decisions")
        }
    };
    Some(format!("{what} (`meridian regions aside list`)"))
}

/// Why a dataset's server isn't captured, and that it refuses rows.
fn server_troubles(dataset: &DatasetStatus) -> Vec<String> {
    let (name, mut troubles) = (&dataset.dataset, Vec::new());
    let Some(server) = &dataset.postgres else {
        return troubles;
    };
    let is_captured = ["running", "attaching", "detached"].contains(&server.state.as_str());
    if let Some(reason) = server.reason.as_ref().filter(|_| !is_captured) {
        let hint = server.hint.as_ref();
        let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
        troubles.push(format!(
            "dataset {name}: capture from its PostgreSQL server is {}: {reason}{hint}",
            server.state
        ));
    }
    let refused = match server.rows_refused {
        0 => return troubles,
        1 => "a row, which waits".to_owned(),
        many => format!("{many} rows, which wait"),
    };
    troubles.push(format!(
        "dataset {name}: its PostgreSQL server refuses {refused} (`meridian postgres parked list`)"
    ));
    troubles
}

fn fault_trouble(fault: &FaultStatus) -> String {
    let FaultStatus { id, what, .. } = fault;
    let left = fault.remaining_seconds.unwrap_or_default();
    format!("fault {id}, for {left:.0} s more: {what}")
}

fn trouble(dataset: &DatasetStatus) -> Option<String> {
    if dataset.state.is_empty() || dataset.state == "running" {
        return None;
    }
    let mut text = format!("dataset {} is {}", dataset.dataset, dataset.state);
    if let Some(reason) = &dataset.reason {
        text.push_str(": ");
        text.push_str(reason);
    }
    if let Some(hint) = &dataset.hint {
        text.push_str(&format!(" ({hint})"));
    }
    Some(text)
}

/// The sum of what is known; unknown if nothing is.
fn sum(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().reduce(u64::saturating_add)
}

/// How far behind, for people. Of a region that isn't heard from nobody knows what it committed
/// meanwhile.
pub fn lag_text(peer: &PeerReading) -> String {
    let is_heard = peer.state.is_empty() || peer.state == "streaming";
    let transactions = peer.lag_transactions.map(|count| match (count, is_heard) {
        (0, false) => "unknown transactions".to_owned(),
        (1, true) => "1 transaction".to_owned(),
        (1, false) => "1 transaction or more".to_owned(),
        (_, true) => format!("{count} transactions"),
        (_, false) => format!("{count} transactions or more"),
    });
    let seconds = peer.lag_seconds.map(|seconds| format!("{seconds:.2} s"));
    let parts: Vec<_> = seconds.into_iter().chain(transactions).collect();
    match parts.is_empty() {
        true => "unknown".to_owned(),
        false => parts.join(", "),
    }
}

/// How far behind each other region, on one line: after their dataset's name, where there are several.
pub fn behind_text(peers: &[PeerReading]) -> String {
    let has_several = peers
        .windows(2)
        .any(|pair| pair[0].dataset != pair[1].dataset);
    let mut of = None;
    let each = peers.iter().map(|peer| {
        let lag = format!("{} {}", peer.region, lag_text(peer));
        if has_several && of.replace(&peer.dataset) != Some(&peer.dataset) {
            return format!("{}: {lag}", peer.dataset);
        }
        lag
    });
    each.collect::<Vec<_>>().join("; ")
}

/// What else a person should know of a stream: the last error, a clock that is ahead.
pub fn remark(peer: &PeerReading) -> String {
    let drift = peer
        .drift_alert
        .then(|| format!("its clock is ahead by {:.1} s", peer.clock_ahead_seconds));
    let parts: Vec<_> = drift.into_iter().chain(peer.last_error.clone()).collect();
    parts.join("; ")
}

/// A size with one digit after the point, for people.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dataset_promises_is_a_line() {
        let status = r#"{"dataset":"main","promises":{"consistency":"session",
            "acknowledgement":"one-remote","writes":"active-active","read_replicas":["b","c"]}}"#;
        let read = |text: &str| promise(&serde_json::from_str(text).unwrap());
        assert_eq!(
            read(status).unwrap(),
            "dataset main: writes active-active, read replicas b, c; acknowledgement one-remote; \
             reads session"
        );
        let home = status.replace("\"read_replicas\":[\"b\",\"c\"]", "\"home\":\"a\"");
        assert!(
            read(&home)
                .unwrap()
                .starts_with("dataset main: writes home a; ")
        );
        assert_eq!(read(r#"{"dataset":"main"}"#), None, "of an earlier release");
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(bytes_text(1023), "1023 B");
        assert_eq!(bytes_text(1536), "1.5 KiB");
        assert_eq!(bytes_text(5 << 30), "5.0 GiB");
    }

    #[test]
    fn what_nobody_says_is_unknown() {
        assert_eq!(sum([None, None].into_iter()), None);
        assert_eq!(sum([None, Some(3), Some(4)].into_iter()), Some(7));
        assert_eq!(lag_text(&PeerReading::default()), "unknown");
    }

    #[test]
    fn of_a_region_that_is_not_heard_from_nobody_knows_how_much_is_missing() {
        let mut peer = PeerReading {
            state: "streaming".to_owned(),
            lag_seconds: Some(5.2),
            lag_transactions: Some(1),
            ..PeerReading::default()
        };
        assert_eq!(lag_text(&peer), "5.20 s, 1 transaction");
        for state in ["disconnected", "subscribing", "quarantined"] {
            peer.state = state.to_owned();
            peer.lag_transactions = Some(0);
            assert_eq!(lag_text(&peer), "5.20 s, unknown transactions");
            peer.lag_transactions = Some(1);
            assert_eq!(lag_text(&peer), "5.20 s, 1 transaction or more");
            peer.lag_transactions = Some(7);
            assert_eq!(lag_text(&peer), "5.20 s, 7 transactions or more");
        }
    }

    #[test]
    fn peers_stand_under_their_dataset_where_there_are_several() {
        let peer = |dataset: &str, region: &str| PeerReading {
            region: region.to_owned(),
            dataset: dataset.to_owned(),
            state: "streaming".to_owned(),
            lag_transactions: Some(2),
            ..PeerReading::default()
        };
        let one = [peer("main", "b"), peer("main", "c")];
        assert_eq!(behind_text(&one), "b 2 transactions; c 2 transactions");
        let two = [peer("main", "b"), peer("main", "c"), peer("shop", "b")];
        assert_eq!(
            behind_text(&two),
            "main: b 2 transactions; c 2 transactions; shop: b 2 transactions"
        );
        assert_eq!(behind_text(&[]), "");
    }

    #[test]
    fn what_is_set_aside_is_a_trouble() {
        assert_eq!(aside_trouble(0), None);
        let one = "1 transaction that it alone held is set aside and waits for a decision \
                   (`meridian regions aside list`)";
        assert_eq!(aside_trouble(1).unwrap(), one);
        let said = aside_trouble(17).unwrap();
        assert!(said.starts_with("17 transactions"), "{said}");
    }

    #[test]
    fn a_server_that_is_not_captured_is_a_trouble() {
        let said = |postgres: &str| {
            let status =
                format!(r#"{{"dataset":"shop","state":"running","postgres":{{{postgres}}}}}"#);
            server_troubles(&serde_json::from_str(&status).unwrap())
        };
        let stopped = r#""state":"stopped","reason":"no column n","hint":"add it""#;
        let expected =
            "dataset shop: capture from its PostgreSQL server is stopped: no column n (add it)";
        assert_eq!(said(stopped), [expected]);
        let away = r#""state":"connecting","reason":"nobody listens there""#;
        assert_eq!(
            said(away),
            [
                "dataset shop: capture from its PostgreSQL server is connecting: nobody listens there"
            ]
        );
        assert!(said(r#""state":"waiting","reason":"full""#)[0].contains(" is waiting: full"));
        // At the start, and where somebody wanted it so.
        for fine in ["running", "connecting", "attaching", "detached"] {
            assert_eq!(said(&format!(r#""state":"{fine}""#)), [""; 0], "{fine}");
        }
        // What went wrong once.
        assert_eq!(said(r#""state":"running","reason":"a deadlock""#), [""; 0]);
        assert!(said(r#""state":"running","rows_refused":3"#)[0].contains("refuses 3 rows"));
    }

    #[test]
    fn a_clock_that_is_ahead_is_remarked_on() {
        let mut peer = PeerReading {
            clock_ahead_seconds: 4.96,
            last_error: Some("refused".to_owned()),
            ..PeerReading::default()
        };
        assert_eq!(remark(&peer), "refused");
        peer.drift_alert = true;
        assert_eq!(remark(&peer), "its clock is ahead by 5.0 s; refused");
    }

    #[test]
    fn a_quarantined_stream_is_a_trouble_and_a_lost_link_is_none() {
        let mut peer = PeerReading {
            region: "b".to_owned(),
            dataset: "main".to_owned(),
            state: "disconnected".to_owned(),
            last_error: Some("a fork".to_owned()),
            ..PeerReading::default()
        };
        assert!(troubles(&[], std::slice::from_ref(&peer)).is_empty());
        peer.state = "quarantined".to_owned();
        let found = troubles(&[], &[peer]);
        assert_eq!(found, ["dataset main takes nothing from b: a fork"]);
    }
}
