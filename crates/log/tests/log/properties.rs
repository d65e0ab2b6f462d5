//! Laws: what was committed is there after any crash; no flipped bit goes unnoticed.

use crate::support::*;
use meridian_log::{Disk, Log, MemoryDisk};
use meridian_model::{Entry, Marks, Position};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Commit { count: u64, bytes: usize },
    Trim { applied: u64 },
    Reopen,
    Kill { operations: u64 },
    Crash { operations: u64, seed: u64 },
    FailWrite { written: usize },
    FailSync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u64..6, 0usize..900).prop_map(|(count, bytes)| Step::Commit { count, bytes }),
        1 => (0u64..200).prop_map(|applied| Step::Trim { applied }),
        1 => Just(Step::Reopen),
        1 => (0u64..12).prop_map(|operations| Step::Kill { operations }),
        2 => (0u64..12, any::<u64>()).prop_map(|(operations, seed)| Step::Crash { operations, seed }),
        1 => (0usize..1000).prop_map(|written| Step::FailWrite { written }),
        1 => Just(Step::FailSync),
    ]
}

/// A log, and what must be in it.
struct World {
    disk: MemoryDisk,
    log: Log<MemoryDisk>,
    /// Everything that was committed, or was found after a crash.
    committed: Vec<Entry>,
    /// What was attempted last and may be there after a crash.
    attempted: Vec<Entry>,
    trimmed: u64,
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        Self {
            log: open(&disk, 0).unwrap(),
            disk,
            committed: Vec::new(),
            attempted: Vec::new(),
            trimmed: 0,
        }
    }

    fn commit(&mut self, count: u64, bytes: usize) {
        let mut streams = Streams::continuing(self.log.marks().clone());
        let group = streams.group(count, bytes);
        match self.log.commit(&group) {
            Ok(end) => {
                self.committed.extend(group);
                assert_eq!(end.0, self.committed.len() as u64);
            }
            Err(_) => self.attempted = group,
        }
    }

    fn trim(&mut self, applied: u64) {
        let marks: Marks = self.log.marks().clone();
        let applied = applied.min(self.log.end().0);
        let _ = self.log.trim(&marks, Position(applied));
        self.trimmed = self.trimmed.max(applied);
    }

    fn run_on(&mut self) {
        for bytes in [100, 700, 5000] {
            self.commit(3, bytes);
            self.trim(self.log.end().0 / 2);
        }
    }

    /// Opens the log; as little as possible is told of what was acknowledged, so that recovery has
    /// to find it by itself.
    fn reopen(&mut self) {
        self.log = open(&self.disk, 0).unwrap();
        let end = usize::try_from(self.log.end().0).unwrap();
        let start = usize::try_from(self.log.start().0).unwrap();
        assert!(end >= self.committed.len(), "acknowledged entries are gone");
        if end > self.committed.len() {
            self.committed.append(&mut self.attempted);
        }
        self.attempted.clear();
        assert_eq!(end, self.committed.len());
        assert!(start as u64 <= self.trimmed);
        assert_eq!(read_all(&self.log), self.committed[start..]);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Commit { count, bytes } => self.commit(count, bytes),
            Step::Trim { applied } => self.trim(applied),
            Step::Reopen => self.reopen(),
            Step::Kill { operations } => {
                self.disk.cut_power_after(operations);
                self.commit_until_failure();
                self.disk.restore_power();
                self.reopen();
            }
            Step::Crash { operations, seed } => {
                self.disk.cut_power_after(operations);
                self.commit_until_failure();
                self.disk.crash(&mut randomness(seed));
                self.reopen();
            }
            Step::FailWrite { written } => {
                self.disk
                    .fail_next_write(std::io::ErrorKind::Other, written);
                self.commit(2, 300);
                self.attempted.clear();
            }
            Step::FailSync => {
                self.disk.fail_next_sync();
                self.commit(2, 300);
                if self.log.commit(&[]).is_err() {
                    self.reopen();
                }
            }
        }
    }

    fn commit_until_failure(&mut self) {
        while self.attempted.is_empty() {
            self.commit(2, 400);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_committed_is_there_after_any_crash(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.reopen();
        world.run_on();
        world.reopen();
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed(
        frames in 2u64..25,
        bytes in 0usize..300,
        file in any::<prop::sample::Index>(),
        offset in any::<prop::sample::Index>(),
        near_start in any::<bool>(),
        bit in 0u8..8,
        is_acknowledged in any::<bool>(),
    ) {
        let disk = MemoryDisk::new();
        let entries = filled(&disk, frames, bytes);
        let name = file.get(&segment_names(&disk)).clone();
        let size = disk.size(&name).unwrap();
        // Half of the flips hit the header and the first frames.
        let offset = offset.index(usize::try_from(if near_start { 300 } else { size }).unwrap());
        disk.flip_bit(&name, offset as u64, bit);
        let acknowledged = if is_acknowledged { entries.len() as u64 } else { 0 };
        match open(&disk, acknowledged) {
            Err(error) => prop_assert!(!error.hint().is_empty()),
            Ok(log) => {
                let held = read_all(&log);
                let without_last = entries.len() - 3;
                let is_torn = !is_acknowledged && held == entries[..without_last];
                prop_assert!(held == entries || is_torn, "{} of {}", held.len(), entries.len());
                if is_torn {
                    let last = segment_names(&disk).pop();
                    prop_assert_eq!(Some(name), last, "only the last frame can be torn");
                }
            }
        }
    }
}
