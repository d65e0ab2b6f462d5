//! The HTTP API of one region: tables, how replication stands, and what monitoring asks for.
//!
//! ```text
//! socket ─▶ serve ─▶ guard (token, counters) ─▶ handler ─▶ DatasetHandle ─▶ reply
//!                                                  └─ Problem (RFC 9457) ─▶ reply
//! ```
//!
//! A row's path is split and decoded here, from the URI as it came, because a key may hold any
//! character, `/` and NUL too. Documents stay the client's own text: they are checked, not built.
//! What a request may cost is bounded before it is read: connections, bytes of bodies under way,
//! time to send a header or a body.
//!
//! A dataset that could not be opened answers 503 with the reason; the others go on.

mod acknowledged;
mod aside;
mod backups;
mod conflicts;
mod consistency;
mod cursor;
mod dead_letters;
mod documents;
mod door;
mod exposition;
mod fault_request;
mod faults;
mod forwarded;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod health;
mod hints;
mod incoming;
mod increments;
mod integrity;
mod json;
mod listing;
mod live;
mod members;
mod metrics;
mod metrics_dns;
mod metrics_health;
mod metrics_postgres;
mod openapi;
mod parked;
mod postgres;
mod postgres_compare;
mod preconditions;
mod problem;
mod region_requests;
mod regions;
mod replication;
mod route;
mod routes;
mod rows;
mod sampling;
mod serve;
mod session;
mod shift_reports;
mod shift_requests;
mod shifts;
mod stalled;
mod state;
mod status;
mod steering_status;
mod timestamp;
mod transactions;
mod witness;
mod writes;

pub use door::Door;
pub(crate) use forwarded::carry_out;
pub(crate) use live::{unready, without_room};
pub use openapi::openapi;
pub use routes::router;
pub use serve::{ServeLimits, serve, serve_within};
pub use state::{Api, ApiState, DatasetState};
