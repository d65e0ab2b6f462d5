//! What a region that joins waits for, and goes on from by itself.

use crate::limits::SmallDisk;
use crate::members::restrict;
use crate::system::{MERIDIAN, System, meridian};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

const DISK_MEBIBYTES: u64 = 320;

/// How a region stands with a dataset, and why.
fn state(system: &System, region: usize, dataset: &str) -> (String, String) {
    let status = system.try_get(region, "/v1/status");
    let status = status.map(|reply| reply.json()).unwrap_or_default();
    let datasets = status["datasets"].as_array().cloned().unwrap_or_default();
    let found = datasets.iter().find(|it| it["dataset"] == dataset);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found.map_or_else(Default::default, |it| {
        (text(&it["state"]), text(&it["reason"]))
    })
}

/// Waits until a dataset joins and says that it waits for something.
fn until_it_says(system: &System, region: usize, dataset: &str, what: &[&str]) {
    system.until(&format!("{dataset} says: {what:?}"), || {
        let (state, reason) = state(system, region, dataset);
        assert_ne!(state, "failed", "{reason}");
        state == "joining" && what.iter().all(|what| reason.contains(what))
    });
}

/// Somebody else's file, which grows or shrinks to this size.
fn resize(filler: &Path, mebibytes: u64) {
    let options = File::options().create(true).append(true).open(filler);
    let mut file = options.expect("a file");
    let bytes = mebibytes << 20;
    let mut length = file.metadata().expect("its size").len();
    if length > bytes {
        return file.set_len(bytes).expect("it shrinks");
    }
    while length < bytes {
        if file.write_all(&[1; 1 << 16]).is_err() {
            // To the last byte.
            while file.write_all(&[1]).is_ok() {}
            return;
        }
        length += 1 << 16;
    }
}

fn start_joining_in(system: &mut System, region: usize, data: &Path) {
    system.start_release(region, Path::new(MERIDIAN), &["--join"], data);
}

#[test]
fn a_region_without_room_for_its_copy_waits_and_goes_on_by_itself() {
    let Some(disk) = SmallDisk::mount(DISK_MEBIBYTES) else {
        return;
    };
    let mut system = System::prepare(&["a", "b"], "");
    for region in 0..2 {
        restrict(&system, region, 1);
    }
    system.start_region(0);
    system.wait_ready(0);
    // Nothing that compresses.
    let mut random = fastrand::Rng::with_seed(1);
    for row in 0..40 {
        let text: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(900_000)
            .collect();
        let reply = system.put(0, &format!("row-{row}"), &format!("\"{text}\""));
        assert_eq!(reply.status, 201, "{reply:?}");
    }

    let (data, filler) = (disk.path().join("data"), disk.path().join("filler"));
    resize(&filler, DISK_MEBIBYTES - 8);
    start_joining_in(&mut system, 1, &data);
    let (api, link) = (system.api(1).to_string(), system.link(1).to_string());
    let at = system.api_url(0);
    let add = ["regions", "add", "b", "--location", "0,0", "--no-wait"];
    let where_it_is = ["--api", &api, "--link", &link, "--at", &at];
    meridian(&[&add[..], &where_it_is[..]].concat());
    until_it_says(&system, 1, "main", &["waits for room on the disk"]);
    let ready = system.get(1, "/readyz");
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(ready.body.contains("waits for room"), "{ready:?}");
    let talk = system.talk(1);
    assert!(talk.contains("waits for room"), "{talk}");

    // Room for a part of it.
    resize(&filler, DISK_MEBIBYTES - 90);
    until_it_says(&system, 1, "main", &["waits for room", " records, "]);
    system.kill(1);
    resize(&filler, DISK_MEBIBYTES);
    start_joining_in(&mut system, 1, &data);
    until_it_says(&system, 1, "main", &["waits for room"]);

    fs::remove_file(&filler).expect("room again");
    system.wait_ready(1);
    system.wait_converged(&[0, 1]);
    assert!(system.talk(1).contains("there is room"), "nobody said so");
    let left_over = data.join("datasets/main/tables.unfinished");
    assert!(!left_over.exists(), "a part of a copy is left");
}
