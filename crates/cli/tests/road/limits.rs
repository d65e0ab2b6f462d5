//! The road's limits: disk budget, memory at rest.

use crate::support::disk::SmallDisk;
use crate::system::System;
use std::fs;

fn resident_bytes(process: u32) -> u64 {
    memory_bytes(process, "VmRSS:")
}

/// The most that it has taken so far.
pub fn resident_bytes_max(process: u32) -> u64 {
    memory_bytes(process, "VmHWM:")
}

fn memory_bytes(process: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status
        .lines()
        .find(|line| line.starts_with(what))
        .expect("its memory");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    kib * 1024
}

#[test]
fn a_peer_that_is_down_costs_disk_up_to_the_budget_and_writes_go_on_when_it_is_back() {
    let limits = "[dataset.limits]\nlog-bytes-max = \"4MiB\"\nlog-reserve-bytes = \"2MiB\"\n\
                  transaction-bytes-max = \"512KiB\"\ndocument-bytes-max = \"256KiB\"\n";
    let mut system = System::start(&["a", "b"], limits);
    system.put(0, "first", "1");
    system.wait_converged(&[0, 1]);
    system.kill(1);
    let document = format!("\"{}\"", "x".repeat(100_000));
    let mut refused = None;
    for step in 0..100 {
        let reply = system.put(0, &format!("row-{step}"), &document);
        if reply.status == 507 {
            refused = Some(reply);
            break;
        }
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    let refused = refused.expect("the budget is never used up");
    assert!(refused.body.contains("hint"), "{refused:?}");
    assert_eq!(
        system.client(0).row("first").expect("an answer").status,
        200,
        "reads go on"
    );
    system.start_region(1);
    system.wait_ready(1);
    system.until("writes are taken again", || {
        system
            .client(0)
            .put("again", "1")
            .is_ok_and(|reply| reply.status < 300)
    });
    system.wait_converged(&[0, 1]);
}

#[test]
fn an_idle_region_takes_less_than_50_mb() {
    let system = System::start(&["a", "b"], "");
    system.put(0, "row", "1");
    system.wait_converged(&[0, 1]);
    for region in 0..2 {
        let resident = resident_bytes(system.process_id(region));
        assert!(
            resident < 50 << 20,
            "region {region} takes {resident} bytes"
        );
    }
}

#[test]
fn a_full_disk_refuses_writes_clearly_and_loses_nothing_acknowledged() {
    // Where it fills while tables are written, merged and thrown away depends on its size.
    for mebibytes in [160, 260, 270, 360] {
        let Some(disk) = SmallDisk::mount(mebibytes) else {
            return;
        };
        fill(&disk, mebibytes);
    }
}

fn fill(disk: &SmallDisk, mebibytes: u64) {
    let mut system = System::prepare(&["a"], "");
    let data = disk.path().join("data");
    system.start_region_in(0, &data);
    system.wait_ready(0);
    // Nothing that compresses.
    let mut random = fastrand::Rng::with_seed(1);
    let text: String = std::iter::repeat_with(|| random.alphanumeric())
        .take(900_000)
        .collect();
    let document = format!("\"{text}\"");
    let mut acknowledged = 0;
    let refused = loop {
        let reply = system.put(0, &format!("row-{acknowledged}"), &document);
        match reply.status {
            201 => acknowledged += 1,
            _ => break reply,
        }
        assert!(acknowledged < 1000, "{mebibytes} MiB never fill");
    };
    assert_eq!(refused.status, 507, "{mebibytes} MiB: {refused:?}");
    assert!(refused.body.contains("hint"), "{refused:?}");
    assert!(acknowledged > 10, "only {acknowledged} rows fit");
    // Filled to the last byte by somebody else, and killed: what was acknowledged is there.
    let filler = disk.path().join("filler");
    let mut file = fs::File::create(&filler).expect("a file");
    system.until("what is thrown away is filled too", || {
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
        system.put(0, "more", "1").status == 507
    });
    system.kill(0);
    fs::remove_file(&filler).expect("room again");
    system.start_region_in(0, &data);
    // Whether it takes writes again is a matter of what is free; reads go on.
    system.until("rows are read", || {
        let row = system.client(0).row("row-0");
        row.is_ok_and(|row| row.status == 200)
    });
    for step in 0..acknowledged {
        let row = system
            .client(0)
            .row(&format!("row-{step}"))
            .expect("an answer");
        assert_eq!(row.status, 200, "row-{step} of {mebibytes} MiB is lost");
    }
}
