//! Where faults take hold.

use super::{DiskLevers, Fault};
use crate::dataset::ClockOffset;
use meridian_link::{LinkFaults, Shaping};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// All that faults can move in a region.
#[derive(Debug)]
pub struct Levers {
    links: Shaping,
    disk: DiskLevers,
    clock: ClockOffset,
    /// The peers whose links were ever touched: only these need to be set right again.
    touched: Mutex<BTreeSet<String>>,
}

impl Levers {
    pub(super) fn new(links: Shaping, disk: DiskLevers, clock: ClockOffset) -> Self {
        Self {
            links,
            disk,
            clock,
            touched: Mutex::default(),
        }
    }

    /// Sets every lever to what these faults, and no others, want.
    pub(super) fn set<'a>(&self, faults: impl Iterator<Item = &'a Fault>) {
        let (mut is_full, mut disk_added, mut offset_ms) = (false, Duration::ZERO, 0);
        let mut links: BTreeMap<&str, LinkFaults> = BTreeMap::new();
        for fault in faults {
            for peer in fault.peers() {
                worsen(links.entry(peer).or_default(), fault);
            }
            match fault {
                Fault::SlowDisk { added } => disk_added = *added,
                Fault::FullDisk => is_full = true,
                Fault::ClockOffset { offset_ms: ms } => offset_ms = *ms,
                Fault::Partition { .. } | Fault::Latency { .. } | Fault::Loss { .. } => {}
            }
        }
        self.disk.set_full(is_full);
        self.disk.set_added(disk_added);
        self.clock.set_ms(offset_ms);
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.extend(links.keys().map(ToString::to_string));
        for peer in touched.iter() {
            let faults = links.get(peer.as_str()).copied().unwrap_or_default();
            self.links.peer(peer).set_faults(faults);
        }
    }
}

fn worsen(link: &mut LinkFaults, fault: &Fault) {
    match fault {
        Fault::Partition { direction, .. } => {
            link.incoming_cut |= direction.cuts_inbound();
            link.outgoing_cut |= direction.cuts_outbound();
        }
        Fault::Latency { added, jitter, .. } => {
            link.added_delay = *added;
            link.jitter = *jitter;
        }
        Fault::Loss { share, .. } => link.loss = *share,
        Fault::SlowDisk { .. } | Fault::FullDisk | Fault::ClockOffset { .. } => {}
    }
}
