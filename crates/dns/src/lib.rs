//! Authoritative DNS: names whose answers follow the health of regions.
//!
//! ```text
//!  topology ──▶ zones ──┐
//!                       ├──▶ View ──swap──▶ Responder ◀── datagrams, streams
//!  verdicts ──▶ Steer ──┘                       │
//!                                               └──▶ answers
//! ```
//!
//! Everything that can be known before a question comes is made before it comes: names are keys,
//! records are octets ([`RecordSet`]), a region's addresses are a set of their own. Answering is
//! reading the question ([`query`]), a look-up ([`zone`]), where the name is steered one call of
//! [`Steer`], and copying. [`Responder::respond`] does it without waiting for anything, so that with
//! every peer gone answers are what they last were. [`server`] is the only part that has sockets.

mod answer;
mod cookie;
pub mod dnssec;
mod limit;
mod owner;
pub mod query;
mod records;
mod respond;
mod response;
pub mod server;
mod service;
pub mod zone;

pub use cookie::CookieSecret;
pub use limit::{Limited, Limiter};
pub use owner::{NAME_OCTETS_MAX, Owner, OwnerError};
pub use records::{Record, RecordSet, Records};
pub use respond::{Moment, Outcome, Responder, Transport, View};
pub use response::UDP_OCTETS_MAX;
pub use service::{Answers, CHOSEN_MAX, Chosen, Client, Steer, Steered};
