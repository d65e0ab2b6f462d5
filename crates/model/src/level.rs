//! What a client is promised: how far a write has come when it is acknowledged, and how much a
//! read is sure to show.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How many regions hold a write durably when its client is told that it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acknowledgement {
    /// The one that took it.
    #[default]
    Local,
    /// That one and another.
    OneRemote,
    /// More than half of all members.
    Majority,
}

impl Acknowledgement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Local, Self::OneRemote, Self::Majority];

    /// Its name, as in the topology.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::OneRemote => "one-remote",
            Self::Majority => "majority",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// How many of `members` hold an acknowledged write, the one that took it included. More than
    /// there are where it can't be met.
    #[must_use]
    pub fn holders(self, members: usize) -> usize {
        match self {
            Self::Local => 1,
            Self::OneRemote => 2,
            Self::Majority => members / 2 + 1,
        }
    }

    /// How many of `members` have to say what they hold, so that at least one of them holds any
    /// given acknowledged write: of `members` regions, `holders` that hold it and
    /// `members - holders + 1` that are asked are one more than there are.
    #[must_use]
    pub fn answers(self, members: usize) -> usize {
        (members + 1).saturating_sub(self.holders(members)).max(1)
    }
}

impl fmt::Display for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much a read is sure to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// What this region shows now.
    Eventual,
    /// All that the tokens given say, of which there must be one.
    Causal,
    /// All that the client's token says, where it brings one.
    #[default]
    Session,
    /// All that was acknowledged, or shown by another strong read, before it began.
    Strong,
}

impl Consistency {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Eventual, Self::Causal, Self::Session, Self::Strong];

    /// Its name, as in the topology and in `Meridian-Consistency`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Eventual => "eventual",
            Self::Causal => "causal",
            Self::Session => "session",
            Self::Strong => "strong",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_hold_and_those_who_are_asked_have_one_in_common() {
        for members in 1..20 {
            for level in Acknowledgement::ALL {
                let holders = level.holders(members);
                if holders > members {
                    continue;
                }
                assert_eq!(holders + level.answers(members), members + 1, "{level}");
            }
        }
        assert_eq!(Acknowledgement::Majority.holders(4), 3);
        assert_eq!(Acknowledgement::Majority.answers(4), 2);
    }

    #[test]
    fn names_read_back() {
        for level in Acknowledgement::ALL {
            assert_eq!(Acknowledgement::from_name(level.name()), Some(level));
        }
        for level in Consistency::ALL {
            assert_eq!(Consistency::from_name(level.name()), Some(level));
        }
        assert_eq!(Consistency::from_name("linear"), None);
    }
}
