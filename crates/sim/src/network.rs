//! The network between regions: what becomes of a message.

use std::collections::BTreeSet;
use std::time::Duration;

/// A network of directed pairs.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    random: fastrand::Rng,
    base_latency: Duration,
    loss_percent: u32,
    duplicate_percent: u32,
    cut: BTreeSet<(usize, usize)>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x6e65_7477);
        let base_latency = Duration::from_millis(random.u64(1..60));
        Self {
            random,
            base_latency,
            loss_percent: 0,
            duplicate_percent: 0,
            cut: BTreeSet::new(),
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(crate) fn degrade(&mut self, loss_percent: u32, duplicate_percent: u32) {
        self.loss_percent = loss_percent;
        self.duplicate_percent = duplicate_percent;
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.degrade(0, 0);
    }

    /// After which delays a message arrives: none where it is lost, two where it is duplicated.
    /// Delays differ from message to message, so messages overtake each other.
    pub(crate) fn delays(&mut self, from: usize, to: usize) -> Vec<Duration> {
        if self.is_cut(from, to) || self.random.u32(0..100) < self.loss_percent {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.random.u32(0..100) < self.duplicate_percent);
        (0..copies).map(|_| self.delay()).collect()
    }

    fn delay(&mut self) -> Duration {
        let jitter = match self.random.u32(0..20) {
            0 => self.random.u64(0..200_000),
            1..=4 => self.random.u64(0..20_000),
            _ => self.random.u64(0..300),
        };
        self.base_latency + Duration::from_micros(jitter)
    }
}
