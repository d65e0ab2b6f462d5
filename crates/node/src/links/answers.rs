//! Answers to what peers ask about a dataset beside its stream.

use super::serve::Streams;
use crate::api::carry_out;
use crate::dataset::{DatasetHandle, Membership, describe};
use crate::joining::Progress;
use bytes::Bytes;
use meridian_link::Sender as LinkSender;
use meridian_model::{Answer, Envelope, Message, Question, RegionName, SnapshotId};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Questions of one peer that are worked on at once; more are turned away.
const AT_ONCE_MAX: usize = 64;
/// A part of a snapshot is this large at most, in bytes, unless one record is larger.
const PART_BYTES: usize = 1 << 20;
/// What is said of a dataset that doesn't run.
const NOT_RUNNING: &str = "the dataset doesn't run there";
/// What a region that holds no tables says to questions about them.
const WITNESS: &str = "the region is a witness and holds no tables";
/// Questions of one peer that may all wait for one moment: writes that it has handed on for one commit,
/// or for other regions; what is held here until the regions agree on who counts.
const WAITING_AT_ONCE_MAX: usize = 4096;

/// Who answers a question.
pub(super) enum Asked {
    /// A dataset that runs here.
    Dataset(DatasetHandle),
    /// The region, about what belongs to no dataset.
    Region(Streams),
    /// A dataset that joins.
    Joining(Progress),
    /// The dataset doesn't run here.
    Nobody,
}

/// Works out answers beside a connection's streams; dropping it gives them up.
pub(super) struct Answers {
    link: Arc<Mutex<LinkSender>>,
    pub(super) peer: RegionName,
    tasks: JoinSet<()>,
    waiting: JoinSet<()>,
}

impl Answers {
    pub(super) fn new(link: Arc<Mutex<LinkSender>>, peer: RegionName) -> Self {
        Self {
            link,
            peer,
            tasks: JoinSet::new(),
            waiting: JoinSet::new(),
        }
    }

    /// Answers a question in a task of its own.
    pub(super) fn begin(&mut self, name: String, asked: Asked, id: u64, question: Question) {
        let (tasks, most) = match question {
            Question::Write(_) | Question::Held => (&mut self.waiting, WAITING_AT_ONCE_MAX),
            _ => (&mut self.tasks, AT_ONCE_MAX),
        };
        while tasks.try_join_next().is_some() {}
        let is_busy = tasks.len() >= most;
        let (link, peer) = (self.link.clone(), self.peer.clone());
        tasks.spawn(async move {
            let answer = match asked {
                _ if is_busy => unavailable("it has too many questions to answer already"),
                Asked::Nobody => unavailable(NOT_RUNNING),
                Asked::Joining(progress) => of_joining(&progress, &question),
                Asked::Dataset(dataset) => answer(&dataset, &peer, question).await,
                Asked::Region(streams) => of_region(&streams, &peer, question).await,
            };
            let message = Message::Answer { id, answer };
            let envelope = Envelope {
                dataset: name,
                message,
            };
            // A link that has ended answers nobody; whoever asked asks again.
            let _ = link.lock().await.send(envelope.encode()).await;
        });
    }
}

/// What the region answers that is about none of its datasets. Who is no member isn't listened to.
async fn of_region(streams: &Streams, peer: &RegionName, question: Question) -> Answer {
    let is_peer = streams.peers.borrow().dialled.contains_key(peer);
    match question {
        _ if !is_peer => unavailable(&format!("region {peer} is not a member there")),
        Question::Steering(told) => streams.steering.answer(peer, &told).await,
        _ => unavailable("the question names no dataset"),
    }
}

/// What is said of a dataset of which there is nothing yet: who would found it.
fn of_joining(progress: &Progress, question: &Question) -> Answer {
    match (question, progress.founding()) {
        (Question::Epoch, Some(epoch)) => Answer::Epoch(epoch),
        _ => unavailable(NOT_RUNNING),
    }
}

fn unavailable(reason: &str) -> Answer {
    Answer::Unavailable {
        reason: reason.to_owned(),
    }
}

