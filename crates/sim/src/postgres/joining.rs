//! A region with a server of its own joins others that have theirs. Applications write to its server
//! before it is added, while it copies, and while the two meet.

use super::{end_all, end_well, equip, strike_server};
use crate::joining::{join_to_the_end, strike, unrest};
use crate::world::World;
use meridian_check::Violation;
use meridian_model::RegionName;
use std::time::Duration;

pub(crate) fn joining(world: &mut World, writes_large: bool) -> Result<(), Violation> {
    world.clients_act = false;
    for index in 0..world.nodes.len() {
        equip(world, index, writes_large);
    }
    world.postgres[0].server.make_purses();
    world.applications_act = true;
    let alone = Duration::from_millis(world.random.u64(500..4_000));
    world.run_until(alone, |_| {})?;
    let joiner = world.nodes.len();
    let region = RegionName::new(&format!("region-{joiner}"));
    world.arrive(&region);
    equip(world, joiner, writes_large);
    unrest(world, joiner, &region, |world, joiner| {
        match world.random.u32(0..4) {
            0 => strike_server(world, false),
            _ => strike(world, joiner),
        }
    })?;
    // Where somebody always has some of few rows locked, these would never be written; and where large
    // transactions follow on each other, the tables never be at the log's end.
    let mut tenths_left = 0;
    join_to_the_end(world, joiner, &region, |world| {
        if tenths_left == 0 {
            tenths_left = world.random.u32(1..40);
            world.applications_act = !world.applications_act;
            end_all(world);
        }
        tenths_left -= 1;
    })?;
    world.applications_act = true;
    world.run_until(world.time + Duration::from_secs(2), |_| {})?;
    end_well(world)
}
