//! The accepting end: streams this region's logs to whoever subscribes.

use super::answers::Answers;
use crate::dataset::{DatasetHandle, Input, LogDisk, MachineClock, describe};
use meridian_link::{Connection, Listener, Sender as LinkSender};
use meridian_log::LogError;
use meridian_model::{
    Acknowledgement, Envelope, Message, OriginId, Refusal, RegionName, Sequence, SessionId,
};
use meridian_replicate::Sender;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// A subscriber says little: one message a batch. More than this waiting is a peer gone wrong.
const INBOX_MESSAGES_MAX: usize = 1024;

/// What every stream of a region needs to know.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) region: RegionName,
    pub(crate) clock: MachineClock,
    pub(crate) datasets: Vec<DatasetHandle>,
    /// The datasets that could not be opened, and why.
    pub(crate) failed: Arc<BTreeMap<String, String>>,
}

/// Accepts connections and serves them for as long as it is polled.
pub(crate) async fn accept(mut listener: Listener, streams: Streams) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.accept() => {
                connections.spawn(serve(connection, streams.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(connection: Connection, streams: Streams) {
    let peer = connection.peer.clone();
    let reason = converse(connection, &streams).await;
    tracing::debug!(peer, reason, "a subscriber is gone");
}

async fn converse(connection: Connection, streams: &Streams) -> String {
    let peer = RegionName::new(&connection.peer);
    let (sender, mut receiver) = connection.split();
    let link = Arc::new(Mutex::new(sender));
    let mut answers = Answers::new(link.clone());
    let mut tasks = JoinSet::new();
    let mut inboxes = BTreeMap::new();
    for dataset in &streams.datasets {
        let (inbox, messages) = mpsc::channel(INBOX_MESSAGES_MAX);
        inboxes.insert(dataset.name().to_owned(), inbox);
        let stream = Stream {
            sender: Sender::new(streams.region.clone(), dataset.origin(), dataset.log()),
            dataset: dataset.clone(),
            peer: peer.clone(),
            clock: streams.clock.clone(),
            link: link.clone(),
            session: SessionId::default(),
            held: None,
        };
        tasks.spawn(stream.run(messages));
    }
    loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => {
                return ended.unwrap_or_else(|error| error.to_string());
            }
            received = receiver.recv() => {
                let bytes = match received {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => return "it closed the link".to_owned(),
                    Err(error) => return describe(&error),
                };
                let Ok(Envelope { dataset, message }) = Envelope::decode(&bytes) else {
                    return "it sent something unreadable".to_owned();
                };
                if let Message::Ask { id, question } = message {
                    let asked = streams.datasets.iter().find(|known| known.name() == dataset);
                    answers.begin(dataset, asked.cloned(), id, question);
                } else if let Some(inbox) = inboxes.get(&dataset) {
                    if inbox.send(message).await.is_err() {
                        return "the dataset has ended".to_owned();
                    }
                } else if let Err(reason) = refuse(&link, streams, dataset, message).await {
                    return reason;
                }
            }
        }
    }
}

/// Answers a subscription to a dataset that doesn't run here.
async fn refuse(
    link: &Mutex<LinkSender>,
    streams: &Streams,
    dataset: String,
    message: Message,
) -> Result<(), String> {
    let Message::Subscribe { session, .. } = message else {
        return Ok(());
    };
    let reason = match streams.failed.get(&dataset) {
        Some(reason) => reason.clone(),
        None => "it is not in that region's topology".to_owned(),
    };
    let message = Message::Refuse {
        session,
        reason: Refusal::Stopped { reason },
    };
    let sent = link
        .lock()
        .await
        .send(Envelope { dataset, message }.encode())
        .await;
    sent.map_err(|error| describe(&error))
}

/// One dataset's stream to one subscriber.
struct Stream {
    sender: Sender<LogDisk>,
    dataset: DatasetHandle,
    peer: RegionName,
    clock: MachineClock,
    link: Arc<Mutex<LinkSender>>,
    session: SessionId,
    /// What the subscriber last said that it holds, until the dataset has been told.
    held: Option<Vec<(OriginId, Sequence)>>,
}

/// Why a stream can't go on.
enum StreamError {
    /// The link is gone, and with it the other datasets' streams.
    Link(String),
    /// This dataset's log can't be read; the others' can.
    Log(LogError),
}

impl From<LogError> for StreamError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl Stream {
    /// Runs until the link fails, and says why.
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) -> String {
        let mut committed = self.dataset.committed();
        let mut is_running = true;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            let stepped = tokio::select! {
                message = messages.recv() => match message {
                    None => return "the link is closing".to_owned(),
                    Some(message) => self.take(message).await,
                },
                changed = committed.changed(), if is_running => {
                    is_running = changed.is_ok();
                    Ok(())
                }
                _ = heartbeat.tick() => {
                    self.pass_on_held();
                    Ok(())
                }
            };
            let outcome = match stepped {
                Ok(()) => self.send_due().await,
                Err(error) => Err(error),
            };
            if let Err(reason) = self.survive(outcome).await {
                return reason;
            }
        }
    }

    /// A log that can't be read ends this stream, with the reason, and not the link.
    async fn survive(&mut self, outcome: Result<(), StreamError>) -> Result<(), String> {
        let error = match outcome {
            Ok(()) => return Ok(()),
            Err(StreamError::Link(reason)) => return Err(reason),
            Err(StreamError::Log(error)) => error,
        };
        self.sender.unsubscribe();
        if matches!(error, LogError::Trimmed { .. }) {
            // The peer got by another way what the stream was about to send; it asks again.
            return Ok(());
        }
        let reason = format!("the log can't be read: {}", describe(&error));
        tracing::error!(
            dataset = self.dataset.name(),
            reason,
            hint = error.hint(),
            "stream ends"
        );
        let refusal = Refusal::Stopped { reason };
        let message = Message::Refuse {
            session: self.session,
            reason: refusal,
        };
        match self.send(message).await {
            Err(StreamError::Link(reason)) => Err(reason),
            _ => Ok(()),
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), StreamError> {
        match message {
            Message::Ack {
                session,
                next,
                held,
            } => {
                self.sender.acknowledged(session, next, &held);
                self.held = Some(held);
                if self.dataset.promises().acknowledgement != Acknowledgement::Local {
                    // Clients wait for it.
                    self.pass_on_held();
                }
                Ok(())
            }
            Message::Subscribe {
                session,
                ref region,
                ref marks,
                ..
            } if *region == self.peer => {
                self.session = session;
                let held = marks
                    .iter()
                    .map(|(origin, mark)| (origin, mark.sequence))
                    .collect();
                self.subscribe(message, held).await
            }
            _ => Err(StreamError::Link("it speaks for another region".to_owned())),
        }
    }

    async fn subscribe(
        &mut self,
        message: Message,
        held: Vec<(OriginId, Sequence)>,
    ) -> Result<(), StreamError> {
        let known = self.dataset.member(&self.peer);
        let now = self.clock.now();
        let answer = tokio::task::block_in_place(|| self.sender.subscribe(now, known, message))?;
        let Some(answer) = answer else { return Ok(()) };
        if let Some(reason) = answer.disowned {
            self.dataset.send(Input::Disown { reason });
        }
        match &answer.message {
            Message::Refuse { reason, .. } => {
                tracing::warn!(peer = %self.peer, dataset = self.dataset.name(), %reason, "refused");
            }
            _ => self.held = Some(held),
        }
        self.send(answer.message).await
    }

    /// Tells the dataset what the subscriber holds: its log may have grown to its limit, where only
    /// this lets it trim.
    fn pass_on_held(&mut self) {
        if let (Some(member), Some(held)) = (self.dataset.member(&self.peer), self.held.take()) {
            self.dataset.send(Input::Holds { member, held });
        }
    }

    async fn send_due(&mut self) -> Result<(), StreamError> {
        loop {
            let now = self.clock.now();
            let due = if self.sender.is_idle() {
                self.sender.poll(now)
            } else {
                // Perhaps from the files, when the peer is far behind.
                tokio::task::block_in_place(|| self.sender.poll(now))
            };
            match due? {
                None => return Ok(()),
                Some(message) => self.send(message).await?,
            }
        }
    }

    async fn send(&self, message: Message) -> Result<(), StreamError> {
        let dataset = self.dataset.name().to_owned();
        let sent = self
            .link
            .lock()
            .await
            .send(Envelope { dataset, message }.encode())
            .await;
        sent.map_err(|error| StreamError::Link(describe(&error)))
    }
}
