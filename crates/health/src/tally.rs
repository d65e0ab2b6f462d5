//! The figures of a health record: how a service answered lately.

use crate::watch::ProbeId;
use std::collections::VecDeque;
use std::time::Duration;

/// How many probes the figures are about.
pub const TALLIED: usize = 100;

/// The last [`TALLIED`] probes, each with its response time if it was answered rightly.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(VecDeque<(ProbeId, Option<Duration>)>);

impl Tally {
    pub(crate) fn failure(&mut self, id: ProbeId) {
        self.put(id, None);
    }

    pub(crate) fn success(&mut self, id: ProbeId, took: Duration) {
        self.put(id, Some(took));
    }

    /// A late answer takes the place of the failure that it was counted as.
    fn put(&mut self, id: ProbeId, took: Option<Duration>) {
        if let Some(entry) = self.0.iter_mut().rev().find(|(known, _)| *known == id) {
            entry.1 = took;
            return;
        }
        if self.0.len() == TALLIED {
            self.0.pop_front();
        }
        self.0.push_back((id, took));
    }

    /// The share of probes that were answered rightly, in percent; 100 of none.
    pub(crate) fn availability(&self) -> f64 {
        let answered = self.0.iter().filter(|(_, took)| took.is_some()).count();
        if self.0.is_empty() {
            100.0
        } else {
            100.0 * answered as f64 / self.0.len() as f64
        }
    }

    /// The mean response time in milliseconds, of those that were answered rightly; 0 of none.
    pub(crate) fn response_ms_mean(&self) -> f64 {
        let times = || self.0.iter().filter_map(|(_, took)| *took);
        let sum: Duration = times().sum();
        sum.as_secs_f64() * 1e3 / (times().count().max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_last_hundred() {
        let mut tally = Tally::default();
        assert_eq!(
            (tally.availability(), tally.response_ms_mean()),
            (100.0, 0.0)
        );
        for id in 0..50 {
            tally.failure(ProbeId(id));
        }
        for id in 50..125 {
            tally.success(ProbeId(id), Duration::from_millis(20));
        }
        assert_eq!(
            (tally.availability(), tally.response_ms_mean()),
            (75.0, 20.0)
        );
        // The answer to the last failed one comes late.
        tally.success(ProbeId(49), Duration::from_millis(20 + 76));
        assert_eq!(
            (tally.availability(), tally.response_ms_mean()),
            (76.0, 21.0)
        );
    }
}
