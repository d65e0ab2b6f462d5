//! Nothing acknowledged is lost, and counters are exact, while regions are killed and links cut.

use crate::system::{Client, System, version};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const KILLS: usize = 20;

/// One client's acknowledged writes: the newest version of each key.
pub fn write_rows(client: &Client, region: usize, stop: &AtomicBool) -> BTreeMap<String, String> {
    let mut acknowledged = BTreeMap::new();
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("row-{}", (step * 7 + region) % 40);
        let written = client.put(&key, &format!(r#"{{"by":{region},"step":{step}}}"#));
        match written {
            Ok(reply) if reply.status < 300 => {
                acknowledged.insert(key, reply.etag.expect("a version"));
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    acknowledged
}

/// Increments until told to stop, each one retried until it is acknowledged.
pub fn count_up(client: &Client, region: usize, stop: &AtomicBool) -> usize {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let idempotency = format!("{region}-{done}");
        loop {
            match client.increment("counter", &idempotency) {
                Ok(reply) if reply.status == 200 => break,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        done += 1;
    }
    done
}

#[test]
fn nothing_acknowledged_is_lost_when_regions_are_killed_under_load() {
    let mut system = System::start(&["a", "b", "c"], "");
    let mut random = fastrand::Rng::with_seed(7);
    let stop = AtomicBool::new(false);
    let increments = AtomicUsize::new(0);
    let clients: Vec<Client> = (0..3).map(|region| system.client(region)).collect();
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| {
        let mut writers = Vec::new();
        for (region, client) in clients.iter().enumerate() {
            let (stop, increments) = (&stop, &increments);
            writers.push(scope.spawn(move || write_rows(client, region, stop)));
            scope.spawn(move || {
                increments.fetch_add(count_up(client, region, stop), Ordering::Relaxed);
            });
        }
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(random.u64(50..400)));
            let (one, other) = (random.usize(0..3), random.usize(0..3));
            if one == other {
                system.heal();
            } else {
                system.cut(one, other);
            }
            let victim = random.usize(0..3);
            system.kill(victim);
            std::thread::sleep(Duration::from_millis(random.u64(10..200)));
            system.start_region(victim);
        }
        system.heal();
        for region in 0..3 {
            system.wait_ready(region);
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            acknowledged.push(writer.join().expect("a writer"));
        }
    });
    system.wait_converged(&[0, 1, 2]);
    check_acknowledged(&system, &acknowledged, increments.into_inner());
}

/// Every acknowledged write is in every region, or a later one in its place; the counter is exact.
pub fn check_acknowledged(
    system: &System,
    acknowledged: &[BTreeMap<String, String>],
    increments: usize,
) {
    let total: usize = acknowledged.iter().map(BTreeMap::len).sum();
    assert!(total > 50, "only {total} rows were written");
    for (key, written) in acknowledged.iter().flatten() {
        for region in 0..3 {
            let row = system.client(region).row(key).expect("an answer");
            let found = row
                .etag
                .unwrap_or_else(|| panic!("{key} is gone in region {region}"));
            assert!(
                version(&found) >= version(written),
                "{key}: {found} is older than {written}"
            );
        }
    }
    assert!(increments > 20, "only {increments} increments");
    let counter = system.client(1).row("counter").expect("an answer").json();
    assert_eq!(counter["n"], increments, "the counter is off");
}
