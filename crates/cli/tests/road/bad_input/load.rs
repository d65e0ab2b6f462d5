//! Writers and readers at each region all the time, and what they were told.
//!
//! A writer numbers its writes to a key, so that an acknowledged one that is lost shows
//! ([`Acknowledged`]); a reader brings its token, so that a row that goes back shows ([`Session`]).
//! What else they may meet, and where, is said by whoever disturbs the regions.

use crate::system::{Client, Reply, System};
use meridian_check::{Acknowledged, Session, Written};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Keys of each writer whose rows come and go.
const KEYS: usize = 30;
/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(15);

/// What clients at a region may be told instead of an answer: names of problems, or
/// [`NO_ANSWER`].
type May = BTreeSet<&'static str>;

/// No reply at all: the region is dead, or its connection was cut.
pub const NO_ANSWER: &str = "no answer";

/// What a region that was just started says until it has heard its peers.
pub const STARTING: [&str; 6] = [
    NO_ANSWER,
    "dataset-not-yet",
    "dataset-stopped",
    "dataset-unavailable",
    "region-not-serving",
    "session-not-reached",
];

struct Shared {
    stop: AtomicBool,
    names: Vec<String>,
    may: Vec<Mutex<May>>,
    surprises: Mutex<Vec<String>>,
}

/// The load.
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<(Acknowledged, usize)>>,
    readers: Vec<JoinHandle<usize>>,
}

impl Load {
    pub fn start(system: &System) -> Self {
        let regions = 0..system.names.len();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            names: system.names.clone(),
            may: regions.clone().map(|_| Mutex::default()).collect(),
            surprises: Mutex::default(),
        });
        let client = |region| (shared.clone(), system.client(region));
        let writer = |region: usize| {
            let (shared, client) = client(region);
            std::thread::spawn(move || write(region, &client, &shared))
        };
        let reader = |region: usize| {
            let (shared, client) = client(region);
            std::thread::spawn(move || read(region, &client, &shared))
        };
        Self {
            writers: regions.clone().map(writer).collect(),
            readers: regions.map(reader).collect(),
            shared: shared.clone(),
        }
    }

    /// From now on clients at this region may meet these.
    pub fn may(&self, region: usize, problems: &[&'static str]) {
        self.shared.allowed(region).extend(problems);
    }

    /// From now on they may meet nothing but answers.
    pub fn must(&self, region: usize) {
        self.shared.allowed(region).clear();
    }

    /// Ends it. All that was acknowledged has to be in every region, and nobody met what they may
    /// not.
    pub fn end(self, system: &System) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let joined = self.writers.into_iter().map(JoinHandle::join);
        let (acknowledged, writes): (Vec<_>, Vec<_>) =
            joined.map(|it| it.expect("a writer")).unzip();
        let writes: usize = writes.iter().sum();
        let reads = self.readers.into_iter().map(JoinHandle::join);
        let reads: usize = reads.map(|it| it.expect("no violation")).sum();
        let surprises = self.shared.surprises.lock().expect("no panic");
        assert!(
            surprises.is_empty(),
            "{} times the load met what it may not, first: {}",
            surprises.len(),
            surprises[0]
        );
        assert!(reads > 300, "only {reads} reads were answered");
        assert!(writes > 300, "only {writes} writes were acknowledged");
        let all: Vec<_> = (0..system.names.len()).collect();
        system.wait_converged(&all);
        for region in all {
            for written in &acknowledged {
                check(system, region, written);
            }
        }
    }
}

impl Shared {
    fn allowed(&self, region: usize) -> std::sync::MutexGuard<'_, May> {
        self.may[region].lock().expect("no panic")
    }

    /// Sends a request; none if the reply isn't one of these.
    fn ask<E>(
        &self,
        region: usize,
        wanted: &[u16],
        send: impl FnOnce() -> Result<Reply, E>,
    ) -> Option<Reply> {
        let before = self.allowed(region).clone();
        let reply = send().ok();
        let reply = match reply {
            Some(reply) if wanted.contains(&reply.status) => return Some(reply),
            other => other,
        };
        let met = reply.as_ref().map_or(NO_ANSWER.to_owned(), problem);
        // A disturbance may have begun or ended in between.
        let may = |allowed: &May| allowed.contains(met.as_str());
        if !may(&before) && !may(&self.allowed(region)) {
            let said = format!("{} at {}: {reply:?}", met, self.names[region]);
            self.surprises.lock().expect("no panic").push(said);
        }
        None
    }
}

/// The name of the problem that a reply is.
fn problem(reply: &Reply) -> String {
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let kind = body["type"].as_str().unwrap_or_default();
    let name = kind.strip_prefix("/problems/");
    name.map_or_else(|| format!("status {}", reply.status), str::to_owned)
}

/// Puts and deletes rows of its own, and puts one that stays; counts what is acknowledged.
fn write(region: usize, client: &Client, shared: &Shared) -> (Acknowledged, usize) {
    let (mut written, mut writes) = (Acknowledged::default(), 0);
    for step in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let key = match step % 4 {
            0 => register(region),
            _ => format!("load-{region}-{}", step % KEYS),
        };
        let acknowledged = if step % 9 == 8 && step % 4 != 0 {
            written.sent(&key, Written::Deleted);
            shared.ask(region, &[204], || client.delete(&key))
        } else {
            let number = written.sent(&key, Written::Put).to_string();
            shared.ask(region, &[200, 201], || client.put(&key, &number))
        };
        if acknowledged.is_some() {
            written.acknowledged(&key);
            writes += 1;
        }
        std::thread::sleep(PACE);
    }
    (written, writes)
}

fn register(region: usize) -> String {
    format!("register-{region}")
}

/// Reads the rows that stay; counts the answers.
fn read(region: usize, client: &Client, shared: &Shared) -> usize {
    let (mut session, mut token, mut answered) = (Session::default(), String::new(), 0);
    let registers: Vec<_> = (0..shared.names.len()).map(register).collect();
    for key in registers.iter().cycle() {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let mut headers = vec![("Meridian-Timeout", "2s")];
        if !token.is_empty() {
            headers.push(("Meridian-Session", token.as_str()));
        }
        let reply = shared.ask(region, &[200, 404], || client.row_with(key, &headers));
        if let Some(reply) = reply {
            let found = match reply.status {
                200 => reply.body.parse().expect("a number"),
                _ => 0,
            };
            let seen = session.read(&shared.names[region], key, found, &[]);
            seen.unwrap_or_else(|violation| panic!("{violation}"));
            token = reply.session.expect("every reply has a token");
            answered += 1;
        }
        std::thread::sleep(PACE);
    }
    answered
}

fn check(system: &System, region: usize, written: &Acknowledged) {
    let client = system.client(region);
    for key in written.keys() {
        let row = client.row(key).expect("an answer");
        let found = (row.status == 200).then(|| row.body.parse().expect("a number"));
        let kept = written.check(&system.names[region], key, found);
        kept.unwrap_or_else(|violation| panic!("{violation}"));
    }
}
