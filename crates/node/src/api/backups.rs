//! What a backup is made of, in pieces: the parts of a snapshot, then the log's entries.
//!
//! Each reply is one block and small; a client that lost one asks again for the same, and a backup
//! that was interrupted goes on where it was.

use super::incoming::Incoming;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use crate::dataset::{DatasetHandle, MachineClock, describe};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use meridian_backup::{Block, Content, Source};
use meridian_log::{Batch, LogError};
use meridian_model::{Position, SnapshotId};
use meridian_replicate::SnapshotRefusal;

/// A block is this large at most, in bytes, unless one record or entry is larger.
const BLOCK_BYTES: usize = 1 << 20;

/// What is wanted.
enum Wanted {
    Snapshot {
        id: SnapshotId,
        after: Option<Vec<u8>>,
    },
    Entries(Position),
}

/// Reads a piece of a backup.
#[utoipa::path(
    get,
    path = "/v1/datasets/{dataset}/backup",
    tag = "backup",
    params(
        ("dataset" = String, Path, description = "The dataset."),
        ("snapshot" = Option<String>, Query, description = "A part of the snapshot of this number, \
            16 hexadecimal digits drawn by the client; one that isn't known is opened."),
        ("after" = Option<String>, Query, description = "The key of the last record received, in \
            hexadecimal; absent for the first part."),
        ("position" = Option<String>, Query, description = "The log's entries from this position \
            on, instead of a snapshot."),
    ),
    responses(
        (status = 200, description = "A block, as files of a backup have it.", body = Vec<u8>,
            content_type = "application/octet-stream"),
        (status = 410, description = "The snapshot is not known any more, or the log no longer \
            reaches back to the position.", content_type = "application/problem+json",
            body = super::openapi::Problem),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn backup(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let name = incoming.dataset()?.into_owned();
    let wanted = wanted(incoming.query(["snapshot", "after", "position"])?)?;
    let dataset = state.running().find(|dataset| dataset.name() == name);
    let Some(dataset) = dataset.cloned() else {
        let detail = format!("dataset {name:?} doesn't run in this region");
        return Err(Problem::new(Kind::DatasetNotServed, detail)
            .hint("`meridian status` lists the datasets"));
    };
    // Before anything is read: all that is acknowledged by now is in it.
    let taken_at = MachineClock::start().now().wall;
    let content = match wanted {
        Wanted::Snapshot { id, after } => snapshot(&dataset, id, after).await?,
        Wanted::Entries(position) => entries(&dataset, position).await?,
    };
    let block = Block {
        source: Source {
            dataset: name,
            region: state.api().region.clone(),
            origin: dataset.origin(),
        },
        taken_at,
        content,
    };
    let mut response = Response::new(Body::from(block.encode()));
    *response.status_mut() = StatusCode::OK;
    let kind = header::HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn wanted([snapshot, after, position]: [Option<String>; 3]) -> Result<Wanted, Problem> {
    let bad = |detail: &str| Problem::new(Kind::BadQuery, detail);
    match (snapshot, position) {
        (Some(id), None) => {
            let id = u64::from_str_radix(&id, 16);
            let after = after.map(|key| from_hex(&key).ok_or(()));
            Ok(Wanted::Snapshot {
                id: SnapshotId(id.map_err(|_| bad("snapshot is not a hexadecimal number"))?),
                after: after
                    .transpose()
                    .map_err(|()| bad("after is not in hexadecimal"))?,
            })
        }
        (None, Some(position)) if after.is_none() => {
            let position = position.parse();
            let position = position.map_err(|_| bad("position is not a number"))?;
            Ok(Wanted::Entries(Position(position)))
        }
        _ => Err(bad("either snapshot (and after) or position must be given")),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

async fn snapshot(
    dataset: &DatasetHandle,
    id: SnapshotId,
    after: Option<Vec<u8>>,
) -> Result<Content, Problem> {
    let opened = dataset.snapshot(id, after.is_none()).await;
    let opened = opened.map_err(|refusal| {
        let detail = refusal.to_string();
        match refusal {
            SnapshotRefusal::Gone => Problem::new(Kind::BackupGone, detail).hint("begin anew"),
            SnapshotRefusal::Busy { .. } | SnapshotRefusal::Unfinished => {
                Problem::new(Kind::TooBusy, detail).retry_after(5)
            }
            SnapshotRefusal::Witness => Problem::new(Kind::Witness, detail),
            SnapshotRefusal::Stopped { .. } => Problem::new(Kind::DatasetStopped, detail),
        }
    })?;
    let read = move || opened.part(after.as_deref(), BLOCK_BYTES);
    match given_up(tokio::task::spawn_blocking(read).await)? {
        Ok(part) => Ok(Content::Snapshot(part)),
        Err(error) => Err(Problem::new(Kind::TablesFailed, describe(&error))),
    }
}

async fn entries(dataset: &DatasetHandle, position: Position) -> Result<Content, Problem> {
    let log = dataset.log();
    let read = move || {
        let batch = log.read(position, BLOCK_BYTES)?;
        let is_last = batch.next >= log.end();
        Ok::<_, LogError>((batch, is_last))
    };
    match given_up(tokio::task::spawn_blocking(read).await)? {
        Ok((Batch { entries, .. }, is_last)) => Ok(Content::Entries {
            first: position,
            entries,
            is_last,
        }),
        Err(error @ (LogError::Trimmed { .. } | LogError::BeyondEnd { .. })) => {
            Err(Problem::new(Kind::BackupGone, error.to_string())
                .hint("take a new snapshot; log-retention keeps entries for longer"))
        }
        Err(error) => Err(Problem::new(Kind::Internal, describe(&error)).hint(error.hint())),
    }
}

fn given_up<T>(joined: Result<T, tokio::task::JoinError>) -> Result<T, Problem> {
    joined.map_err(|error| Problem::new(Kind::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_hexadecimal_read_back_and_others_are_refused() {
        assert_eq!(from_hex("00ff72"), Some(vec![0, 255, b'r']));
        assert_eq!(from_hex(""), Some(vec![]));
        for bad in ["0", "0g", "+1", "é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_wanted_must_be_one_thing() {
        let query = |snapshot: &str, after: &str, position: &str| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            wanted([given(snapshot), given(after), given(position)])
        };
        assert!(query("ff", "", "").is_ok());
        assert!(query("ff", "72", "").is_ok());
        assert!(query("", "", "7").is_ok());
        for (snapshot, after, position) in [
            ("", "", ""),
            ("ff", "", "7"),
            ("", "72", "7"),
            ("xyz", "", ""),
            ("", "", "-1"),
        ] {
            assert!(query(snapshot, after, position).is_err());
        }
    }
}
