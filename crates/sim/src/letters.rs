//! Dead letters under every fault: committed, set aside or waited for, decided about in several
//! regions at once.
//!
//! In the end no letter is left anywhere, every region has had the same ones, and every row is what
//! the surviving transactions and decisions make of it, whether its region waited at letters or not.

use crate::calm::{calm, converge, obey_the_law, survivors};
use crate::chaos::{SAFETY, strike};
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_engine_kv::{Action, Request, RowOperation, Verdict};
use meridian_model::{Change, Operation, Version};
use meridian_replicate::Executed;
use std::time::Duration;

const TABLE: &str = "letters";
const SETTLED_WITHIN_ROUNDS: usize = 60;

pub(crate) fn run(world: &mut World) -> Result<(), Violation> {
    for index in 0..world.nodes.len() {
        world.nodes[index].stops_at_letters = world.random.bool();
    }
    // Half of the runs have one region whose records are damaged too, so that tables wait for a row
    // and at a letter, for the one behind the other.
    let victim = world
        .random
        .bool()
        .then(|| world.random.usize(0..world.nodes.len()));
    if victim.is_some() {
        for index in 0..world.nodes.len() {
            world.plan(Duration::from_millis(40), Event::Compare(index));
        }
    }
    world.plan(Duration::from_millis(300), Event::Fault);
    world.run_until(SAFETY, |world| {
        let pause = Duration::from_millis(world.random.u64(20..300));
        world.plan(pause, Event::Fault);
        let index = world.random.usize(0..world.nodes.len());
        match world.random.u32(0..8) {
            0 | 1 => commit(world, index),
            2..=4 => decide(world, index),
            5 => match victim {
                Some(victim) => world.flip(victim),
                None => decide(world, index),
            },
            _ => strike(world),
        }
    })?;
    calm(world);
    if let Some(victim) = victim {
        // Both at once, in whichever order they come to be dealt with.
        world.flip(victim);
    }
    settle(world)?;
    converge(world)?;
    had_the_same(world)?;
    if victim.is_some() {
        crate::damage::mend(world)?;
    }
    obey_the_law(world)
}

/// Somebody decides until nothing waits: where a region stands at a letter, the next may be behind.
fn settle(world: &mut World) -> Result<(), Violation> {
    for _ in 0..SETTLED_WITHIN_ROUNDS {
        world.run_until(world.time + Duration::from_secs(1), |_| {})?;
        let regions: Vec<_> = survivors(world).collect();
        let mut is_rest = true;
        for index in regions {
            is_rest &= letters(world, index).is_empty() && world.nodes[index].replica.is_some();
            decide(world, index);
        }
        if is_rest {
            return Ok(());
        }
    }
    let what = "dead letters that were decided about are still there".to_owned();
    Err(Violation::NotConverged(what))
}

fn had_the_same(world: &World) -> Result<(), Violation> {
    let mut first = None;
    for index in survivors(world) {
        let counts = world.nodes[index].tables().letter_counts();
        let counts = counts.expect("the tables in memory are readable");
        if *first.get_or_insert(counts) != counts {
            let what = format!("it has had {counts:?} dead letters, another region {first:?}");
            let region = world.nodes[index].name.to_string();
            return Err(Violation::Broken { region, what });
        }
    }
    Ok(())
}

fn letters(world: &World, index: usize) -> Vec<Version> {
    let page = world.nodes[index].tables().letters(None, 100);
    let letters = page.expect("the tables in memory are readable").letters;
    letters.into_iter().map(|(version, _)| version).collect()
}

/// A region commits what no tables can take.
fn commit(world: &mut World, index: usize) {
    let node = &mut world.nodes[index];
    let now = node.now(world.time);
    let Some(replica) = &mut node.replica else {
        return;
    };
    if !replica.is_settled(now) {
        return;
    }
    let change = Change {
        table: TABLE.to_owned(),
        key: "bad".to_owned(),
        operation: Operation::Delete,
    };
    // A region that takes no writes now refuses this one too.
    let _ = replica.write(now, |_, _| {
        Ok::<_, ()>(Executed {
            changes: vec![change.clone(), change],
            idempotency: None,
            reply: (),
        })
    });
    world.plan(Duration::from_millis(1), Event::Flush(index));
}

/// A region decides about one of the letters that it shows.
fn decide(world: &mut World, index: usize) {
    let letters = letters(world, index);
    let Some(oldest) = letters.last().copied() else {
        return;
    };
    let letter = match world.random.bool() {
        true => oldest,
        false => letters[world.random.usize(0..letters.len())],
    };
    let by = world.random.i64(1..100);
    let action = match world.random.u32(0..3) {
        0 => None,
        1 => Some(Action::Put {
            document: format!("{{\"n\":{by}}}"),
        }),
        _ => Some(Action::Increment {
            field: "n".to_owned(),
            by,
        }),
    };
    let operation = |action| RowOperation {
        table: TABLE.to_owned(),
        key: format!("row-{}", by % 3),
        action,
    };
    let verdict = action.map_or(Verdict::Drop, |action| {
        Verdict::Edit(Request {
            operations: vec![operation(action)],
            ..Request::default()
        })
    });
    let node = &mut world.nodes[index];
    let now = node.now(world.time);
    let Some(replica) = &mut node.replica else {
        return;
    };
    let before = replica.staged().len();
    if !replica.is_settled(now) {
        return;
    }
    // A refusal (it stands at another letter, the letter is just being decided) stages nothing.
    let _ = replica.decide(now, letter, |tables, version| {
        tables.decide(version, letter, &verdict)
    });
    if let Some(entry) = replica.staged().get(before) {
        world.ledger.staged(node.life, entry);
    }
    world.plan(Duration::from_millis(1), Event::Flush(index));
}
