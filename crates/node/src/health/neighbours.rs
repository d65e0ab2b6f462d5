//! The other regions as the observer speaks to them: over the connections that this region dials.
//!
//! ```text
//! dialled:   Reports, Ping ──▶ peer        accepted:   Reports, Ping ◀── peer
//!            Pong ◀─────────── peer                    Pong ──────────▶ peer
//! ```
//!
//! A probe of a peer that speaks an earlier wire version can't be answered: there that the link stands
//! has to be enough.

use bytes::Bytes;
use meridian_model::{BESIDE_DATASETS, Envelope, HEALTH_SINCE, Message, RegionName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// How the regions' links stand, as far as observing goes; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    doors: BTreeMap<RegionName, Door>,
    /// Why there is no connection, of those that there is none to.
    away: BTreeMap<RegionName, String>,
    waiting: BTreeMap<u64, Waiting>,
    /// Told of each link that falls silent.
    lost: Option<mpsc::UnboundedSender<RegionName>>,
}

/// A dialled connection.
#[derive(Debug)]
struct Door {
    wire_version: u16,
    outbox: mpsc::UnboundedSender<Bytes>,
}

#[derive(Debug)]
struct Waiting {
    peer: RegionName,
    answer: oneshot::Sender<Result<(), String>>,
}

impl Neighbours {
    /// Where it is said that a link is lost, from now on.
    pub(crate) fn lost(&self) -> mpsc::UnboundedReceiver<RegionName> {
        let (tell, lost) = mpsc::unbounded_channel();
        self.state().lost = Some(tell);
        lost
    }

    /// A connection to a peer stands.
    pub(crate) fn connected(
        &self,
        peer: &RegionName,
        wire_version: u16,
        outbox: mpsc::UnboundedSender<Bytes>,
    ) {
        let mut state = self.state();
        state.away.remove(peer);
        let door = Door {
            wire_version,
            outbox,
        };
        state.doors.insert(peer.clone(), door);
    }

    /// There is no connection to a peer. Whoever waits for it hears why.
    pub(crate) fn disconnected(&self, peer: &RegionName, reason: &str) {
        let mut state = self.state();
        let was_connected = state.doors.remove(peer).is_some();
        state.away.insert(peer.clone(), reason.to_owned());
        let waiting = std::mem::take(&mut state.waiting);
        let (gone, rest) = waiting.into_iter().partition(|(_, it)| it.peer == *peer);
        state.waiting = rest;
        let gone: BTreeMap<u64, Waiting> = gone;
        for waiting in gone.into_values() {
            // Whoever asked may have given up.
            let _ = waiting.answer.send(Err(unreachable(reason)));
        }
        if was_connected && let Some(lost) = &state.lost {
            // An observer that has ended needs no alarm.
            let _ = lost.send(peer.clone());
        }
    }

    /// A peer's answer to a probe.
    pub(crate) fn answered(&self, peer: &RegionName, id: u64, unready: Option<String>) {
        let mut state = self.state();
        if state.waiting.get(&id).is_none_or(|it| it.peer != *peer) {
            return;
        }
        if let Some(waiting) = state.waiting.remove(&id) {
            let answer = unready.map_or(Ok(()), |reason| Err(format!("not ready: {reason}")));
            // Whoever asked may have given up.
            let _ = waiting.answer.send(answer);
        }
    }

    /// Sends reports to every peer that can read them.
    pub(crate) fn send(&self, reports: &Bytes) {
        let envelope = of_region(Message::Reports(reports.clone())).encode();
        for door in self.state().doors.values() {
            if door.wire_version >= HEALTH_SINCE {
                // A connection that has just ended is told of in its own time.
                let _ = door.outbox.send(envelope.clone());
            }
        }
    }

