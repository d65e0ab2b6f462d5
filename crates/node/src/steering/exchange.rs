//! Ledgers of wishes between regions: every region asks each of its peers once a second, and at once
//! when something is new here.
//!
//! A question carries what the asker's ledger comes to and its newest changes; the answer carries all
//! of the other's where the two differ. Who is no member is neither asked nor answered.

use super::{KeepError, Steering};
use crate::dataset::Questions;
use crate::links::Peers;
use bytes::Bytes;
use meridian_model::{Answer, BESIDE_DATASETS, Question, RegionName};
use meridian_steer::{Heard, Telling, Told};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How often a peer is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

impl Steering {
    /// Exchanges ledgers with the peers, for as long as it is polled.
    pub(crate) async fn exchange(self, questions: Questions, mut peers: watch::Receiver<Peers>) {
        let mut tasks = JoinSet::new();
        let mut asked: BTreeMap<RegionName, AbortHandle> = BTreeMap::new();
        loop {
            let now = peers.borrow_and_update().clone();
            asked.retain(|peer, task| {
                let stays = now.dialled.contains_key(peer);
                if !stays {
                    task.abort();
                }
                stays
            });
            for peer in now.dialled.keys() {
                if !asked.contains_key(peer) {
                    let asking = ask(self.clone(), questions.clone(), peer.clone());
                    asked.insert(peer.clone(), tasks.spawn(asking));
                }
            }
            while tasks.try_join_next().is_some() {}
            if peers.changed().await.is_err() {
                // Nobody will change them any more; those that are asked are asked on.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Answers a peer.
    pub(crate) async fn answer(&self, peer: &RegionName, told: &Bytes) -> Answer {
        let unavailable = |reason: String| Answer::Unavailable { reason };
        let told = match Told::decode(told) {
            Ok(told) => told,
            Err(error) => return unavailable(format!("the wishes can't be read: {error}")),
        };
        let Some(heard) = self.hear(peer, told).await else {
            return unavailable("the wishes can't be kept there".to_owned());
        };
        let telling = if heard.agrees {
            Telling::Digest
        } else {
            Telling::All
        };
        Answer::Steering(self.tell(telling).encode().into())
    }

    fn tell(&self, telling: Telling) -> Told {
        let load = self.loads().own();
        self.0.kept.ledger().tell(telling, load)
    }

    /// Takes over what a peer told: what is new is durable before anything follows from it. `None`
    /// where it can't be made so.
    async fn hear(&self, peer: &RegionName, told: Told) -> Option<Heard> {
        let now = self.0.clock.now().elapsed;
        self.loads().told(now, peer, told.load_per_second);
        if told.wishes.is_empty() {
            let agrees = self.0.kept.ledger().agrees(&told);
            let is_new = false;
            return Some(Heard { is_new, agrees });
        }
        let (steering, peer) = (self.clone(), peer.clone());
        let taken = tokio::task::spawn_blocking(move || steering.take(&peer, told));
        taken.await.ok().flatten()
    }

    fn take(&self, peer: &RegionName, told: Told) -> Option<Heard> {
        let heard = self.0.kept.change(|ledger| Ok(ledger.hear(told)));
        let heard = heard.inspect_err(|error: &KeepError| {
            tracing::error!(error = %crate::dataset::describe(error), "a change is not taken over");
        });
        let heard = heard.ok()?;
        if !heard.is_new {
            return Some(heard);
        }
        tracing::info!(%peer, "what is wanted of the regions has changed elsewhere");
        self.0.news.send_modify(|count| *count += 1);
        self.refresh();
        Some(heard)
    }
}

/// Keeps a peer and this region in agreement, for as long as it is polled.
async fn ask(steering: Steering, questions: Questions, peer: RegionName) {
    let mut news = steering.0.news.subscribe();
    let mut telling = Telling::News;
    loop {
        news.borrow_and_update();
        let told = steering.tell(telling).encode().into();
        let question = Question::Steering(told);
        let answer = questions
            .ask(BESIDE_DATASETS, &peer, question, ANSWER_WITHIN)
            .await;
        let told = match answer {
            Ok(Answer::Steering(bytes)) => Told::decode(&bytes).ok(),
            _ => None,
        };
        let heard = match told {
            Some(told) => steering.hear(&peer, told).await,
            None => None,
        };
        // Whoever differs still lacks something that is known here. Asked at once, but once only:
        // a peer that can't keep what it is told would be asked without end.
        let before = telling;
        telling = match heard {
            Some(heard) if heard.agrees => Telling::Digest,
            Some(_) if before != Telling::All => {
                telling = Telling::All;
                continue;
            }
            _ => Telling::All,
        };
        tokio::select! {
            () = tokio::time::sleep(ASK_EVERY) => {}
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                telling = telling.max(Telling::News);
            }
        }
    }
}
