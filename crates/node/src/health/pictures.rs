//! The picture of the regions by which clients are steered, from what the observer knows.

use super::Health;
use crate::growing::Places;
use meridian_health::{Service, Status};
use meridian_model::{Micros, RegionName};
use meridian_steer::Picture;
use meridian_topology::Place;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Puts what the observer knows into pictures, for as long as it is polled. Before the first, enough
/// observers have been heard, or time enough for that (`patience`) has gone by: until then it knows
/// nothing.
pub(crate) async fn follow(
    health: Health,
    patience: Duration,
    mut places: watch::Receiver<Places>,
    pictures: watch::Sender<Picture>,
) {
    let mut seen = health.seen();
    let heard = seen.wait_for(|seen| seen.has_quorum);
    // Alone it goes on by itself; an observer that has ended will not be heard at all.
    let _ = tokio::time::timeout(patience, heard).await;
    loop {
        seen.mark_unchanged();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since_1970.unwrap_or_default().as_micros();
        let wall = Micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let picture = picture(&health, &places.borrow_and_update(), wall);
        pictures.send_if_modified(|before| {
            let is_new = *before != picture;
            *before = picture;
            is_new
        });
        tokio::select! {
            changed = seen.changed() => {
                if changed.is_err() {
                    // Nothing will be seen any more; what was last seen stays.
                    std::future::pending::<()>().await;
                }
            }
            Ok(()) = places.changed() => {}
        }
    }
}

fn picture(health: &Health, places: &[(RegionName, Place)], wall: Micros) -> Picture {
    health.look(|observer| {
        let mut picture = Picture::seen_by(observer, places, wall);
        for region in &mut picture.regions {
            // A region that counts no more is observed by nobody, and serves nobody.
            if !observer.setup().observers.contains(&region.name) {
                region.health.verdict[Service::Api] = Some(Status::Unhealthy);
            }
        }
        picture
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_health::{Needs, Observer, Preset, Setup};
    use meridian_model::Now;
    use meridian_topology::well_known;

    #[test]
    fn a_region_that_counts_no_more_is_down() {
        let [own, gone] = ["us-east-1", "eu-west-1"].map(RegionName::new);
        let setup = Setup {
            own: own.clone(),
            observers: vec![own.clone()],
            targets: Vec::new(),
            cadence: Preset::Fast.cadence(),
            maintenance: Vec::new(),
        };
        let now = Now {
            wall: Micros(1),
            elapsed: Duration::ZERO,
        };
        let health = Health::of(Observer::new(setup, now));
        let places = [own, gone].map(|name| (name.clone(), well_known(name.as_str()).unwrap()));
        let picture = picture(&health, &places, Micros(1));
        let status = |region| picture.status(region, &Needs::default()).0;
        assert_eq!(status(0), Status::Unknown);
        assert_eq!(status(1), Status::Unhealthy);
    }
}
