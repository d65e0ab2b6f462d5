//! The same on a real directory.

use crate::support::*;
use meridian_log::{Directory, Disk, Log, LogConfig};
use meridian_model::Position;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

const CONFIG: LogConfig = LogConfig {
    segment_bytes: 64 << 10,
    tail_cache_bytes: 8 << 10,
    prepare_ahead: true,
};

fn open_at(path: &Path, acknowledged: u64) -> Log<Directory> {
    Log::open(
        Directory::open(path).unwrap(),
        CONFIG,
        Position(acknowledged),
    )
    .unwrap()
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_directory_keeps_the_contract_of_a_disk() {
    let place = directory();
    let disk = Directory::open(place.path().join("new/log")).unwrap();
    disk.create("a", 3 << 20).unwrap();
    assert_eq!(
        disk.create("a", 1).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert_eq!(disk.size("a").unwrap(), 3 << 20);
    let metadata = fs::metadata(disk.path().join("a")).unwrap();
    let allocated = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    assert!(allocated >= 3 << 20, "really written: {allocated}");
    disk.reserve("reserved", 3 << 20).unwrap();
    assert_eq!(disk.size("reserved").unwrap(), 3 << 20);
    let metadata = fs::metadata(disk.path().join("reserved")).unwrap();
    let allocated = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    assert!(allocated >= 3 << 20, "room is taken: {allocated}");
    let mut zeros = [9; 5];
    assert_eq!(disk.read_at("reserved", 1 << 20, &mut zeros).unwrap(), 5);
    assert_eq!(zeros, [0; 5]);
    let again = disk.reserve("reserved", 1).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    disk.remove("reserved").unwrap();

    disk.write_at("a", 100, b"abc").unwrap();
    disk.sync("a").unwrap();
    let mut buffer = [9; 5];
    assert_eq!(disk.read_at("a", 99, &mut buffer).unwrap(), 5);
    assert_eq!(&buffer, b"\0abc\0");
    assert_eq!(disk.read_at("a", (3 << 20) - 2, &mut buffer).unwrap(), 2);

    disk.create("b", 1).unwrap();
    assert_eq!(disk.size("b").unwrap(), 1);
    disk.rename("a", "b").unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
    assert_eq!(
        disk.size("b").unwrap(),
        3 << 20,
        "the handle of the old file is not used"
    );
    disk.remove("b").unwrap();
    assert_eq!(disk.size("b").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove("b").unwrap_err().kind(), ErrorKind::NotFound);
    for file in 0..100 {
        disk.create(&file.to_string(), 1).unwrap();
        disk.write_at(&file.to_string(), 0, &[file]).unwrap();
    }
    for file in 0..100 {
        disk.read_at(&file.to_string(), 0, &mut buffer[..1])
            .unwrap();
        assert_eq!(buffer[0], file);
    }
}

#[test]
fn a_log_of_large_commits_reads_back_from_files_that_were_only_reserved() {
    let place = directory();
    let mut log = open_at(place.path(), 0);
    let mut streams = Streams::default();
    let mut all = Vec::new();
    for _ in 0..20 {
        let group = streams.group(3, 30_000);
        log.commit(&group).unwrap();
        all.extend(group);
    }
    let end = log.end();
    drop(log);
    assert_eq!(read_all(&open_at(place.path(), end.0)), all);
}

#[test]
fn a_log_in_a_directory_rolls_trims_and_reopens() {
    let place = directory();
    let mut log = open_at(place.path(), 0);
    let mut streams = Streams::default();
    let mut all = Vec::new();
    for _ in 0..200 {
        let group = streams.group(3, 400);
        log.commit(&group).unwrap();
        all.extend(group);
    }
    assert_eq!(read_all(&log), all);
    assert!(log.trim(&streams.marks, Position(300)).unwrap() > 0);
    let start = usize::try_from(log.start().0).unwrap();
    assert!(start > 0 && start <= 300);
    drop(log);
    let mut log = open_at(place.path(), 600);
    assert_eq!(read_all(&log), all[start..]);
    log.commit(&streams.group(1, 10)).unwrap();
    let sizes = fs::read_dir(place.path()).unwrap();
    let total: u64 = sizes
        .map(|item| item.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(log.bytes(), total);
}

#[test]
fn a_torn_tail_in_a_directory_is_dropped_and_a_flipped_bit_is_told() {
    let place = directory();
    let mut log = open_at(place.path(), 0);
    let mut streams = Streams::default();
    let entries = streams.group(3, 50);
    log.commit(&entries).unwrap();
    log.commit(&streams.group(3, 50)).unwrap();
    drop(log);
    let path = place.path().join("00000000000000000000.log");
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();

    let mut torn = bytes.clone();
    torn[end - 40..].fill(0);
    fs::write(&path, torn).unwrap();
    assert_eq!(read_all(&open_at(place.path(), 3)), entries);

    let mut flipped = bytes;
    flipped[100] ^= 1;
    fs::write(&path, flipped).unwrap();
    let disk = Directory::open(place.path()).unwrap();
    let Err(error) = Log::open(disk, CONFIG, Position(0)) else {
        panic!("a flipped bit went unnoticed");
    };
    assert!(error.is_damage(), "{error}");
}

/// A file system of its own with little room; unmounted when dropped.
struct SmallFileSystem(tempfile::TempDir);

impl SmallFileSystem {
    fn mount(kib: u32) -> Option<Self> {
        let place = directory();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(place.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(place))
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn a_full_file_system_refuses_commits_and_takes_them_when_there_is_room() {
    let Some(place) = SmallFileSystem::mount(400) else {
        eprintln!("SKIPPED: mounting a tmpfs is not permitted here");
        return;
    };
    let ballast = place.0.path().join("ballast");
    let path = place.0.path().join("log");
    let mut log = open_at(&path, 0);
    fs::write(&ballast, vec![1; 100 << 10]).unwrap();
    let mut streams = Streams::default();
    let mut all = Vec::new();
    let error = loop {
        let mut attempt = streams.clone();
        let group = attempt.group(3, 2_000);
        match log.commit(&group) {
            Ok(_) => {
                streams = attempt;
                all.extend(group);
            }
            Err(error) => break error,
        }
    };
    assert!(error.is_full() && !error.must_reopen(), "{error:?}");
    assert!(all.len() > 30);
    assert_eq!(read_all(&log), all);
    assert!(
        !path.join("next").exists(),
        "nothing is left of the attempt"
    );
    assert!(
        log.commit(&streams.clone().group(3, 2_000))
            .unwrap_err()
            .is_full()
    );

    fs::remove_file(ballast).unwrap();
    let group = streams.group(3, 2_000);
    log.commit(&group).unwrap();
    all.extend(group);
    drop(log);
    assert_eq!(read_all(&open_at(&path, all.len() as u64)), all);
}
