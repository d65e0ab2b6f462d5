//! What the operating system says of this process.

use std::time::Instant;

/// The resident memory of this process, in bytes, where the system tells.
pub(crate) fn resident_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Seconds since the region started.
pub(crate) fn uptime_seconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}
