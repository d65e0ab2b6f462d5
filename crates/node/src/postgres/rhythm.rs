//! In what portions transactions pass: few large ones cost much less than many small ones, and what
//! comes in a lump holds up all that comes with it.

use std::time::{Duration, Instant};

/// Where transactions come faster than one by one, what comes within this goes into the log together.
/// A timer's millisecond makes up to one more of it.
const GATHER: Duration = Duration::from_millis(1);
/// The same where they come so fast that what the rounds cost is most of what they wait for.
const GATHER_MANY: Duration = Duration::from_millis(3);
/// So many within [`COUNTED_FOR`] come that fast: 2,000 a second.
const MANY: usize = 100;
const COUNTED_FOR: Duration = Duration::from_millis(50);
/// So many batches may be committed in the server and not be on its disk.
const UNFLUSHED_MAX: u32 = 16;

/// When captured transactions go into the log.
///
/// The first goes at once. Where several had come by the time that the last could go, the next ones are
/// waited for a moment: each round costs a sync and a dozen hand-overs, here and in every other region,
/// and where all cores have work, these are what the transactions behind wait for.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    until: Option<Instant>,
    /// Since when so many have come.
    counted: Option<(Instant, usize)>,
    /// Whether many came when they were last counted.
    are_many: bool,
}

impl Gathering {
    /// A round with so many transactions began then, of at most `max`.
    pub(super) fn taken(&mut self, transactions: usize, max: usize, begun: Instant) {
        self.count(transactions, begun);
        let is_fast = transactions > 1;
        // Where more wait than a round takes, there is nothing to wait for.
        let has_room = transactions < max;
        let gather = if self.are_many { GATHER_MANY } else { GATHER };
        self.until = (is_fast && has_room).then(|| begun + gather);
    }

    /// Counts what had come when a round began.
    fn count(&mut self, transactions: usize, begun: Instant) {
        let (since, counted) = self.counted.unwrap_or((begun, 0));
        let (counted, passed) = (counted + transactions, begun.duration_since(since));
        if passed < COUNTED_FOR {
            self.counted = Some((since, counted));
            return;
        }
        self.are_many = counted as f64 * COUNTED_FOR.div_duration_f64(passed) >= MANY as f64;
        self.counted = Some((begun, 0));
    }

    /// Whether what comes is to be left for a while.
    pub(super) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// Comes when it has been long enough; never where nothing is waited for.
    pub(super) async fn over(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    }

    /// It has been long enough.
    pub(super) fn end(&mut self) {
        self.until = None;
    }
}

/// When the server is made to write out what was committed in it.
///
/// The commits of batches aren't waited for, and what is not on the server's disk isn't told to
/// capture. A server left to itself writes it out every 200 ms (`wal_writer_delay`) and tells it in one
/// lump, which at 3,000 transactions a second is tens of milliseconds of work for its decoder and for
/// the region, in front of whatever comes then.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    batches: u32,
    is_wanted: bool,
}

impl Flushes {
    /// A batch is committed.
    pub(super) fn committed(&mut self) {
        self.batches += 1;
    }

    /// Capture has to come by where the WAL is now: one is to begin from here on.
    pub(super) fn wanted(&mut self) {
        self.is_wanted = true;
    }

    /// Whether one is to begin now, while none is under way; it counts as begun.
    pub(super) fn begins(&mut self) -> bool {
        let is_due = self.is_wanted || self.batches >= UNFLUSHED_MAX;
        if is_due {
            *self = Self::default();
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_in_numbers_is_gathered_and_what_waits_already_is_not() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        for (transactions, is_gathered) in
            [(0, false), (1, false), (2, true), (9, true), (10, false)]
        {
            gathering.taken(transactions, 10, now);
            assert_eq!(gathering.is_on(), is_gathered, "{transactions}");
        }
        gathering.taken(2, 10, now);
        gathering.end();
        assert!(!gathering.is_on());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gathered_waits_for_its_time_from_the_round_before_on() {
        let (mut gathering, begun) = (Gathering::default(), tokio::time::Instant::now());
        gathering.taken(2, 10, begun.into_std());
        gathering.over().await;
        assert!(begun.elapsed() >= GATHER, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn where_many_come_they_are_waited_for_longer() {
        for (a_round, every_ms, expected) in [(2, 2, GATHER), (9, 3, GATHER_MANY), (9, 9, GATHER)] {
            let mut gathering = Gathering::default();
            let mut begun = tokio::time::Instant::now();
            for _ in 0..100 {
                begun = tokio::time::Instant::now();
                gathering.taken(a_round, 512, begun.into_std());
                tokio::time::advance(Duration::from_millis(every_ms)).await;
            }
            gathering.taken(a_round, 512, begun.into_std());
            let waits = gathering.until.map(|until| until - begun.into_std());
            assert_eq!(waits, Some(expected), "{a_round} each {every_ms} ms");
        }
    }

    #[test]
    fn a_flush_is_due_after_so_many_batches_or_where_one_is_wanted_and_once() {
        let mut flushes = Flushes::default();
        let due_after = |flushes: &mut Flushes, batches: u32| {
            (0..batches).for_each(|_| flushes.committed());
            flushes.begins()
        };
        assert!(!due_after(&mut flushes, UNFLUSHED_MAX - 1));
        assert!(due_after(&mut flushes, 1));
        assert!(!due_after(&mut flushes, 0));
        let many = 2 * UNFLUSHED_MAX;
        assert!(due_after(&mut flushes, many), "one is enough for all");
        assert!(!due_after(&mut flushes, 1));
        flushes.wanted();
        assert!(flushes.begins() && !flushes.begins());
    }
}
