//! Everything that goes wrong at the edges, thrown at three regions that work: requests that can't
//! be, connections that say too little or something else, regions that aren't what they say,
//! commands mistyped, machines that misbehave. Each has its own clear answer; the load meets only
//! what it may, and loses nothing that it was promised.

mod commands;
mod keys;
mod load;
mod machines;
mod raw;
mod requests;
mod sockets;
mod strangers;

use crate::limits::resident_bytes_max;
use crate::system::System;
use load::Load;
use sockets::Holding;
use std::fs;

/// The API's token.
const TOKEN: &str = "a-long-secret";
/// What a region may take at its worst. Bodies under way may take 128 MiB together.
const MEMORY_BYTES_MAX: u64 = 280 << 20;

fn start() -> System {
    let dataset = "tables = [\"rows\"]\n[[dataset]]\nname = \"other\"\nengine = \"embedded\"\n\
                   tables = [\"other\"]\n[api]\ntoken-file = \"token\"\n";
    let mut system = System::prepare(&["a", "b", "c"], dataset);
    fs::write(system.directory.path().join("token"), TOKEN).expect("it is written");
    system.use_token(TOKEN);
    system.arguments.push("--allow-faults");
    for region in 0..3 {
        system.start_region(region);
    }
    for region in 0..3 {
        system.wait_ready(region);
    }
    system
}

#[test]
fn whatever_comes_in_is_answered_clearly_and_nothing_acknowledged_is_lost() {
    let mut system = start();
    let load = Load::start(&system);
    let mut holding = Holding::start(&system);
    requests::throw(&system);
    keys::write(&system);
    sockets::throw_at_apis(&system);
    sockets::throw_at_links(&system);
    sockets::hoard(&system);
    commands::mistype(&system);
    strangers::knock(&system);
    machines::misbehave(&system, &load);
    holding.end_idle();
    for region in 0..3 {
        let taken = resident_bytes_max(system.process_id(region));
        assert!(
            taken < MEMORY_BYTES_MAX,
            "region {region} took {taken} bytes"
        );
    }
    machines::break_down(&mut system, &load);
    holding.end();
    machines::tear(&mut system, &load);
    load.end(&system);
}
