//! Capture and projection of one dataset, together: from one connection of the server to its loss.
//!
//! ```text
//!  slot ──events──▶ conductor ──transactions──▶ the dataset's thread (log, tables)
//!                     │   ▲                            │ log grows
//!                     │   └── rows touched, snapshot ◀─┘
//!                     └──batch──▶ applier ──▶ server
//! ```
//!
//! All decisions are [`Projection`]'s; here is only what waits. What was captured is durable in the
//! log before the slot is told that it may forget it. What the server had been given before a
//! transaction (`seen`) comes out of the tags in the WAL, in order with the transactions, and is
//! noted in the log too before the slot may forget the tag.

use super::PostgresConfig;
use super::follow::Follower;
use super::schema::Schema;
use super::status::{PostgresState, SharedStatus};
use super::trouble::Trouble;
use crate::dataset::{CapturedTransaction, DatasetHandle, Input};
use meridian_engine_postgres::apply::Applier;
use meridian_engine_postgres::capture::{self, Capture, Event};
use meridian_engine_postgres::changes::Fold;
use meridian_engine_postgres::projection::{Outcome, Projected, Projection};
use meridian_engine_postgres::{Lsn, ServerIdentity, Xid};
use meridian_model::{CapturedAt, RowName, Vector};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const TICK: Duration = Duration::from_millis(100);
/// How often writers that were captured long ago are forgotten: the horizon moves on.
const HORIZON_EVERY: Duration = Duration::from_secs(1);
/// What was seen is noted in the log at most so often where no transaction carries it.
const NOTE_EVERY: Duration = Duration::from_millis(500);
/// At most so many transactions go into the log at once.
const TRANSACTIONS_MAX: usize = 512;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

type Writing = Pin<Box<dyn Future<Output = (Applier, Result<Outcome, Trouble>)> + Send>>;
