//! A dataset at work: one thread that owns its replica, and handles to it.
//!
//! ```text
//! API ──execute──▶ ┌────────┐ stage… stage… ─▶ log (one fdatasync) ─▶ tables ─▶ replies
//! links ─message─▶ │ inbox  │                                             └────▶ acks, subscriptions
//!                  └────────┘
//! ```
//!
//! The thread takes all that waits in its inbox as one round, so a group commit grows with the load
//! by itself and an idle dataset commits at once. Readers don't pass through here: they read the
//! committed tables directly.

use crate::faults::FaultyDisk;
use meridian_log::Directory;

mod alarms;
mod bootstrap;
mod capturing;
mod clock;
mod delays;
mod describe;
mod forwarding;
mod handle;
mod mending;
mod open;
mod postman;
mod questions;
mod repair;
mod replies;
mod role;
mod room;
mod thread;

pub(crate) use bootstrap::discard;
pub use bootstrap::{AskPeers, BootstrapProgress, bootstrap, needs_bootstrap};
pub(crate) use capturing::{CaptureError, CapturedTransaction};
pub use clock::{ClockOffset, MachineClock};
pub use delays::{DelaySummary, Delays};
pub use handle::{DatasetHandle, DatasetStatus, ExecuteError, Membership, PeerReport, Written};
pub use open::{DatasetConfig, OpenDatasetError, open};
pub use questions::AskError;
pub use repair::{Completed, Integrity, PeerIntegrity, Progress, RepairConfig, RunError, Totals};
pub use role::is_on_postgres;
pub use room::Shortage;
pub use thread::Running;

/// One state of a dataset's tables.
pub(crate) type TablesSnapshot = meridian_engine_kv::Snapshot<
    <meridian_engine_kv::FjallStore as meridian_engine_kv::Store>::View,
>;

/// The disk under a dataset's log.
pub type LogDisk = FaultyDisk<Directory>;

#[cfg(test)]
pub(crate) use handle::tests::config as config_for_tests;

pub(crate) use describe::{apart, describe};
pub(crate) use forwarding::{ForwardError, ForwardedReply};
pub(crate) use handle::Input;
pub(crate) use open::{is_full, open_asking};
pub(crate) use questions::Questions;
pub(crate) use repair::{Request as CompareRequest, answer, look_after, run as compare};
