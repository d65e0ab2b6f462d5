//! Tables are published as the regions' health, people's wishes and the time go on.

use super::Steering;
use meridian_steer::{Client, Geo, Key, Picture, RouteError};
use meridian_topology::Topology;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;

/// How often loads are looked at.
const LOADS_EVERY: Duration = Duration::from_secs(1);

impl Steering {
    /// Follows the regions' health and the time, for as long as it is polled.
    pub async fn run(self, mut pictures: watch::Receiver<Picture>) {
        let mut is_seen = true;
        loop {
            let picture = pictures.borrow_and_update().clone();
            self.publisher().see(picture);
            let now = self.0.clock.now().elapsed;
            self.look_at_loads(now);
            let wait = self.refresh().map_or(LOADS_EVERY, |due| {
                due.saturating_sub(now)
                    .clamp(Duration::from_millis(10), LOADS_EVERY)
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                seen = pictures.changed(), if is_seen => is_seen = seen.is_ok(),
            }
        }
    }

    /// Loads are taken once a second.
    fn look_at_loads(&self, now: Duration) {
        let mut loads = self.loads();
        if !loads.is_due(now, LOADS_EVERY) {
            return;
        }
        loads.sample(now, self.0.load.total());
        let own = &self.0.own;
        self.publisher()
            .weigh(now, |region| loads.of(region, own, now));
    }

    /// Goes on with a topology that names more regions, behind those that there are.
    ///
    /// # Errors
    /// [`RouteError`]; then answers stay as they are.
    pub(crate) fn grow(&self, topology: &Topology) -> Result<(), RouteError> {
        self.publisher().grow(topology)?;
        self.refresh();
        Ok(())
    }

    /// Publishes what answers go by from now on. When time alone will change it next.
    pub(super) fn refresh(&self) -> Option<Duration> {
        let mut publisher = self.publisher();
        let ledger = self.0.kept.ledger();
        let now = self.0.clock.now().elapsed;
        match publisher.publish(ledger.desired(), now) {
            Ok(published) => {
                let differs = published.differs_from(&self.0.published.load());
                self.0.published.store(published.into());
                if differs {
                    self.0.changed.send_modify(|count| *count += 1);
                }
            }
            // They fitted the regions when these came to be known.
            Err(error) => tracing::error!(%error, "answers stay as they are"),
        }
        publisher.due()
    }

    /// The client of an address or network, recognised by a key of its own where one is given.
    #[must_use]
    pub fn client(&self, address: IpAddr, bits: u8, key: Option<&str>) -> Client {
        let geo: &dyn Geo = self.geo();
        let client = Client::behind(geo, address, Some((address, bits.max(1))), 0);
        match key {
            Some(key) => Client {
                key: Key::of_bytes(key.as_bytes()),
                ..client
            },
            None => client,
        }
    }
}
