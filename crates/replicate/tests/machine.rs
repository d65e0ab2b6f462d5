//! Two machines wired together by hand: what the random scenarios reach only by luck.

use meridian_engine_kv::{Action, Limits, MemoryStore, Request, RowOperation, Tables};
use meridian_log::{Log, LogConfig, MemoryDisk};
use meridian_model::{Message, Micros, OriginId, RegionName};
use meridian_replicate::{
    Config, Engine as _, Now, PeerStatus, Replica, Sender, StreamState, WriteError,
};
use std::time::Duration;

type Machine = Replica<MemoryDisk, Tables<MemoryStore>>;

const START: u64 = 1_767_225_600_000_000;

struct Region {
    name: RegionName,
    disk: MemoryDisk,
    store: MemoryStore,
    clock_ahead: Duration,
    log_bytes_max: u64,
    machine: Option<Machine>,
}

fn at(elapsed: Duration) -> Now {
    Now {
        wall: Micros(START).plus(elapsed),
        elapsed,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Region {
    fn new(name: &str) -> Self {
        Self {
            name: RegionName::new(name),
            disk: MemoryDisk::new(),
            store: MemoryStore::default(),
            clock_ahead: Duration::ZERO,
            log_bytes_max: 1 << 30,
            machine: None,
        }
    }

    fn now(&self, elapsed: Duration) -> Now {
        Now {
            wall: at(elapsed + self.clock_ahead).wall,
            elapsed,
        }
    }

    fn start(&mut self, origin: u64) {
        let tables = Tables::open(self.store.clone(), Limits::default()).expect("tables");
        let config = LogConfig {
            segment_bytes: 4096,
            tail_cache_bytes: 1024,
            prepare_ahead: false,
        };
        let log = Log::open(self.disk.clone(), config, tables.position()).expect("a log");
        let config = Config {
            region: self.name.clone(),
            regions: vec![RegionName::new("a"), RegionName::new("b")],
            log_bytes_max: self.log_bytes_max,
            log_bytes_limit: self.log_bytes_max * 2,
            drift_max: Duration::from_millis(500),
            report_interval: Duration::from_millis(500),
            settle: seconds(2),
        };
        let machine = Replica::open(config, log, tables, OriginId(origin), self.now(seconds(0)));
        self.machine = Some(machine.expect("a machine"));
    }

    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("it runs")
    }

    fn put(&mut self, elapsed: Duration, key: &str) -> Result<(), WriteError<()>> {
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

    fn peer(&mut self, elapsed: Duration) -> PeerStatus {
        let now = self.now(elapsed);
        self.machine().peers(now).remove(0)
    }
}

/// Lets `receiver` subscribe at `sender` and take all that it has.
fn stream(sender: &mut Region, receiver: &mut Region, elapsed: Duration) {
    let (sent_at, received_at) = (sender.now(elapsed), receiver.now(elapsed));
    let (from, to) = (sender.name.clone(), receiver.name.clone());
    let source = sender.machine();
    let mut outbound = Sender::new(from.clone(), source.origin(), source.reader());
    receiver.machine().connected(received_at, &from);
    let asked = receiver.machine().take_outgoing();
    for (_, message) in asked {
        let known = sender.machine().road().member(&to);
        let answer = outbound
            .subscribe(sent_at, known, message)
            .expect("a readable log");
        let Some(answer) = answer else { continue };
        if let Some(reason) = answer.lost_tail {
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

fn quarantine_reason(region: &mut Region) -> String {
    match region.peer(seconds(1)).state {
        StreamState::Quarantined { reason } => reason,
        state => panic!("not quarantined but {state:?}"),
    }
}

fn two() -> (Region, Region) {
    let (mut a, mut b) = (Region::new("a"), Region::new("b"));
    a.start(1);
    b.start(2);
    (a, b)
}

#[test]
fn a_peer_whose_clock_is_too_far_ahead_is_reported() {
    let (mut a, mut b) = two();
    a.clock_ahead = Duration::from_millis(400);
    a.put(seconds(1), "x").expect("a write");
    stream(&mut a, &mut b, seconds(1));
    assert!(!b.peer(seconds(1)).drifts);
    a.clock_ahead = seconds(3);
    a.put(seconds(2), "x").expect("a write");
    stream(&mut a, &mut b, seconds(2));
    let peer = b.peer(seconds(2));
    assert!(peer.drifts, "{peer:?}");
    assert_eq!(peer.clock_ahead, seconds(3));
    stream(&mut b, &mut a, seconds(2));
    assert!(
        !a.peer(seconds(2)).drifts,
        "b's clock is behind, which moves nobody"
    );
}

#[test]
fn a_fork_is_quarantined_on_both_sides() {
    let (mut a, mut b) = two();
    a.put(seconds(1), "x").expect("a write");
    stream(&mut a, &mut b, seconds(1));
    // The same incarnation writes another history: a copy of the directory that went its own way.
    let mut twin = Region::new("a");
    twin.start(1);
    twin.put(seconds(2), "other").expect("a write");
    twin.put(seconds(2), "longer").expect("a write");
    stream(&mut twin, &mut b, seconds(3));
    assert!(
        quarantine_reason(&mut b).contains("history of origin"),
        "{:?}",
        b.peer(seconds(3))
    );
    stream(&mut b, &mut twin, seconds(3));
    assert!(quarantine_reason(&mut twin).contains("history of origin"));
}

#[test]
fn a_replaced_directory_is_an_incarnation_that_the_peer_refuses() {
    let (mut a, mut b) = two();
    stream(&mut a, &mut b, seconds(1));
    let mut replaced = Region::new("a");
    replaced.start(77);
    stream(&mut replaced, &mut b, seconds(2));
    assert!(quarantine_reason(&mut b).contains("data directory was replaced"));
    stream(&mut b, &mut replaced, seconds(2));
    assert!(quarantine_reason(&mut replaced).contains("data directory was replaced"));
    let refused = replaced.put(seconds(3), "x");
    assert!(
        matches!(refused, Err(WriteError::Stopped { .. })),
        "it would reach nobody: {refused:?}"
    );
}

#[test]
fn a_region_that_lost_its_tail_stops_taking_writes_when_a_peer_knows_better() {
    let (mut a, mut b) = two();
    a.put(seconds(1), "x").expect("a write");
    let (disk, store) = (a.disk.copy(), MemoryStore::default());
    a.put(seconds(1), "y").expect("a write");
    stream(&mut a, &mut b, seconds(1));
    a.machine = None;
    a.disk = disk;
    a.store = store;
    a.start(99);
    let now = a.now(seconds(0));
    assert!(
        !a.machine().is_settled(now),
        "it waits for the peer's word first"
    );
    stream(&mut b, &mut a, seconds(1));
    let refused = a.put(seconds(1), "z");
    assert!(
        matches!(refused, Err(WriteError::Stopped { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_restarted_region_waits_for_its_peers_but_not_for_ever() {
    let (mut a, _) = two();
    a.put(seconds(0), "x").expect("a write");
    a.machine = None;
    a.start(99);
    let early = a.now(Duration::from_millis(1_900));
    assert!(!a.machine().is_settled(early));
    let late = a.now(seconds(2));
    assert!(a.machine().is_settled(late));
    a.machine = None;
    a.start(99);
    let (peer, now) = (RegionName::new("b"), a.now(seconds(0)));
    a.machine().disconnected(now, &peer, "refused".into());
    assert!(
        a.machine().is_settled(now),
        "a peer that is away has no word to give"
    );
}

#[test]
fn a_full_budget_refuses_writes_and_takes_peers_entries() {
    let mut a = Region::new("a");
    a.log_bytes_max = 20 << 10;
    a.start(1);
    let mut b = Region::new("b");
    b.start(2);
    stream(&mut b, &mut a, seconds(0));
    let refused = (0..2_000).find_map(|step| a.put(seconds(1), &format!("k{step}")).err());
    assert!(
        matches!(refused, Some(WriteError::LogBudget { .. })),
        "{refused:?}"
    );
    b.put(seconds(2), "from-b").expect("a write");
    stream(&mut b, &mut a, seconds(2));
    let row = a
        .machine()
        .engine()
        .reader()
        .get("t", "from-b")
        .expect("tables");
    assert!(row.is_some(), "the reserve has room for it");
    // The peer catches up and reports; then there is room again.
    stream(&mut a, &mut b, seconds(3));
    let now = b.now(seconds(4));
    b.machine().tick(now).expect("a tick");
    b.machine().flush(now).expect("a commit");
    stream(&mut b, &mut a, seconds(5));
    let now = a.now(seconds(6));
    a.machine().tick(now).expect("a tick");
    a.put(seconds(6), "again").expect("there is room again");
}
