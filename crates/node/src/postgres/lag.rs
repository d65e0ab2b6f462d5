//! For how long something has been behind something else, from places seen along the way.

use std::collections::VecDeque;
use std::time::Instant;

/// Places are remembered at most so many; what is older than the first of them counts from there.
const PLACES_MAX: usize = 1024;

/// Where one end was when, until the other has come by there.
#[derive(Debug, Default)]
pub(super) struct Lag(VecDeque<(u64, Instant)>);

impl Lag {
    /// The one end is at `ahead`, the other at `behind`. Gives since when that is so at least.
    pub(super) fn look(&mut self, ahead: u64, behind: u64, now: Instant) -> Option<Instant> {
        while self.0.front().is_some_and(|(place, _)| *place <= behind) {
            self.0.pop_front();
        }
        let is_new = self.0.back().is_none_or(|(place, _)| *place < ahead);
        if ahead > behind && is_new && self.0.len() < PLACES_MAX {
            self.0.push_back((ahead, now));
        }
        self.0.front().map(|(_, since)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_counts_from_the_oldest_place_that_is_not_reached() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut lag = Lag::default();
        assert_eq!(lag.look(10, 10, at(0)), None);
        assert_eq!(lag.look(20, 10, at(1)), Some(at(1)));
        assert_eq!(lag.look(30, 10, at(2)), Some(at(1)));
        assert_eq!(lag.look(30, 20, at(3)), Some(at(2)));
        assert_eq!(lag.look(30, 30, at(4)), None);
    }
}
