//! The dialling end: keeps a connection to a peer, and hands its streams to the datasets.

use crate::dataset::{Input, describe};
use crate::health::Neighbours;
use crate::registry::{DatasetState, Datasets, Registry};
use bytes::Bytes;
use meridian_link::{Connection, Dialer, Outcome, Receiver, Redial, RedialPolicy, Sender};
use meridian_model::{Envelope, Message, OriginId, RegionName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, mpsc, watch};

/// What is needed to keep a connection to a peer.
pub(super) struct Dialling {
    pub(super) dialer: Dialer,
    pub(super) peer: RegionName,
    pub(super) address: String,
    pub(super) registry: Registry,
    pub(super) neighbours: Neighbours,
    pub(super) policy: RedialPolicy,
    /// Told when the peer has dialled itself.
    pub(super) nudge: Arc<Notify>,
}

/// Keeps a connection to a peer for as long as it is polled.
pub(super) async fn receive(dialling: Dialling) {
    let Dialling {
        dialer,
        peer,
        address,
        registry,
        neighbours,
        policy,
        nudge,
    } = dialling;
    let started = Instant::now();
    let mut redial = Redial::new(policy);
    loop {
        let (outcome, reason) = match dialer.connect(peer.as_str(), &address).await {
            Ok(connection) => {
                tracing::info!(%peer, "link is up");
                redial.connected(started.elapsed());
                let reason = converse(connection, &peer, &registry, &neighbours).await;
                tracing::info!(%peer, reason, "link is down");
                (Outcome::Lost, reason)
            }
            Err(error) => {
                let reason = match error.hint() {
                    Some(hint) => format!("{} ({hint})", describe(&error)),
                    None => describe(&error),
                };
                tracing::debug!(%peer, reason, "cannot connect");
                (Outcome::Failed, reason)
            }
        };
        disconnect(&registry, &neighbours, &peer, &reason);
        let pause = redial.next(started.elapsed(), outcome, fastrand::f64());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = nudge.notified() => {}
        }
    }
}

/// Tells every dataset that there is no connection to the peer.
pub(super) fn disconnect(
    registry: &Registry,
    neighbours: &Neighbours,
    peer: &RegionName,
    reason: &str,
) {
    neighbours.disconnected(peer, reason);
    for questions in registry.all_questions() {
        questions.disconnected(peer, reason);
    }
    for dataset in registry.now().values().filter_map(DatasetState::running) {
        dataset.send(Input::Disconnected {
            peer: peer.clone(),
            reason: reason.to_owned(),
        });
    }
}

/// Runs a connection to its end, and says why it ended.
async fn converse(
    connection: Connection,
    peer: &RegionName,
    registry: &Registry,
    neighbours: &Neighbours,
) -> String {
    let wire_version = connection.wire_version;
    let (sender, receiver) = connection.split();
    let (outbox, messages) = mpsc::unbounded_channel();
    for questions in registry.all_questions() {
        questions.connected(peer.clone(), wire_version, outbox.clone());
    }
    neighbours.connected(peer, wire_version, outbox.clone());
    let attached = Attached {
        peer,
        wire_version,
        outbox,
        origins: BTreeMap::new(),
    };
    tokio::select! {
        reason = write(sender, messages) => reason,
        reason = read(receiver, peer, registry, neighbours) => reason,
        () = attached.follow(registry.changes()) => "the region is shutting down".to_owned(),
    }
}

/// The datasets that know of a connection.
struct Attached<'a> {
    peer: &'a RegionName,
    wire_version: u16,
    outbox: mpsc::UnboundedSender<Bytes>,
    origins: BTreeMap<String, OriginId>,
}

impl Attached<'_> {
    /// Tells those that begin to run, or run under another incarnation, while the connection stands.
    async fn follow(mut self, mut changes: watch::Receiver<Arc<Datasets>>) {
        loop {
            let datasets = changes.borrow_and_update().clone();
            self.tell(&datasets);
            // A handle that is kept keeps the files of an incarnation that has ended.
            drop(datasets);
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Attached<'_> {
    fn tell(&mut self, datasets: &Datasets) {
        for dataset in datasets.values().filter_map(DatasetState::running) {
            let name = dataset.name().to_owned();
            if self.origins.insert(name, dataset.origin()) != Some(dataset.origin()) {
                dataset.send(Input::Connected {
                    peer: self.peer.clone(),
                    wire_version: self.wire_version,
                    outbox: self.outbox.clone(),
                });
            }
        }
    }
}

/// Subscriptions and acknowledgements: small and few, so nothing bounds their queue but the peer's
/// window.
async fn write(mut sender: Sender, mut messages: mpsc::UnboundedReceiver<Bytes>) -> String {
    while let Some(message) = messages.recv().await {
        if let Err(error) = sender.send(message).await {
            return describe(&error);
        }
    }
    // No dataset has anything to say any more. Others may still have something to hear.
    std::future::pending().await
}

async fn read(
    mut receiver: Receiver,
    peer: &RegionName,
    registry: &Registry,
    neighbours: &Neighbours,
) -> String {
    loop {
        let bytes = match receiver.recv().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return "the peer closed the link".to_owned(),
            Err(error) => return describe(&error),
        };
        match Envelope::decode(&bytes) {
            Err(error) => return format!("the peer sent something unreadable: {error}"),
            Ok(Envelope { dataset, message }) => match message {
                Message::Pong { id, unready } => neighbours.answered(peer, id, unready),
                Message::Answer { id, answer } => {
                    if let Some(questions) = registry.questions(&dataset) {
                        questions.answered(peer, id, answer);
                    }
                }
                message => {
                    if let Some(dataset) = registry.running(&dataset) {
                        dataset.send(Input::Message {
                            peer: peer.clone(),
                            message,
                        });
                    }
                }
            },
        }
    }
}
