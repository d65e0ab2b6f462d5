//! A dataset whose rows are those of a PostgreSQL server beside the region.
//!
//! The dataset runs like an embedded one; here its log and tables are joined to the server
//! (`docs/adr/0015-postgresql-as-a-projection.md`). Whatever fails is tried again: a connection, the
//! server, a prerequisite that somebody mends meanwhile. Only what needs a person is shown as stopped.

mod aside;
mod attach;
mod beside;
mod captured;
mod checks;
mod compare;
mod conductor;
mod control;
mod detached;
mod evidence;
mod fills;
mod follow;
mod history;
mod lag;
mod large;
mod many;
mod mark;
mod meet;
mod newcomers;
mod noted;
mod parking;
mod question;
mod refill;
mod returned;
mod rhythm;
mod schema;
mod session;
mod settled;
mod status;
mod taken;
mod taking;
mod touched;
mod trouble;
mod ungiven;

pub(crate) use checks::{CheckOrder, ServerComparison, compare_in_background};
pub(crate) use control::Choice;
pub use control::Side;
pub(crate) use mark::kept_from;
pub(crate) use noted::{forget_given_up, given_up};
pub use parking::SharedParked;
pub use status::{PostgresState, PostgresStatus, SharedStatus};

use crate::dataset::{CaptureError as TakeError, DatasetHandle};
use aside::RowsAside;
use captured::Reading;
use compare::unreadable;
use conductor::{Conductor, Times};
use follow::Follower;
use lag::Lag;
use meet::Meeting;
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::apply::{Applier, forget_parked};
use meridian_engine_postgres::capture::{Capture, CaptureError, identify};
use meridian_engine_postgres::catalog::Selection;
use meridian_engine_postgres::meeting::mark::{Mark, Marks};
use meridian_engine_postgres::meeting::{
    self,
    history::{Known, Slot, Start},
};
use meridian_engine_postgres::projection::{Parked, Projection};
use meridian_engine_postgres::server::{ServerConfig, connect, connect_held};
use meridian_engine_postgres::tag::{TagKey, seal};
use meridian_model::{CapturedAt, Position};
use meridian_topology::Strategy;
use newcomers::Newcomers;
use parking::Parking;
use refill::Refill;
use rhythm::{Flushes, Gathering};
use schema::Schema;
use session::Session;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};
use taken::Taken;
use tokio_postgres::Client;
use trouble::Trouble;
use ungiven::Ungiven;

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether the dataset takes writes already, after a start.
const SETTLED_EVERY: Duration = Duration::from_millis(20);
/// Those that a region which joins knows of connect to it within this, or they are away.
const HEARD_OF_WITHIN: Duration = Duration::from_secs(3);
/// Comparing all rows again while nobody has said which are right is worth it only so often.
const QUESTION_PAUSE: Duration = Duration::from_secs(60);

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
    status.configure(&config);
    loop {
        let detached = status.control().is_detached(&config.directory);
        if matches!(detached, Ok(true)) {
            detached::stay(&config, &dataset, &status).await;
            pause = PAUSE_MIN;
            continue;
        }
        status.change(|status| {
            status.slot.clone_from(&config.slot);
            let is_said = [PostgresState::Stopped, PostgresState::Waiting];
            if !is_said.contains(&status.state) {
                status.state = PostgresState::Connecting;
            }
        });
        let started = match detached {
            Ok(_) => {
                let start = start(&config, &dataset, &status);
                match unless_detached(&config, &status, start).await {
                    Some(started) => started,
                    None => continue,
                }
            }
            Err(trouble) => Err(trouble),
        };
        let trouble = match started {
            Ok(conductor) => {
                status.change(|status| status.tries += 1);
                let ended = until_detached(&config, &status, conductor.run()).await;
                if status.now().state == PostgresState::Running {
                    pause = PAUSE_MIN;
                }
                match ended {
                    Some(trouble) => trouble,
                    None => continue,
                }
            }
            // Somebody answered after it had looked whether anybody did.
            Err(trouble) if trouble.is_question && !status.control().choice().is_empty() => {
                continue;
            }
            Err(trouble) => {
                status.change(|status| status.tries += 1);
                trouble
            }
        };
        let wait = if trouble.is_question {
            QUESTION_PAUSE
        } else {
            pause
        };
        tell(&dataset, &status, trouble);
        tokio::select! {
            () = tokio::time::sleep(wait) => pause = (pause * 2).min(PAUSE_MAX),
            () = status.control().changed() => pause = PAUSE_MIN,
        }
    }
}

