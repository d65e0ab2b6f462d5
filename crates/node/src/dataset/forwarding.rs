//! Writes that another region takes: how they are handed on, and what may be said of one that
//! isn't answered.
//!
//! ```text
//! client ─▶ this region ──Question::Write──▶ a region that takes writes ─▶ its dataset
//!                       ◀──Answer::Write───
//! ```
//!
//! A write is handed on once. If it surely didn't leave, or was turned away unread, the next region
//! may be tried; once it has left, only its answer tells whether it happened.

use super::handle::Written;
use super::{AskError, DatasetHandle};
use bytes::Bytes;
use meridian_engine_kv::{Outcome, Request};
use meridian_model::{Answer, DecodeError, Question, RegionName, Vector};
use meridian_replicate::Shortfall;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a write may be under way, beside what the dataset gives other regions to confirm it.
const UNDER_WAY_MAX: Duration = Duration::from_secs(5);
/// A link's messages are larger by a few bytes than what they carry.
const AROUND_BYTES: usize = 4096;

/// A write on its way to a region that takes it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForwardedWrite {
    pub(crate) request: Request,
    /// What its client has seen, which the region has to have seen too.
    pub(crate) seen: Option<Vector>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ForwardedReply {
    /// It is done.
    Written {
        outcome: Outcome,
        shortfall: Option<Shortfall>,
        /// What that region has applied.
        applied: Vector,
    },
    /// It was refused, or failed, as this problem says.
    Problem {
        /// Problem details, as clients see them.
        body: Vec<u8>,
        retry_after_seconds: Option<u16>,
    },
}

/// Why a write has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// It did not happen: no region that takes it can be reached.
    #[error("{}", reasons.join("; "))]
    NowhereToGo { reasons: Vec<String> },
    /// It did not happen.
    #[error("the write has {bytes} bytes on its way to another region, of at most {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    /// It was handed on, and nobody knows what became of it.
    #[error("the write was handed on to region {region}, and then {reason}")]
    Unknown { region: RegionName, reason: String },
    /// The other region said something unreadable.
    #[error("region {region} answered with something unreadable")]
    Unreadable {
        region: RegionName,
        #[source]
        source: DecodeError,
    },
}

impl ForwardedWrite {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (write, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then_some(write)
    }

    fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a request has no unencodable parts")
    }
}

impl ForwardedReply {
    pub(crate) fn of(written: Written, applied: Vector) -> Self {
        Self::Written {
            outcome: written.outcome,
            shortfall: written.shortfall,
            applied,
        }
    }

    /// The reply's bytes, where a message can carry them.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        let bytes = postcard::to_stdvec(self).expect("a reply has no unencodable parts");
        (bytes.len() <= bytes_max()).then(|| bytes.into())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (reply, rest) = postcard::take_from_bytes(bytes)?;
        if rest.is_empty() {
            Ok(reply)
        } else {
            Err(DecodeError::Trailing(rest.len()))
        }
    }
}

fn bytes_max() -> usize {
    meridian_link::MESSAGE_BYTES_MAX - AROUND_BYTES
}

impl DatasetHandle {
    /// Whether this region takes the dataset's writes itself.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.promises.writes.takes(&self.region) && !self.is_witness(&self.region)
    }

    /// Hands a write on to a region that takes it: the home, or the nearest that can be reached.
    pub(crate) async fn forward(
        &self,
        write: &ForwardedWrite,
    ) -> Result<ForwardedReply, ForwardError> {
        let encoded = Bytes::from(write.encode());
        let (bytes, bytes_max) = (encoded.len(), bytes_max());
        if bytes > bytes_max {
            return Err(ForwardError::TooLarge { bytes, bytes_max });
        }
        let timeout = UNDER_WAY_MAX + self.promises.acknowledgement_timeout;
        let mut reasons = Vec::new();
        let takers = self.nearest.iter();
        for region in
            takers.filter(|region| self.promises.writes.takes(region) && !self.is_witness(region))
        {
            let question = Question::Write(encoded.clone());
            let asked = self.questions.send(&self.name, region, question);
            let (id, answer) = match asked {
                Ok(sent) => sent,
                Err(error) => {
                    reasons.push(error.to_string());
                    continue;
                }
            };
            let unknown = |reason: String| ForwardError::Unknown {
                region: region.clone(),
                reason,
            };
            match tokio::time::timeout(timeout, answer).await {
                Ok(Ok(Answer::Write(bytes))) => {
                    return ForwardedReply::decode(&bytes).map_err(|source| {
                        ForwardError::Unreadable {
                            region: region.clone(),
                            source,
                        }
                    });
                }
                Ok(Ok(Answer::Unavailable { reason })) => {
                    let peer = region.clone();
                    reasons.push(AskError::Unavailable { peer, reason }.to_string());
                }
                Ok(Ok(_)) => return Err(unknown("it answered something else".to_owned())),
                Ok(Err(_)) => return Err(unknown("the link to it was lost".to_owned())),
                Err(_) => {
                    self.questions.forget(id);
                    let ms = timeout.as_millis();
                    return Err(unknown(format!("it didn't answer within {ms} ms")));
                }
            }
        }
        Err(ForwardError::NowhereToGo { reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_engine_kv::{Action, Precondition, PreconditionKind, RowOperation, Tags};
    use meridian_model::{Hlc, IdempotencyKey, OriginId};

    fn write() -> ForwardedWrite {
        let (table, key) = ("t".to_owned(), "k".to_owned());
        ForwardedWrite {
            request: Request {
                operations: vec![RowOperation {
                    table: table.clone(),
                    key: key.clone(),
                    action: Action::Put {
                        document: "{}".to_owned(),
                    },
                }],
                preconditions: vec![Precondition {
                    table,
                    key,
                    kind: PreconditionKind::IfMatch(Tags::Versions(vec!["1-2".to_owned()])),
                }],
                idempotency: Some(IdempotencyKey {
                    key: "once".to_owned(),
                    fingerprint: 7,
                }),
            },
            seen: Some([(OriginId(1), Hlc::from_raw(9))].into_iter().collect()),
        }
    }

    #[test]
    fn a_write_reads_back_and_no_part_of_it_does() {
        let bytes = write().encode();
        let again = ForwardedWrite::decode(&bytes).unwrap();
        assert_eq!(again.request, write().request);
        assert_eq!(again.seen, write().seen);
        for end in 0..bytes.len() {
            assert!(ForwardedWrite::decode(&bytes[..end]).is_none(), "{end}");
        }
        assert!(ForwardedWrite::decode(&[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn a_reply_that_no_message_can_carry_is_none() {
        let problem = |bytes| ForwardedReply::Problem {
            body: vec![0; bytes],
            retry_after_seconds: None,
        };
        assert!(problem(bytes_max()).encode().is_none());
        let bytes = problem(5).encode().unwrap();
        assert!(ForwardedReply::decode(&bytes).is_ok());
        assert!(ForwardedReply::decode(&bytes[1..]).is_err());
    }
}
