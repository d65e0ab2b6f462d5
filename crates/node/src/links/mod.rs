//! The links of a region: for each peer one connection that this region dials, to receive the
//! peer's streams, and one that the peer dials, to receive this region's.
//!
//! ```text
//! datasets ◀─entries─ receive ◀══ dialled ══▶ peer      subscriptions and acks go out on it
//! logs ─────entries─▶ serve   ◀══ accepted ═▶ peer      and come in on this one
//! ```
//!
//! A link carries every dataset; each has a stream of its own with a window of its own, so one
//! that stands still doesn't hold up the others.

mod receive;
mod serve;

pub(crate) use receive::receive;
pub(crate) use serve::{Streams, accept};
