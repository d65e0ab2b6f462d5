//! Peers that are not who they should be.

use crate::system::{System, certificates};
use std::fs;

#[test]
fn a_peer_with_the_wrong_certificate_gets_nothing_and_both_sides_say_why() {
    let mut system = System::prepare(&["a", "b"], "");
    // b has certificates of an authority of its own.
    let foreign = system.directory.path().join("foreign");
    certificates(&foreign, &system.names);
    let topology = system.topology_path(1);
    let text = fs::read_to_string(&topology).expect("a topology");
    let own = system.directory.path().join("certs").display().to_string();
    fs::write(
        &topology,
        text.replace(&own, &foreign.display().to_string()),
    )
    .expect("it is written");
    system.start_region(0);
    system.start_region(1);
    system.wait_ready(0);
    system.until("a says that it can't trust b", || {
        let (state, error) = system.stream(0, 1);
        state != "streaming" && error.contains("certificate")
    });
    system.until("b says that it is not trusted", || {
        let (state, error) = system.stream(1, 0);
        state != "streaming" && error.contains("certificate")
    });
    assert_eq!(system.put(0, "row", "1").status, 201);
}

#[test]
fn links_that_come_back_resume_where_they_were() {
    let system = System::start(&["a", "b"], "");
    system.put(0, "one", "1");
    system.wait_converged(&[0, 1]);
    system.part(0, 1);
    system.put(0, "two", "2");
    system.put(1, "three", "3");
    system.until("lag shows", || {
        let (state, _) = system.stream(1, 0);
        state != "streaming"
    });
    system.heal();
    system.wait_converged(&[0, 1]);
    assert_eq!(system.client(1).row("two").expect("an answer").body, "2");
    assert_eq!(system.client(0).row("three").expect("an answer").body, "3");
}
