//! Whether a server goes on in the history that was captured of it so far.

use super::PostgresConfig;
use super::mark::{self, Agreement, Mark, Noted};
use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use meridian_engine_postgres::capture::ServerPlace;
use meridian_engine_postgres::tag::Tag;
use meridian_engine_postgres::{Lsn, ServerIdentity, Xid};
use meridian_model::{CapturedAt, Position, Vector};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use tokio_postgres::Client;

/// Where a break is kept.
const FILE: &str = "meeting.json";

/// What the server's rows of Meridian's own say.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// What it was given last.
    pub(super) given: Option<Tag>,
    /// Its mark.
    pub(super) mark: Option<Mark>,
    /// The last transactions that wrote these.
    pub(super) writers: Vec<Xid>,
    /// Those since the mark that let in rows which had been kept out.
    pub(super) let_in: Vec<Xid>,
}

impl Standing {
    /// As `client` sees it.
    pub(super) async fn read(client: &Client, config: &PostgresConfig) -> Result<Self, Trouble> {
        let query = "SELECT dataset = $1 AND position IS NOT NULL, position, seen::text, xmin::text, \
                     dataset = $3 FROM meridian.position WHERE dataset IN ($1, $2, $3)";
        let (mark, let_in) = (mark::named(&config.dataset), mark::let_in(&config.dataset));
        let names: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&config.dataset, &mark, &let_in];
        let mut standing = Self::default();
        for row in client.query(query, &names).await? {
            let writer: String = row.try_get(3)?;
            standing.writers.extend(writer.parse().ok().map(Xid));
            let seen: Option<String> = row.try_get(2)?;
            let seen = seen.unwrap_or_default();
            if row.try_get(4)? {
                let xids: Vec<String> = serde_json::from_str(&seen).unwrap_or_default();
                let xids = xids.iter().filter_map(|xid| xid.parse().ok().map(Xid));
                standing.let_in = xids.collect();
                continue;
            }
            if !row.try_get::<_, bool>(0)? {
                standing.mark = mark::parsed(&seen).or(standing.mark);
                continue;
            }
            let position: i64 = row.try_get(1)?;
            let seen = serde_json::from_str(&seen)
                .map_err(|_| Trouble::passing(format!("the server answered {seen:?}")))?;
            standing.given = Some(Tag {
                position: Position(position.cast_unsigned()),
                seen,
            });
        }
        Ok(standing)
    }
}

/// How the slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// It is there.
    There,
    /// There is none.
    Missing,
    /// The server threw away WAL that it needed.
    Lost,
}

impl Slot {
    /// As the server says.
    pub(super) async fn read(client: &Client, slot: &str) -> Result<Self, Trouble> {
        let query = "SELECT wal_status FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        let Some(row) = client.query_opt(query, &[&slot]).await? else {
            return Ok(Self::Missing);
        };
        let status: Option<String> = row.try_get(0)?;
        Ok(match status.as_deref() {
            Some("lost") => Self::Lost,
            _ => Self::There,
        })
    }
}

/// What is known from before.
#[derive(Clone, Debug)]
pub(super) struct Known<'a> {
    /// What was captured last.
    pub(super) at: CapturedAt,
    /// What the server had been given by then.
    pub(super) seen: &'a Vector,
    /// Where the log ends.
    pub(super) log_end: Position,
    /// The mark written last.
    pub(super) noted: Noted,
}

/// Why capture can't go on where it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Break {
    /// In words.
    pub(super) reason: String,
    /// Whether the server lost nothing itself: only capture lost its place.
    pub(super) is_same_history: bool,
    /// Whether what the server says of the log is of this log.
    pub(super) is_same_log: bool,
}

impl Break {
    /// Keeps it until rows have been compared to the end.
    pub(super) fn remember(&self, directory: &Path) -> Result<(), Trouble> {
        let path = directory.join(FILE);
        let bytes = serde_json::to_vec(self).expect("texts are JSON");
        durable::replace(&path, &bytes).map_err(|error| unwritable(&error))
    }

    /// Whether there is one for which rows were not compared to the end yet.
    pub(super) fn is_remembered(directory: &Path) -> Result<bool, Trouble> {
        let there = directory.join(FILE).try_exists();
        there.map_err(|error| unwritable(&error))
    }

    /// Rows have been compared to the end.
    pub(super) fn forget(directory: &Path) -> Result<(), Trouble> {
        match fs::remove_file(directory.join(FILE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(&error)),
            _ => Ok(()),
        }
    }

    /// One that is found now, and one for which rows were not compared to the end yet.
    pub(super) fn with_remembered(
        directory: &Path,
        now: Option<Self>,
    ) -> Result<Option<Self>, Trouble> {
        let before: Option<Self> = match fs::read(directory.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unwritable(&error)),
        };
        Ok(match (before, now) {
            (Some(before), Some(now)) => Some(before.and(now)),
            (before, now) => before.or(now),
        })
    }

    fn and(self, later: Self) -> Self {
        Self {
            // A slot made meanwhile and given up is no news.
            reason: if later.is_same_history {
                self.reason
            } else {
                later.reason
            },
            is_same_history: self.is_same_history && later.is_same_history,
            is_same_log: self.is_same_log && later.is_same_log,
        }
    }
}

