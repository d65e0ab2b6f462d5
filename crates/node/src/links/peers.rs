//! The connections that this region dials: one to each peer that it is to have, now.
//!
//! Who the peers are changes while the region runs. The supervisor compares whom it dials with whom
//! it should, ends what is not wanted any more and begins what is new. A peer whose address changed
//! is dialled anew.

use super::receive::{Dialling, disconnect, receive};
use crate::health::Neighbours;
use crate::registry::Registry;
use meridian_link::{Allowed, Dialer, RedialPolicy, Shaping};
use meridian_model::RegionName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// How a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress {
    /// `host:port` of its link.
    pub(crate) link: String,
    /// How long each message to it is delayed.
    pub(crate) delay: Duration,
}

/// Whom a region talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peers {
    /// Who is dialled, and where.
    pub(crate) dialled: BTreeMap<RegionName, PeerAddress>,
    /// Who may dial, beside them: regions that count no more, which are told so.
    pub(crate) heard: BTreeSet<RegionName>,
}

/// A peer that was given up after many failures is dialled at once when it dials itself: it lives.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nudges(Arc<Mutex<BTreeMap<RegionName, Arc<Notify>>>>);

impl Nudges {
    fn of(&self, peer: &RegionName) -> Arc<Notify> {
        let mut nudges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nudges.entry(peer.clone()).or_default().clone()
    }

    /// The peer has dialled.
    pub(crate) fn lives(&self, peer: &RegionName) {
        self.of(peer).notify_one();
    }
}

/// Keeps the connections to all peers.
pub(crate) struct Supervisor {
    pub(crate) dialer: Dialer,
    pub(crate) shaping: Shaping,
    pub(crate) allowed: Allowed,
    pub(crate) registry: Registry,
    pub(crate) nudges: Nudges,
    pub(crate) neighbours: Neighbours,
}

