//! What the present history of a server has of the one that was captured. Pure.

use super::judge::Has;
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
    /// Whether it went back on an earlier timeline, too, nobody knows how far.
    pub is_unclear: bool,
    /// Up to where it has those before.
    pub earlier: Vec<(u32, Lsn)>,
}

impl Parting {
    /// Whether the server has this transaction. Where it went back on its own timeline, nobody knows how
    /// far.
    pub fn has(&self, at: CapturedAt) -> Has {
        if at.system != self.system {
            return Has::No;
        }
        if at.timeline == self.timeline {
            return if self.goes_on { Has::Yes } else { Has::Perhaps };
        }
        let mut earlier = self.earlier.iter();
        match earlier.find(|(timeline, _)| *timeline == at.timeline) {
            Some((_, end)) if at.end <= end.0 && self.is_unclear => Has::Perhaps,
            Some((_, end)) if at.end <= end.0 => Has::Yes,
            // It doesn't say where its timelines began.
            None if self.earlier.is_empty() => Has::Perhaps,
            _ => Has::No,
        }
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
            is_unclear: false,
            earlier: vec![(1, Lsn(100)), (2, Lsn(200))],
        };
        let at = |timeline, end| CapturedAt {
            system: 7,
            timeline,
            end,
            part: 0,
            is_last: true,
        };
        assert_eq!(parting.has(at(1, 100)), Has::Yes);
        assert_eq!(parting.has(at(2, 150)), Has::Yes);
        assert_eq!(parting.has(at(1, 101)), Has::No, "the standby never had it");
        assert_eq!(parting.has(at(3, 250)), Has::Perhaps, "it was restored");
        parting.goes_on = true;
        assert_eq!(parting.has(at(3, 250)), Has::Yes);
        let other = CapturedAt {
            system: 8,
            ..at(3, 250)
        };
        assert_eq!(parting.has(other), Has::No);
        parting.is_unclear = true;
        assert_eq!(parting.has(at(1, 100)), Has::Perhaps, "it went back twice");
        parting.earlier.clear();
        assert_eq!(parting.has(at(1, 50)), Has::Perhaps, "nobody says");
    }
}
