//! The accepting end: streams this region's logs to whoever subscribes.

use super::answers::{Answers, Asked};
use super::peers::{Nudges, Peers};
use crate::api::unready;
use crate::dataset::{DatasetHandle, Input, LogDisk, MachineClock, describe};
use crate::health::{Health, of_region};
use crate::registry::{DatasetState, Registry};
use crate::steering::Steering;
use meridian_health::{Input as Observed, Reports};
use meridian_link::{Connection, Listener, Sender as LinkSender};
use meridian_log::LogError;
use meridian_model::{
    Acknowledgement, BESIDE_DATASETS, Envelope, Message, OriginId, Refusal, RegionName, Sequence,
    SessionId,
};
use meridian_replicate::Sender;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// A subscriber says little: one message a batch. More than this waiting is a peer gone wrong.
const INBOX_MESSAGES_MAX: usize = 1024;
/// Probes of one peer that wait to be answered.
const PONGS_AT_ONCE_MAX: usize = 64;

/// What every stream of a region needs to know.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) region: RegionName,
    pub(crate) clock: MachineClock,
    pub(crate) registry: Registry,
    pub(crate) nudges: Nudges,
    pub(crate) steering: Steering,
    /// Whom this region talks to.
    pub(crate) peers: watch::Receiver<Peers>,
    pub(crate) health: Health,
}

