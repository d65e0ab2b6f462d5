//! Silent damage to one region's tables, and the run that is about it.

use crate::calm::{calm, converge, obey_the_law};
use crate::chaos::strike;
use crate::world::{Event, World};
use meridian_check::{COUNTERS, FIELDS, PLAIN, SETS, SIBLINGS, SWITCHED, Violation};
use meridian_engine_kv::MemoryStore;
use meridian_engine_kv::damage::{self, Damage};
use meridian_model::RowName;
use std::time::Duration;

/// The tables whose rows are damaged.
const DAMAGED: [&str; 6] = [PLAIN, COUNTERS, FIELDS, SETS, SIBLINGS, SWITCHED];
/// Until then all regions compare under faults, and must find nothing.
const UNDAMAGED: Duration = Duration::from_secs(4);
const DAMAGED_UNTIL: Duration = Duration::from_secs(8);
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
    world.run_until(DAMAGED_UNTIL, |world| {
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

impl World {
    /// Remembers the records that a node holds now, so that damage can bring them back.
    pub(crate) fn remember(&mut self, index: usize) {
        let store = &self.nodes[index].store;
        let names = damageable(store);
        self.older = names
            .into_iter()
            .filter_map(|name| {
                let record = damage::record(store, &name).ok()??;
                Some((name, record))
            })
            .collect();
    }

    /// How many of a node's tombstones damage has brought back, long after they were collected. They
    /// show nothing and any write beats them, so no comparison finds them.
    pub(crate) fn brought_back(&self, index: usize) -> usize {
        let node = &self.nodes[index];
        if !node.is_damaged {
            return 0;
        }
        let shown = node.rows();
        let is_back = |(name, earlier): &&(RowName, Vec<u8>)| {
            let record = damage::record(&node.store, name);
            let record = record.expect("the tables in memory are readable");
            let key = (name.table.clone(), name.key.clone());
            record.as_ref() == Some(earlier) && !shown.contains_key(&key)
        };
        self.older.iter().filter(is_back).count()
    }

    /// Damages records of a node's tables in a way that their checksums show.
    pub(crate) fn flip(&mut self, index: usize) {
        self.is_undamaged = false;
        self.nodes[index].is_damaged = true;
        let store = self.nodes[index].store.clone();
        for name in damageable(&store) {
            if self.random.u32(0..4) == 0 {
                let struck = damage::damage(&store, &name, &Damage::Flip);
                self.struck += u64::from(struck.expect("the tables in memory are writable"));
            }
        }
    }

    /// Damages a few records of a node's tables, unknown to anybody.
    pub(crate) fn damage(&mut self, index: usize) {
        self.is_undamaged = false;
        self.nodes[index].is_damaged = true;
        let store = self.nodes[index].store.clone();
        for _ in 0..self.random.usize(1..4) {
            let names = damageable(&store);
            if names.is_empty() {
                return;
            }
            let mut name = names[self.random.usize(0..names.len())].clone();
            let kind = match self.random.u32(0..8) {
                0 | 1 => Damage::Flip,
                2 => Damage::FlipKept,
                3 => Damage::Rewrite,
                4 => Damage::Drop,
                5 => Damage::DropKept,
                _ if self.older.is_empty() => continue,
                _ => {
                    let earlier = &self.older[self.random.usize(0..self.older.len())];
                    name = earlier.0.clone();
                    Damage::Restore(earlier.1.clone())
                }
            };
            let struck = damage::damage(&store, &name, &kind);
            self.struck += u64::from(struck.expect("the tables in memory are writable"));
        }
    }
}

/// Rows of every strategy, one of them changing. Left out are those that give away a torn
/// transaction or a broken order, for the clients' own writes would lose their sense: a transaction
/// that deletes rows which seem to be gone leaves them out, and nonsense must not be derived from.
fn damageable(store: &MemoryStore) -> Vec<RowName> {
    let mut names = damage::rows(store).expect("the tables in memory are readable");
    names.retain(|name| DAMAGED.contains(&name.table.as_str()));
    names
}
