//! What a region that joins waits for, and goes on from by itself.

use crate::members::{evict, join, restrict, standing};
use crate::support::disk::SmallDisk;
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

#[test]
fn an_evicted_region_without_room_for_what_it_alone_held_waits_and_loses_nothing() {
    const ROWS: u64 = 12;
    let Some(disk) = SmallDisk::mount(DISK_MEBIBYTES) else {
        return;
    };
    let mut system = System::prepare(&["a", "b", "c"], "");
    let (data, filler) = (disk.path().join("data"), disk.path().join("filler"));
    system.start_region(0);
    system.start_region(1);
    system.start_region_in(2, &data);
    for region in 0..3 {
        system.wait_ready(region);
    }
    assert_eq!(system.put(0, "row", "1").status, 201);
    system.wait_converged(&[0, 1, 2]);
    system.part(0, 2);
    system.part(1, 2);
    // Nothing that compresses.
    let mut random = fastrand::Rng::with_seed(1);
    for row in 0..ROWS {
        let text: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(900_000)
            .collect();
        let reply = system.put(2, &format!("alone-{row}"), &format!("\"{text}\""));
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    evict(&system, 0, "c", "majority");
    system.heal();
    system.until("c learns that it is evicted", || {
        standing(&system, 2) == "evicted"
    });

    resize(&filler, DISK_MEBIBYTES);
    let at = system.api_url(0);
    meridian(&["regions", "rejoin", "c", "--api", &at, "--no-wait"]);
    system.until("it waits for room", || {
        system.talk(2).contains("waits for room")
    });
    assert_eq!(standing(&system, 2), "evicted");
    fs::remove_file(&filler).expect("room again");
    system.wait_ready(2);
    system.until("all is written again", || {
        let aside = system.get(2, "/v1/aside").json();
        aside["counts"]["resubmitted"] == ROWS
    });
    system.wait_converged(&[0, 1, 2]);
    for row in 0..ROWS {
        let row = system.client(0).row(&format!("alone-{row}"));
        assert_eq!(row.expect("an answer").status, 200);
    }
}

/// Names these regions in a region's topology file, and another dataset.
fn name(system: &System, own: usize, whole: &str, regions: &[usize]) {
    let (head, rest) = whole.split_once("[[region]]").expect("regions");
    let (all, dataset) = rest.split_once("[[dataset]]").expect("a dataset");
    let all: Vec<_> = all.split("[[region]]").collect();
    let mut text = head.to_owned();
    for region in regions {
        text += &format!("[[region]]{}", all[*region]);
    }
    text += &format!("[[dataset]]{dataset}");
    text += "[[dataset]]\nname = \"later\"\nengine = \"embedded\"\ntables = [\"later\"]\n";
    fs::write(system.topology_path(own), text).expect("it is written");
}

#[test]
fn a_dataset_is_founded_by_regions_that_all_joined_once_all_of_them_are_there() {
    let mut system = System::prepare(&["a", "b", "c"], "");
    let whole = |region| fs::read_to_string(system.topology_path(region)).expect("a topology");
    let joined = [(1, whole(1)), (2, whole(2))];
    for region in 0..3 {
        restrict(&system, region, 1);
    }
    system.start_region(0);
    system.wait_ready(0);
    for region in 1..3 {
        let link = system.link(region);
        join(&mut system, region, link);
    }
    let at = system.api_url(1);
    meridian(&["regions", "remove", "a", "--api", &at, "--timeout", "50"]);
    for region in 0..3 {
        system.terminate(region);
    }

    for (region, whole) in &joined {
        name(&system, *region, whole, &[1, 2]);
    }
    system.start_joining(1);
    until_it_says(&system, 1, "later", &["region c"]);
    system.until("the other dataset serves", || {
        state(&system, 1, "main").0 == "running"
    });
    until_it_says(&system, 1, "later", &["region c"]);
    system.start_joining(2);
    for region in 1..3 {
        system.wait_ready(region);
    }
    let row = "/v1/tables/later/rows/k";
    for region in 1..3 {
        let document = format!("\"{region}\"");
        let put = system.client(region).put_at(row, &document);
        assert!(put.expect("an answer").status < 300);
        system.until("the other one has it", || {
            let found = system.client(3 - region).get(row);
            found.is_ok_and(|found| found.body == document)
        });
    }
    for region in 1..3 {
        system.until("both are members", || {
            let said = system.get(region, "/v1/regions").json();
            let datasets = said["datasets"].as_array().expect("datasets");
            let later = datasets.iter().find(|it| it["dataset"] == "later");
            let members = later.expect("the dataset")["members"].as_array().cloned();
            let members = members.expect("members");
            let has_begun =
                |member: &Value| member["standing"] == "voting" && member["origin"].is_string();
            members.len() == 2 && members.iter().all(has_begun)
        });
    }
}
