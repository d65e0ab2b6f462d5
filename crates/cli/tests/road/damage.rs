//! Logs that are torn, flipped or gone.

use crate::system::System;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

pub fn log_files(system: &System, region: usize) -> Vec<PathBuf> {
    let directory = system.data_dir(region).join("datasets/main/log");
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("a log")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    files
}

/// Where the file's last byte that isn't zero stands.
fn end_of_data(file: &File) -> u64 {
    let length = file.metadata().expect("a length").len();
    let mut bytes = vec![0; usize::try_from(length).expect("a small file")];
    file.read_exact_at(&mut bytes, 0).expect("its bytes");
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("some data") as u64
}

fn write_some(system: &System, region: usize) {
    for step in 0..20 {
        assert_eq!(
            system
                .put(region, &format!("row-{step}"), "\"kept\"")
                .status,
            201
        );
    }
}

#[test]
fn a_torn_tail_is_dropped_and_nothing_acknowledged_was_in_it() {
    let mut system = System::start(&["a", "b"], "");
    write_some(&system, 0);
    system.wait_converged(&[0, 1]);
    system.kill(0);
    append_garbage(&log_files(&system, 0).pop().expect("a segment"));
    system.start_region(0);
    system.wait_ready(0);
    assert_eq!(system.put(0, "after", "1").status, 201);
    system.wait_converged(&[0, 1]);
    assert_eq!(
        system.client(0).row("row-19").expect("an answer").body,
        "\"kept\""
    );
}

/// Puts a later sector of a write into a log whose first ones never reached the disk. (The last
/// frame may end in zeros, hence the distance.)
pub fn append_garbage(path: &Path) {
    let mut options = File::options();
    let file = options.read(true).write(true).open(path).expect("it opens");
    file.write_all_at(&[7; 40], end_of_data(&file) + 512)
        .expect("it is written");
}

/// Flips a bit of the byte at the place that `choose` picks, given where the data ends; gives the
/// place.
pub fn flip_a_bit(path: &Path, choose: impl Fn(u64) -> u64) -> u64 {
    let mut options = File::options();
    let file = options.read(true).write(true).open(path).expect("it opens");
    let at = choose(end_of_data(&file));
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 4], at)
        .expect("it is written");
    at
}

#[test]
fn a_log_that_can_not_be_read_any_more_ends_its_own_stream_and_not_the_others() {
    let dataset = "tables = [\"rows\"]\n[[dataset]]\nname = \"other\"\nengine = \"embedded\"\n";
    let mut system = System::start(&["a", "b"], dataset);
    write_some(&system, 0);
    system.wait_converged(&[0, 1]);
    system.kill(1);
    // More than is kept in memory, so that b has to be served from the file.
    let document = format!("\"{}\"", "x".repeat(500_000));
    for step in 0..20 {
        assert_eq!(
            system.put(0, &format!("large-{step}"), &document).status,
            201
        );
    }
    flip_a_bit(&log_files(&system, 0)[0], |end| end / 4);
    system.start_region(1);
    system.wait_ready(1);
    system.until("b is told why rows are missing", || {
        system.stream_of(1, 0, "main").1.contains("can't be read")
    });
    let elsewhere = "/v1/tables/elsewhere/rows/x";
    let reply = system.client(0).put_at(elsewhere, "1").expect("an answer");
    assert_eq!(reply.status, 201);
    system.until("the other dataset's row arrives over the same link", || {
        system
            .try_get(1, elsewhere)
            .is_some_and(|reply| reply.status == 200)
    });
    assert_eq!(system.stream_of(1, 0, "other").0, "streaming");
}

#[test]
fn a_flipped_bit_stops_the_dataset_which_says_so_and_the_others_run() {
    let dataset = "tables = [\"rows\"]\n[[dataset]]\nname = \"other\"\nengine = \"embedded\"\n";
    let mut system = System::start(&["a", "b"], dataset);
    write_some(&system, 0);
    system.wait_converged(&[0, 1]);
    system.kill(0);
    flip_a_bit(&log_files(&system, 0)[0], |end| end / 2);
    system.start_region(0);
    system.until("the API answers", || system.try_get(0, "/livez").is_some());
    let refused = system.client(0).row("row-1").expect("an answer");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.body.contains(".log"),
        "the file is named: {refused:?}"
    );
    assert_eq!(system.get(0, "/readyz").status, 503);
    // The other dataset of the same region runs, and so does the other region.
    let other = system.get(0, "/v1/tables/elsewhere/rows/x");
    assert_eq!(other.status, 404, "{other:?}");
    assert_eq!(system.put(1, "row-1", "2").status, 200);
}

#[test]
fn a_replaced_data_directory_is_refused_by_its_peers_with_the_reason() {
    let mut system = System::start(&["a", "b"], "");
    write_some(&system, 0);
    system.wait_converged(&[0, 1]);
    system.kill(0);
    fs::remove_dir_all(system.data_dir(0)).expect("it is wiped");
    system.start_region(0);
    system.until("b refuses a and says why", || {
        let (state, error) = system.stream(1, 0);
        state == "quarantined" && error.contains("data directory was replaced")
    });
    system.until("a is told why", || {
        let (state, error) = system.stream(0, 1);
        state == "quarantined" && error.contains("data directory was replaced")
    });
    assert_eq!(system.put(1, "row-1", "2").status, 200);
    let refused = system.put(0, "row-1", "3");
    assert_eq!(
        refused.status, 503,
        "what is written here would reach nobody: {refused:?}"
    );
}
