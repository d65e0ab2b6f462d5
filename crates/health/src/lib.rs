//! From samples to verdicts: whether a region is up, and who may say so.
//!
//! ```text
//! probes ──▶ watch (overdue, late) ──▶ detector (thresholds, hold-down) ──▶ opinion
//!                                                                             │
//!            reports of other observers ──▶ board (fresh? in touch?) ──▶ vote ┴──▶ verdict
//! ```
//!
//! Every region's node runs one [`Observer`]. It decides and does nothing: time, answers and reports
//! come in through [`Observer::step`], probes to start and reports to send come out.
//!
//! The rules, and what they are worth with one region, two, two and a witness, or many:
//!
//! - an observer votes while it is *in touch* with a majority of all observers, itself counted: each
//!   of the two hears the other directly. One that is cut off sees everybody else dead, and nobody
//!   asks it;
//! - a verdict changes by more than half of those who vote and observe the service ([`Votes`]);
//! - where nobody is heard who may vote, verdicts about others stay as they are;
//! - reports are relayed, numbered and expire; no region has to trust another's clock.
//!
//! Refused: gossip with suspicion and refutation (SWIM), where one observer's timeout spreads as truth
//! unless the accused hears of it in time; a leader that decides, whose loss would be one more thing
//! to detect first; a phi accrual detector, whose time to detect nobody can promise beforehand.

mod board;
mod detector;
mod history;
mod hold_down;
mod maintenance;
mod observer;
mod preset;
mod quorum;
mod record;
mod report;
mod service;
mod status;
mod tally;
mod watch;

pub use detector::{DEGRADED_FROM, Detector, HEALTHY_TO, RECENT};
pub use history::{Change, ChangedBy, HISTORY_MAX, History};
pub use hold_down::HoldDown;
pub use maintenance::Maintenance;
pub use observer::{Input, Observer, Output, RegionHealth, Setup};
pub use preset::{Cadence, Preset};
pub use quorum::{Votes, majority};
pub use record::{Metrics, Record};
pub use report::{Opinion, Report, ReportNumber, Reports};
pub use service::{Needs, PerService, Service};
pub use status::Status;
pub use tally::TALLIED;
pub use watch::{Answer, ProbeId, Target};