/// Says, for as long as it is polled, that the dataset counts no more here and so has nothing to do with
/// its server. Let go of it can be all the same: nobody else drops the slot, for which the server keeps
/// its WAL.
pub(crate) async fn counts_no_more(config: PostgresConfig, dataset: DatasetHandle) {
    let status = dataset.postgres().clone();
    // It may have known when it was started.
    status.configure(&config);
    status.change(|status| {
        status.slot.clone_from(&config.slot);
        status.differing.clear();
    });
    loop {
        let detached = status.control().is_detached(&config.directory);
        let looks_again = detached.is_err();
        let trouble = match detached {
            Ok(true) => {
                detached::stay(&config, &dataset, &status).await;
                continue;
            }
            Ok(false) => {
                let hint = format!(
                    "`{}` lets it join anew; `meridian postgres detach` drops the slot, for which the \
                     server keeps its WAL",
                    dataset.way_back()
                );
                Trouble::lasting(COUNTS_NO_MORE, &hint)
            }
            Err(trouble) => trouble,
        };
        // Whoever waits for what comes of attaching or detaching it hears of this.
        status.change(|status| status.tries += 1);
        tell(&dataset, &status, trouble);
        tokio::select! {
            () = tokio::time::sleep(PAUSE_MAX), if looks_again => {}
            () = status.control().changed() => {}
        }
    }
}

/// What comes of a start; `None` where it is given up because the dataset is to be detached. What it
/// has begun by then is as after a crash.
async fn unless_detached<T>(
    config: &PostgresConfig,
    status: &SharedStatus,
    start: impl Future<Output = T>,
) -> Option<T> {
    let mut start = pin!(start);
    loop {
        tokio::select! {
            started = &mut start => return Some(started),
            () = status.control().changed() => {
                if matches!(status.control().is_detached(&config.directory), Ok(true)) {
                    return None;
                }
            }
        }
    }
}

/// What ends it; `None` where it is to be detached.
async fn until_detached(
    config: &PostgresConfig,
    status: &SharedStatus,
    run: impl Future<Output = Trouble>,
) -> Option<Trouble> {
    let mut run = pin!(run);
    loop {
        tokio::select! {
            trouble = &mut run => return Some(trouble),
            () = status.control().changed() => {
                if matches!(status.control().is_detached(&config.directory), Ok(true)) {
                    return None;
                }
                // There was nothing to choose.
                status.control().decided();
            }
        }
    }
}

