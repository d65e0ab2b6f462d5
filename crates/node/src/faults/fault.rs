//! What can be made to go wrong.

use std::fmt;
use std::time::Duration;

/// A fault, checked: peers are peers, shares are shares.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing passes between this region and its peers.
    Partition {
        /// The peers.
        peers: Vec<String>,
        /// Which way.
        direction: Direction,
    },
    /// What this region sends to the peers takes longer.
    Latency {
        /// The peers.
        peers: Vec<String>,
        /// By how much, one way.
        added: Duration,
        /// By up to how much more.
        jitter: Duration,
    },
    /// Some messages that this region sends to the peers are lost.
    Loss {
        /// The peers.
        peers: Vec<String>,
        /// Which share of them, 0 to 1.
        share: f64,
    },
    /// Each write to the logs and each sync of them takes longer.
    SlowDisk {
        /// By how much.
        added: Duration,
    },
    /// The logs can write nothing, for want of room.
    FullDisk,
    /// This region's wall clock is wrong.
    ClockOffset {
        /// By how much, in milliseconds.
        offset_ms: i64,
    },
}

/// Which way a partition cuts, as the region sees it that was asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Nothing comes in.
    Inbound,
    /// Nothing gets out.
    Outbound,
    /// Neither.
    Both,
}

/// A duration as people read it, in the largest unit of milliseconds, seconds, minutes that it is a
/// whole number of.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms > 0 && ms % 60_000 == 0 => write!(f, "{} min", ms / 60_000),
            ms if ms > 0 && ms % 1000 == 0 => write!(f, "{} s", ms / 1000),
            ms => write!(f, "{ms} ms"),
        }
    }
}

impl Direction {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Both => "both",
        }
    }

    /// Whether it lets nothing in.
    #[must_use]
    pub fn cuts_inbound(self) -> bool {
        self != Self::Outbound
    }

    /// Whether it lets nothing out.
    #[must_use]
    pub fn cuts_outbound(self) -> bool {
        self != Self::Inbound
    }
}

impl Fault {
    /// The kinds' names in the API. A crash is one too, but none that lasts.
    pub const KINDS: [&'static str; 6] = [
        "partition",
        "latency",
        "loss",
        "slow-disk",
        "full-disk",
        "clock-offset",
    ];

    /// Its kind's name in the API.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let [partition, latency, loss, slow_disk, full_disk, clock_offset] = Self::KINDS;
        match self {
            Self::Partition { .. } => partition,
            Self::Latency { .. } => latency,
            Self::Loss { .. } => loss,
            Self::SlowDisk { .. } => slow_disk,
            Self::FullDisk => full_disk,
            Self::ClockOffset { .. } => clock_offset,
        }
    }

    /// The peers that it is about; none where it is about this region alone.
    #[must_use]
    pub fn peers(&self) -> &[String] {
        match self {
            Self::Partition { peers, .. }
            | Self::Latency { peers, .. }
            | Self::Loss { peers, .. } => peers,
            Self::SlowDisk { .. } | Self::FullDisk | Self::ClockOffset { .. } => &[],
        }
    }

    /// Whether both would move the same lever: faults of one kind, about this region or about a
    /// common peer. Cuts in opposite directions are two levers.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.kind() != other.kind() {
            return false;
        }
        if let (Self::Partition { direction: one, .. }, Self::Partition { direction: two, .. }) =
            (self, other)
        {
            let inbound = one.cuts_inbound() && two.cuts_inbound();
            let outbound = one.cuts_outbound() && two.cuts_outbound();
            if !inbound && !outbound {
                return false;
            }
        }
        let peers = other.peers();
        self.peers().is_empty() || self.peers().iter().any(|peer| peers.contains(peer))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.peers().join(", ");
        match self {
            Self::Partition { direction, .. } => match direction {
                Direction::Inbound => write!(f, "nothing comes in from {names}"),
                Direction::Outbound => write!(f, "nothing gets out to {names}"),
                Direction::Both => write!(f, "nothing passes to or from {names}"),
            },
            Self::Latency { added, jitter, .. } => {
                write!(f, "messages to {names} take {} longer", Span(*added))?;
                if jitter.is_zero() {
                    return Ok(());
                }
                write!(f, ", and up to {} more", Span(*jitter))
            }
            Self::Loss { share, .. } => {
                write!(
                    f,
                    "{:.1} % of the messages to {names} are lost",
                    share * 100.0
                )
            }
            Self::SlowDisk { added } => {
                write!(
                    f,
                    "each write and sync of the logs takes {} longer",
                    Span(*added)
                )
            }
            Self::FullDisk => f.write_str("the disk under the logs is full"),
            Self::ClockOffset { offset_ms } => {
                let (side, amount) = match offset_ms {
                    0.. => ("fast", offset_ms.unsigned_abs()),
                    _ => ("slow", offset_ms.unsigned_abs()),
                };
                let amount = Span(Duration::from_millis(amount));
                write!(f, "this region's wall clock is {amount} {side}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_overlap_where_they_share_a_peer_and_a_direction() {
        let cut = |peers: &[&str], direction| Fault::Partition {
            peers: peers.iter().map(ToString::to_string).collect(),
            direction,
        };
        let both = cut(&["b", "c"], Direction::Both);
        assert!(both.overlaps(&cut(&["c"], Direction::Inbound)));
        assert!(!both.overlaps(&cut(&["d"], Direction::Inbound)));
        let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
        assert!(!cut(&["b"], inbound).overlaps(&cut(&["b"], outbound)));
        assert!(cut(&["b"], inbound).overlaps(&cut(&["b"], inbound)));
        assert!(!both.overlaps(&Fault::FullDisk));
        assert!(Fault::FullDisk.overlaps(&Fault::FullDisk));
    }

    #[test]
    fn faults_say_what_they_do() {
        let latency = Fault::Latency {
            peers: vec!["b".to_owned()],
            added: Duration::from_millis(1500),
            jitter: Duration::from_secs(1),
        };
        assert_eq!(
            latency.to_string(),
            "messages to b take 1500 ms longer, and up to 1 s more"
        );
        let offset = Fault::ClockOffset { offset_ms: -5000 };
        assert_eq!(offset.to_string(), "this region's wall clock is 5 s slow");
    }
}
