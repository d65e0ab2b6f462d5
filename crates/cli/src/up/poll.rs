//! Asks each region now and then how it stands.

use super::event::{Event, Happened};
use crate::client::{Address, Api};
use crate::reading::Reading;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{MissedTickBehavior, interval};

const PATIENCE: Duration = Duration::from_secs(2);

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
