//! The server's process: started, watched, stopped; and the guard that outlives its owner.

use super::error::{LocalError, file};
use super::user::User;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Sessions end, open transactions are rolled back, and all is written.
    Fast,
    /// As if it had crashed: the next start recovers from the WAL.
    Immediate,
}

/// How often a process is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// For how long a server is waited for that starts: recovery and a busy machine take their time.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// For how long a server that was told to stop is waited for.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The file in which a server says who it is and whether it is ready.
const PID_FILE: &str = "postmaster.pid";

/// A running server, and its guard.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    guard: Guard,
}

impl Server {
    /// Starts `postgres` with the data in `data`, its words appended to `log`, and waits until it
    /// takes connections.
    pub(super) fn start(
        postgres: &Path,
        data: &Path,
        log: &Path,
        user: Option<&User>,
    ) -> Result<Self, LocalError> {
        stop_orphan(data)?;
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(file("open", log))?;
        let said_before = log_file.metadata().map_or(0, |metadata| metadata.len());
        let log_twin = log_file.try_clone().map_err(file("open", log))?;
        let mut command = Command::new(postgres);
        command
            .arg("-D")
            .arg(data)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log_twin)
            .stderr(log_file)
            .process_group(0);
        for variable in ["PGDATA", "PGPORT", "PGOPTIONS"] {
            command.env_remove(variable);
        }
        if let Some(user) = user {
            user.runs(&mut command);
        }
        let mut child = spawn(&mut command, postgres)?;
        let guard = match Guard::over(pid_of(&child)) {
            Ok(guard) => guard,
            Err(error) => {
                end(&mut child, Signal::INT);
                return Err(error);
            }
        };
        let mut server = Self { child, guard };
        match server.wait_until_ready(data, log, said_before) {
            Ok(()) => Ok(server),
            Err(error) => {
                server.stop(Stop::Immediate);
                Err(error)
            }
        }
    }

    fn wait_until_ready(
        &mut self,
        data: &Path,
        log: &Path,
        said_before: u64,
    ) -> Result<(), LocalError> {
        let directory = || data.parent().unwrap_or(data).to_owned();
        let since = Instant::now();
        loop {
            if is_ready(data, pid_of(&self.child)) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(LocalError::Ended {
                    directory: directory(),
                    status: status.to_string(),
                    said: last_words(log, said_before),
                });
            }
            if since.elapsed() > START_TIMEOUT {
                return Err(LocalError::NotReady {
                    directory: directory(),
                    after: START_TIMEOUT,
                });
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether it still runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process.
    pub(super) fn pid(&self) -> i32 {
        pid_of(&self.child).as_raw_nonzero().get()
    }

    /// Stops it, and returns when it is gone.
    pub(super) fn stop(mut self, how: Stop) {
        // The guard goes first: while the child isn't waited for, its id belongs to nobody else.
        self.guard.dismiss();
        end(
            &mut self.child,
            match how {
                Stop::Fast => Signal::INT,
                Stop::Immediate => Signal::QUIT,
            },
        );
    }
}

/// A shell that stops the server when the pipe from its owner closes.
#[derive(Debug)]
struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    fn over(server: Pid) -> Result<Self, LocalError> {
        let shell = Path::new("/bin/sh");
        let mut command = Command::new(shell);
        command
            .args(["-c", "read -r _; kill -INT \"$1\"", "guard"])
            .arg(server.as_raw_nonzero().to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = spawn(&mut command, shell)?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Ends the guard without its doing anything.
    fn dismiss(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.pipe = None;
    }
}

fn spawn(command: &mut Command, program: &Path) -> Result<Child, LocalError> {
    command.spawn().map_err(|source| LocalError::Run {
        program: program.to_owned(),
        source,
    })
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Signals a child and waits; kills it where that doesn't help.
fn end(child: &mut Child, signal: Signal) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let _ = kill_process(pid_of(child), signal);
    let since = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if since.elapsed() > STOP_TIMEOUT {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// What `postmaster.pid` says: the process, and the state that it writes in the eighth line.
fn read_pid_file(data: &Path) -> Option<(Pid, String)> {
    let text = fs::read_to_string(data.join(PID_FILE)).ok()?;
    let mut lines = text.lines();
    let pid = Pid::from_raw(lines.next()?.trim().parse().ok()?)?;
    Some((pid, lines.nth(6).unwrap_or_default().trim().to_owned()))
}

fn is_ready(data: &Path, child: Pid) -> bool {
    read_pid_file(data).is_some_and(|(pid, state)| pid == child && state == "ready")
}

/// Stops a server that an earlier owner left behind in this directory.
pub(super) fn stop_orphan(data: &Path) -> Result<(), LocalError> {
    let Some((pid, _)) = read_pid_file(data) else {
        return Ok(());
    };
    if !is_server_of(pid, data) {
        return Ok(());
    }
    let _ = kill_process(pid, Signal::INT);
    let since = Instant::now();
    while is_server_of(pid, data) {
        if since.elapsed() > STOP_TIMEOUT {
            return Err(LocalError::Occupied {
                directory: data.to_owned(),
                pid: pid.as_raw_nonzero().get(),
            });
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Whether this process is the server of that directory: its working directory is its data. Where
/// that can't be seen, the file's word is taken that PostgreSQL itself goes by.
fn is_server_of(pid: Pid, data: &Path) -> bool {
    if test_kill_process(pid).is_err() {
        return false;
    }
    let working: PathBuf = format!("/proc/{}/cwd", pid.as_raw_nonzero()).into();
    if !Path::new("/proc/self/cwd").exists() {
        return true;
    }
    match (fs::read_link(working), fs::canonicalize(data)) {
        (Ok(working), Ok(data)) => working == data,
        _ => false,
    }
}

/// The end of what was appended to a log since it had `from` bytes: the errors if there are any.
pub(super) fn last_words(log: &Path, from: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(text.len());
    let text = String::from_utf8_lossy(&text[from..]);
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("FATAL:") || line.contains("PANIC:"))
        .collect();
    let lines = if errors.is_empty() {
        text.lines().collect()
    } else {
        errors
    };
    lines[lines.len().saturating_sub(3)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_something_else_is_no_orphan() {
        let data = tempfile::tempdir().unwrap();
        let me = std::process::id();
        fs::write(data.path().join(PID_FILE), format!("{me}\n/elsewhere\n")).unwrap();
        assert!(read_pid_file(data.path()).is_some());
        stop_orphan(data.path()).unwrap();
    }

    #[test]
    fn the_guard_stops_the_server_when_its_owner_is_gone_and_only_then() {
        let sleeper = || Command::new("sleep").arg("600").spawn().unwrap();
        let mut child = sleeper();
        let mut guard = Guard::over(pid_of(&child)).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        // What the end of the owner does: the pipe closes.
        guard.pipe = None;
        assert!(!child.wait().unwrap().success());
        guard.dismiss();

        let mut child = sleeper();
        Guard::over(pid_of(&child)).unwrap().dismiss();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_last_words_are_the_errors_of_this_run() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let before = "FATAL:  old\n";
        fs::write(
            &log,
            format!("{before}LOG:  hello\nFATAL:  no\nLOG:  bye\n"),
        )
        .unwrap();
        assert_eq!(last_words(&log, before.len() as u64), "FATAL:  no");
        fs::write(&log, "LOG:  a\nLOG:  b\n").unwrap();
        assert_eq!(last_words(&log, 0), "LOG:  a; LOG:  b");
    }
}
