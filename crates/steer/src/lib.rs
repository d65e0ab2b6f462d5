//! Where a client goes: one pure function for DNS, the edge, TCP routes and explanations.
//!
//! ```text
//! Route (policy, needs, residency) ┐
//! Picture (health, places, shares) ├─ Table::compile ──▶ Table ──▶ decide(client) ──▶ Answer
//! drains and shifts in effect      ┘   when something changes          per question
//! ```
//!
//! What always holds of an answer, whatever the policy:
//!
//! - it names only regions that residency allows the client, and it is empty only if there are none;
//! - no region stands behind one of a worse [`Tier`]: healthy, degraded, drained but up, down;
//! - the same client gets the same answer as long as nothing changed.
//!
//! Drains and shifts are desired state ([`Desired`]): rows that replicate, staged, compared, applied
//! and undone, with checks that a person can override, but not the one that keeps a last region.

mod answer;
mod decide;
mod desired;
mod explain;
mod key;
mod ledger;
mod order;
mod picture;
mod place;
mod publisher;
mod ramp;
mod registry;
mod route;
mod set;
mod spill;
mod stage;
mod table;
mod tier;

pub use answer::{Answer, Entry};
pub use decide::Client;
pub use desired::{Desired, Effective, ParseWantError, Subject, Want, Wish};
pub use explain::{Explained, Explanation, LeftOut};
pub use key::Key;
pub use ledger::{CHANGES_KEPT, Change, Heard, Ledger, Telling, Told};
pub use meridian_topology::{Area, By, Choice, Clients, Country, Policy, Residency, To};
pub use picture::{Picture, RegionPicture};
pub use place::{Geo, Located, Spot};
pub use publisher::{Published, Publisher, SteeredRoute};
pub use ramp::{Condition, Ramp, Steps};
pub use registry::Registries;
pub use route::{Route, RouteError};
pub use set::RegionSet;
pub use spill::{Fullness, Spill};
pub use stage::{Checked, Difference, Limits, Refused, Stage};
pub use table::Table;
pub use tier::Tier;
