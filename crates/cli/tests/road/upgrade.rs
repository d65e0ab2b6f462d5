//! All regions are restarted one after the other into a later release, under load.
//!
//! The earlier release is the build at `MERIDIAN_EARLIER`, where that is set; otherwise this build,
//! held to the first wire version.

use crate::kills::{check_acknowledged, count_up, write_rows};
use crate::system::{Client, MERIDIAN, System};
use meridian_node::WIRE_VERSION_MAX;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

struct Earlier {
    binary: PathBuf,
    arguments: &'static [&'static str],
}

impl Earlier {
    fn find() -> Self {
        match std::env::var_os("MERIDIAN_EARLIER") {
            Some(binary) => Self {
                binary: binary.into(),
                arguments: &[],
            },
            None => Self {
                binary: MERIDIAN.into(),
                arguments: &["--wire-version-max", "1"],
            },
        }
    }

    fn start(&self, system: &mut System, region: usize) {
        let data_dir = system.data_dir(region);
        system.start_release(region, &self.binary, self.arguments, &data_dir);
    }
}

/// The wire version that `region` has agreed on with each of its peers.
fn wire_versions(system: &System, region: usize) -> Vec<Option<u64>> {
    let report = system.get(region, "/v1/replication").json();
    let peers = report["peers"].as_array().expect("peers").iter();
    peers.map(|peer| peer["wire_version"].as_u64()).collect()
}

/// Reads until told to stop; gives the number of reads that failed.
fn read_rows(client: &Client, stop: &AtomicBool) -> usize {
    let mut failed = 0;
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let answer = client.row(&format!("row-{}", step % 40));
        failed += usize::from(!answer.is_ok_and(|reply| matches!(reply.status, 200 | 404)));
        std::thread::sleep(Duration::from_millis(2));
    }
    failed
}

/// Moves one region to this build while somebody reads in another.
fn move_on(system: &mut System, region: usize) {
    let elsewhere = system.client((region + 1) % 3);
    let is_done = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_rows(&elsewhere, &is_done));
        system.terminate(region);
        system.start_region(region);
        system.wait_ready(region);
        system.until("the streams flow again", || {
            let streams = |peer| [system.stream(region, peer).0, system.stream(peer, region).0];
            let mut peers = (0..3).filter(|peer| *peer != region).flat_map(streams);
            peers.all(|state| state == "streaming")
        });
        is_done.store(true, Ordering::Relaxed);
        reader.join().expect("a reader")
    });
    assert_eq!(
        failed, 0,
        "reads failed elsewhere while region {region} moved"
    );
}

#[test]
fn regions_move_to_a_later_release_one_by_one_under_load() {
    let earlier = Earlier::find();
    let mut system = System::prepare(&["a", "b", "c"], "");
    for region in 0..3 {
        earlier.start(&mut system, region);
    }
    for region in 0..3 {
        system.wait_ready(region);
    }
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
        for region in 0..3 {
            move_on(&mut system, region);
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            acknowledged.push(writer.join().expect("a writer"));
        }
    });
    system.wait_converged(&[0, 1, 2]);
    check_acknowledged(&system, &acknowledged, increments.into_inner());
    for region in 0..3 {
        let agreed = wire_versions(&system, region);
        let latest = Some(u64::from(WIRE_VERSION_MAX));
        assert_eq!(agreed, [latest; 2], "region {region}");
    }
}
