//! Rows of a table that replicated once, left the publication, and is back: nothing in the stream says
//! what was written meanwhile. Pure.
//!
//! What the server had been given and shows otherwise was changed here, unless the log knows the state
//! that it is in. A row that is lacking may have been deleted here; but the table may as well have been
//! made anew, and filled in part: that is for a person to say. An empty table is filled.

use meridian_model::{Vector, Version};

/// What is done about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written into the server as the tables have it.
    Write,
    /// It becomes a write of this region as the server has it.
    Take,
    /// Somebody has to say.
    Ask,
}

/// A row of a table that is new in the server's stream, which both sides don't have alike.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Whether the table replicated before.
    pub(super) is_back: bool,
    /// Whether the server has the row.
    pub(super) is_there: bool,
    /// Whether the tables show it.
    pub(super) is_here: bool,
    /// Whether several writes make a row of the table together.
    pub(super) merges: bool,
    /// Whether the log knows the state that the server has.
    pub(super) is_older: bool,
    /// Whether it is known to be kept out of the server.
    pub(super) is_parked: bool,
}

impl Seen {
    /// What becomes of it. `last` is the last write to it that the tables remember, `given` what the
    /// server had been given.
    pub(super) fn fate(self, given: &Vector, last: Option<Version>) -> Fate {
        let is_given = last.is_some_and(|last| given.has_seen(last));
        match (self.is_there, self.is_here) {
            _ if self.is_back && self.is_older => Fate::Write,
            (true, false) if !self.is_back || last.is_none() => Fate::Take,
            (true, _) if !self.is_back => Fate::Ask,
            (true, _) if is_given && !self.merges && !self.is_parked => Fate::Take,
            (true, _) => Fate::Ask,
            (false, _) if self.is_back && is_given && !self.is_parked => Fate::Ask,
            (false, _) => Fate::Write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};

    const BACK: Seen = Seen {
        is_back: true,
        is_there: true,
        is_here: true,
        merges: false,
        is_older: false,
        is_parked: false,
    };

    fn fate(seen: Seen, last: Option<u64>) -> Fate {
        let origin = OriginId(1);
        let given = [(origin, Hlc::from_raw(10))].into_iter().collect();
        let version = |hlc| Version {
            hlc: Hlc::from_raw(hlc),
            origin,
        };
        seen.fate(&given, last.map(version))
    }

    #[test]
    fn what_was_given_and_is_otherwise_was_changed_here() {
        assert_eq!(fate(BACK, Some(10)), Fate::Take);
        assert_eq!(fate(BACK, Some(11)), Fate::Ask, "or it was not given yet");
        let older = Seen {
            is_older: true,
            ..BACK
        };
        assert_eq!(fate(older, Some(11)), Fate::Write);
        let merges = Seen {
            merges: true,
            ..BACK
        };
        assert_eq!(fate(merges, Some(10)), Fate::Ask);
        let parked = Seen {
            is_parked: true,
            ..BACK
        };
        assert_eq!(fate(parked, Some(10)), Fate::Ask);
    }

    #[test]
    fn what_only_one_side_has_came_or_went() {
        let there = Seen {
            is_here: false,
            ..BACK
        };
        assert_eq!(fate(there, None), Fate::Take, "it came");
        assert_eq!(fate(there, Some(9)), Fate::Take, "it came again");
        assert_eq!(
            fate(there, Some(11)),
            Fate::Ask,
            "its deletion is on its way"
        );
        let here = Seen {
            is_there: false,
            ..BACK
        };
        assert_eq!(
            fate(here, Some(9)),
            Fate::Ask,
            "it went, or was never filled in"
        );
        assert_eq!(fate(here, Some(11)), Fate::Write, "it is on its way");
        let parked = Seen {
            is_parked: true,
            ..here
        };
        assert_eq!(fate(parked, Some(9)), Fate::Write);
    }

    #[test]
    fn a_table_that_never_replicated_here_is_filled_and_asked_about() {
        let new = Seen {
            is_back: false,
            ..BACK
        };
        assert_eq!(fate(new, Some(9)), Fate::Ask);
        let there = Seen {
            is_here: false,
            ..new
        };
        assert_eq!(fate(there, Some(9)), Fate::Take);
        let here = Seen {
            is_there: false,
            ..new
        };
        assert_eq!(fate(here, Some(9)), Fate::Write);
    }
}
