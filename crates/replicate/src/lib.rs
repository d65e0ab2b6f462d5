//! How regions come to agree: the state machines of replication, without clocks, sockets or files
//! of their own.
//!
//! [`Replica`] is one dataset in one region; for each peer it receives a stream, and a [`Sender`]
//! streams this region's log to the peer. Disks and tables come in through traits, time through
//! [`Now`]; the very same code runs in production and in the simulator.

mod acknowledgement;
mod ballots;
mod captured;
pub mod compare;
mod engine;
mod epochs;
mod error;
mod forwarding;
mod held;
mod identity;
mod intake;
mod letters;
mod membership;
mod presence;
mod proposal;
mod quorum;
mod receiver;
mod replica;
mod resume;
mod road;
mod sender;
mod snapshot;
mod standing;
mod standstill;
mod status;
mod upkeep;
mod witness;

pub use acknowledgement::{Acknowledgements, Holdings, Shortfall};
pub use engine::{Applying, Engine, EngineError, Executed, Records, SnapshotView};
pub use error::{CommitError, LOST_TABLES, OpenError, WriteError};
pub use forwarding::{Forwarding, HandOn, NoAnswer};
pub use letters::Decided;
pub use meridian_model::DecidedBy;
pub use meridian_model::Now;
pub use proposal::{Deciding, Proposal, ProposeError};
pub use quorum::{Progress, Reckoning, StrongRead, has_reached, is_agreed, reachable};
pub use receiver::StreamState;
pub use replica::{Config, Outgoing, Replica, Visible};
pub use road::{ROAD_FORMAT_1, Road};
pub use sender::{Answer, Sender};
pub use snapshot::{JoinProgress, Joiner, Opened, SnapshotRefusal};
pub use standing::{Arrival, OwnStanding};
pub use standstill::Standstill;
pub use status::PeerStatus;
