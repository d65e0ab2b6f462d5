//! A dataset whose rows are those of a PostgreSQL server beside the region.
//!
//! The dataset runs like an embedded one; here its log and tables are joined to the server
//! (`docs/adr/0015-postgresql-as-a-projection.md`). Whatever fails is tried again: a connection, the
//! server, a prerequisite that somebody mends meanwhile. Only what needs a person is shown as stopped.

mod attach;
mod captured;
mod compare;
mod conductor;
mod follow;
mod lag;
mod parking;
mod schema;
mod session;
mod status;
mod taken;
mod touched;
mod trouble;

pub use parking::SharedParked;
pub use status::{PostgresState, PostgresStatus, SharedStatus};

use crate::dataset::DatasetHandle;
use captured::Reading;
use conductor::{Conductor, Times};
use follow::Follower;
use lag::Lag;
use meridian_engine_postgres::apply::Applier;
use meridian_engine_postgres::capture::{Capture, CaptureError, ServerPlace, identify};
use meridian_engine_postgres::catalog::Selection;
use meridian_engine_postgres::projection::Projection;
use meridian_engine_postgres::server::{ServerConfig, connect};
use meridian_engine_postgres::tag::{TagKey, sign};
use meridian_engine_postgres::{Lsn, ServerIdentity};
use meridian_model::CapturedAt;
use meridian_topology::Strategy;
use parking::Parking;
use schema::Schema;
use session::Session;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use taken::Taken;
use trouble::Trouble;

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a dataset reaches its server.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// The dataset.
    pub dataset: String,
    /// The server.
    pub server: ServerConfig,
    /// The tables that replicate.
    pub selection: Selection,
    /// How writes that had not seen each other are decided, where a table has no rule of its own.
    pub strategy: Strategy,
    /// The tables with rules of their own.
    pub strategies: BTreeMap<String, Strategy>,
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// Where the key of the tags and large transactions are kept.
    pub directory: PathBuf,
}

/// Joins the dataset to its server for as long as it is polled.
pub(crate) async fn look_after(
    config: PostgresConfig,
    dataset: DatasetHandle,
    status: SharedStatus,
) {
    let mut pause = PAUSE_MIN;
    loop {
        status.change(|status| {
            status.slot.clone_from(&config.slot);
            if status.state != PostgresState::Stopped {
                status.state = PostgresState::Connecting;
            }
        });
        let trouble = match start(&config, &dataset, &status).await {
            Ok(conductor) => {
                pause = PAUSE_MIN;
                conductor.run().await
            }
            Err(trouble) => trouble,
        };
        tell(&dataset, &status, trouble);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn tell(dataset: &DatasetHandle, status: &SharedStatus, trouble: Trouble) {
    let dataset = dataset.name();
    let Trouble {
        reason,
        hint,
        is_transient,
    } = trouble;
    let before = status.now();
    if before.reason.as_ref() != Some(&reason) {
        if is_transient {
            tracing::warn!(dataset, reason, "not joined to PostgreSQL for now");
        } else {
            tracing::error!(dataset, reason, hint, "not joined to PostgreSQL");
        }
    }
    status.loses_contact();
    status.change(|status| {
        (status.reason, status.hint) = (Some(reason), hint);
        status.state = if is_transient {
            PostgresState::Connecting
        } else {
            PostgresState::Stopped
        };
    });
}

/// Connects, takes over what is there where the dataset never had anything of this server, and finds
/// the places to go on from.
async fn start<'a>(
    config: &'a PostgresConfig,
    dataset: &'a DatasetHandle,
    status: &'a SharedStatus,
) -> Result<Conductor<'a>, Trouble> {
    let client = connect(&config.server, "session").await?;
    let schema = Schema::load(&client, config).await?;
    std::fs::create_dir_all(&config.directory).map_err(|error| unwritable(&error))?;
    let place = identify(&config.server).await?;
    let mut taken = Taken::read(&config.directory)?;
    let (at, seen) = match dataset.captured().await {
        Some((at, seen)) if !attach::is_unfinished(at) => {
            is_same(place, at)?;
            attach::take_over_new(dataset, &client, &schema, &taken, (at, &seen)).await?;
            (at, seen)
        }
        _ => attach::attach(config, dataset, &schema, status).await?,
    };
    taken.note(&schema)?;
    let key = TagKey::open(&config.directory.join("tag.key"))
        .map_err(|error| Trouble::lasting(crate::dataset::describe(&error), WRITABLE))?;
    let writer = connect(&config.server, "apply").await?;
    let tables = schema.parents_first().map(|table| (**table).clone());
    let signing = key.clone();
    let mut applier = Applier::new(
        writer,
        &config.dataset,
        tables.collect(),
        Box::new(move |xid, tag| sign(&signing, xid, tag)),
    )
    .await?;
    let position = applier.position().await?;
    let started_at = applier.wal_position().await?;
    let parked = applier.parked().await?;
    let parking = Parking::new(status.parked(), &schema, &parked);
    let mut projection = Projection::new(started_at, parked);
    // Whatever kept them out may be mended since.
    projection.retry_parked();
    let follower = match position.map(|tag| Follower::start(dataset, tag.position)) {
        Some(Ok(follower)) => follower,
        // Nothing says where the server stands: every row is looked at.
        _ => attach::look_at_all(dataset, &client, &schema, &mut projection).await?,
    };
    let capture = captures(config, at, &key).await?;
    Ok(Conductor {
        config,
        dataset,
        status,
        schema,
        session: Session::new(client),
        capture,
        applier: Some(applier),
        follower,
        projection,
        reading: Reading::resume(place.identity, at, seen),
        times: Times::now(),
        parking,
        capture_lag: Lag::default(),
        write_lag: Lag::default(),
    })
}

/// The slot's stream behind what was captured; a transaction of which parts are missing comes again.
async fn captures(
    config: &PostgresConfig,
    at: CapturedAt,
    key: &TagKey,
) -> Result<Capture, CaptureError> {
    let (server, slot) = (&config.server, &config.slot);
    let (publication, spool) = (&config.publication, &config.directory.join("spool"));
    let end = Lsn(at.end);
    if at.is_last {
        Capture::start(server, slot, publication, end, key, spool).await
    } else {
        Capture::start_within(server, slot, publication, end, key, spool).await
    }
}

const WRITABLE: &str = "is the data directory writable?";

fn unwritable(error: &std::io::Error) -> Trouble {
    Trouble::lasting(crate::dataset::describe(error), WRITABLE)
}

/// A server that was restored, or another one, may have lost what was captured of it.
fn is_same(found: ServerPlace, known: CapturedAt) -> Result<(), Trouble> {
    let ServerIdentity { system, timeline } = found.identity;
    let what = if system != known.system {
        Some(format!("system {system} instead of {}", known.system))
    } else if timeline != known.timeline {
        Some(format!("timeline {timeline} instead of {}", known.timeline))
    } else if found.end.0 < known.end {
        Some(format!(
            "its WAL ends at {}, before {}",
            found.end,
            Lsn(known.end)
        ))
    } else {
        None
    };
    if let Some(what) = what {
        let reason =
            format!("this is not the server captured from so far, or not its history: {what}");
        let hint = "put the server back, or begin anew: empty its tables, and remove this region and \
                    add it again";
        return Err(Trouble::lasting(reason, hint));
    }
    Ok(())
}
