//! Beside a region that speaks an earlier wire version.

use crate::attaching::detach;
use crate::slot::drop_slot;
use crate::support::{eventually, meridian, text};
use crate::system::{PATIENCE, REGIONS, System};
use std::fs;
use std::process::{Child, Stdio};

/// A region's process.
struct Region(Child);

impl Region {
    fn start(system: &System, region: usize, more: &[&str]) -> Self {
        let name = REGIONS[region];
        let child = meridian(system.path())
            .args(["serve", "--config", "data/meridian.toml", "--wan", "none"])
            .args(["--region", name, "--data-dir", &format!("data/{name}")])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_choice_that_a_region_does_not_read_is_refused_and_nothing_else_stops() {
    // With the topology and certificates of regions that were; what those spoke would be remembered.
    let mut system = System::start(2);
    for region in 0..2 {
        system.stands(region, "it runs", |postgres| postgres["state"] == "running");
        detach(&system, region, true);
    }
    // Where the commands find them.
    let addresses = system.path().join("data/system.json");
    let known = fs::read(&addresses).unwrap();
    system.down();
    fs::write(&addresses, known).unwrap();
    for name in &REGIONS[..2] {
        fs::remove_dir_all(system.path().join("data").join(name)).unwrap();
    }
    system.prepare();
    let _here = Region::start(&system, 0, &[]);
    let there = Region::start(&system, 1, &["--wire-version-max", "3"]);
    for region in 0..2 {
        system.stands(region, "it runs", |postgres| postgres["state"] == "running");
    }
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a'), (2, 'b')");
    system.all_have("1=a 2=b");
    system.settles(0);

    let unseen = "BEGIN; ALTER PUBLICATION meridian_shop DROP TABLE public.items; \
                  UPDATE public.items SET what = 'unseen' WHERE id = 1; \
                  ALTER PUBLICATION meridian_shop ADD TABLE public.items; COMMIT";
    system.sql(0, unseen);
    system.sql(0, "INSERT INTO public.items VALUES (3, 'c')");
    eventually("the regions go on", PATIENCE, || {
        let found = system.ask(1, crate::system::ALL);
        (found.as_deref() == Some("1=a 2=b 3=c")).then_some(())
    });
    let before = system.postgres(0);
    let compare = ["postgres", "compare", "--data-dir", "data"];
    let said = system.meridian(&[&compare[..], &["--repair", "--take", "regions"]].concat());
    assert!(!said.status.success());
    assert!(text(&said).contains("wire version 4"), "{}", text(&said));
    assert!(text(&said).contains("upgrade"), "{}", text(&said));
    let after = system.postgres(0);
    assert_eq!(after["state"], "running", "{after}");
    assert_eq!(after["tries"], before["tries"], "it was not interrupted");

    drop_slot(&system, "TRUNCATE public.items;");
    system.stands(0, "it asks", |postgres| postgres["state"] == "stopped");
    let said = system.attach(0, &["--take", "regions"]);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said));
    assert!(text(&said).contains("wire version 4"), "{}", text(&said));
    assert!(text(&said).contains("upgrade"), "{}", text(&said));
    let slots = "SELECT count(*)::text FROM pg_replication_slots";
    assert_eq!(system.ask(0, slots).as_deref(), Some("0"), "no WAL waits");

    drop(there);
    let _there = Region::start(&system, 1, &[]);
    eventually("the answer is taken", PATIENCE, || {
        let said = system.attach(0, &["--take", "regions"]);
        said.status.success().then_some(())
    });
    system.all_have("1=a 2=b 3=c");
}