    /// Asks a peer whether it is ready. Ends when the answer comes or the connection goes; a link that
    /// is merely silent ends it too, once it is found out. Given up by being dropped.
    pub(crate) async fn ping(&self, peer: &RegionName) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut state = self.state();
            let Some(door) = state.doors.get(peer) else {
                let reason = state.away.get(peer);
                return Err(unreachable(
                    reason.map_or("it was not reached yet", String::as_str),
                ));
            };
            if door.wire_version < HEALTH_SINCE {
                return Ok(());
            }
            let outbox = door.outbox.clone();
            state.last_id += 1;
            let id = state.last_id;
            if outbox
                .send(of_region(Message::Ping { id }).encode())
                .is_err()
            {
                return Err(unreachable("the link has just ended"));
            }
            let peer = peer.clone();
            state.waiting.insert(id, Waiting { peer, answer });
            id
        };
        let _given_up = GivenUp(self, id);
        answered
            .await
            .unwrap_or_else(|_| Err(unreachable("the link has just ended")))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a probe that nobody waits for any more.
struct GivenUp<'a>(&'a Neighbours, u64);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.0.state().waiting.remove(&self.1);
    }
}

fn unreachable(reason: &str) -> String {
    format!("no link: {reason}")
}

/// A message about the region as a whole.
pub(crate) fn of_region(message: Message) -> Envelope {
    Envelope {
        dataset: BESIDE_DATASETS.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn connected(wire_version: u16) -> (Neighbours, RegionName, mpsc::UnboundedReceiver<Bytes>) {
        let neighbours = Neighbours::default();
        let peer = RegionName::new("b");
        let (outbox, sent) = mpsc::unbounded_channel();
        neighbours.connected(&peer, wire_version, outbox);
        (neighbours, peer, sent)
    }

    fn message(bytes: &Bytes) -> Message {
        let envelope = Envelope::decode(bytes).unwrap();
        assert_eq!(envelope.dataset, BESIDE_DATASETS);
        envelope.message
    }

    #[tokio::test]
    async fn a_probe_is_answered_by_its_peer_alone() {
        let (neighbours, peer, mut sent) = connected(HEALTH_SINCE);
        for unready in [None, Some("main: it is being opened".to_owned())] {
            let asking = tokio::spawn({
                let (neighbours, peer) = (neighbours.clone(), peer.clone());
                async move { neighbours.ping(&peer).await }
            });
            let sent = tokio::time::timeout(PATIENCE, sent.recv())
                .await
                .unwrap()
                .unwrap();
            let Message::Ping { id } = message(&sent) else {
                panic!("no probe")
            };
            neighbours.answered(&RegionName::new("c"), id, Some("a lie".to_owned()));
            neighbours.answered(&peer, id, unready.clone());
            let expected = unready.map_or(Ok(()), |reason| Err(format!("not ready: {reason}")));
            assert_eq!(asking.await.unwrap(), expected);
        }
        assert!(neighbours.state().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_link_that_goes_answers_probes_and_tells() {
        let (neighbours, peer, mut sent) = connected(HEALTH_SINCE);
        let mut lost = neighbours.lost();
        let asking = tokio::spawn({
            let (neighbours, peer) = (neighbours.clone(), peer.clone());
            async move { neighbours.ping(&peer).await }
        });
        tokio::time::timeout(PATIENCE, sent.recv())
            .await
            .unwrap()
            .unwrap();
        neighbours.disconnected(&peer, "the peer closed the link");
        let gone = Err("no link: the peer closed the link".to_owned());
        assert_eq!(asking.await.unwrap(), gone);
        assert_eq!(neighbours.ping(&peer).await, gone);
        assert_eq!(lost.recv().await, Some(peer.clone()));
        neighbours.disconnected(&peer, "connection refused");
        assert!(lost.try_recv().is_err(), "it was away already");
        assert_eq!(
            neighbours.ping(&peer).await,
            Err("no link: connection refused".to_owned())
        );
    }

    #[tokio::test]
    async fn an_earlier_release_is_told_nothing_and_taken_for_well_while_the_link_stands() {
        let (neighbours, peer, mut sent) = connected(HEALTH_SINCE - 1);
        assert_eq!(neighbours.ping(&peer).await, Ok(()));
        neighbours.send(&Bytes::from_static(b"x"));
        assert!(sent.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_probe_that_is_given_up_is_forgotten() {
        let (neighbours, peer, _sent) = connected(HEALTH_SINCE);
        let asked = tokio::time::timeout(Duration::from_millis(1), neighbours.ping(&peer)).await;
        assert!(asked.is_err());
        assert!(neighbours.state().waiting.is_empty());
    }
}
