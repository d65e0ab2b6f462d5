//! A server and tables meet: for the first time, or after capture lost its thread. What tells then whose
//! state a row is. Pure.
//!
//! ```text
//! history: does capture go on where it stood? ── no ──▶ evidence ──▶ judge: each row that differs
//!    ▲                                                   ▲    ▲
//!    └──────────── mark, and what the server was given ──┘    └── rest, fills: what was decided before
//! ```
//!
//! What the server says of itself went back together with its rows, if it did; so it is what they are
//! judged by. Who reads it, and carries out what comes of it, is the node and the simulator.

mod evidence;
pub mod fills;
pub mod history;
mod judge;
pub mod mark;
mod parting;
pub mod rest;

pub use evidence::{Asked, Evidence, Facts, Since};
pub use judge::{Basis, Has, Kind, Left, States, Verdict, Writers};
pub use parting::Parting;

use meridian_model::CapturedAt;

/// What marks transactions that take over rows: no transaction of a server has so many parts.
pub const TAKING_OVER: u32 = 1 << 31;

/// Whether rows that were there are taken over with this, instead of a transaction of the server.
#[must_use]
pub fn is_taking(at: CapturedAt) -> bool {
    at.part >= TAKING_OVER
}

/// Whether the rows that were there are taken over in part only.
#[must_use]
pub fn is_unfinished(at: CapturedAt) -> bool {
    !at.is_last && is_taking(at)
}

/// What is done about a row that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is written into the server as the tables have it.
    Write,
    /// It becomes a write of this region as the server has it.
    Take,
}

impl Action {
    /// Where nothing tells, as the server has it if somebody said so. Of rows that are lacking a side is
    /// asked for only where somebody may have written meanwhile ([`Evidence::asks`]).
    #[must_use]
    pub fn of(verdict: Verdict, is_server_right: bool) -> Self {
        match verdict {
            Verdict::Older => Self::Write,
            Verdict::Local => Self::Take,
            Verdict::Unknown | Verdict::Lacking if is_server_right => Self::Take,
            Verdict::Unknown | Verdict::Lacking => Self::Write,
        }
    }
}
