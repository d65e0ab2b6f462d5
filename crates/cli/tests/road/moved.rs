//! Tables and datasets that a later topology file gives away: their rows stay where they are, and
//! somebody says so.

use crate::backup::meridian;
use crate::system::System;
use std::fs;

const OTHER: &str = "[[dataset]]\nname = \"other\"\nengine = \"embedded\"\n";

/// Starts the region again with another file.
fn restart_with(system: &mut System, file: &str) {
    system.terminate(0);
    fs::write(system.topology_path(0), file).expect("a topology file");
    system.start_region(0);
    system.wait_ready(0);
}

#[test]
fn rows_that_a_changed_file_puts_out_of_sight_are_told_of() {
    let mut system = System::start(&["a"], "");
    system.put(0, "k", "1");
    let first = fs::read_to_string(system.topology_path(0)).expect("a topology file");
    let list = |system: &System| meridian(&["tables", "list", "rows", "--api", &system.api_url(0)]);

    restart_with(&mut system, &format!("{first}{OTHER}tables = [\"rows\"]\n"));
    let talk = system.talk(0);
    assert!(talk.contains("no request finds the table's rows"), "{talk}");
    let listed = list(&system);
    assert_eq!(listed.code, 4, "{}", listed.talk);
    assert!(
        listed.talk.contains("are in dataset main"),
        "{}",
        listed.talk
    );

    restart_with(&mut system, &first);
    let talk = system.talk(0);
    assert!(
        talk.contains("no request finds the dataset's rows"),
        "{talk}"
    );
    let listed = list(&system);
    assert_eq!((listed.code, listed.out.is_empty()), (0, false));
}
