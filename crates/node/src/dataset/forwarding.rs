//! Writes that another region takes: how they are handed on, and what may be said of one that
//! isn't answered.
//!
//! ```text
//! client ─▶ this region ──Question::Write──▶ a region that takes writes ─▶ its dataset
//!                       ◀──Answer::Write───
//! ```
//!
//! To whom it is handed, and that once it has left nobody else is tried, is decided by
//! [`Forwarding`].

use super::handle::Written;
use super::{AskError, DatasetHandle};
use bytes::Bytes;
use meridian_engine_kv::{ForwardedWrite, Outcome};
use meridian_model::{Answer, DecodeError, Question, RegionName, Vector};
use meridian_replicate::{Forwarding, HandOn, NoAnswer, Shortfall};
use serde::{Deserialize, Serialize};

/// A link's messages are larger by a few bytes than what they carry.
const AROUND_BYTES: usize = 4096;

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
        let takers = self.nearest.iter();
        let takers =
            takers.filter(|region| self.promises.writes.takes(region) && !self.is_witness(region));
        let mut forwarding = Forwarding::new(takers.cloned().collect());
        let mut next = forwarding.begin();
        loop {
            let region = match next {
                HandOn::To(region) => region,
                HandOn::NowhereToGo { reasons } => {
                    return Err(ForwardError::NowhereToGo { reasons });
                }
                HandOn::Unknown { region, reason } => {
                    return Err(ForwardError::Unknown { region, reason });
                }
            };
            next = match self.hand_to(&region, encoded.clone()).await {
                Ok(bytes) => {
                    let unreadable = |source| ForwardError::Unreadable { region, source };
                    return ForwardedReply::decode(&bytes).map_err(unreadable);
                }
                Err(outcome) => forwarding.unanswered(outcome),
            };
        }
    }

    /// Hands a write to a region and waits for its answer.
    async fn hand_to(&self, region: &RegionName, encoded: Bytes) -> Result<Bytes, NoAnswer> {
        let timeout = Forwarding::patience(self.promises.acknowledgement_timeout);
        let question = Question::Write(encoded);
        let (id, answer) = self
            .questions
            .send(&self.name, region, question)
            .map_err(|error| NoAnswer::Stayed(error.to_string()))?;
        let lost = |reason: String| Err(NoAnswer::Lost(reason));
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(Answer::Write(bytes))) => Ok(bytes),
            Ok(Ok(Answer::Unavailable { reason })) => {
                let peer = region.clone();
                let error = AskError::Unavailable { peer, reason };
                Err(NoAnswer::TurnedAway(error.to_string()))
            }
            Ok(Ok(_)) => lost("it answered something else".to_owned()),
            Ok(Err(_)) => lost("the link to it was lost".to_owned()),
            Err(_) => {
                self.questions.forget(id);
                let ms = timeout.as_millis();
                lost(format!("it didn't answer within {ms} ms"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
