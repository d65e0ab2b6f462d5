//! The road's limits: disk budget, memory at rest.

use crate::system::System;
use std::fs;

fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
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
