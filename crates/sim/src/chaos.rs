//! Every fault at random.

use crate::calm::{calm, converge, obey_the_law};
use crate::world::{Event, World};
use meridian_check::Violation;
use std::time::Duration;

pub(crate) const SAFETY: Duration = Duration::from_secs(8);

pub(crate) fn chaos(world: &mut World) -> Result<(), Violation> {
    for index in 0..world.nodes.len() {
        if world.random.bool() {
            world.nodes[index].clock_offset = world.random.i64(-5_000_000..5_000_000);
        }
    }
    world.plan(Duration::from_millis(700), Event::Fault);
    world.run_until(SAFETY, |world| {
        let pause = Duration::from_millis(world.random.u64(50..900));
        world.plan(pause, Event::Fault);
        strike(world);
    })?;
    calm(world);
    converge(world)?;
    obey_the_law(world)
}

/// One random fault.
pub(crate) fn strike(world: &mut World) {
    let count = world.nodes.len();
    let (one, other) = (world.random.usize(0..count), world.random.usize(0..count));
    match world.random.u32(0..12) {
        0 | 1 => world.network.cut(one, other),
        2 => {
            world.network.cut(one, other);
            world.network.cut(other, one);
        }
        3 => {
            for peer in 0..count {
                world.network.cut(one, peer);
                world.network.cut(peer, one);
            }
        }
        4 => {
            let (loss, duplicates) = (world.random.u32(0..40), world.random.u32(0..40));
            world.network.degrade(loss, duplicates);
        }
        5 | 6 => {
            let after = Duration::from_millis(world.random.u64(0..800));
            world.plan(after, Event::Heal);
        }
        7 => world.kill(one),
        8 | 9 => {
            let after = world.random.u64(0..12);
            world.nodes[one].disk.cut_power_after(after);
        }
        10 => world.nodes[one].clock_offset += world.random.i64(-5_000_000..5_000_000),
        _ => {
            let disk = &world.nodes[one].disk;
            disk.set_capacity(Some(disk.bytes()));
            let after = Duration::from_millis(world.random.u64(50..900));
            world.plan(after, Event::DiskFreed(one));
        }
    }
}
