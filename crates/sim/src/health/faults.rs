//! What is broken.

use meridian_health::Service;

/// What is broken. Regions and links by index; a link is one way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Faults {
    /// Regions that do nothing: killed or frozen.
    pub(crate) dead: Vec<usize>,
    pub(crate) cut: Vec<(usize, usize)>,
    /// Observers all of whose probes of others get lost, while everything else works.
    pub(crate) blind: Vec<usize>,
    /// Each message on the link is lost with this probability.
    pub(crate) lossy: Vec<(usize, usize, f64)>,
    /// Regions that take so many milliseconds longer to answer a probe.
    pub(crate) slow: Vec<(usize, u64)>,
    /// Services that answer wrongly.
    pub(crate) failing: Vec<(usize, Service)>,
    /// Each message takes up to so many milliseconds longer, so that they overtake each other.
    pub(crate) jitter_ms: u64,
}

impl Faults {
    pub(crate) fn is_dead(&self, region: usize) -> bool {
        self.dead.contains(&region)
    }

    /// Whether anything that one region sends arrives at another.
    pub(crate) fn passes(&self, from: usize, to: usize) -> bool {
        !self.is_dead(from) && !self.is_dead(to) && !self.cut.contains(&(from, to))
    }

    /// Whether all of it does.
    pub(crate) fn is_whole(&self, from: usize, to: usize) -> bool {
        self.passes(from, to) && self.loss(from, to) == 0.0
    }

    pub(crate) fn loss(&self, from: usize, to: usize) -> f64 {
        let lossy = self.lossy.iter();
        let losses = lossy.filter(|(a, b, _)| (*a, *b) == (from, to));
        losses.map(|(.., share)| *share).fold(0.0, f64::max)
    }

    /// Whether every probe comes back, and with the right answer.
    pub(crate) fn sights(&self, observer: usize, region: usize, service: Service) -> bool {
        let sees = observer == region || !self.blind.contains(&observer);
        let both_ways = self.is_whole(observer, region) && self.is_whole(region, observer);
        sees && both_ways && !self.failing.contains(&(region, service))
    }

    pub(crate) fn slow_ms(&self, region: usize) -> u64 {
        let slow = self.slow.iter().filter(|(slow, _)| *slow == region);
        slow.map(|(_, ms)| *ms).max().unwrap_or(0)
    }
}
