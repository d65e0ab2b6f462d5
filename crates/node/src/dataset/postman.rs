//! Who brings the replies of a round to those who wait for them.
//!
//! The dataset's thread is none of the runtime's, and each reply it gave would be handed to the
//! runtime through a lock, often with a system call to wake one of its threads. So a round's replies
//! are handed over together, and a task within the runtime gives them out, where waking is cheap.

use super::handle::{ExecuteError, Written};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Where a client's answer goes.
pub(super) type Reply = oneshot::Sender<Answer>;
/// What a client is told.
pub(super) type Answer = Result<Written, ExecuteError>;
type Round = Vec<(Answer, Reply)>;

/// Brings replies. It ends once it is dropped and what it was given is delivered.
pub(super) struct Postman {
    /// None where no runtime was there to deliver in.
    rounds: Option<mpsc::UnboundedSender<Round>>,
}

impl Postman {
    /// A postman in the runtime of whoever calls this, if there is one.
    pub(super) fn start() -> Self {
        let Ok(runtime) = Handle::try_current() else {
            return Self { rounds: None };
        };
        let (rounds, mut handed_over) = mpsc::unbounded_channel();
        runtime.spawn(async move {
            while let Some(round) = handed_over.recv().await {
                deliver(round);
            }
        });
        Self {
            rounds: Some(rounds),
        }
    }

    /// Delivers a round's answers. All of them may leave the region.
    pub(super) fn bring(&self, round: Round) {
        let round = match &self.rounds {
            // Alone it gets there sooner without a stop on the way.
            Some(rounds) if round.len() > 1 => match rounds.send(round) {
                Ok(()) => return,
                // The runtime is ending; whoever still waits gets the answer all the same.
                Err(mpsc::error::SendError(round)) => round,
            },
            _ => round,
        };
        deliver(round);
    }
}

fn deliver(round: Round) {
    for (answer, reply) in round {
        // Whoever asked may have gone; then nobody waits for the answer.
        let _ = reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(count: usize) -> (Round, Vec<oneshot::Receiver<Answer>>) {
        let pairs = (0..count).map(|_| oneshot::channel());
        let of = |(reply, answer)| ((Err(ExecuteError::ShuttingDown), reply), answer);
        pairs.map(of).unzip()
    }

    fn shut_down(answer: &Answer) -> bool {
        matches!(answer, Err(ExecuteError::ShuttingDown))
    }

    #[tokio::test]
    async fn every_answer_of_a_round_arrives() {
        let postman = Postman::start();
        for count in [0, 1, 2, 100] {
            let (round, answers) = round(count);
            postman.bring(round);
            for answer in answers {
                assert!(shut_down(&answer.await.unwrap()));
            }
        }
    }

    #[tokio::test]
    async fn what_was_handed_over_arrives_after_the_postman_has_gone() {
        let postman = Postman::start();
        let (round, answers) = round(10);
        postman.bring(round);
        drop(postman);
        for answer in answers {
            assert!(shut_down(&answer.await.unwrap()));
        }
    }

    #[test]
    fn without_a_runtime_answers_arrive_too() {
        let starting = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let ended = starting.block_on(async { Postman::start() });
        drop(starting);
        for postman in [Postman::start(), ended] {
            let (round, answers) = round(3);
            postman.bring(round);
            for mut answer in answers {
                assert!(shut_down(&answer.try_recv().unwrap()));
            }
        }
    }
}
