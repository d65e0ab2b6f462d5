//! What regions say to each other about one dataset.
//!
//! The region that wants entries subscribes at each of its peers; the peer streams from its log:
//!
//! ```text
//! receiver                                   sender
//!    │ Subscribe{session, marks held} ──────────▶ │  both compare history hashes
//!    │ ◀──────────── Accept{session, marks held}  │  (or Refuse: fork, unknown incarnation)
//!    │ ◀── Entries{session, index 0, entries…}    │
//!    │ ◀── Entries{session, index 1, …}           │  up to a window of bytes unacknowledged
//!    │ Ack{session, next index} ────────────────▶ │  after they are durable
//! ```
//!
//! Nothing is assumed of the transport beyond whole messages: a lost, repeated or late one shows
//! in `session` and `index`, and the receiver subscribes again from what it holds.
//!
//! What a later wire version added is only said on connections that agreed on that version.

use crate::entry::{decode, encode};
use crate::{Answer, DecodeError, Entry, Marks, Micros, OriginId, Question, RegionName, Sequence};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The lowest version of these messages that this build speaks.
pub const WIRE_VERSION_MIN: u16 = 1;
/// The highest version of these messages that this build speaks.
pub const WIRE_VERSION_MAX: u16 = 5;
/// The lowest wire version in which regions observe each other.
pub const HEALTH_SINCE: u16 = 3;

/// A subscription's number, chosen by the receiver; a later one is larger.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SessionId(pub u64);

/// A message about one dataset. New kinds are appended: the position is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// "Send me what I don't hold."
    Subscribe {
        /// The subscription.
        session: SessionId,
        /// Who asks.
        region: RegionName,
        /// The asker's origin in this dataset.
        origin: OriginId,
        /// What it holds, with history hashes.
        marks: Marks,
    },
    /// "Entries follow."
    Accept {
        /// The subscription.
        session: SessionId,
        /// The sender's origin in this dataset.
        origin: OriginId,
        /// What the sender holds.
        marks: Marks,
    },
    /// "Not until somebody has looked at this."
    Refuse {
        /// The subscription.
        session: SessionId,
        /// Why.
        reason: Refusal,
    },
    /// Entries in the sender's log order; empty as a heartbeat.
    Entries {
        /// The subscription.
        session: SessionId,
        /// 0 for the subscription's first such message, then one more each time.
        index: u64,
        /// The machine clock of the sender, to notice drift.
        sent_at: Micros,
        /// How many entries of its log the sender has yet to send after these.
        remaining: u64,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// "All messages before `next` are durable here."
    Ack {
        /// The subscription.
        session: SessionId,
        /// The index expected next.
        next: u64,
        /// What is held by now, so that the sender skips what came by another way.
        held: Vec<(OriginId, Sequence)>,
    },
    /// A question beside the stream. Since wire version 2.
    Ask {
        /// The question's number, chosen by the asker.
        id: u64,
        /// What is asked.
        question: Question,
    },
    /// The answer to a question. Since wire version 2.
    Answer {
        /// The question's number.
        id: u64,
        /// What is answered.
        answer: Answer,
    },
    /// What an observer says to the others, in the encoding of `crates/health`. Of no dataset. Since
    /// wire version 3.
    Reports(Bytes),
    /// "Are you ready?" Of no dataset. Since wire version 3.
    Ping {
        /// The probe's number, chosen by the asker.
        id: u64,
    },
    /// The answer to it. Since wire version 3.
    Pong {
        /// The probe's number.
        id: u64,
        /// Why the region isn't ready, if it isn't.
        unready: Option<String>,
    },
}

/// A message and the dataset it is about, as they travel over a link that all datasets share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The dataset.
    pub dataset: String,
    /// What is said about it.
    pub message: Message,
}

/// Why a subscription is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The asker's data directory is not the one this region knows.
    #[error(
        "region {region} is known here as incarnation {known}, not {offered}: its data directory \
         was replaced"
    )]
    UnknownIncarnation {
        /// The asker.
        region: RegionName,
        /// The incarnation known here.
        known: OriginId,
        /// The incarnation that asked.
        offered: OriginId,
    },
    /// The two logs disagree about what an origin wrote.
    #[error("the history of origin {origin} differs at sequence {sequence}")]
    Fork {
        /// The origin.
        origin: OriginId,
        /// The sequence at which the hashes were compared.
        sequence: u64,
    },
    /// The peer holds entries of this region that this region itself has lost.
    #[error("the peer holds {held} entries of {region} where its own log ends at {own}")]
    LostTail {
        /// The region whose own log is behind.
        region: RegionName,
        /// The last sequence the peer holds.
        held: u64,
        /// The last sequence in the region's own log.
        own: u64,
    },
    /// What the asker needs has left the log.
    #[error("the log here no longer holds what is needed from origin {origin} after {sequence}")]
    Trimmed {
        /// The origin.
        origin: OriginId,
        /// The asker's last sequence of it.
        sequence: u64,
    },
    /// The dataset doesn't run here.
    #[error("the dataset is stopped there: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// The asker's incarnation was evicted, or has left. Since wire version 2.
    #[error(
        "this incarnation doesn't count since epoch {epoch} or before; {held} of its entries are \
         kept there"
    )]
    Evicted {
        /// The refuser's epoch.
        epoch: u64,
        /// The last of the asker's entries that the refuser holds.
        held: Sequence,
    },
    /// The asker's region is no member, as far as the refuser knows. Since wire version 2.
    #[error("region {region} is not a member there in epoch {epoch}")]
    NotMember {
        /// The asker.
        region: RegionName,
        /// The refuser's epoch.
        epoch: u64,
    },
}

impl Envelope {
    /// The bytes of message and dataset.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        encode(self).into()
    }

    /// Reads both back.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not an envelope.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Envelope::decode(&bytes);
        }
    }

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        let message = Message::Ack {
            session: SessionId(3),
            next: 9,
            held: Vec::new(),
        };
        let envelope = Envelope {
            dataset: "main".into(),
            message,
        };
        assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }
}
