//! What Linux tells about processes: parents, command lines, memory, processor time.

use serde::Serialize;
use std::fs;
use std::time::Duration;

/// A process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ProcessId(pub u32);

/// A process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// In memory now (`VmRSS`).
    pub resident_bytes: u64,
    /// The most there ever was (`VmHWM`).
    pub resident_bytes_max: u64,
}

/// A process's memory; none once it is gone.
#[must_use]
pub fn memory(process: ProcessId) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0)).ok()?;
    Some(Memory {
        resident_bytes: kibibytes(&status, "VmRSS:")? * 1024,
        resident_bytes_max: kibibytes(&status, "VmHWM:")? * 1024,
    })
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The words of a process's command line.
#[must_use]
pub fn command_line(process: ProcessId) -> Vec<String> {
    fs::read(format!("/proc/{}/cmdline", process.0))
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// A moment in a process's life that tells it from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartTime(u64);

/// When a process started, in clock ticks since the machine did; none once it is gone.
#[must_use]
pub fn start_time(process: ProcessId) -> Option<StartTime> {
    stat_field(process, 22).map(StartTime)
}

/// The processor time a process has used, in its own and the kernel's code.
#[must_use]
pub fn processor_time(process: ProcessId) -> Option<Duration> {
    Some(seconds(stat_field(process, 14)? + stat_field(process, 15)?))
}

/// The same, with that of the processes it started which have ended and which it has waited for.
#[must_use]
pub fn processor_time_with_ended(process: ProcessId) -> Option<Duration> {
    let ended = stat_field(process, 16)? + stat_field(process, 17)?;
    Some(processor_time(process)? + seconds(ended))
}

fn seconds(ticks: u64) -> Duration {
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    #[expect(
        clippy::cast_precision_loss,
        reason = "far fewer ticks than 2^52 in a benchmark"
    )]
    let seconds = ticks as f64 / ticks_per_second as f64;
    Duration::from_secs_f64(seconds)
}

/// The processes that `ancestor` started, theirs included, nearest first.
#[must_use]
pub fn descendants(ancestor: ProcessId) -> Vec<ProcessId> {
    let parents: Vec<(ProcessId, ProcessId)> = all_processes()
        .filter_map(|process| Some((process, parent(process)?)))
        .collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(process, _)| *process),
        );
        next += 1;
    }
    found.split_off(1)
}

fn all_processes() -> impl Iterator<Item = ProcessId> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(ProcessId))
}

fn parent(process: ProcessId) -> Option<ProcessId> {
    stat_field(process, 4)
        .and_then(|parent| u32::try_from(parent).ok())
        .map(ProcessId)
}

/// Field `number` of `/proc/PID/stat` as proc(5) counts them, from the fourth on. The second is the
/// program's name in parentheses and may hold spaces and parentheses itself.
fn stat_field(process: ProcessId, number: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.0)).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name
        .split_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_described_until_it_is_gone() {
        let mut child = Command::new("cat")
            .arg("-u")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A process that was just started may not be the new program yet; one that answers is.
        child.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let id = ProcessId(child.id());
        assert!(descendants(ProcessId(std::process::id())).contains(&id));
        assert_eq!(command_line(id), ["cat", "-u"]);
        let memory = memory(id).unwrap();
        assert!(memory.resident_bytes > 0);
        assert!(memory.resident_bytes_max >= memory.resident_bytes);
        assert!(start_time(id).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(super::memory(id), None);
        assert_eq!(start_time(id), None);
    }

    #[test]
    fn the_time_of_processes_that_ended_counts() {
        let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut shell = Command::new("sh")
            .args(["-c", &format!("sh -c '{script}'; read -r _")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let id = ProcessId(shell.id());
        let with_ended = || processor_time_with_ended(id).unwrap();
        while with_ended() <= processor_time(id).unwrap() {
            assert!(shell.try_wait().unwrap().is_none());
            std::thread::yield_now();
        }
        shell.kill().unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn processor_time_grows_with_work() {
        let own = ProcessId(std::process::id());
        let before = processor_time(own).unwrap();
        let mut sum = 0_u64;
        while processor_time(own).unwrap() <= before {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
        }
    }
}
