//! Which incarnation this is: decided, and durable, before its first entry.

use crate::{Arrival, Config, Engine, OpenError, Road};
use meridian_log::{Disk, Log};
use meridian_model::{Body, OriginId, Position};

/// The road that the tables carry, with this region's incarnation in it. Where there is none yet,
/// `fresh` becomes it. It is kept before anything is said under it: the log of a region that came
/// back holds entries of its earlier incarnations too, and doesn't tell which are its own.
pub(crate) fn identified<D: Disk, E: Engine>(
    config: &Config,
    log: &Log<D>,
    engine: &mut E,
    fresh: OriginId,
) -> Result<Road, OpenError> {
    let mut road = match engine.road() {
        None => Road::default(),
        Some(bytes) => Road::decode(bytes).map_err(OpenError::Road)?,
    };
    if road.own.is_some() {
        // Who founded the dataset is known since it was founded; whom a topology names later is let
        // in by a vote, or would count without having anything.
        return Ok(road);
    }
    // Tables that came with a road but no incarnation are a copy of another region's.
    let is_copy = engine.road().is_some();
    let joins = is_copy && config.arrival == Arrival::Joining;
    let known = road.member(&config.region).filter(|_| !joins);
    road.own = Some(match known {
        // A release without epochs kept it so.
        Some(origin) => origin,
        // It is kept before the log takes its first entry.
        None if is_copy && log.end() > log.start() => return Err(OpenError::Identity),
        None if is_copy || log.end() == Position(0) => fresh,
        None => founder(config, log)?,
    });
    road.begun = known.is_some();
    if !joins {
        // Who founded what was copied, the copy says.
        road.found(&config.regions);
    }
    let encoded = Some(road.encode());
    engine
        .commit(engine.position(), encoded)
        .map_err(OpenError::Tables)?;
    engine.persist().map_err(OpenError::Tables)?;
    Ok(road)
}

/// The tables are gone and the log is whole: a founder's log begins with its own first entry.
fn founder<D: Disk>(config: &Config, log: &Log<D>) -> Result<OriginId, OpenError> {
    let first = log.reader().read(log.start(), 1).map_err(OpenError::Log)?;
    let first = first.entries.first().map(|entry| (entry, &entry.body));
    if let Some((entry, body)) = first
        && config.arrival == Arrival::Founding
        && log.start() == Position(0)
        && let Body::Open { region } = Body::decode(body).map_err(OpenError::Entry)?
        && region == config.region
    {
        return Ok(entry.origin);
    }
    Err(OpenError::Identity)
}
