//! Regions in memory, wired together by hand.

use meridian_engine_kv::{
    Action, Limits, MemoryStore, Outcome, Request, RowOperation, RowView, Tables,
};
use meridian_log::{Log, LogConfig, MemoryDisk};
use meridian_model::{Message, Micros, OriginId, RegionName, WIRE_VERSION_MAX};
use meridian_replicate::{
    Arrival, Config, Engine as _, Now, OpenError, PeerStatus, Replica, Sender, StreamState,
    WriteError,
};
use std::collections::BTreeSet;
use std::time::Duration;

pub type Machine = Replica<MemoryDisk, Tables<MemoryStore>>;

const START: u64 = 1_767_225_600_000_000;

pub struct Region {
    pub name: RegionName,
    pub disk: MemoryDisk,
    pub store: MemoryStore,
    pub clock_ahead: Duration,
    pub log_bytes_max: u64,
    pub log_bytes_limit: u64,
    pub segment_bytes: u64,
    pub stop_at_dead_letters: bool,
    pub log_retention: Duration,
    pub founders: Vec<RegionName>,
    pub arrival: Arrival,
    pub evict_after: Option<Duration>,
    pub witnesses: BTreeSet<RegionName>,
    pub wire_version: u16,
    pub machine: Option<Machine>,
}

pub fn at(elapsed: Duration) -> Now {
    Now {
        wall: Micros(START).plus(elapsed),
        elapsed,
    }
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Region {
    pub fn new(name: &str) -> Self {
        Self {
            name: RegionName::new(name),
            disk: MemoryDisk::new(),
            store: MemoryStore::default(),
            clock_ahead: Duration::ZERO,
            log_bytes_max: 1 << 30,
            log_bytes_limit: 1 << 31,
            segment_bytes: 4096,
            stop_at_dead_letters: false,
            log_retention: Duration::ZERO,
            founders: vec![RegionName::new("a"), RegionName::new("b")],
            arrival: Arrival::Founding,
            evict_after: None,
            witnesses: BTreeSet::new(),
            wire_version: WIRE_VERSION_MAX,
            machine: None,
        }
    }

    pub fn now(&self, elapsed: Duration) -> Now {
        Now {
            wall: at(elapsed + self.clock_ahead).wall,
            elapsed,
        }
    }

    pub fn start(&mut self, origin: u64) {
        self.machine = Some(self.open(origin).expect("a machine"));
    }

    pub fn open(&self, origin: u64) -> Result<Machine, OpenError> {
        let tables = Tables::open(self.store.clone(), Limits::default()).expect("tables");
        let tables = tables.stopping_at_dead_letters(self.stop_at_dead_letters);
        let config = LogConfig {
            segment_bytes: self.segment_bytes,
            tail_cache_bytes: 1024,
            prepare_ahead: false,
        };
        let log = Log::open(self.disk.clone(), config, tables.position()).expect("a log");
        let config = Config {
            region: self.name.clone(),
            regions: self.founders.clone(),
            arrival: self.arrival,
            evict_after: self.evict_after,
            log_bytes_max: self.log_bytes_max,
            log_bytes_limit: self.log_bytes_limit,
            drift_max: Duration::from_millis(500),
            report_interval: Duration::from_millis(500),
            settle: seconds(2),
            log_retention: self.log_retention,
            wire_version: self.wire_version,
            witnesses: self.witnesses.clone(),
        };
        Replica::open(config, log, tables, OriginId(origin), self.now(seconds(0)))
    }

    pub fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("it runs")
    }

    pub fn put(&mut self, elapsed: Duration, key: &str) -> Result<(), WriteError<()>> {
        let now = self.now(elapsed);
        let request = Request {
            operations: vec![RowOperation {
                table: "t".into(),
                key: key.into(),
                action: Action::Put {
                    document: "1".into(),
                },
            }],
            ..Request::default()
        };
        let machine = self.machine();
        machine.write(now, |tables, version| {
            tables.execute(version, &request).map_err(|_| ())
        })?;
        machine.flush(now).expect("a commit");
        Ok(())
    }

    pub fn peer(&mut self, elapsed: Duration) -> PeerStatus {
        let now = self.now(elapsed);
        self.machine().peers(now).remove(0)
    }
}

/// Lets `receiver` subscribe at `sender` and take all that it has.
pub fn stream(sender: &mut Region, receiver: &mut Region, elapsed: Duration) {
    let (sent_at, received_at) = (sender.now(elapsed), receiver.now(elapsed));
    let (from, to) = (sender.name.clone(), receiver.name.clone());
    let source = sender.machine();
    let mut outbound = Sender::new(from.clone(), source.origin(), source.reader());
    receiver
        .machine()
        .connected(received_at, &from, WIRE_VERSION_MAX);
    let asked = receiver.machine().take_outgoing();
    for (_, message) in asked {
        let known = sender.machine().road().member(&to);
        let answer = outbound
            .subscribe(sent_at, known, message)
            .expect("a readable log");
        let Some(answer) = answer else { continue };
        if let Some(reason) = answer.disowned {
            sender.machine().disown(&reason);
        }
        receiver
            .machine()
            .message(received_at, &from, answer.message)
            .expect("a readable log");
    }
    while let Some(message) = outbound.poll(sent_at).expect("a readable log") {
        receiver
            .machine()
            .message(received_at, &from, message)
            .expect("a readable log");
        receiver.machine().flush(received_at).expect("a commit");
        for (_, message) in receiver.machine().take_outgoing() {
            if let Message::Ack {
                session,
                next,
                held,
            } = message
            {
                outbound.acknowledged(session, next, &held);
            }
        }
    }
}

pub fn quarantine_reason(region: &mut Region) -> String {
    match region.peer(seconds(1)).state {
        StreamState::Quarantined { reason } => reason,
        state => panic!("not quarantined but {state:?}"),
    }
}

pub fn two() -> (Region, Region) {
    let (mut a, mut b) = (Region::new("a"), Region::new("b"));
    a.start(1);
    b.start(2);
    (a, b)
}

/// A request of one operation on table `t`.
pub fn request(key: &str, action: Action) -> Request {
    let operation = RowOperation {
        table: "t".into(),
        key: key.into(),
        action,
    };
    Request {
        operations: vec![operation],
        ..Request::default()
    }
}

pub fn put(document: &str) -> Action {
    Action::Put {
        document: document.into(),
    }
}

impl Region {
    /// Executes and commits a client's request; a refusal comes as text.
    pub fn run(&mut self, elapsed: Duration, request: &Request) -> Result<Outcome, String> {
        let now = self.now(elapsed);
        let machine = self.machine();
        let outcome = machine
            .write(now, |tables, version| tables.execute(version, request))
            .map_err(|error| format!("{error:?}"))?;
        machine.flush(now).map_err(|error| format!("{error:?}"))?;
        Ok(outcome)
    }

    pub fn row(&mut self, key: &str) -> RowView {
        let row = self.machine().engine().reader().get("t", key);
        row.expect("readable tables").expect("the row")
    }

    pub fn sender(&mut self) -> Sender<MemoryDisk> {
        let name = self.name.clone();
        Sender::new(name, self.machine().origin(), self.machine().reader())
    }
}