struct Dialled {
    address: PeerAddress,
    task: JoinHandle<()>,
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    /// Follows `wanted` for as long as it is polled.
    pub(crate) async fn run(self, mut wanted: watch::Receiver<Peers>) {
        let mut dialled = BTreeMap::new();
        loop {
            let peers = wanted.borrow_and_update().clone();
            self.follow(&peers, &mut dialled).await;
            if wanted.changed().await.is_err() {
                // Nobody will change it any more; what there is goes on.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn follow(&self, peers: &Peers, dialled: &mut BTreeMap<RegionName, Dialled>) {
        let names = peers.dialled.keys().chain(&peers.heard);
        self.allowed
            .set(names.map(|name| name.as_str().to_owned()).collect());
        let gone: Vec<_> = dialled
            .iter()
            .filter(|(name, known)| peers.dialled.get(name) != Some(&known.address))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(mut ended) = dialled.remove(&name) {
                ended.task.abort();
                // It ends by being cancelled, which is what was asked for.
                let _ = (&mut ended.task).await;
                tracing::info!(peer = %name, "no longer dialled there");
                disconnect(
                    &self.registry,
                    &self.neighbours,
                    &name,
                    "the region is no peer there any more",
                );
            }
        }
        for (name, address) in &peers.dialled {
            if !dialled.contains_key(name) {
                dialled.insert(name.clone(), self.dial(name, address));
            }
        }
    }

    fn dial(&self, name: &RegionName, address: &PeerAddress) -> Dialled {
        self.shaping.peer(name.as_str()).set_delay(address.delay);
        let dialling = Dialling {
            dialer: self.dialer.clone(),
            peer: name.clone(),
            address: address.link.clone(),
            registry: self.registry.clone(),
            neighbours: self.neighbours.clone(),
            policy: RedialPolicy::default(),
            nudge: self.nudges.of(name),
        };
        Dialled {
            address: address.clone(),
            task: tokio::spawn(receive(dialling)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_link::{Authority, Endpoint, Identity, Listener};
    use std::net::SocketAddr;
    use std::time::SystemTime;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn endpoint(authority: &Authority, region: &str) -> Endpoint {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        authority.write(directory.path()).unwrap();
        let issued = authority.issue(region, now).unwrap();
        let paths = issued.write(directory.path()).unwrap();
        Endpoint::new(Identity::load(region, &paths, now).unwrap())
    }

    async fn listen(endpoint: &Endpoint, allowed: &[&str]) -> Listener {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
        Listener::bind(endpoint, anywhere, allowed).await.unwrap()
    }

    fn peers(dialled: &[(&str, &Listener)]) -> Peers {
        let dialled = dialled.iter().map(|(name, listener)| {
            let address = PeerAddress {
                link: listener.local_address().to_string(),
                delay: Duration::ZERO,
            };
            (RegionName::new(name), address)
        });
        Peers {
            dialled: dialled.collect(),
            heard: [RegionName::new("former")].into(),
        }
    }

    #[tokio::test]
    async fn peers_come_move_and_go_while_the_region_runs() {
        let authority = Authority::create(SystemTime::now()).unwrap();
        let (a, b) = (endpoint(&authority, "a"), endpoint(&authority, "b"));
        let own = listen(&a, &[]).await;
        let (mut first, mut second) = (listen(&b, &["a"]).await, listen(&b, &["a"]).await);
        let supervisor = Supervisor {
            dialer: Dialer::new(&a).unwrap(),
            shaping: a.shaping.clone(),
            allowed: own.allowed(),
            registry: Registry::new(BTreeMap::new()),
            nudges: Nudges::default(),
            neighbours: Neighbours::default(),
        };
        let (wanted, following) = watch::channel(Peers::default());
        let supervising = tokio::spawn(supervisor.run(following));
        assert!(!own.allowed().contains("b"));

        wanted.send_replace(peers(&[("b", &first)]));
        let accepted = tokio::time::timeout(PATIENCE, first.accept()).await;
        let connection = accepted.expect("it is dialled");
        assert_eq!(connection.peer, "a");
        assert!(own.allowed().contains("b") && own.allowed().contains("former"));

        wanted.send_replace(peers(&[("b", &second)]));
        let (_sender, mut receiver) = connection.split();
        let ended = tokio::time::timeout(PATIENCE, receiver.recv()).await;
        assert!(!matches!(ended, Ok(Ok(Some(_))) | Err(_)), "{ended:?}");
        let accepted = tokio::time::timeout(PATIENCE, second.accept()).await;
        let connection = accepted.expect("it is dialled at its new address");

        wanted.send_replace(Peers::default());
        let (_sender, mut receiver) = connection.split();
        let ended = tokio::time::timeout(PATIENCE, receiver.recv()).await;
        assert!(!matches!(ended, Ok(Ok(Some(_))) | Err(_)), "{ended:?}");
        assert!(!own.allowed().contains("b"));
        supervising.abort();
    }

    #[tokio::test]
    async fn a_peer_that_dials_is_dialled_at_once() {
        let authority = Authority::create(SystemTime::now()).unwrap();
        let (a, b) = (endpoint(&authority, "a"), endpoint(&authority, "b"));
        let mut there = listen(&b, &[]).await;
        let (address, allowed) = (there.local_address(), there.allowed());
        let rejections = there.rejections();
        let accepting = tokio::spawn(async move { there.accept().await.peer.clone() });
        let nudges = Nudges::default();
        let nudge = nudges.of(&RegionName::new("b"));
        let dialling = Dialling {
            dialer: Dialer::new(&a).unwrap(),
            peer: RegionName::new("b"),
            address: address.to_string(),
            registry: Registry::new(BTreeMap::new()),
            neighbours: Neighbours::default(),
            // Of itself it would not dial again while this test runs.
            policy: RedialPolicy {
                backoff_initial: PATIENCE * 10_000,
                backoff_max: PATIENCE * 10_000,
                ..RedialPolicy::default()
            },
            nudge,
        };
        let receiving = tokio::spawn(receive(dialling));
        let refused = async {
            while rejections.last().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, refused)
            .await
            .expect("it dials");
        allowed.set(["a".to_owned()].into());
        nudges.lives(&RegionName::new("b"));
        let accepted = tokio::time::timeout(PATIENCE, accepting).await;
        assert_eq!(accepted.expect("it is dialled").unwrap(), "a");
        receiving.abort();
    }
}
