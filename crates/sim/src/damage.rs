//! The run in which one region's tables are damaged silently.

use crate::scenario::{calm, converge, obey_the_law, strike};
use crate::world::{Event, World};
use meridian_check::Violation;
use std::time::Duration;

/// Until then all regions compare under faults, and must find nothing.
const UNDAMAGED: Duration = Duration::from_secs(4);
const DAMAGED: Duration = Duration::from_secs(8);
const MENDED_WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn silent_damage(world: &mut World) -> Result<(), Violation> {
    for index in 0..world.nodes.len() {
        world.plan(
            Duration::from_millis(40 * index as u64),
            Event::Compare(index),
        );
    }
    world.plan(Duration::from_millis(700), Event::Fault);
    world.run_until(UNDAMAGED, |world| {
        let pause = Duration::from_millis(world.random.u64(100..1_500));
        world.plan(pause, Event::Fault);
        strike(world);
    })?;
    let victim = world.random.usize(0..world.nodes.len());
    world.remember(victim);
    world.run_until(DAMAGED, |world| {
        let pause = Duration::from_millis(world.random.u64(50..500));
        world.plan(pause, Event::Fault);
        if world.random.bool() {
            world.damage(victim);
        } else {
            strike(world);
        }
    })?;
    calm(world);
    world.damage(victim);
    converge(world)?;
    world.damage(victim);
    mend(world)?;
    obey_the_law(world)
}

/// Every region's comparison must come out clean in bounded time.
pub(crate) fn mend(world: &mut World) -> Result<(), Violation> {
    let deadline = world.time + MENDED_WITHIN;
    for node in &mut world.nodes {
        node.repair.last = None;
    }
    // What was under way before the last damage says nothing.
    world.run_until(world.time + Duration::from_secs(10), |_| {})?;
    loop {
        for node in &mut world.nodes {
            node.repair.last = None;
        }
        world.run_until(world.time + Duration::from_secs(8), |_| {})?;
        let unclean = world.nodes.iter().find(|node| {
            let last = node.repair.last.as_ref();
            last.is_none_or(|report| !report.is_clean())
        });
        let Some(node) = unclean else { return Ok(()) };
        if world.time >= deadline {
            let what = format!("its tables are not mended: {:?}", node.repair.last);
            let region = node.name.to_string();
            return Err(Violation::Broken { region, what });
        }
    }
}
