//! A witness: a member that keeps the log and votes, and holds no tables.
//!
//! It takes every stream, keeps what it took for as long as any member lacks it, hands it on,
//! reports, votes and adopts, all like any member, so that two regions and a witness are three. What
//! it leaves out is to apply: its engine follows with the position and the road's state alone. So:
//!
//! - It counts as a holder of what its log holds, for acknowledgements and for strong reads alike;
//!   both reckon with logs (`docs/adr/0016-a-witness-holds-the-log.md`).
//! - What it reports as applied is what it holds. That is no untruth: collection asks whether a
//!   member may yet write without having seen something, and a witness never writes.
//! - It takes no transactions of clients, gives no snapshots, and sets no dead letters aside.
//! - One that joins needs the marks at which a snapshot stands, and none of its records.
//!
//! Who is a witness is in every region's topology and in no epoch. A region that didn't know would
//! ask in vain for rows and be told so; what it decides stays right, but that it could let the last
//! region with tables go.

use crate::{Engine, Replica};
use meridian_log::Disk;
use meridian_model::{Epoch, RegionName, Standing};
use std::collections::BTreeSet;

impl<D: Disk, E: Engine> Replica<D, E> {
    /// The regions that hold no tables.
    #[must_use]
    pub fn witnesses(&self) -> &BTreeSet<RegionName> {
        &self.config.witnesses
    }

    /// Whether this region holds no tables.
    #[must_use]
    pub fn is_witness(&self) -> bool {
        self.config.witnesses.contains(&self.config.region)
    }

    /// Whether somebody takes writes in this epoch, and goes on to.
    pub(crate) fn somebody_writes(&self, epoch: &Epoch) -> bool {
        let mut members = epoch.members.iter();
        members.any(|(region, member)| {
            member.standing == Standing::Voting && !self.config.witnesses.contains(region)
        })
    }
}