/// Why a region doesn't get a copy of the tables: only for a member whose stream has yet to begin
/// is everything kept that comes after the copy.
fn unexpected(dataset: &DatasetHandle, peer: &RegionName) -> Option<String> {
    let membership = dataset.membership();
    let member = membership.epoch.members.get(peer);
    let is_expected = member.is_some_and(|member| member.origin.is_none());
    (!is_expected).then(|| format!("region {peer} isn't expected to join there"))
}

/// Why a region that is no member gets no answer: it was let go, and with it what it may see. How
/// it stands it may always ask, and whether it may have a snapshot is looked at with that.
fn stranger(membership: &Membership, peer: &RegionName, question: &Question) -> Option<String> {
    let is_for_all = matches!(question, Question::Epoch | Question::Snapshot { .. });
    let is_member = membership.epoch.members.contains_key(peer);
    (!is_for_all && !is_member).then(|| format!("region {peer} is not a member there"))
}

async fn answer(dataset: &DatasetHandle, peer: &RegionName, question: Question) -> Answer {
    if let Some(reason) = stranger(&dataset.membership(), peer, &question) {
        return unavailable(&reason);
    }
    let is_witness = dataset.is_witness(dataset.region());
    match question {
        // Whoever asks goes on to another region.
        Question::Write(_) if is_witness => unavailable(WITNESS),
        _ if is_witness && question.is_about_rows() => unavailable(WITNESS),
        // Tables that stand still say nothing of what the log holds.
        Question::Applied if !is_witness && dataset.shown_to().is_none() => {
            unavailable("its tables don't follow the log")
        }
        Question::Applied => Answer::Applied((*dataset.applied()).clone()),
        Question::Write(bytes) => Answer::Write(carry_out(dataset, &bytes).await),
        Question::Held => match dataset.held_for(peer).await {
            Ok(held) => Answer::Held(held),
            Err(reason) => unavailable(&reason),
        },
        Question::Snapshot { id, after } => match unexpected(dataset, peer) {
            Some(reason) => unavailable(&reason),
            None => snapshot(dataset, id, after).await,
        },
        Question::Steering(_) => unavailable("this is asked of a region, not of a dataset"),
        Question::Epoch => Answer::Epoch(dataset.membership().epoch.clone()),
        about_rows @ (Question::Digests(_)
        | Question::Rows { .. }
        | Question::Look { .. }
        | Question::Fetch { .. }) => crate::dataset::answer(dataset, about_rows).await,
    }
}

/// The dataset's thread only opens the view; it is read here, beside everything else.
async fn snapshot(dataset: &DatasetHandle, id: SnapshotId, after: Option<Bytes>) -> Answer {
    let opened = match dataset.snapshot(id, after.is_none()).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal.answer(),
    };
    let read = move || opened.part(after.as_deref(), PART_BYTES);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(part)) => Answer::Snapshot(part),
        Ok(Err(error)) => {
            let reason = describe(&error);
            tracing::error!(dataset = dataset.name(), reason, "cannot give a snapshot");
            unavailable(&reason)
        }
        Err(error) => unavailable(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Epoch, Member, Standing, Vector};
    use meridian_replicate::OwnStanding;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn who_is_no_member_learns_nothing_but_that() {
        let member = |region: &str| {
            let member = Member {
                origin: None,
                standing: Standing::Voting,
                address: None,
            };
            (RegionName::new(region), member)
        };
        let membership = Membership {
            epoch: Epoch {
                number: 3,
                members: [member("a"), member("b")].into(),
            },
            standing: OwnStanding::Voting,
            adopted: BTreeMap::new(),
            deciding: None,
            awaits_outcome: false,
            cuts: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            away: BTreeSet::new(),
            waits_for: BTreeMap::new(),
            needs_new_copy: false,
        };
        let covering = Vector::default();
        let rows = [
            Question::Held,
            Question::Applied,
            Question::Write(Bytes::new()),
            Question::Digests(Vec::new()),
            Question::Fetch {
                names: Vec::new(),
                covering,
            },
        ];
        let (b, removed) = (RegionName::new("b"), RegionName::new("c"));
        for question in &rows {
            assert_eq!(stranger(&membership, &b, question), None);
            let refused = stranger(&membership, &removed, question);
            assert!(refused.is_some(), "{question:?}");
        }
        assert_eq!(stranger(&membership, &removed, &Question::Epoch), None);
    }
}
