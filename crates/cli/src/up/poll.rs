//! Asks each region now and then how it stands.

use super::event::{Event, Happened};
use crate::client::{Address, Api};
use crate::reading::Reading;
use crate::regions::reading::Regions;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{MissedTickBehavior, interval};

const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether regions have joined or left.
const MEMBERS_EVERY: Duration = Duration::from_millis(500);

/// Asks the region at `url` every so often, for as long as anybody listens.
pub async fn poll(index: usize, url: String, every: Duration, events: UnboundedSender<Event>) {
    let address = Address {
        url,
        ..Address::default()
    };
    let Ok(api) = Api::new(address, PATIENCE) else {
        return;
    };
    let mut ticks = interval(every);
    // A region that answers late is not asked twice at once afterwards.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let api = api.clone();
        let reading = tokio::task::spawn_blocking(move || Reading::ask(&api).ok()).await;
        let happened = Happened::Read(reading.ok().flatten().map(Box::new));
        let event = Event {
            region: index,
            happened,
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Asks the region at `url` now and then who the members are, for as long as anybody listens.
pub async fn watch_members(index: usize, url: String, events: UnboundedSender<Event>) {
    let address = Address {
        url,
        ..Address::default()
    };
    let Ok(api) = Api::new(address, PATIENCE) else {
        return;
    };
    let mut ticks = interval(MEMBERS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    loop {
        ticks.tick().await;
        let api = api.clone();
        let said = tokio::task::spawn_blocking(move || Regions::ask(&api).ok()).await;
        let Some(said) = said.ok().flatten() else {
            continue;
        };
        if known.as_ref() == Some(&said) {
            continue;
        }
        known = Some(said.clone());
        let event = Event {
            region: index,
            happened: Happened::Members(Box::new(said)),
        };
        if events.send(event).is_err() {
            return;
        }
    }
}
