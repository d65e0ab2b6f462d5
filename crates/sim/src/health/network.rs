//! For how long links have let everything through, or nothing: who can have told whom.

use super::faults::Faults;

/// What became of every link. Each question is about the time from a moment on.
pub(crate) struct Network {
    regions: usize,
    whole_since_ms: Vec<Option<u64>>,
    shut_since_ms: Vec<Option<u64>>,
}

impl Network {
    pub(crate) fn new(regions: usize) -> Self {
        Self {
            regions,
            whole_since_ms: vec![Some(0); regions * regions],
            shut_since_ms: vec![None; regions * regions],
        }
    }

    /// Notes what is broken from now on.
    pub(crate) fn note(&mut self, now_ms: u64, faults: &Faults) {
        let since = |before: Option<u64>, holds: bool| holds.then_some(before.unwrap_or(now_ms));
        for link in 0..self.regions * self.regions {
            let (from, to) = (link / self.regions, link % self.regions);
            let whole = since(self.whole_since_ms[link], faults.is_whole(from, to));
            self.whole_since_ms[link] = whole;
            self.shut_since_ms[link] = since(self.shut_since_ms[link], !faults.passes(from, to));
        }
    }

    /// A region was killed: what it said before, and what was said to it, is as good as lost.
    pub(crate) fn break_off(&mut self, now_ms: u64, region: usize) {
        for link in 0..self.regions * self.regions {
            if link / self.regions == region || link % self.regions == region {
                self.whole_since_ms[link] = self.whole_since_ms[link].map(|_| now_ms);
            }
        }
    }

    /// Whether everything arrived.
    pub(crate) fn surely(&self, from: usize, to: usize, since_ms: u64) -> bool {
        let since = self.whole_since_ms[from * self.regions + to];
        since.is_some_and(|whole_ms| whole_ms <= since_ms)
    }

    /// Whether anything can have arrived.
    pub(crate) fn maybe(&self, from: usize, to: usize, since_ms: u64) -> bool {
        let since = self.shut_since_ms[from * self.regions + to];
        since.is_none_or(|shut_ms| shut_ms > since_ms)
    }

    /// Whether a region spoke with more than half, each hearing the other, by this measure.
    pub(crate) fn in_touch(&self, region: usize, passes: impl Fn(usize, usize) -> bool) -> bool {
        let all = 0..self.regions;
        let both_ways =
            |other: &usize| *other == region || (passes(region, *other) && passes(*other, region));
        all.filter(both_ways).count() * 2 > self.regions
    }

    /// Whether word of one region comes to another, by relays too, by this measure.
    pub(crate) fn tells(
        &self,
        from: usize,
        to: usize,
        passes: impl Fn(usize, usize) -> bool,
    ) -> bool {
        let mut heard = vec![from];
        let mut next = 0;
        while let Some(&teller) = heard.get(next) {
            for other in 0..self.regions {
                if !heard.contains(&other) && passes(teller, other) {
                    heard.push(other);
                }
            }
            next += 1;
        }
        heard.contains(&to)
    }
}