fn tell(dataset: &DatasetHandle, status: &SharedStatus, trouble: Trouble) {
    let dataset = dataset.name();
    let Trouble {
        reason,
        hint,
        is_transient,
        is_refused,
        ..
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
        status.state = match (is_refused, is_transient) {
            (true, _) => PostgresState::Waiting,
            (false, true) => PostgresState::Connecting,
            (false, false) => PostgresState::Stopped,
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
    must_take(dataset, status).await?;
    let client = connect(&config.server, "session").await?;
    let schema = Schema::load(&client, config).await?;
    std::fs::create_dir_all(&config.directory).map_err(|error| unwritable(&error))?;
    let place = identify(&config.server).await?;
    let mut taken = Taken::read(&config.directory)?;
    schema.must_have_keys(&taken)?;
    tell_of(status, dataset, schema.notices(&taken));
    if let Some(what) = schema.left_out() {
        taken.leave()?;
        let reason = format!("publication {} leaves out {what}", config.publication);
        return Err(Trouble::lasting(reason, LEFT_OUT));
    }
    let mut marks = Marks::new(mark::noted(&config.directory)?);
    let mut refill = Refill::read(&config.directory)?;
    let captured = dataset.captured().await;
    if captured.is_none() {
        // It was given a copy perhaps. What the log touches later is looked at when it comes.
        let tables = dataset.tables().tables().map_err(unreadable)?;
        let mut tables = tables.iter().filter(|it| config.selection.takes_called(it));
        tables.try_for_each(|table| schema.must_have(table))?;
    }
    must_be_own(dataset, config, &client).await?;
    let key = TagKey::open(&config.directory.join("tag.key"))
        .map_err(|error| Trouble::lasting(crate::dataset::describe(&error), WRITABLE))?;
    let writer = connect_held(&config.server, "apply").await?;
    let tables = schema.parents_first().map(|table| (**table).clone());
    let sealing = key.clone();
    let mut applier = Applier::new(
        writer,
        &config.dataset,
        tables.collect(),
        Box::new(move |tag| seal(&sealing, tag)),
    )
    .await?;
    // Before anything is read of the server that an earlier session may still change.
    applier.take_over().await?;
    let standing = history::standing(&client, config).await?;
    let slot = history::slot(&client, &config.slot).await?;
    let remembered = history::remembered(&config.directory)?;
    let known = Known {
        captured: captured.as_ref(),
        remembered: remembered.as_ref(),
        given: refill.given(),
        log_end: dataset.log().end(),
        noted: marks.noted(),
    };
    let was_due = refill.is_due();
    let (mut lacking, mut lacking_from) = (Vec::new(), Position(0));
    let (at, seen, met) = match meeting::history::start((place, slot), &standing, &known) {
        Start::GoesOn(at, seen) => {
            let newcomers = Newcomers {
                config,
                dataset,
                schema: &schema,
                status,
                taken: &taken,
            };
            adopt(config, &mut marks, standing.mark)?;
            if let Some(writing) = marks.renewed() {
                let (directory, server) = (config.directory.clone(), (&client, &*config.dataset));
                marks.written(&mark::carry_out(writing, directory, server).await?);
            }
            (lacking, lacking_from) = newcomers.take_over(&client, (at, &seen)).await?;
            // There was nothing to choose, and what was noted of another server says nothing of this one.
            status.control().decided();
            history::forget(&config.directory)?;
            detached::met(&config.directory)?;
            (at, seen, None)
        }
        Start::Meets(broken) => {
            let meeting = Meeting {
                config,
                dataset,
                schema: &schema,
                status,
                taken: &taken,
                broken,
                before: captured.as_ref(),
            };
            let met = meeting.hold(&mut refill).await?;
            adopt(config, &mut marks, met.mark)?;
            (
                met.at,
                met.seen,
                Some((met.position, met.dirty, met.ungiven)),
            )
        }
    };
    let (met, mut ungiven) = match met {
        Some((position, dirty, ungiven)) => (Some((position, dirty)), ungiven),
        None if was_due => (None, Ungiven::read(&config.directory, at)?),
        None => (None, Ungiven::none(&config.directory)),
    };
    if !lacking.is_empty() {
        // Before the tables count as taken over: nothing else tells of these rows.
        let tables = lacking.iter().map(|it| it.row.table.clone()).collect();
        let filled_at = (dataset.origin(), lacking_from);
        fills::note(&config.directory, tables, filled_at)?;
        ungiven.add(&lacking, lacking_from)?;
        refill.begin()?;
    }
    taken.note(&schema)?;
    let position = applier.position().await?;
    let started_at = applier.wal_position().await?;
    let parked = parked_rows(&client, config, &schema, &applier).await?;
    let parking = Parking::new(status.parked(), &schema, &parked);
    status.inquiries().forget();
    let mut projection = Projection::new(started_at, parked);
    // Whatever kept them out may be mended since.
    projection.retry_parked();
    let started = position.map(|tag| Follower::start(dataset, tag.position));
    let follower = match (met, started) {
        (Some((position, dirty)), _) => {
            projection.given_nothing();
            projection.touched(dirty);
            Follower::from_here(dataset, position)?
        }
        (None, Some(Ok(follower))) if !was_due => follower,
        // Nothing says where the server stands: every row is looked at.
        _ => {
            let follower = attach::look_at_all(dataset, &client, &schema, &mut projection).await?;
            if refill.is_due() || projection.dirty_rows() > 0 {
                // What is the same on both sides has been given.
                ungiven.keep_only(projection.dirty())?;
                refill.begin()?;
            }
            follower
        }
    };
    projection.touched(lacking.into_iter().map(|lacking| lacking.row));
    let capture = captures(config, at, &key).await?;
    Ok(Conductor {
        config,
        dataset,
        status,
        schema,
        session: Session::new(client),
        capture,
        applier: Some(applier),
        began_at: follower.position(),
        follower,
        projection,
        reading: Reading::resume(place.identity, (at, seen), ungiven),
        marks,
        marking: None,
        noting: None,
        gathering: Gathering::default(),
        flushes: Flushes::default(),
        refill,
        times: Times::now(),
        large: None,
        rows_writing: 0,
        aside: RowsAside::new(&config.directory.join("spool")),
        many_shown: None,
        is_planning_many: false,
        parking,
        capture_lag: Lag::default(),
        write_lag: Lag::default(),
    })
}

/// Shows what has changed in the server since it was prepared, and says what is new of it.
fn tell_of(status: &SharedStatus, dataset: &DatasetHandle, notices: Vec<String>) {
    let before = status.now().notices;
    for notice in notices.iter().filter(|notice| !before.contains(notice)) {
        tracing::warn!(
            dataset = dataset.name(),
            notice,
            hint = "`meridian postgres prepare` says what to do",
            "the server isn't as it was prepared"
        );
    }
    status.change(|status| status.notices = notices);
}

/// Waits until the other regions have said whether this one's log is whole, or can't. Where it isn't, what
/// the tables show is older than what the server has been given: neither may tell the other anything. Nor
/// may they where the others would not understand it.
async fn must_take(dataset: &DatasetHandle, status: &SharedStatus) -> Result<(), Trouble> {
    let since = Instant::now();
    let stood = loop {
        let stood = dataset.status();
        let is_heard = stood.unread_absorption.is_none() || since.elapsed() > HEARD_OF_WITHIN;
        if stood.settled && is_heard {
            break stood;
        }
        tokio::time::sleep(SETTLED_EVERY).await;
    };
    let Some(reason) = stood.stopped else {
        // Comparing all rows comes before the first that is captured.
        return stood
            .unread_absorption
            .map_or(Ok(()), |reason| Err(Trouble::unread(reason)));
    };
    // A side that is chosen now isn't what was asked about.
    status.control().decided();
    Err(TakeError::Stopped(format!("the dataset is stopped: {reason}")).into())
}

/// That the slot isn't that of another region which counts: it would be taken from that one, with what the
/// server has yet to tell there.
async fn must_be_own(
    dataset: &DatasetHandle,
    config: &PostgresConfig,
    client: &Client,
) -> Result<(), Trouble> {
    let slot = history::slot(client, &config.slot).await?;
    if slot == Slot::Missing || !history::is_there(client).await? {
        return Ok(());
    }
    let Some(mark) = history::standing(client, config).await?.mark else {
        return Ok(());
    };
    let membership = dataset.membership();
    let mut others = membership.epoch.members.iter();
    let others = others
        .find(|(region, member)| *region != dataset.region() && member.origin == Some(mark.origin));
    let Some((region, _)) = others else {
        return Ok(());
    };
    let slot = &config.slot;
    let hint = format!(
        "give each region's url a database of its own; where this is this region's own all the same (a copy \
         of that one's, or that one's url led here for a while), drop the slot: SELECT \
         pg_drop_replication_slot('{slot}')"
    );
    let reason =
        format!("the database is region {region}'s: its mark and its slot {slot} are there");
    Err(Trouble::lasting(reason, &hint))
}

/// Goes on from the mark that the server has.
fn adopt(config: &PostgresConfig, marks: &mut Marks, found: Option<Mark>) -> Result<(), Trouble> {
    match marks.adopt(found) {
        Some(noted) => mark::note(&config.directory, noted),
        None => Ok(()),
    }
}

/// The rows that are kept out of tables which replicate. Those of a table that was dropped are forgotten:
/// if it is made again, all its rows are looked at.
async fn parked_rows(
    client: &Client,
    config: &PostgresConfig,
    schema: &Schema,
    applier: &Applier,
) -> Result<Vec<Parked>, Trouble> {
    let parked = applier.parked().await?;
    let (parked, others): (Vec<_>, Vec<_>) = parked
        .into_iter()
        .partition(|it| schema.named(&it.row.table).is_some());
    let others: BTreeSet<String> = others.into_iter().map(|it| it.row.table).collect();
    let others: Vec<String> = others.into_iter().collect();
    if !others.is_empty() {
        let query = "SELECT t FROM unnest($1::text[]) t WHERE t NOT IN \
                     (SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
                      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)";
        let dropped = client.query(query, &[&others]).await?;
        let dropped = dropped.iter().map(|row| row.try_get(0));
        let dropped: Vec<String> = dropped.collect::<Result<_, _>>()?;
        forget_parked(client, &config.dataset, &dropped).await?;
    }
    Ok(parked)
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

const COUNTS_NO_MORE: &str = "this region counts no more";

const LEFT_OUT: &str = "`meridian postgres prepare --apply` makes it whole; the region goes on by itself \
                        then, and compares its tables' rows, for what was written meanwhile was told \
                        by nobody";

const WRITABLE: &str = "is the data directory writable?";

fn unwritable(error: &std::io::Error) -> Trouble {
    Trouble::lasting(crate::dataset::describe(error), WRITABLE)
}
