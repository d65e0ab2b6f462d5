//! Entries of the log: the same bytes on disk, on the wire and when relayed.
//!
//! The envelope (origin, sequence, clock, history) is all that logging and relaying look at; the
//! body is decoded only where it is applied. Each entry carries the running hash of its origin's
//! stream up to and including itself, so a copy that lost, repeated or rewrote anything is
//! recognised at the first entry that follows.

use crate::CapturedAt;
use crate::mutation::{self, Mutation};
use crate::{
    Adopt, Captured, Decision, Hlc, Mark, OriginId, RegionName, Sequence, Transaction, Version,
    Vote,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How the bytes of a captured transaction begin: its place among the bodies.
const CAPTURED: u8 = 7;
/// How those of one begin that says what it collided with: that stands behind it.
const CAPTURED_WITH_COLLISIONS: u8 = 8;
/// How those of one begin that says what it absorbs besides: that stands behind the collisions.
const CAPTURED_WITH_ABSORBED: u8 = 9;

/// The running hash (xxh3, 64 bits) of an origin's stream. It tells accidents and forks apart; it
/// is no defence against a peer that lies, which the certificates are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HistoryHash(pub u64);

/// One entry of an origin's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose stream it belongs to.
    pub origin: OriginId,
    /// Its number in the stream.
    pub sequence: Sequence,
    /// The commit's clock reading.
    pub hlc: Hlc,
    /// The stream's running hash with this entry.
    pub history: HistoryHash,
    /// The encoded [`Body`].
    pub body: Bytes,
}

/// What an entry says. New kinds are appended: the position in this list is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The first entry of a stream: which region this origin is an incarnation of.
    Open {
        /// The region.
        region: RegionName,
    },
    /// A committed transaction.
    Transaction(Transaction),
    /// How far this region has come with the others' streams.
    Report(Report),
    /// What becomes of a dead letter.
    Decision(Decision),
    /// The first entry of the stream of a region that joined. Since wire version 2.
    Join {
        /// The region.
        region: RegionName,
        /// The number of the epoch in which it found itself expected. A later epoch may have given
        /// the region up and expect it anew: this incarnation is not that one then.
        epoch: u64,
    },
    /// A step in deciding the next epoch. Since wire version 2.
    Vote(Vote),
    /// From here on this region goes by another epoch. Since wire version 2.
    Adopt(Adopt),
    /// A transaction captured from an engine. Since wire version 2; with collisions since 4, under the
    /// next position, and with what it absorbs since 5, under the one after that.
    Captured(Captured),
}

/// A region's positions, told inside its own stream.
///
/// Whoever applies the report has also applied all that the region committed before it, which is
/// what makes it safe to collect tombstones by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Per origin how far its stream is held and applied.
    pub positions: Vec<(OriginId, ReportedMark)>,
}

/// How far a region has come with one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedMark {
    /// The last sequence that is durable in the reporter's log.
    pub held: Sequence,
    /// The last clock reading whose effects are in its tables.
    pub applied: Hlc,
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes don't decode.
    #[error("not a valid encoding: {0}")]
    Malformed(#[from] postcard::Error),
    /// Bytes are left after a complete value.
    #[error("{0} bytes left over after the value")]
    Trailing(usize),
}

impl Entry {
    /// The entry that follows `mark` in `origin`'s stream.
    #[must_use]
    pub fn following(mark: Mark, origin: OriginId, hlc: Hlc, body: &Body) -> Self {
        let mut entry = Self {
            origin,
            sequence: mark.sequence.next(),
            hlc,
            history: mark.history,
            body: body.encode(),
        };
        entry.history = entry.history_after(mark.history);
        entry
    }

    /// The running hash after this entry, given the one before it.
    #[must_use]
    pub fn history_after(&self, before: HistoryHash) -> HistoryHash {
        let mut hasher = xxhash_rust::xxh3::Xxh3::with_seed(before.0);
        hasher.update(&self.origin.0.to_le_bytes());
        hasher.update(&self.sequence.0.to_le_bytes());
        hasher.update(&self.hlc.raw().to_le_bytes());
        hasher.update(&self.body);
        HistoryHash(hasher.digest())
    }

    /// Whether this is the very entry that comes after `mark`: next sequence, later clock, and the
    /// hash that the history up to the mark leads to.
    #[must_use]
    pub fn follows(&self, mark: Mark) -> bool {
        self.sequence == mark.sequence.next()
            && self.hlc > mark.hlc
            && (self.history == self.history_after(mark.history)
                || mutation::active(Mutation::SequenceUsedAgain))
    }

