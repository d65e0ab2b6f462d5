//! The region's name server: the topology's zone, answered by what steering knows.
//!
//! ```text
//! topology ──▶ zone ──▶ View ──swap──▶ threads that answer
//!                        ▲ │
//!         a day ─▶ signatures anew
//! steering ─▶ Published ◀──┘ looked at for each question
//! ```
//!
//! It is told of new regions alone: each question looks at what steering has published last, so an
//! answer changes with the first question after a verdict, and goes on as it was where every peer is
//! gone.

mod error;
mod keys;
mod steer;
mod zone;

pub use error::DnsError;
pub use keys::{delegation_signer, generate_key};
pub use zone::check_zone_records;

use crate::steering::Steering;
use meridian_dns::View;
use meridian_dns::server::{Counts, Server, Settings, SharedView};
use meridian_model::RegionName;
use meridian_topology::Topology;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{MissedTickBehavior, interval};

/// Signatures are valid for seven days; resolvers that hold one get a new one long before.
const SIGN_EVERY: Duration = Duration::from_secs(24 * 3600);
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// A name server at work; clones share it, and it ends with the last of them.
#[derive(Clone, Debug)]
pub struct NameServer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    topology: Mutex<Topology>,
    own: RegionName,
    steering: Steering,
    server: Server,
    view: SharedView,
    /// As the bits of an `f64`.
    queries_per_second: AtomicU64,
}

impl NameServer {
    /// Begins to answer where the topology says that the region does; `None` where it doesn't.
    ///
    /// # Errors
    /// [`DnsError`].
    pub fn start(
        topology: &Topology,
        own: &RegionName,
        steering: &Steering,
    ) -> Result<Option<Self>, DnsError> {
        let Some(place) = topology
            .region(own.as_str())
            .and_then(|region| region.dns.as_ref())
        else {
            return Ok(None);
        };
        let settings = Settings {
            addresses: place.listen.clone(),
            threads: topology.dns.threads,
            answers_per_second_max: topology.dns.answers_per_second_max,
            limits_loopback: topology.dns.limits_loopback,
            cookie_secret: keys::cookie_secret(&topology.dns)?,
        };
        let view = view(topology, own, steering)?;
        let view = SharedView::new(arc_swap::ArcSwap::from_pointee(view));
        let server = Server::start(&settings, view.clone())?;
        tracing::info!(
            zone = topology.zone,
            addresses = ?server.addresses(),
            "answers questions of DNS"
        );
        Ok(Some(Self(Arc::new(Shared {
            topology: Mutex::new(topology.clone()),
            own: own.clone(),
            steering: steering.clone(),
            server,
            view,
            queries_per_second: AtomicU64::new(0),
        }))))
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.0.server.addresses()
    }

    /// What it was asked and has answered since it began.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.server.counts()
    }

    /// How many questions came in the last second.
    #[must_use]
    pub fn queries_per_second(&self) -> f64 {
        f64::from_bits(self.0.queries_per_second.load(Ordering::Relaxed))
    }

    /// Whether answers are signed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.topology().dns.dnssec_key_file.is_some()
    }

    /// Goes on with a topology that names more regions, behind those that there are.
    pub(crate) fn grow(&self, grown: &Topology) -> Result<(), DnsError> {
        let shared = &self.0;
        let mut topology = self.topology();
        let view = view(grown, &shared.own, &shared.steering)?;
        shared.view.store(view.into());
        topology.clone_from(grown);
        Ok(())
    }

    fn topology(&self) -> MutexGuard<'_, Topology> {
        let topology = self.0.topology.lock();
        topology.unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and signs anew, for as long as it is polled.
    pub(crate) async fn run(self) {
        let mut counting = interval(COUNT_EVERY);
        counting.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signing = interval(SIGN_EVERY);
        signing.tick().await;
        let mut before = (self.asked(), tokio::time::Instant::now());
        loop {
            tokio::select! {
                now = counting.tick() => {
                    let asked = self.asked();
                    let seconds = now.duration_since(before.1).as_secs_f64();
                    if seconds > 0.0 {
                        let rate = asked.saturating_sub(before.0) as f64 / seconds;
                        self.0.queries_per_second.store(rate.to_bits(), Ordering::Relaxed);
                        before = (asked, now);
                    }
                }
                _ = signing.tick(), if self.is_signed() => self.sign_anew(),
            }
        }
    }

    fn asked(&self) -> u64 {
        let counts = self.counts();
        counts.udp + counts.tcp
    }

    fn sign_anew(&self) {
        let shared = &self.0;
        let topology = self.topology();
        match view(&topology, &shared.own, &shared.steering) {
            Ok(view) => shared.view.store(view.into()),
            Err(error) => {
                tracing::error!(%error, "the zone isn't signed anew; its signatures end in less than a week");
            }
        }
    }
}

fn view(topology: &Topology, own: &RegionName, steering: &Steering) -> Result<View, DnsError> {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let key = keys::zone_key(topology, since_1970.as_secs() as u32)?;
    Ok(View {
        names: zone::names(topology, key)?,
        steer: Arc::new(steer::BySteering::new(topology, steering.clone())),
        nsid: own.as_str().as_bytes().into(),
    })
}