/// Accepts connections and serves them for as long as it is polled.
pub(crate) async fn accept(mut listener: Listener, streams: Streams) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.accept() => {
                streams.nudges.lives(&RegionName::new(&connection.peer));
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
    let mut answers = Answers::new(link.clone(), peer.clone());
    let mut pongs = JoinSet::new();
    let mut running = RunningStreams {
        peer,
        link: link.clone(),
        inboxes: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    loop {
        tokio::select! {
            Some(ended) = running.tasks.join_next() => match ended {
                // The dataset has ended; the others go on.
                Ok(Ok(())) => {}
                Ok(Err(reason)) => return reason,
                Err(error) => return error.to_string(),
            },
            received = receiver.recv() => {
                let bytes = match received {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => return "it closed the link".to_owned(),
                    Err(error) => return describe(&error),
                };
                let Ok(Envelope { dataset, message }) = Envelope::decode(&bytes) else {
                    return "it sent something unreadable".to_owned();
                };
                let message = match message {
                    Message::Reports(bytes) => {
                        hear(streams, &answers.peer, &bytes);
                        continue;
                    }
                    Message::Ping { id } => {
                        while pongs.try_join_next().is_some() {}
                        // More are of a peer gone wrong, and it sees them unanswered.
                        if pongs.len() < PONGS_AT_ONCE_MAX {
                            pongs.spawn(pong(link.clone(), streams.registry.clone(), id));
                        }
                        continue;
                    }
                    message => message,
                };
                let handle = streams.registry.running(&dataset);
                if let Message::Ask { id, question } = message {
                    let about = match handle {
                        _ if dataset == BESIDE_DATASETS => Asked::Region(streams.clone()),
                        Some(handle) => Asked::Dataset(handle),
                        None => match streams.registry.joining(&dataset) {
                            Some(progress) => Asked::Joining(progress),
                            None => Asked::Nobody,
                        },
                    };
                    answers.begin(dataset, about, id, question);
                } else if let Some(handle) = handle {
                    // A stream whose dataset ends just now takes nothing any more; the peer asks
                    // again.
                    let _ = running.inbox(handle, streams).send(message).await;
                } else if let Err(reason) = refuse(&link, streams, dataset, message).await {
                    return reason;
                }
            }
        }
    }
}

/// Hands an observer's reports on to this region's.
fn hear(streams: &Streams, peer: &RegionName, bytes: &[u8]) {
    match Reports::decode(bytes) {
        Ok(reports) => streams.health.tell(Observed::Reports {
            from: peer.clone(),
            reports,
        }),
        Err(error) => tracing::warn!(%peer, %error, "reports that can't be read"),
    }
}

/// Answers a probe; it may have to wait for what is on its way to the peer already.
async fn pong(link: Arc<Mutex<LinkSender>>, registry: Registry, id: u64) {
    let faults = unready(&registry.now());
    let unready = (!faults.is_empty()).then(|| faults.join("; "));
    let message = of_region(Message::Pong { id, unready });
    // A link that has ended answers nobody, which is an answer too.
    let _ = link.lock().await.send(message.encode()).await;
}

/// The streams of one connection: one for each dataset that the peer has said something about.
struct RunningStreams {
    peer: RegionName,
    link: Arc<Mutex<LinkSender>>,
    inboxes: BTreeMap<String, (OriginId, mpsc::Sender<Message>)>,
    tasks: JoinSet<Result<(), String>>,
}

impl RunningStreams {
    /// Where the dataset's stream takes messages; it begins with the first, and again when the
    /// dataset runs under another incarnation.
    fn inbox(&mut self, dataset: DatasetHandle, streams: &Streams) -> &mpsc::Sender<Message> {
        let name = dataset.name().to_owned();
        let origin = dataset.origin();
        if self
            .inboxes
            .get(&name)
            .is_none_or(|known| known.0 != origin)
        {
            let (inbox, messages) = mpsc::channel(INBOX_MESSAGES_MAX);
            let stream = Stream {
                sender: Sender::new(streams.region.clone(), origin, dataset.log()),
                dataset,
                peer: self.peer.clone(),
                clock: streams.clock.clone(),
                link: self.link.clone(),
                session: SessionId::default(),
                held: None,
                subscriber: None,
            };
            self.tasks.spawn(stream.run(messages));
            self.inboxes.insert(name.clone(), (origin, inbox));
        }
        &self.inboxes[&name].1
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
    let reason = match streams.registry.now().get(&dataset) {
        Some(DatasetState::Failed { reason }) => reason.clone(),
        // It will run, and the peer asks again.
        Some(_) => return Ok(()),
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
    /// Under which incarnation the peer has subscribed.
    subscriber: Option<OriginId>,
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
    /// Runs until the dataset ends or the link fails; says why it did.
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Result<(), String> {
        let mut committed = self.dataset.committed();
        let mut members = self.dataset.membership_changes();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            let stepped = tokio::select! {
                message = messages.recv() => match message {
                    None => return Ok(()),
                    Some(message) => self.take(message).await,
                },
                changed = committed.changed() => match changed {
                    Ok(()) => Ok(()),
                    Err(_) => return Ok(()),
                },
                changed = members.changed() => match changed {
                    Ok(()) => self.look_at_members().await,
                    Err(_) => return Ok(()),
                },
                _ = heartbeat.tick() => {
                    self.pass_on_held();
                    Ok(())
                }
            };
            let outcome = match stepped {
                Ok(()) => self.send_due().await,
                Err(error) => Err(error),
            };
            self.survive(outcome).await?;
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
        let Message::Subscribe { origin, .. } = &message else {
            return Ok(());
        };
        let origin = *origin;
        self.subscriber = Some(origin);
        if let Some(reason) = self.dataset.refusal(&self.peer, origin).await {
            return self.turn_away(reason).await;
        }
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

    /// A subscriber may have ceased to count, and has to hear of it.
    async fn look_at_members(&mut self) -> Result<(), StreamError> {
        let Some(origin) = self.subscriber else {
            return Ok(());
        };
        match self.dataset.refusal(&self.peer, origin).await {
            Some(reason) => self.turn_away(reason).await,
            None => Ok(()),
        }
    }

    async fn turn_away(&mut self, reason: Refusal) -> Result<(), StreamError> {
        tracing::warn!(peer = %self.peer, dataset = self.dataset.name(), %reason, "refused");
        self.sender.unsubscribe();
        self.subscriber = None;
        let session = self.session;
        self.send(Message::Refuse { session, reason }).await
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
