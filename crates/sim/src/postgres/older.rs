//! A region's data directory that is put back to an older copy, while its server goes on.
//!
//! The region has been cut off since the copy was taken: what it wrote in between no other region has
//! heard of, so that nobody but its server can tell. Where others hold more of it than its log does, it
//! is stopped until it joins anew, which is another scenario's matter.

use super::join::Directory;
use super::truth::Same;
use crate::world::World;
use meridian_check::SnapshotChecker;
use meridian_engine_kv::MemoryStore;
use meridian_log::MemoryDisk;
use meridian_model::Sequence;

/// A copy of a data directory.
pub(super) struct Copy {
    disk: MemoryDisk,
    store: MemoryStore,
    directory: Directory,
    /// What was known of rows by then.
    same: Same,
    /// Where the region's own stream ended.
    own: Sequence,
}

impl World {
    /// Stops a region, copies its directory, and cuts it off.
    pub(super) fn copy_directory(&mut self, index: usize) {
        let Some(replica) = &self.nodes[index].replica else {
            return;
        };
        let own = replica.marks().get(replica.origin()).sequence;
        // Before its first mark nothing in the server tells one directory from another.
        if !replica.staged().is_empty() || !self.postgres[index].directory.is_marked() {
            return;
        }
        self.kill(index);
        let beside = &mut self.postgres[index];
        let node = &self.nodes[index];
        beside.copy = Some(Copy {
            disk: node.disk.copy(),
            store: node.store.copy(),
            directory: beside.directory.clone(),
            same: beside.truth.same_as_of(),
            own,
        });
        for peer in 0..self.nodes.len() {
            self.network.cut(index, peer);
            self.network.cut(peer, index);
        }
    }

    /// Puts a copy back, once the server can tell, and if nobody else has to.
    pub(super) fn put_directory_back(&mut self, index: usize) {
        let Some(copy) = &self.postgres[index].copy else {
            return;
        };
        let Some(origin) = self.nodes[index].origin else {
            return;
        };
        let mut others = self.nodes.iter().filter_map(|node| node.replica.as_ref());
        let is_heard = others.any(|replica| {
            replica.origin() != origin && replica.marks().get(origin).sequence > copy.own
        });
        let are_all_up = self.nodes.iter().all(|node| node.replica.is_some());
        let is_older = copy.directory.is_older_than(&self.postgres[index].server);
        let may_come_to_be = !are_all_up || !is_older;
        if may_come_to_be && !is_heard {
            return;
        }
        let copy = self.postgres[index].copy.take();
        let Some(copy) = copy.filter(|_| !is_heard) else {
            return;
        };
        self.kill(index);
        let node = &mut self.nodes[index];
        (node.disk, node.store) = (copy.disk, copy.store);
        node.checker = SnapshotChecker::new(node.name.as_str());
        self.ledger.gone(node.life, copy.own);
        let beside = &mut self.postgres[index];
        beside.directory = copy.directory;
        beside.truth.put_back(copy.same);
    }
}
