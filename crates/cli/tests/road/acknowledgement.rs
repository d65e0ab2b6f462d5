//! Acknowledgement by other regions: what it costs, what it keeps, and what a client is told when
//! it can't be had.

use crate::system::{Client, Reply, System};
use meridian_check::{Acknowledged, Written};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ONE_REMOTE: &str = "acknowledgement = \"one-remote\"\nacknowledgement-timeout = \"300ms\"\n";

/// What one writer was told.
#[derive(Default)]
struct Told {
    history: Acknowledged,
    /// How many replies had each status.
    statuses: BTreeMap<u16, usize>,
}

/// Puts, replaces and deletes rows of its own until told to stop.
fn write_rows(client: &Client, writer: &str, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    for step in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{writer}-{}", step % 10);
        let deletes = step % 7 == 6;
        let write = if deletes {
            Written::Deleted
        } else {
            Written::Put
        };
        let number = told.history.sent(&key, write);
        let reply = match write {
            Written::Deleted => client.delete(&key),
            Written::Put => client.put(&key, &number.to_string()),
        };
        match reply {
            Ok(Reply { status, .. }) => {
                *told.statuses.entry(status).or_default() += 1;
                if matches!(status, 200 | 201 | 204) {
                    told.history.acknowledged(&key);
                }
            }
            // Its region is gone, or the connection: nobody knows what became of the write.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    told
}

#[test]
fn a_region_destroyed_under_load_takes_nothing_acknowledged_with_it() {
    let mut system = System::start(&["a", "b", "c"], ONE_REMOTE);
    let stop = AtomicBool::new(false);
    let clients: Vec<Client> = (0..3).map(|region| system.client(region)).collect();
    let told: Vec<Told> = std::thread::scope(|scope| {
        let mut writers = Vec::new();
        for (region, client) in clients.iter().enumerate() {
            for number in 0..2 {
                let (name, stop) = (format!("{region}-{number}"), &stop);
                writers.push(scope.spawn(move || write_rows(client, &name, stop)));
            }
        }
        std::thread::sleep(Duration::from_millis(1_500));
        // Nobody hears of a's last writes; their clients are told that nobody has them.
        system.part(0, 1);
        system.part(0, 2);
        std::thread::sleep(Duration::from_millis(700));
        system.kill(0);
        fs::remove_dir_all(system.data_dir(0)).expect("gone for good");
        std::thread::sleep(Duration::from_millis(700));
        stop.store(true, Ordering::Relaxed);
        let joined = writers.into_iter().map(|writer| writer.join());
        joined.map(|told| told.expect("a writer")).collect()
    });
    system.wait_converged(&[1, 2]);
    for region in [1, 2] {
        for told in &told {
            for key in told.history.keys() {
                let row = system.client(region).row(key).expect("an answer");
                let found = (row.status == 200).then(|| row.body.parse().expect("a number"));
                let checked = told.history.check(&system.names[region], key, found);
                checked.unwrap_or_else(|violation| panic!("{violation}"));
            }
        }
    }
    let count = |writers: std::ops::Range<usize>, statuses: &[u16]| -> usize {
        let counts = told[writers].iter().map(|told| &told.statuses);
        counts
            .flat_map(|counts| statuses.iter().filter_map(|status| counts.get(status)))
            .sum()
    };
    let (acknowledged, unconfirmed) = (count(0..2, &[200, 201, 204]), count(0..2, &[202]));
    assert!(acknowledged > 20, "a acknowledged only {acknowledged}");
    assert!(unconfirmed > 0, "a never said that it stands alone");
    let survivors = count(2..6, &[200, 201, 204]);
    assert!(survivors > 50, "b and c acknowledged only {survivors}");
}

#[test]
fn another_regions_word_comes_at_once_and_its_absence_is_told() {
    let system = System::start(&["a", "b", "c"], ONE_REMOTE);
    system.until("somebody confirms", || {
        system.put(0, "row", "0").status < 202
    });
    let started = Instant::now();
    for step in 0..50 {
        let reply = system.put(0, "row", &step.to_string());
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "50 writes took {took:?}");

    system.part(0, 1);
    system.part(0, 2);
    let reply = system.put(0, "alone", "1");
    assert_eq!(reply.status, 202, "{reply:?}");
    let body = reply.json();
    assert_eq!((&body["status"], &body["needed"]), (&201.into(), &2.into()));
    assert_eq!(body["reply"], 1);
    assert!(body["hint"].is_string() && body["reason"].is_string());
    assert!(reply.etag.is_some(), "{reply:?}");
    assert_eq!(system.client(0).delete("alone").expect("one").status, 202);
    let nothing = system.client(0).delete("never-there").expect("one");
    assert_eq!(nothing.status, 202, "what it saw, nobody else holds");
    let counted = system.client(0).increment("counter", "once").expect("one");
    assert_eq!(counted.status, 202);

    system.heal();
    system.until("somebody confirms again", || {
        system
            .client(0)
            .increment("counter", "once")
            .expect("one")
            .status
            == 200
    });
    let counter = system.client(0).row("counter").expect("an answer");
    assert_eq!(counter.json()["n"], 1, "the retry changed nothing");
}
