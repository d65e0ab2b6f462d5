//! Answers to what peers ask about a dataset beside its stream.

use crate::dataset::{DatasetHandle, describe};
use bytes::Bytes;
use meridian_link::Sender as LinkSender;
use meridian_model::{Answer, Envelope, Message, Question, SnapshotId};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Questions of one peer that are worked on at once; more are turned away.
const AT_ONCE_MAX: usize = 64;
/// A part of a snapshot is this large at most, in bytes, unless one record is larger.
const PART_BYTES: usize = 1 << 20;

/// Works out answers beside a connection's streams; dropping it gives them up.
pub(super) struct Answers {
    link: Arc<Mutex<LinkSender>>,
    tasks: JoinSet<()>,
}

impl Answers {
    pub(super) fn new(link: Arc<Mutex<LinkSender>>) -> Self {
        Self {
            link,
            tasks: JoinSet::new(),
        }
    }

    /// Answers a question in a task of its own. `dataset` is `None` where it doesn't run here.
    pub(super) fn begin(
        &mut self,
        name: String,
        dataset: Option<DatasetHandle>,
        id: u64,
        question: Question,
    ) {
        while self.tasks.try_join_next().is_some() {}
        let is_busy = self.tasks.len() >= AT_ONCE_MAX;
        let link = self.link.clone();
        self.tasks.spawn(async move {
            let answer = match dataset {
                _ if is_busy => unavailable("it has too many questions to answer already"),
                None => unavailable("the dataset doesn't run there"),
                Some(dataset) => answer(&dataset, question).await,
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

fn unavailable(reason: &str) -> Answer {
    Answer::Unavailable {
        reason: reason.to_owned(),
    }
}

async fn answer(dataset: &DatasetHandle, question: Question) -> Answer {
    match question {
        Question::Applied => Answer::Applied((*dataset.applied()).clone()),
        Question::Snapshot { id, after } => snapshot(dataset, id, after).await,
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