    /// The stream's mark after this entry.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            sequence: self.sequence,
            hlc: self.hlc,
            history: self.history,
        }
    }

    /// The version of what this entry changed.
    #[must_use]
    pub fn version(&self) -> Version {
        Version {
            hlc: self.hlc,
            origin: self.origin,
        }
    }

    /// Roughly what the entry takes in memory and on the wire, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len() + 40
    }
}

impl Body {
    /// The body's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = encode(self);
        let Self::Captured(captured) = self else {
            return bytes.into();
        };
        let (collisions, absorbed) = (&captured.collisions, &captured.absorbed);
        if !(collisions.is_empty() && absorbed.is_empty()) {
            bytes[0] = CAPTURED_WITH_COLLISIONS;
            bytes.extend(encode(collisions));
        }
        if !absorbed.is_empty() {
            bytes[0] = CAPTURED_WITH_ABSORBED;
            bytes.extend(encode(absorbed));
        }
        bytes.into()
    }

    /// The lowest wire version that knows this kind of body. A region must not commit one while a
    /// member speaks less: it would be unreadable there.
    #[must_use]
    pub fn wire_version_min(&self) -> u16 {
        match self {
            Self::Open { .. } | Self::Transaction(_) | Self::Report(_) => 1,
            Self::Decision(_) => crate::DECISIONS_SINCE,
            Self::Join { .. } | Self::Vote(_) | Self::Adopt(_) => crate::VOTES_SINCE,
            Self::Captured(captured) if !captured.absorbed.is_empty() => crate::ABSORBED_SINCE,
            Self::Captured(captured) if !captured.collisions.is_empty() => crate::COLLISIONS_SINCE,
            Self::Captured(_) => crate::CAPTURES_SINCE,
        }
    }

    /// What it does to rows, if it is of such a kind.
    #[must_use]
    pub fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Transaction(transaction)
            | Self::Decision(Decision { transaction, .. })
            | Self::Captured(Captured { transaction, .. }) => Some(transaction),
            _ => None,
        }
    }

    /// Where in its engine's history the captured transaction of these bytes stands, without reading
    /// the rest of them; `None` for any other body.
    #[must_use]
    pub fn captured_at(bytes: &[u8]) -> Option<CapturedAt> {
        let (&(CAPTURED | CAPTURED_WITH_COLLISIONS | CAPTURED_WITH_ABSORBED), after) =
            bytes.split_first()?
        else {
            return None;
        };
        postcard::take_from_bytes(after).ok().map(|(at, _)| at)
    }

    /// The captured transaction, if it is one.
    #[must_use]
    pub fn captured(&self) -> Option<&Captured> {
        match self {
            Self::Captured(captured) => Some(captured),
            _ => None,
        }
    }

    /// Reads a body back.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some((&kind @ (CAPTURED_WITH_COLLISIONS | CAPTURED_WITH_ABSORBED), after)) =
            bytes.split_first()
        else {
            return decode(bytes);
        };
        let (mut captured, after) = postcard::take_from_bytes::<Captured>(after)?;
        let absorbed;
        (captured.collisions, absorbed) = postcard::take_from_bytes(after)?;
        match kind {
            CAPTURED_WITH_ABSORBED => captured.absorbed = decode(absorbed)?,
            _ => nothing(absorbed)?,
        }
        Ok(Self::Captured(captured))
    }
}

/// Encodes a value of this crate.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("values of this crate have no unencodable parts")
}

/// Decodes a value, refusing bytes that are left over.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(bytes)?;
    nothing(rest)?;
    Ok(value)
}

