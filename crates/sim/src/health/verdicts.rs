//! A verdict that changes, held against who can have brought it about.
//!
//! The rule of `docs/concepts/health.md` from its other side, for faults that come and go: it need not
//! be known who votes at this very moment, only who can't, and who surely does.
//!
//! - Nobody changes a verdict about another unless word can have come to it of an observer that can
//!   have been in touch with more than half.
//! - Nobody is found down unless those who can have said so outnumber those who surely say that it is
//!   up: who has been in touch with nobody for long accuses nobody.

use super::regions::{PRESET, index, ms, observes};
use super::world::World;
use meridian_health::{Change, Service, Status};

/// What was said longer ago counts no more, wherever it went round.
fn forgotten_ms(regions: usize) -> u64 {
    let cadence = PRESET.cadence();
    let hop_ms = ms(cadence.contact_expiry()) + ms(cadence.report_interval()) + 200;
    hop_ms * (regions as u64 + 2)
}

/// What has been so for this long everybody knows who hears of it.
fn known_ms() -> u64 {
    ms(PRESET.cadence().contact_expiry()) + 9 * ms(PRESET.cadence().report_interval())
}

pub(crate) fn check(world: &World, at: usize, change: &Change) -> Result<(), String> {
    let (region, service) = (index(&change.region), change.service);
    let network = &world.network;
    let maybe_ms = world
        .now_ms
        .saturating_sub(forgotten_ms(world.regions.len()));
    let maybe = |from: usize, to: usize| from == to || network.maybe(from, to, maybe_ms);
    let may_have_voted =
        |observer: usize| network.in_touch(observer, maybe) && network.tells(observer, at, maybe);
    let observers = || (0..world.regions.len()).filter(|it| observes(*it, region, service));
    let said = || {
        format!(
            "says that the {service} of {} is {}",
            change.region, change.to
        )
    };
    if region != at && !(0..world.regions.len()).any(may_have_voted) {
        return Err(format!("{}, though it hears of no majority", said()));
    }
    if change.to != Status::Unhealthy {
        return Ok(());
    }
    let eye = |observer: usize| world.regions[observer].eye(region, service);
    let by_own_eyes = region == at && !world.regions[at].observer.has_quorum();
    let accuses = |observer: &usize| {
        let counts = may_have_voted(*observer) || (by_own_eyes && *observer == at);
        counts && eye(*observer).is_some_and(|eye| eye.was_down(maybe_ms))
    };
    let accusers = observers().filter(accuses).count();
    let defenders = observers().filter(|it| defends(world, *it, at, (region, service)));
    let defenders = if by_own_eyes { 0 } else { defenders.count() };
    if accusers > defenders {
        return Ok(());
    }
    Err(format!(
        "{}: {accusers} may say so, {defenders} say otherwise",
        said()
    ))
}

/// Whether an observer surely votes, is surely heard, and has not found the service down for long.
fn defends(world: &World, observer: usize, at: usize, of: (usize, Service)) -> bool {
    let since_ms = world.now_ms.saturating_sub(known_ms());
    let network = &world.network;
    let surely = |from: usize, to: usize| from == to || network.surely(from, to, since_ms);
    let eye = world.regions[observer].eye(of.0, of.1);
    let finds_up = eye.is_some_and(|eye| !eye.was_down(since_ms) && eye.status != Status::Unknown);
    finds_up && network.in_touch(observer, surely) && network.tells(observer, at, surely)
}
