//! A server process of a benchmark: started with its output in a file, ready when it answers, and
//! ended by its id together with everything it started.
//!
//! A process that started others (`meridian up`) is ended first, lest it restart them; the others
//! are remembered before with their start times, so that an id used again by a stranger is left
//! alone. Dropping a [`Server`] ends it at once; [`Server::stop`] asks first.

use crate::procfs::{self, ProcessId, StartTime};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const POLL_INTERVAL: Duration = Duration::from_millis(5);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const LOG_TAIL_LINES: usize = 20;

/// Why a server isn't there.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("{} did not start", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended by itself.
    #[error("{} ended ({status}) before it was ready; its last words:\n{log_tail}", program.display())]
    Ended {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of its output.
        log_tail: String,
    },
    /// It did not become ready in time.
    #[error("{} was not ready within {} s; its last words:\n{log_tail}", program.display(), deadline.as_secs())]
    NotReady {
        /// The program.
        program: PathBuf,
        /// How long was waited.
        deadline: Duration,
        /// The end of its output.
        log_tail: String,
    },
    /// It could not be waited for.
    #[error("waiting for {} failed", program.display())]
    Wait {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Server {
    /// Starts `program`, its output going to the file `log`.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start(program: &Path, arguments: &[OsString], log: &Path) -> Result<Self, ProcessError> {
        let start = |source| ProcessError::Start {
            program: program.to_owned(),
            source,
        };
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(start)?;
        let errors = output.try_clone().map_err(start)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(start)?;
        Ok(Self {
            program: program.to_owned(),
            log: log.to_owned(),
            child,
        })
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        ProcessId(self.child.id())
    }

    /// The processor time used so far by the process and those it started.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        std::iter::once(self.id())
            .chain(procfs::descendants(self.id()))
            .filter_map(procfs::processor_time)
            .sum()
    }

    /// Asks `probe` until it says yes.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] as soon as the process has, [`ProcessError::NotReady`] after
    /// `deadline`.
    pub async fn ready<P, F>(
        &mut self,
        deadline: Duration,
        mut probe: P,
    ) -> Result<(), ProcessError>
    where
        P: FnMut() -> F,
        F: Future<Output = bool>,
    {
        let started = Instant::now();
        while !probe().await {
            if let Some(status) = self.try_wait()? {
                return Err(ProcessError::Ended {
                    program: self.program.clone(),
                    status,
                    log_tail: self.log_tail(),
                });
            }
            if started.elapsed() > deadline {
                return Err(ProcessError::NotReady {
                    program: self.program.clone(),
                    deadline,
                    log_tail: self.log_tail(),
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Asks the process to end (`SIGINT`, as Ctrl-C does), and ends it and what it started when it
    /// hasn't within ten seconds. Says how it ended.
    ///
    /// # Errors
    /// [`ProcessError::Wait`].
    pub async fn stop(mut self) -> Result<ExitStatus, ProcessError> {
        let started_by_it = Family::of(self.id());
        signal(self.id(), Signal::INT);
        let asked = Instant::now();
        while asked.elapsed() < STOP_DEADLINE {
            if let Some(status) = self.try_wait()? {
                started_by_it.kill();
                return Ok(status);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.kill()
    }

    /// Ends the process and what it started at once (`SIGKILL`), as a crash would.
    ///
    /// # Errors
    /// [`ProcessError::Wait`].
    pub fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        let started_by_it = Family::of(self.id());
        let wait = |source| ProcessError::Wait {
            program: self.program.clone(),
            source,
        };
        self.child.kill().map_err(wait)?;
        let status = self.child.wait().map_err(wait)?;
        started_by_it.kill();
        Ok(status)
    }

    /// Stops the process where it is (`SIGSTOP`), until [`Server::resume`].
    pub fn pause(&self) {
        signal(self.id(), Signal::STOP);
    }

    /// Lets a paused process go on (`SIGCONT`).
    pub fn resume(&self) {
        signal(self.id(), Signal::CONT);
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.try_wait().map_err(|source| ProcessError::Wait {
            program: self.program.clone(),
            source,
        })
    }

    /// The last lines of the process's output.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Nothing more can be done about a process that can't be ended.
            let _ = self.kill();
        }
    }
}

/// The processes that one process has started.
struct Family(Vec<(ProcessId, StartTime)>);

impl Family {
    fn of(process: ProcessId) -> Self {
        Self(
            procfs::descendants(process)
                .into_iter()
                .filter_map(|member| Some((member, procfs::start_time(member)?)))
                .collect(),
        )
    }

    fn kill(&self) {
        for (process, started) in &self.0 {
            if procfs::start_time(*process) == Some(*started) {
                signal(*process, Signal::KILL);
            }
        }
    }
}

fn signal(process: ProcessId, signal: Signal) {
    let Some(pid) = i32::try_from(process.0).ok().and_then(Pid::from_raw) else {
        return;
    };
    // It may have ended in the meantime, which is what was wanted.
    let _ = kill_process(pid, signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, directory: &Path) -> Server {
        Server::start(
            Path::new("/bin/sh"),
            &["-c".into(), script.into()],
            &directory.join("log"),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn a_server_that_ends_early_says_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut server = shell("echo no room; exit 3", directory.path());
        let error = server
            .ready(Duration::from_secs(20), || async { false })
            .await
            .unwrap_err();
        assert!(matches!(&error, ProcessError::Ended { status, .. } if status.code() == Some(3)));
        assert!(error.to_string().contains("no room"), "{error}");
    }

    #[tokio::test]
    async fn dropping_a_server_ends_those_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let mut server = shell("sleep 600 & sleep 600", directory.path());
        let id = server.id();
        server
            .ready(Duration::from_secs(20), || async {
                procfs::descendants(id).len() == 2
            })
            .await
            .unwrap();
        let children = procfs::descendants(id);
        drop(server);
        let gone = |process: &ProcessId| procfs::memory(*process).is_none();
        let asked = Instant::now();
        while !children.iter().all(gone) {
            assert!(asked.elapsed() < Duration::from_secs(20), "{children:?}");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn stop_asks_first() {
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("ready");
        let script = format!(
            "trap 'exit 7' INT; touch {}; while :; do sleep 0.05; done",
            marker.display()
        );
        let mut server = shell(&script, directory.path());
        server
            .ready(Duration::from_secs(20), || async { marker.exists() })
            .await
            .unwrap();
        assert_eq!(server.stop().await.unwrap().code(), Some(7));
    }
}
