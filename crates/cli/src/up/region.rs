//! One region's process: started, watched, started again, ended.

use super::event::{Death, Event, Happened};
use super::tail::last_lines;
use crate::client::{Address, Api};
use crate::error::{CliError, CliResult};
use crate::retry::Backoff;
use crate::serve::WanChoice;
use crate::system::SystemRegion;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc::UnboundedSender, watch};
use tokio::time::{sleep, timeout};

/// How long a region may take to end before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often a region is asked whether it serves.
const PROBE_EVERY: Duration = Duration::from_millis(50);
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// A region that served for this long is restarted as if for the first time.
const STEADY: Duration = Duration::from_secs(10);
const LAST_LINES: usize = 12;

/// What keeps one region running.
pub struct Keeper {
    /// Its place in the topology.
    pub index: usize,
    /// What it is.
    pub region: SystemRegion,
    /// The topology that it reads.
    pub topology: PathBuf,
    /// Whether its links are delayed.
    pub wan: WanChoice,
    /// Whether it is started again when it dies.
    pub restart: bool,
    /// Whether it takes faults over its API.
    pub allow_faults: bool,
    /// Whether it joins a system that runs already.
    pub joins: bool,
    /// The database that says where clients are.
    pub geo: Option<PathBuf>,
    /// Where events go.
    pub events: UnboundedSender<Event>,
}

impl Keeper {
    /// Keeps the region running until `stop` becomes true. Ends early if it is not to be restarted.
    pub async fn keep(self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new();
        loop {
            let death = match self.run_once(&mut stop, &mut backoff).await {
                Ok(Some(death)) => death,
                Ok(None) => return,
                Err(error) => Death {
                    status: error.message().to_owned(),
                    was_ready: false,
                    last_lines: Vec::new(),
                    restart_after: self.restart.then(|| backoff.wait()),
                },
            };
            let wait = death.restart_after;
            self.tell(Happened::Died(death));
            let Some(wait) = wait else { return };
            tokio::select! {
                () = sleep(wait) => {}
                () = asked(&mut stop) => {
                    self.tell(Happened::Stopped { was_killed: false });
                    return;
                }
            }
        }
    }

    fn tell(&self, happened: Happened) {
        let region = self.index;
        // Nobody listens once `up` has ended.
        let _ = self.events.send(Event { region, happened });
    }

    /// One life of the process: how it died, or nothing if it was asked to end.
    async fn run_once(
        &self,
        stop: &mut watch::Receiver<bool>,
        backoff: &mut Backoff,
    ) -> CliResult<Option<Death>> {
        let log_from = std::fs::metadata(&self.region.log).map_or(0, |log| log.len());
        let started = Instant::now();
        let mut child = self.spawn()?;
        // `wait` would close it, and the region ends when it closes.
        let _held_open = child.stdin.take();
        self.tell(Happened::Started {
            process_id: child.id().unwrap_or_default(),
        });
        let mut ready_at = None;
        let probe = self.ready();
        tokio::pin!(probe);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                () = &mut probe, if ready_at.is_none() => {
                    ready_at = Some(Instant::now());
                    self.tell(Happened::Ready { after: started.elapsed() });
                }
                () = asked(stop) => {
                    let was_killed = end(&mut child).await;
                    self.tell(Happened::Stopped { was_killed });
                    return Ok(None);
                }
            }
        };
        if ready_at.is_some_and(|at| at.elapsed() >= STEADY) {
            backoff.reset();
        }
        Ok(Some(Death {
            status: describe(status),
            was_ready: ready_at.is_some(),
            last_lines: last_lines(&self.region.log, log_from, LAST_LINES),
            restart_after: self.restart.then(|| backoff.wait()),
        }))
    }

    fn spawn(&self) -> CliResult<Child> {
        let failed = |what: String| move |error: io::Error| CliError::failure(what).because(&error);
        let program = std::env::current_exe().map_err(failed("find this program".to_owned()))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.region.log)
            .map_err(failed(format!("open {}", self.region.log.display())))?;
        let wan = match self.wan {
            WanChoice::None => "none",
            WanChoice::Real => "real",
        };
        Command::new(&program)
            .args(["serve", "--region", &self.region.name, "--config"])
            .arg(&self.topology)
            .arg("--data-dir")
            .arg(&self.region.data_dir)
            .args(["--wan", wan, "--watch-stdin"])
            .args(self.allow_faults.then_some("--allow-faults"))
            .args(self.joins.then_some("--join"))
            .args(
                self.region
                    .app
                    .iter()
                    .map(|at| format!("--sample-app={at}")),
            )
            .args(
                self.geo
                    .iter()
                    .flat_map(|geo| ["--geo".as_ref(), geo.as_os_str()]),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C on the terminal is for `up`, which ends its regions in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed(format!("start {}", program.display())))
    }

    /// Resolves when the region serves reads and writes.
    async fn ready(&self) {
        loop {
            if self.is_ready().await {
                return;
            }
            sleep(PROBE_EVERY).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let address = Address {
            url: self.region.api.clone(),
            ..Address::default()
        };
        let asked = tokio::task::spawn_blocking(move || {
            let api = Api::new(address, PROBE_PATIENCE).ok()?;
            api.get("/readyz").ok().map(|reply| reply.status)
        });
        matches!(asked.await, Ok(Some(200)))
    }
}

/// Resolves when the regions are to end.
async fn asked(stop: &mut watch::Receiver<bool>) {
    // Where the one who would ask is gone, that is an end too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Ends a process; whether it had to be killed.
async fn end(child: &mut Child) -> bool {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It may have ended by itself just now.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(STOP_PATIENCE, child.wait()).await.is_ok() {
        return false;
    }
    let _ = child.kill().await;
    true
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("lost sight of it: {error}"),
    }
}
