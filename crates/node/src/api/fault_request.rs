//! Reading a request for a fault: every member checked against the kind, with what it should be.

use super::problem::{Kind, Problem};
use super::state::ApiState;
use crate::faults::{Direction, FAULT_DURATION_MAX, Fault};
use meridian_topology::parse_duration;
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// What a link's message, or a write, may be held back by at most.
const ADDED_MS_MAX: f64 = 10_000.0;
/// How far the clock may be put wrong at most.
const OFFSET_MS_MAX: i64 = 3_600_000;

/// A request for a fault. Which members there are depends on the kind.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultBody {
    /// partition, latency, loss, slow-disk, full-disk, clock-offset or crash.
    kind: Option<String>,
    /// How long it lasts, at most an hour: `"10s"`. Every kind but crash has one.
    #[serde(rename = "for")]
    lasts: Option<String>,
    /// partition, latency, loss: the peer.
    peer: Option<String>,
    /// partition, latency, loss: several peers.
    peers: Option<Vec<String>>,
    /// partition: inbound, outbound or both (the default), as this region sees it.
    direction: Option<String>,
    /// latency, slow-disk: milliseconds more, up to 10000.
    added_ms: Option<f64>,
    /// latency: up to so many milliseconds more still, drawn for each message.
    jitter_ms: Option<f64>,
    /// loss: the share of messages, above 0 up to 1.
    share: Option<f64>,
    /// clock-offset: milliseconds, negative for a clock that is slow; up to an hour.
    offset_ms: Option<i64>,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// A fault that lasts.
    Fault {
        /// Which.
        fault: Fault,
        /// For how long.
        lasts: Duration,
    },
    /// The process's end.
    Crash,
}

fn bad(detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::new(Kind::BadFault, detail).hint(hint)
}

/// Checks a request.
pub(crate) fn read(state: &ApiState, mut body: FaultBody) -> Result<Wanted, Problem> {
    let kind = body.kind.take();
    let Some(kind) = kind else {
        let kinds = format!("{}, crash", Fault::KINDS.join(", "));
        return Err(bad(
            "the request names no kind",
            format!("the kinds are: {kinds}"),
        ));
    };
    if kind == "crash" {
        body.nothing_left(&kind)?;
        return Ok(Wanted::Crash);
    }
    let lasts = body.lasts.take();
    let fault = match kind.as_str() {
        "partition" => Fault::Partition {
            peers: body.take_peers(state)?,
            direction: body.take_direction()?,
        },
        "latency" => Fault::Latency {
            peers: body.take_peers(state)?,
            added: milliseconds("added_ms", body.added_ms.take())?,
            jitter: match body.jitter_ms.take() {
                None => Duration::ZERO,
                given => milliseconds("jitter_ms", given)?,
            },
        },
        "loss" => Fault::Loss {
            peers: body.take_peers(state)?,
            share: body.take_share()?,
        },
        "slow-disk" => Fault::SlowDisk {
            added: milliseconds("added_ms", body.added_ms.take())?,
        },
        "full-disk" => Fault::FullDisk,
        "clock-offset" => Fault::ClockOffset {
            offset_ms: body.take_offset_ms()?,
        },
        _ => {
            let kinds = format!("{}, crash", Fault::KINDS.join(", "));
            return Err(bad(
                format!("there is no fault of kind {kind:?}"),
                format!("the kinds are: {kinds}"),
            ));
        }
    };
    body.nothing_left(&kind)?;
    let lasts = duration(lasts)?;
    Ok(Wanted::Fault { fault, lasts })
}

impl FaultBody {
    fn take_peers(&mut self, state: &ApiState) -> Result<Vec<String>, Problem> {
        let mut peers = self.peers.take().unwrap_or_default();
        peers.extend(self.peer.take());
        peers.sort();
        peers.dedup();
        let known = state.peers();
        let known: Vec<&str> = known
            .iter()
            .map(meridian_model::RegionName::as_str)
            .collect();
        let hint = match known.as_slice() {
            [] => "this region has no peers".to_owned(),
            known => format!("the peers of this region are: {}", known.join(", ")),
        };
        if peers.is_empty() {
            return Err(bad("the request names no peer", hint));
        }
        match peers.iter().find(|peer| !known.contains(&peer.as_str())) {
            Some(unknown) => Err(bad(format!("{unknown:?} is no peer of this region"), hint)),
            None => Ok(peers),
        }
    }

    fn take_direction(&mut self) -> Result<Direction, Problem> {
        let Some(given) = self.direction.take() else {
            return Ok(Direction::Both);
        };
        let all = [Direction::Inbound, Direction::Outbound, Direction::Both];
        let found = all.into_iter().find(|direction| direction.name() == given);
        found.ok_or_else(|| {
            bad(
                format!("{given:?} is no direction"),
                "the directions are: inbound, outbound, both",
            )
        })
    }

    fn take_share(&mut self) -> Result<f64, Problem> {
        let share = self.share.take();
        share
            .filter(|share| *share > 0.0 && *share <= 1.0)
            .ok_or_else(|| {
                bad(
                    "the share of lost messages is missing or out of range",
                    "share is a number above 0 up to 1; 0.1 loses every tenth message",
                )
            })
    }

    fn take_offset_ms(&mut self) -> Result<i64, Problem> {
        let offset = self.offset_ms.take();
        let within = |ms: &i64| *ms != 0 && ms.unsigned_abs() <= OFFSET_MS_MAX.unsigned_abs();
        offset.filter(within).ok_or_else(|| {
            bad(
                "the clock's offset is missing or out of range",
                format!(
                    "offset_ms is a whole number from -{OFFSET_MS_MAX} to {OFFSET_MS_MAX} and not \
                     0; a negative one makes the clock slow"
                ),
            )
        })
    }

    /// A member that the kind doesn't have would be a wish that nobody fulfils.
    fn nothing_left(&self, kind: &str) -> Result<(), Problem> {
        let members = [
            ("for", self.lasts.is_some()),
            ("peer", self.peer.is_some()),
            ("peers", self.peers.is_some()),
            ("direction", self.direction.is_some()),
            ("added_ms", self.added_ms.is_some()),
            ("jitter_ms", self.jitter_ms.is_some()),
            ("share", self.share.is_some()),
            ("offset_ms", self.offset_ms.is_some()),
        ];
        match members.into_iter().find(|(_, is_there)| *is_there) {
            None => Ok(()),
            Some((name, _)) => Err(bad(
                format!("a fault of kind {kind:?} has no {name:?}"),
                "take it out; which members a kind has is in /openapi.json",
            )),
        }
    }
}

fn milliseconds(name: &str, given: Option<f64>) -> Result<Duration, Problem> {
    let within = given.filter(|ms| *ms > 0.0 && *ms <= ADDED_MS_MAX);
    let ms = within.ok_or_else(|| {
        bad(
            format!("{name} is missing or out of range"),
            format!("{name} is a number of milliseconds above 0 up to {ADDED_MS_MAX}"),
        )
    })?;
    Ok(Duration::from_secs_f64(ms / 1000.0))
}

fn duration(given: Option<String>) -> Result<Duration, Problem> {
    let hint = "every fault ends by itself: give \"for\", for example \"10s\", up to \"1h\"";
    let Some(text) = given else {
        return Err(bad(
            "the request does not say how long the fault lasts",
            hint,
        ));
    };
    let lasts = parse_duration(&text).map_err(|error| bad(error.to_string(), hint))?;
    if lasts.is_zero() || lasts > FAULT_DURATION_MAX {
        return Err(bad(format!("a fault can't last {text:?}"), hint));
    }
    Ok(lasts)
}
