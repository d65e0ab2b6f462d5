//! Questions to a peer about one dataset, beside its stream.

use bytes::Bytes;
use meridian_model::{Answer, Envelope, Message, Question, RegionName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no connection to the peer, or it ended.
    #[error("there is no connection to region {peer}: {reason}")]
    Unreachable {
        /// The peer.
        peer: RegionName,
        /// Why, as far as is known.
        reason: String,
    },
    /// The peer runs a release that doesn't know the question.
    #[error("region {peer} runs an earlier release, which can't answer this")]
    TooOld {
        /// The peer.
        peer: RegionName,
    },
    /// No answer came in time.
    #[error("region {peer} didn't answer within {} ms", timeout.as_millis())]
    Timeout {
        /// The peer.
        peer: RegionName,
        /// How long was waited.
        timeout: Duration,
    },
    /// The peer can't say.
    #[error("region {peer} can't answer: {reason}")]
    Unavailable {
        /// The peer.
        peer: RegionName,
        /// Why.
        reason: String,
    },
}

/// The questions of one dataset that are under way; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Questions(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last_id: u64,
    doors: BTreeMap<RegionName, Door>,
    /// Why there is no connection, of those that there is none to any more.
    away: BTreeMap<RegionName, String>,
    waiting: BTreeMap<u64, Waiting>,
}

/// A dialled connection.
struct Door {
    wire_version: u16,
    outbox: mpsc::UnboundedSender<Bytes>,
}

struct Waiting {
    peer: RegionName,
    reply: oneshot::Sender<Answer>,
}

impl State {
    fn unreachable(&self, peer: &RegionName) -> AskError {
        let reason = self.away.get(peer).map(String::as_str);
        AskError::Unreachable {
            peer: peer.clone(),
            reason: reason.unwrap_or("there was none yet").to_owned(),
        }
    }
}

impl Questions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connected(
        &self,
        peer: RegionName,
        wire_version: u16,
        outbox: mpsc::UnboundedSender<Bytes>,
    ) {
        let door = Door {
            wire_version,
            outbox,
        };
        let mut state = self.state();
        state.away.remove(&peer);
        state.doors.insert(peer, door);
    }

    /// Whoever waits for this peer learns that nothing will come.
    pub(crate) fn disconnected(&self, peer: &RegionName, reason: &str) {
        let mut state = self.state();
        state.doors.remove(peer);
        state.away.insert(peer.clone(), reason.to_owned());
        state.waiting.retain(|_, waiting| waiting.peer != *peer);
    }

    pub(crate) fn answered(&self, peer: &RegionName, id: u64, answer: Answer) {
        let mut state = self.state();
        if state
            .waiting
            .get(&id)
            .is_some_and(|waiting| waiting.peer == *peer)
            && let Some(waiting) = state.waiting.remove(&id)
        {
            // Whoever asked may have given up.
            let _ = waiting.reply.send(answer);
        }
    }

    /// Asks a peer and waits for its answer.
    pub(crate) async fn ask(
        &self,
        dataset: &str,
        peer: &RegionName,
        question: Question,
        timeout: Duration,
    ) -> Result<Answer, AskError> {
        let (id, answer) = self.send(dataset, peer, question)?;
        let outcome = tokio::time::timeout(timeout, answer).await;
        let peer = peer.clone();
        match outcome {
            Ok(Ok(Answer::Unavailable { reason })) => Err(AskError::Unavailable { peer, reason }),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(self.state().unreachable(&peer)),
            Err(_) => {
                self.state().waiting.remove(&id);
                Err(AskError::Timeout { peer, timeout })
            }
        }
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn forget(&self, id: u64) {
        self.state().waiting.remove(&id);
    }

    /// Sends a question; the answer comes unless the connection ends.
    pub(crate) fn send(
        &self,
        dataset: &str,
        peer: &RegionName,
        question: Question,
    ) -> Result<(u64, oneshot::Receiver<Answer>), AskError> {
        let mut state = self.state();
        let door = state.doors.get(peer);
        let door = door.ok_or_else(|| state.unreachable(peer))?;
        if door.wire_version < question.since() {
            return Err(AskError::TooOld { peer: peer.clone() });
        }
        let id = state.last_id + 1;
        let message = Envelope {
            dataset: dataset.to_owned(),
            message: Message::Ask { id, question },
        };
        door.outbox
            .send(message.encode())
            .map_err(|_| state.unreachable(peer))?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            peer: peer.clone(),
            reply,
        };
        state.last_id = id;
        state.waiting.insert(id, waiting);
        Ok((id, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{QUESTIONS_SINCE, Vector};

    fn peer() -> RegionName {
        RegionName::new("b")
    }

    fn connected(wire_version: u16) -> (Questions, mpsc::UnboundedReceiver<Bytes>) {
        let (outbox, messages) = mpsc::unbounded_channel();
        let questions = Questions::default();
        questions.connected(peer(), wire_version, outbox);
        (questions, messages)
    }

    async fn ask(questions: &Questions, timeout: Duration) -> Result<Answer, AskError> {
        questions
            .ask("main", &peer(), Question::Applied, timeout)
            .await
    }

    #[tokio::test]
    async fn an_answer_finds_who_asked() {
        let (questions, mut messages) = connected(QUESTIONS_SINCE);
        let asked = {
            let questions = questions.clone();
            tokio::spawn(async move { ask(&questions, Duration::from_secs(60)).await })
        };
        let envelope = Envelope::decode(&messages.recv().await.unwrap()).unwrap();
        let Message::Ask { id, .. } = envelope.message else {
            panic!("no question: {envelope:?}");
        };
        let answer = Answer::Applied(Vector::default());
        questions.answered(&RegionName::new("c"), id, answer.clone());
        assert!(
            !asked.is_finished(),
            "another region's answer counts for nothing"
        );
        questions.answered(&peer(), id, answer.clone());
        assert_eq!(asked.await.unwrap(), Ok(answer));
    }

    #[tokio::test]
    async fn the_end_of_the_connection_ends_the_wait() {
        let (questions, mut messages) = connected(QUESTIONS_SINCE);
        let asked = {
            let questions = questions.clone();
            tokio::spawn(async move { ask(&questions, Duration::from_secs(60)).await })
        };
        messages.recv().await.unwrap();
        let nobody = ask(&Questions::default(), Duration::from_secs(60)).await;
        let text = nobody.unwrap_err().to_string();
        assert_eq!(
            text,
            "there is no connection to region b: there was none yet"
        );
        questions.disconnected(&peer(), "it doesn't let this region in");
        let unreachable = AskError::Unreachable {
            peer: peer(),
            reason: "it doesn't let this region in".to_owned(),
        };
        assert_eq!(asked.await.unwrap(), Err(unreachable.clone()));
        assert_eq!(
            ask(&questions, Duration::from_secs(60)).await,
            Err(unreachable)
        );
    }

    #[tokio::test]
    async fn silence_and_old_releases_are_errors() {
        let timeout = Duration::from_millis(1);
        let (questions, _messages) = connected(QUESTIONS_SINCE);
        let silent = AskError::Timeout {
            peer: peer(),
            timeout,
        };
        assert_eq!(ask(&questions, timeout).await, Err(silent));
        assert!(questions.state().waiting.is_empty());
        let too_old = Err(AskError::TooOld { peer: peer() });
        let (older, _messages) = connected(QUESTIONS_SINCE - 1);
        assert_eq!(ask(&older, timeout).await, too_old);
        // One that knows questions, and not this one.
        let later = Question::Steering(Bytes::new());
        assert_eq!(questions.ask("", &peer(), later, timeout).await, too_old);
    }
}