/// Why capture can't go on where it stood, if so.
pub(super) fn broken(
    place: ServerPlace,
    slot: Slot,
    found: &Standing,
    known: &Known<'_>,
) -> Option<Break> {
    let ServerIdentity { system, timeline } = place.identity;
    let at = known.at;
    let other = |reason: String, is_same_log| {
        Some(Break {
            reason,
            is_same_history: false,
            is_same_log,
        })
    };
    if system != at.system {
        return other(
            format!(
                "it is another server: system {system} instead of {}",
                at.system
            ),
            false,
        );
    }
    let agreement = known.noted.agrees(found.mark.map(|mark| mark.number));
    let is_beyond = |given: &Tag| given.position > known.log_end;
    if agreement == Agreement::DirectoryOlder || found.given.as_ref().is_some_and(is_beyond) {
        let reason = "this region's data directory is older than the server";
        return other(reason.to_owned(), false);
    }
    if timeline != at.timeline {
        let reason = format!(
            "it was restored or promoted: timeline {timeline} instead of {}",
            at.timeline
        );
        return other(reason, true);
    }
    if place.end.0 < at.end {
        let reason = format!(
            "it was restored: its WAL ends at {}, before {}",
            place.end,
            Lsn(at.end)
        );
        return other(reason, true);
    }
    if agreement == Agreement::ServerOlder || has_lost(found.given.as_ref(), known.seen) {
        let reason = "it was restored: what it had been given before is missing";
        return other(reason.to_owned(), true);
    }
    let reason = match slot {
        Slot::There => return None,
        Slot::Missing => "its replication slot is gone",
        Slot::Lost => "it threw away WAL that its replication slot needed",
    };
    Some(Break {
        reason: reason.to_owned(),
        is_same_history: true,
        is_same_log: true,
    })
}

/// Whether the server says that it was given less than it had been already.
fn has_lost(given: Option<&Tag>, seen: &Vector) -> bool {
    let Some(given) = given else {
        return false;
    };
    // Origins that count no more are left out in the end.
    let given: Vec<_> = given.seen.iter().collect();
    given.iter().any(|(origin, hlc)| *hlc < seen.get(*origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};

    const PLACE: ServerPlace = ServerPlace {
        identity: ServerIdentity {
            system: 7,
            timeline: 2,
        },
        end: Lsn(1000),
    };

    fn seen(hlc: u64) -> Vector {
        [(OriginId(5), Hlc::from_raw(hlc))].into_iter().collect()
    }

    fn standing(number: Option<u64>, hlc: u64) -> Standing {
        Standing {
            given: Some(Tag {
                position: Position(30),
                seen: seen(hlc),
            }),
            mark: number.map(|number| Mark {
                number,
                system: 7,
                origin: OriginId(1),
                horizon: Xid(1),
                next: Xid(1),
                lsn: Lsn(1),
                from: Position(1),
            }),
            writers: Vec::new(),
            let_in: Vec::new(),
        }
    }

    fn why(place: ServerPlace, slot: Slot, found: &Standing, noted: Noted) -> Option<Break> {
        let known = Known {
            at: CapturedAt {
                system: 7,
                timeline: 2,
                end: 900,
                part: 0,
                is_last: true,
            },
            seen: &seen(10),
            log_end: Position(40),
            noted,
        };
        broken(place, slot, found, &known)
    }

    #[test]
    fn a_server_that_goes_on_is_taken_as_it_is() {
        let none = why(PLACE, Slot::There, &standing(None, 10), Noted::default());
        assert_eq!(none, None);
        let fresh = why(PLACE, Slot::There, &Standing::default(), Noted::default());
        assert_eq!(fresh, None, "nothing was projected yet");
    }

    #[test]
    fn a_slot_alone_may_be_gone() {
        for slot in [Slot::Missing, Slot::Lost] {
            let found = why(PLACE, slot, &standing(None, 10), Noted::default()).unwrap();
            assert!(found.is_same_history && found.is_same_log);
        }
    }

    #[test]
    fn a_server_that_went_back_is_seen_by_any_sign() {
        let mut promoted = PLACE;
        promoted.identity.timeline = 3;
        let mut short = PLACE;
        short.end = Lsn(899);
        let sound = standing(None, 10);
        let signs = [
            why(promoted, Slot::There, &sound, Noted::default()),
            why(short, Slot::There, &sound, Noted::default()),
            why(PLACE, Slot::There, &standing(None, 9), Noted::default()),
            why(PLACE, Slot::There, &standing(Some(3), 10), Noted::of(4)),
            why(PLACE, Slot::There, &sound, Noted::of(4)),
        ];
        for sign in signs {
            let sign = sign.unwrap();
            assert!(!sign.is_same_history && sign.is_same_log, "{sign:?}");
        }
    }

    #[test]
    fn a_break_is_remembered_until_rows_are_compared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(Break::with_remembered(path, None).unwrap(), None);
        let gone = why(PLACE, Slot::Missing, &standing(None, 10), Noted::default());
        gone.as_ref().unwrap().remember(path).unwrap();
        // The new slot is there, and rows were not compared.
        assert_eq!(Break::with_remembered(path, None).unwrap(), gone);
        let back = why(PLACE, Slot::There, &standing(None, 9), Noted::default());
        assert_eq!(Break::with_remembered(path, back.clone()).unwrap(), back);
        Break::forget(path).unwrap();
        assert_eq!(Break::with_remembered(path, None).unwrap(), None);
    }

    #[test]
    fn another_log_or_server_is_told_apart() {
        let mut other = PLACE;
        other.identity.system = 8;
        let mut beyond = standing(None, 10);
        beyond.given.as_mut().unwrap().position = Position(41);
        let signs = [
            why(other, Slot::There, &standing(None, 10), Noted::default()),
            why(PLACE, Slot::There, &beyond, Noted::default()),
            why(PLACE, Slot::There, &standing(Some(5), 10), Noted::of(4)),
        ];
        for sign in signs {
            assert!(!sign.unwrap().is_same_log);
        }
    }
}
