//! The accepting end: streams this region's logs to whoever subscribes.

use crate::dataset::{DatasetHandle, Input, MachineClock, describe};
use meridian_link::{Connection, Listener, Sender as LinkSender};
use meridian_log::{Directory, LogError};
use meridian_model::{Envelope, Message, Refusal, RegionName};
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
    let mut tasks = JoinSet::new();
    let mut inboxes = BTreeMap::new();
    for dataset in &streams.datasets {
        let (inbox, messages) = mpsc::channel(INBOX_MESSAGES_MAX);
        inboxes.insert(dataset.name().to_owned(), inbox);
        let stream = Stream {
            sender: Sender::new(streams.region.clone(), dataset.origin(), dataset.log()),
            dataset: dataset.clone(),
            peer: peer.clone(),
            clock: streams.clock,
            link: link.clone(),
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
                if let Some(inbox) = inboxes.get(&dataset) {
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
    sender: Sender<Directory>,
    dataset: DatasetHandle,
    peer: RegionName,
    clock: MachineClock,
    link: Arc<Mutex<LinkSender>>,
}

impl Stream {
    /// Runs until the link or the log fails, and says why.
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) -> String {
        let mut committed = self.dataset.committed();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    None => return "the link is closing".to_owned(),
                    Some(message) => {
                        if let Err(reason) = self.take(message).await {
                            return reason;
                        }
                    }
                },
                changed = committed.changed() => if changed.is_err() {
                    return "the dataset has ended".to_owned();
                },
                _ = heartbeat.tick() => {}
            }
            if let Err(reason) = self.send_due().await {
                return reason;
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), String> {
        if let Message::Ack {
            session,
            next,
            held,
        } = message
        {
            self.sender.acknowledged(session, next, &held);
            return Ok(());
        }
        if !matches!(&message, Message::Subscribe { region, .. } if *region == self.peer) {
            return Err("it speaks for another region".to_owned());
        }
        let known = self.dataset.member(&self.peer);
        let now = self.clock.now();
        let answer = tokio::task::block_in_place(|| self.sender.subscribe(now, known, message));
        let Some(answer) = answer.map_err(|error| unreadable(&error))? else {
            return Ok(());
        };
        if let Some(reason) = answer.lost_tail {
            self.dataset.send(Input::LostTail { reason });
        }
        if let Message::Refuse { reason, .. } = &answer.message {
            tracing::warn!(peer = %self.peer, dataset = self.dataset.name(), %reason, "refused");
        }
        self.send(answer.message).await
    }

    async fn send_due(&mut self) -> Result<(), String> {
        loop {
            let now = self.clock.now();
            let due = if self.sender.is_idle() {
                self.sender.poll(now)
            } else {
                // Perhaps from the files, when the peer is far behind.
                tokio::task::block_in_place(|| self.sender.poll(now))
            };
            match due.map_err(|error| unreadable(&error))? {
                None => return Ok(()),
                Some(message) => self.send(message).await?,
            }
        }
    }

    async fn send(&self, message: Message) -> Result<(), String> {
        let envelope = Envelope {
            dataset: self.dataset.name().to_owned(),
            message,
        };
        let sent = self.link.lock().await.send(envelope.encode()).await;
        sent.map_err(|error| describe(&error))
    }
}

fn unreadable(error: &LogError) -> String {
    tracing::error!(error = %describe(error), hint = error.hint(), "cannot read the log");
    format!("the log can't be read: {}", describe(error))
}
