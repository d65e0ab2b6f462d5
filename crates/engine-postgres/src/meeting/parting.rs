//! What the present history of a server has of the one that was captured. Pure.

use crate::Lsn;
use meridian_model::CapturedAt;

/// Where a server's history left the one that was captured.
#[derive(Clone, Debug)]
pub struct Parting {
    /// Which server.
    pub system: u64,
    /// The timeline that it is on.
    pub timeline: u32,
    /// Whether it lost nothing of that.
    pub goes_on: bool,
    /// Up to where it has those before.
    pub earlier: Vec<(u32, Lsn)>,
}

impl Parting {
    /// Whether the server certainly has this transaction. Where it went back on its own timeline,
    /// nobody knows how far.
    pub fn has(&self, at: CapturedAt) -> bool {
        if at.system != self.system {
            return false;
        }
        if at.timeline == self.timeline {
            return self.goes_on;
        }
        let mut earlier = self.earlier.iter();
        earlier.any(|(timeline, end)| *timeline == at.timeline && at.end <= end.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_what_was_before_its_timeline_began() {
        let mut parting = Parting {
            system: 7,
            timeline: 3,
            goes_on: false,
            earlier: vec![(1, Lsn(100)), (2, Lsn(200))],
        };
        let at = |timeline, end| CapturedAt {
            system: 7,
            timeline,
            end,
            part: 0,
            is_last: true,
        };
        assert!(parting.has(at(1, 100)) && parting.has(at(2, 150)));
        assert!(!parting.has(at(1, 101)), "the standby never had it");
        assert!(!parting.has(at(3, 250)), "it was restored");
        parting.goes_on = true;
        assert!(parting.has(at(3, 250)));
        let other = CapturedAt {
            system: 8,
            ..at(3, 250)
        };
        assert!(!parting.has(other));
    }
}
