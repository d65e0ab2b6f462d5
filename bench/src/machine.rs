//! The machine a figure was measured on: without it no figure means anything.

use crate::latency::{Latencies, milliseconds};
use serde::Serialize;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

const SYNC_COUNT: usize = 200;
const SYNC_BYTES: usize = 4096;

/// What a figure depends on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors this process may use.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// Memory in all.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The type of the file system under the data.
    pub file_system: String,
    /// The median of 200 appends of 4 KiB, each followed by `fdatasync`, in the data's directory.
    pub fdatasync_ms_p50: f64,
    /// The same, 99th percentile.
    pub fdatasync_ms_p99: f64,
}

impl Machine {
    /// Describes this machine and measures the disk under `directory`.
    ///
    /// # Errors
    /// When a file in `directory` can't be written.
    pub fn describe(directory: &Path) -> std::io::Result<Self> {
        let syncs = fdatasync_latencies(directory)?;
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            memory_bytes: field("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0)
                * 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned()),
            file_system: file_system(directory).unwrap_or_else(|| "unknown".into()),
            fdatasync_ms_p50: milliseconds(syncs.percentile(50.0)),
            fdatasync_ms_p99: milliseconds(syncs.percentile(99.0)),
        })
    }

    /// Whether the data would lie in memory, where a sync costs nothing and proves nothing.
    #[must_use]
    pub fn data_is_in_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} cores, {}, {:.1} GiB of memory, Linux {}, {}, fdatasync P50 {:.3} ms P99 {:.3} ms",
            self.cores,
            self.processor,
            gibibytes(self.memory_bytes),
            self.kernel,
            self.file_system,
            self.fdatasync_ms_p50,
            self.fdatasync_ms_p99,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// The value after `name` and a colon in one of proc's files of such lines.
fn field(path: &str, name: &str) -> Option<String> {
    fs::read_to_string(path).ok()?.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// The type of the mount with the longest path that `directory` is under.
fn file_system(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(path, _)| directory.starts_with(path))
        .max_by_key(|(path, _)| path.len())
        .map(|(_, kind)| kind.to_owned())
}

fn fdatasync_latencies(directory: &Path) -> std::io::Result<Latencies> {
    let path = directory.join("fdatasync-probe");
    let mut file = File::create(&path)?;
    let mut latencies = Latencies::default();
    for _ in 0..SYNC_COUNT {
        file.write_all(&[7; SYNC_BYTES])?;
        let begun = Instant::now();
        file.sync_data()?;
        latencies.record(begun.elapsed());
    }
    drop(file);
    fs::remove_file(path)?;
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described_and_the_probe_removed() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::describe(directory.path()).unwrap();
        assert!(machine.cores >= 1);
        assert!(machine.memory_bytes > 1 << 20);
        assert_ne!(machine.file_system, "unknown");
        assert!(machine.fdatasync_ms_p50 > 0.0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn proc_is_in_no_disk_file_system() {
        assert_eq!(
            file_system(Path::new("/proc/self")).as_deref(),
            Some("proc")
        );
    }
}
