//! What reads show while links are cut and healed and a region is killed: strong reads never show
//! less than was acknowledged or shown before, and a session that roams never sees less than it saw.

use crate::system::{Client, Reply, System};
use meridian_check::{Register, Session};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

const REGIONS: [&str; 3] = ["a", "b", "c"];
const STRONG: [(&str, &str); 2] = [
    ("Meridian-Consistency", "strong"),
    ("Meridian-Timeout", "1s"),
];

/// A row that one client writes and many read.
struct Shared(Mutex<Register>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().expect("no panic")
    }
}

fn key(register: usize) -> String {
    format!("register-{register}")
}

/// The number that a reply shows; `None` where it is no answer.
fn number(reply: &Reply) -> Option<u64> {
    match reply.status {
        200 => Some(reply.body.parse().expect("a number")),
        404 => Some(0),
        _ => None,
    }
}

/// Writes one register through one region.
fn write(client: &Client, register: usize, shared: &Shared, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let next = shared.lock().send();
        let reply = client.put(&key(register), &next.to_string());
        match reply {
            Ok(reply) if matches!(reply.status, 200 | 201) => shared.lock().acknowledged(next),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Reads all registers in one region; counts what it was shown.
fn read(client: &Client, region: &str, shared: &[Shared], stop: &AtomicBool, shown: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        for (register, shared) in shared.iter().enumerate() {
            let reading = shared.lock().begin();
            let reply = client.row_with(&key(register), &STRONG);
            let Some(found) = reply.ok().as_ref().and_then(number) else {
                continue;
            };
            let ended = shared.lock().end(region, reading, found);
            ended.unwrap_or_else(|violation| panic!("register {register}: {violation}"));
            shown.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Cuts and heals links and kills a region, for some seconds.
fn disturb(system: &mut System, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for step in 0..12 {
        std::thread::sleep(Duration::from_millis(random.u64(100..350)));
        let (one, other) = (random.usize(0..3), random.usize(0..3));
        match step % 3 {
            0 if one != other => system.cut(one, other),
            1 if one != other => system.part(one, other),
            _ => system.heal(),
        }
        if step == 7 {
            system.kill(one);
            std::thread::sleep(Duration::from_millis(100));
            system.start_region(one);
        }
    }
    system.heal();
}

fn strong_reads_hold(dataset: &str, seed: u64) {
    let mut system = System::start(&REGIONS, dataset);
    let registers: Vec<Shared> = REGIONS.iter().map(|_| Shared(Mutex::default())).collect();
    let (stop, shown) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients: Vec<Client> = (0..3).map(|region| system.client(region)).collect();
    std::thread::scope(|scope| {
        let mut tasks = Vec::new();
        for (region, client) in clients.iter().enumerate() {
            let (registers, stop, shown) = (&registers, &stop, &shown);
            tasks.push(scope.spawn(move || write(client, region, &registers[region], stop)));
            for _ in 0..2 {
                tasks.push(scope.spawn(move || {
                    read(client, REGIONS[region], registers, stop, shown);
                }));
            }
        }
        disturb(&mut system, seed);
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.join().expect("no violation");
        }
    });
    let shown = shown.into_inner();
    assert!(shown > 100, "only {shown} strong reads were answered");
}

#[test]
fn strong_reads_hold_where_each_region_acknowledges_alone() {
    strong_reads_hold("acknowledgement = \"local\"\n", 1);
}

#[test]
fn strong_reads_hold_with_one_remote() {
    strong_reads_hold(
        "acknowledgement = \"one-remote\"\nacknowledgement-timeout = \"300ms\"\n",
        2,
    );
}

#[test]
fn strong_reads_hold_with_a_majority() {
    strong_reads_hold(
        "acknowledgement = \"majority\"\nacknowledgement-timeout = \"300ms\"\n",
        3,
    );
}

#[test]
fn strong_reads_hold_where_a_home_takes_all_writes() {
    strong_reads_hold("writes = \"home\"\nhome = \"a\"\n", 5);
}

#[test]
fn a_strong_read_that_hears_too_little_says_so() {
    let system = System::start(&REGIONS, "acknowledgement = \"one-remote\"\n");
    system.until("a write is confirmed", || {
        system.put(0, "row", "1").status < 202
    });
    let strong = |region: usize| system.client(region).row_with("row", &STRONG);
    assert_eq!(strong(2).expect("an answer").body, "1");
    // One of two others is enough.
    system.part(2, 0);
    system.until("b alone tells c enough", || {
        strong(2).is_ok_and(|it| it.status == 200)
    });
    system.part(2, 1);
    system.until("c hears nobody", || {
        strong(2).is_ok_and(|it| it.status == 503)
    });
    let refused = strong(2).expect("an answer");
    let problem = refused.json();
    assert_eq!(problem["type"], "/problems/strong-read-unavailable");
    assert!(problem["hint"].is_string(), "{problem}");
    let eventual = [("Meridian-Consistency", "eventual")];
    let local = system.client(2).row_with("row", &eventual);
    assert_eq!(local.expect("an answer").body, "1", "local reads go on");
    system.heal();
    system.until("c hears again", || {
        strong(2).is_ok_and(|it| it.status == 200)
    });
}

/// A client that goes from region to region with its token: writes a row of its own, and reads it
/// and others'.
fn roam(clients: &[Client], name: usize, stop: &AtomicBool) -> usize {
    let mut random = fastrand::Rng::with_seed(name as u64);
    let (mut session, mut token) = (Session::default(), String::new());
    let (mut generation, mut next, mut shown) = (0, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let region = random.usize(0..clients.len());
        let mut headers = vec![("Meridian-Timeout", "500ms")];
        if !token.is_empty() {
            headers.push(("Meridian-Session", token.as_str()));
        }
        let own = format!("client-{name}-{generation}");
        let reply = if random.u32(0..3) == 0 {
            next += 1;
            let reply = clients[region].put_with(&own, &headers, &next.to_string());
            match reply {
                Ok(reply) if matches!(reply.status, 200 | 201) => {
                    session.wrote(&own, next);
                    reply
                }
                // What became of it is unknown: the row may change behind this client's back.
                _ => {
                    generation += 1;
                    next = 0;
                    continue;
                }
            }
        } else {
            let of = random.usize(0..4);
            let key = if of == name {
                own
            } else {
                format!("client-{of}-0")
            };
            let Ok(reply) = clients[region].row_with(&key, &headers) else {
                continue;
            };
            let Some(found) = number(&reply) else {
                continue;
            };
            let read = session.read(REGIONS[region], &key, found, &[]);
            read.unwrap_or_else(|violation| panic!("client {name}: {violation}"));
            shown += 1;
            reply
        };
        token = reply.session.expect("every reply has a token");
    }
    shown
}

#[test]
fn a_session_that_roams_never_sees_less_than_it_saw() {
    let mut system = System::start(&REGIONS, "");
    let stop = AtomicBool::new(false);
    let clients: Vec<Client> = (0..3).map(|region| system.client(region)).collect();
    let shown: usize = std::thread::scope(|scope| {
        let roamers: Vec<_> = (0..4)
            .map(|name| {
                let (clients, stop) = (&clients, &stop);
                scope.spawn(move || roam(clients, name, stop))
            })
            .collect();
        disturb(&mut system, 4);
        stop.store(true, Ordering::Relaxed);
        let joined = roamers.into_iter().map(|roamer| roamer.join());
        joined.map(|shown| shown.expect("no violation")).sum()
    });
    assert!(shown > 100, "only {shown} reads were answered");
}
