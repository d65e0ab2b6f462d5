//! A node's commit, in one step or with clients who go on while the disk is at work.

use crate::world::World;
use meridian_check::Violation;
use meridian_replicate::CommitError;

/// One in so many syncs is one too many: the power goes before it.
const CRASH_ONE_IN: u8 = 100;

impl World {
    /// Commits a node's round; `None` where the node is down, or went down over it.
    pub(crate) fn commit(
        &mut self,
        index: usize,
    ) -> Result<Option<Result<(), CommitError>>, Violation> {
        let overlaps = self.random.bool();
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let Some(replica) = &mut node.replica else {
            return Ok(None);
        };
        if !overlaps {
            return Ok(Some(replica.flush(now)));
        }
        let unsynced = match replica.begin_flush(now) {
            Ok(Some(unsynced)) => unsynced,
            Ok(None) => return Ok(Some(replica.flush(now))),
            Err(error) => return Ok(Some(Err(error))),
        };
        for _ in 0..self.random.u8(0..3) {
            self.client(index);
        }
        // Nothing of either round may show.
        self.read(index)?;
        if self.clients_act && self.random.u8(0..CRASH_ONE_IN) == 0 {
            drop(unsynced);
            self.crash(index);
            return Ok(None);
        }
        let synced = unsynced.sync();
        let replica = self.nodes[index].replica.as_mut();
        Ok(replica.map(|replica| replica.finish_flush(now, unsynced, synced)))
    }
}
