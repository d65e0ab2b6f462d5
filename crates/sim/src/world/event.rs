//! What happens in a world, and when.

use crate::promises::Actor;
use meridian_model::{Answer, Message, Question};
use std::time::Duration;

/// Something that is going to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A node's upkeep is due.
    Tick(usize),
    /// A node commits its round.
    Flush(usize),
    /// The first dials the second, to receive its stream.
    Dial(usize, usize),
    /// A message arrives.
    Deliver {
        from: usize,
        to: usize,
        link: Link,
        message: Message,
    },
    /// A client of a node acts.
    Client(usize),
    /// A reader looks at a node's tables.
    Read(usize),
    /// A node's process starts again.
    Start(usize),
    /// The disk of a node has room again.
    DiskFreed(usize),
    /// All cuts and losses of the network end.
    Heal,
    /// A fault strikes.
    Fault,
    /// What a node that begins with a snapshot does by the time.
    Join(usize),
    /// A question beside the streams arrives.
    Asked {
        from: usize,
        to: usize,
        id: u64,
        question: Question,
    },
    /// Its answer arrives.
    Answered { to: usize, id: u64, answer: Answer },
    /// A client that holds the system to its promises acts.
    Act(Actor),
    /// A node compares its tables with its peers', or goes on with it.
    Compare(usize),
    /// An application does something in a node's PostgreSQL server.
    Application(usize),
    /// What joins a node to its PostgreSQL server goes on.
    Agent(usize),
}

/// A connection, from the receiver of entries to their sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) receiver: usize,
    pub(crate) sender: usize,
    pub(crate) id: u64,
}

/// An event with its time; ties go in the order of planning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Duration,
    pub(super) order: u64,
    pub(super) event: Event,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