fn nothing(rest: &[u8]) -> Result<(), DecodeError> {
    match rest.len() {
        0 => Ok(()),
        left => Err(DecodeError::Trailing(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Collisions, Operation, Vector};
    use proptest::prelude::*;

    fn open() -> Body {
        Body::Open {
            region: RegionName::new("a"),
        }
    }

    #[test]
    fn an_entry_follows_only_its_own_history() {
        let origin = OriginId(7);
        let first = Entry::following(Mark::default(), origin, Hlc::from_raw(5), &open());
        let second = Entry::following(first.mark(), origin, Hlc::from_raw(6), &open());
        assert!(first.follows(Mark::default()));
        assert!(second.follows(first.mark()));
        assert!(!second.follows(Mark::default()), "a gap");
        assert!(!first.follows(first.mark()), "a repeat");
        let other = Entry::following(Mark::default(), origin, Hlc::from_raw(4), &open());
        assert!(!second.follows(other.mark()), "a fork");
        let mut forged = second.clone();
        forged.body = Bytes::from_static(b"x");
        assert!(!forged.follows(first.mark()), "another body");
    }

    #[test]
    fn the_encoding_of_a_body_is_fixed() {
        let body = Body::Transaction(Transaction {
            dependencies: [(OriginId(1), Hlc::from_raw(2))].into_iter().collect(),
            changes: vec![Change {
                table: "t".into(),
                key: "k".into(),
                operation: Operation::Increment {
                    by: vec![("n".into(), -1)],
                },
            }],
            idempotency: None,
        });
        let bytes = body.encode();
        assert_eq!(
            &bytes[..],
            [1, 1, 1, 2, 1, 1, b't', 1, b'k', 2, 1, 1, b'n', 1, 0]
        );
        assert_eq!(Body::decode(&bytes), Ok(body));
    }

    #[test]
    fn the_encoding_of_a_decision_is_fixed() {
        let body = Body::Decision(Decision {
            letter: Version {
                hlc: Hlc::from_raw(5),
                origin: OriginId(6),
            },
            transaction: Transaction::default(),
        });
        let bytes = body.encode();
        assert_eq!(&bytes[..], [3, 5, 6, 0, 0, 0]);
        assert_eq!(Body::decode(&bytes), Ok(body));
    }

    #[test]
    fn the_encoding_of_a_captured_transaction_is_fixed() {
        let at = crate::CapturedAt {
            system: 5,
            timeline: 1,
            end: 6,
            part: 0,
            is_last: true,
        };
        let transaction = Transaction::default();
        let mut captured = Captured {
            at,
            transaction,
            collisions: Collisions::default(),
            absorbed: Vector::default(),
        };
        let body = Body::Captured(captured.clone());
        assert_eq!(Body::captured_at(&body.encode()), Some(at));
        let report = Body::Report(Report::default());
        assert_eq!(Body::captured_at(&report.encode()), None);
        let bytes = body.encode();
        assert_eq!(&bytes[..], [7, 5, 1, 6, 0, 1, 0, 0, 0]);
        assert_eq!(Body::decode(&bytes), Ok(body));

        captured.collisions = Collisions {
            blind: vec![3],
            chosen: vec![crate::Chosen {
                row: crate::RowName {
                    table: "t".into(),
                    key: "k".into(),
                },
                document: None,
                stands: true,
            }],
        };
        let body = Body::Captured(captured.clone());
        let bytes = body.encode();
        let collisions = [1, 3, 1, 1, b't', 1, b'k', 0, 1];
        assert_eq!(
            &bytes[..],
            [&[8, 5, 1, 6, 0, 1, 0, 0, 0], &collisions[..]].concat()
        );
        assert_eq!(Body::captured_at(&bytes), Some(at));
        assert_eq!(Body::decode(&bytes).as_ref(), Ok(&body));
        assert_eq!(body.wire_version_min(), 4);
        captured.absorbed = [(OriginId(2), Hlc::from_raw(9))].into_iter().collect();
        let absorbing = Body::Captured(captured);
        let longer = absorbing.encode();
        assert_eq!(
            &longer[..],
            [&[9, 5, 1, 6, 0, 1, 0, 0, 0], &collisions[..], &[1, 2, 9]].concat()
        );
        assert_eq!(Body::captured_at(&longer), Some(at));
        assert_eq!(absorbing.wire_version_min(), 5);
        assert_eq!(Body::decode(&longer), Ok(absorbing));
        assert_eq!(
            Body::decode(&[&longer[..], &[0]].concat()),
            Err(DecodeError::Trailing(1))
        );
        assert_eq!(
            Body::decode(&[&bytes[..], &[0]].concat()),
            Err(DecodeError::Trailing(1))
        );
    }

    #[test]
    fn the_encodings_of_membership_are_fixed() {
        let join = Body::Join {
            region: RegionName::new("d"),
            epoch: 2,
        };
        assert_eq!(&join.encode()[..], [4, 1, b'd', 2]);
        let ballot = crate::Ballot {
            counter: 5,
            origin: OriginId(7),
        };
        let accepted = Body::Vote(Vote::Accepted { number: 3, ballot });
        assert_eq!(&accepted.encode()[..], [5, 3, 3, 5, 7]);
        let adopt = Body::Adopt(Adopt {
            epoch: crate::Epoch {
                number: 3,
                ..crate::Epoch::default()
            },
            decided_by: crate::DecidedBy::Operator,
            dependencies: [(OriginId(1), Hlc::from_raw(2))].into_iter().collect(),
        });
        assert_eq!(&adopt.encode()[..], [6, 3, 0, 1, 1, 1, 2]);
        assert_eq!(Body::decode(&adopt.encode()), Ok(adopt));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Body::decode(&bytes);
        }
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let mut bytes = open().encode().to_vec();
        bytes.push(0);
        assert_eq!(Body::decode(&bytes), Err(DecodeError::Trailing(1)));
    }
}
