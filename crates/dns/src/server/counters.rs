//! What a server has done, counted without locks.

use crate::limit::Limited;
use crate::respond::{Outcome, Transport};
use domain::base::iana::OptRcode;
use std::iter::Sum;
use std::sync::atomic::{AtomicU64, Ordering};

/// One thread's counts. Each is written by one thread only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    udp: AtomicU64,
    tcp: AtomicU64,
    noerror: AtomicU64,
    nxdomain: AtomicU64,
    refused: AtomicU64,
    formerr: AtomicU64,
    other: AtomicU64,
    truncated: AtomicU64,
    dropped: AtomicU64,
    ignored: AtomicU64,
    unsent: AtomicU64,
}

/// What was asked and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions by datagram.
    pub udp: u64,
    /// Questions over connections.
    pub tcp: u64,
    /// Answers without an error.
    pub noerror: u64,
    /// Answers that a name isn't there.
    pub nxdomain: u64,
    /// Questions for what isn't served.
    pub refused: u64,
    /// Questions that broke the format.
    pub formerr: u64,
    /// Answers of other codes.
    pub other: u64,
    /// Answers cut short because their network gets too many.
    pub truncated: u64,
    /// Answers not sent because their network gets too many.
    pub dropped: u64,
    /// Messages that nobody may answer.
    pub ignored: u64,
    /// Answers that the system didn't take.
    pub unsent: u64,
}

impl Counters {
    pub(super) fn count(&self, transport: Transport, outcome: Outcome) {
        let asked = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
        };
        add(asked, 1);
        add(self.of(outcome), 1);
    }

    fn of(&self, outcome: Outcome) -> &AtomicU64 {
        match outcome {
            Outcome::Answered(OptRcode::NOERROR) => &self.noerror,
            Outcome::Answered(OptRcode::NXDOMAIN) => &self.nxdomain,
            Outcome::Answered(OptRcode::REFUSED) => &self.refused,
            Outcome::Answered(OptRcode::FORMERR) => &self.formerr,
            Outcome::Answered(_) => &self.other,
            Outcome::Limited(Limited::Dropped) => &self.dropped,
            Outcome::Limited(_) => &self.truncated,
            Outcome::Ignored => &self.ignored,
        }
    }

    pub(super) fn unsent(&self, count: usize) {
        add(&self.unsent, count as u64);
    }

    /// The counts now.
    #[must_use]
    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            udp: read(&self.udp),
            tcp: read(&self.tcp),
            noerror: read(&self.noerror),
            nxdomain: read(&self.nxdomain),
            refused: read(&self.refused),
            formerr: read(&self.formerr),
            other: read(&self.other),
            truncated: read(&self.truncated),
            dropped: read(&self.dropped),
            ignored: read(&self.ignored),
            unsent: read(&self.unsent),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            udp: a.udp + b.udp,
            tcp: a.tcp + b.tcp,
            noerror: a.noerror + b.noerror,
            nxdomain: a.nxdomain + b.nxdomain,
            refused: a.refused + b.refused,
            formerr: a.formerr + b.formerr,
            other: a.other + b.other,
            truncated: a.truncated + b.truncated,
            dropped: a.dropped + b.dropped,
            ignored: a.ignored + b.ignored,
            unsent: a.unsent + b.unsent,
        })
    }
}
