//! The dialling end: keeps a connection to a peer, and hands its streams to the datasets.

use crate::dataset::{DatasetHandle, Input, describe};
use bytes::Bytes;
use meridian_link::{Connection, Dialer, Outcome, Receiver, Redial, RedialPolicy, Sender};
use meridian_model::{Envelope, Message, RegionName};
use std::time::Instant;
use tokio::sync::mpsc;

/// Keeps a connection to `peer` for as long as it is polled.
pub(crate) async fn receive(
    dialer: Dialer,
    peer: RegionName,
    address: String,
    datasets: Vec<DatasetHandle>,
) {
    if datasets.is_empty() {
        return;
    }
    let started = Instant::now();
    let mut redial = Redial::new(RedialPolicy::default());
    loop {
        let (outcome, reason) = match dialer.connect(peer.as_str(), &address).await {
            Ok(connection) => {
                tracing::info!(%peer, "link is up");
                redial.connected(started.elapsed());
                let reason = converse(connection, &peer, &datasets).await;
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
        for dataset in &datasets {
            dataset.questions().disconnected(&peer);
            dataset.send(Input::Disconnected {
                peer: peer.clone(),
                reason: reason.clone(),
            });
        }
        let pause = redial.next(started.elapsed(), outcome, fastrand::f64());
        tokio::time::sleep(pause).await;
    }
}

/// Runs a connection to its end, and says why it ended.
async fn converse(connection: Connection, peer: &RegionName, datasets: &[DatasetHandle]) -> String {
    let wire_version = connection.wire_version;
    let (sender, receiver) = connection.split();
    let (outbox, messages) = mpsc::unbounded_channel();
    for dataset in datasets {
        dataset
            .questions()
            .connected(peer.clone(), wire_version, outbox.clone());
        dataset.send(Input::Connected {
            peer: peer.clone(),
            wire_version,
            outbox: outbox.clone(),
        });
    }
    drop(outbox);
    tokio::select! {
        reason = write(sender, messages) => reason,
        reason = read(receiver, peer, datasets) => reason,
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

async fn read(mut receiver: Receiver, peer: &RegionName, datasets: &[DatasetHandle]) -> String {
    loop {
        let bytes = match receiver.recv().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return "the peer closed the link".to_owned(),
            Err(error) => return describe(&error),
        };
        match Envelope::decode(&bytes) {
            Err(error) => return format!("the peer sent something unreadable: {error}"),
            Ok(Envelope { dataset, message }) => {
                if let Some(dataset) = datasets.iter().find(|known| known.name() == dataset) {
                    match message {
                        Message::Answer { id, answer } => {
                            dataset.questions().answered(peer, id, answer);
                        }
                        message => dataset.send(Input::Message {
                            peer: peer.clone(),
                            message,
                        }),
                    }
                }
            }
        }
    }
}
