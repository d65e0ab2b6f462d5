//! A flood of connections to one region's name server: the region's other work goes on, so nobody takes
//! it for dead, and datagrams are answered as before.

use super::PATIENCE;
use super::ask::{A, ask, question};
use super::support::eventually;
use super::system::{System, http};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const TOPOLOGY: &str = r#"
zone = "meridian.test"
[[region]]
name = "us-east-1"
[[region]]
name = "eu-west-1"
[[region]]
name = "ap-northeast-1"
[[dataset]]
name = "main"
engine = "embedded"
strategy = "last-writer-wins"
[dns]
dnssec-key-file = "secrets/zone.key"
[dns.records]
"*.a" = "CNAME x.b"
"*.b" = "CNAME x.c"
"*.c" = "CNAME x.d"
"*.d" = "CNAME x.e"
"*.e" = "CNAME x.f"
"*.f" = "CNAME x.g"
"*.g" = "TXT \"the end\""
"#;
const NAME: &str = "app.global.meridian.test";
const FLOODED: &str = "us-east-1";

/// Connections that ask without pause; with the slow ones as many as one address may have, and more.
const BUSY: usize = 40;
/// Connections that are opened and then say or read too little.
const SLOW: usize = 300;
/// Questions that a connection sends at once, so that the server never waits for one.
const AT_ONCE: usize = 400;
/// Probes of the flooded region that are waited for. Three without an answer would make it unhealthy.
const PROBES: usize = 6;

/// A question over a connection whose answer takes eight signatures, made for it alone: names that are
/// made by wildcards, one after the other, of which the last lacks the type.
fn dear_question(number: usize) -> Vec<u8> {
    let mut octets = question(&format!("name-{number}.a.meridian.test"), A, None);
    // The OPT record's flags: signatures are wanted.
    let flags = octets.len() - 4;
    octets[flags] |= 0x80;
    let length = u16::try_from(octets.len()).unwrap();
    [&length.to_be_bytes()[..], &octets].concat()
}

fn connect(server: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, Duration::from_secs(1)).ok()?;
    let limit = Some(Duration::from_secs(1));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    Some(stream)
}

/// Clients that mean no good, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn begin(server: SocketAddr) -> Self {
        let mut flood = Self {
            stop: Arc::default(),
            answers: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..BUSY {
            let (stop, answers) = (flood.stop.clone(), flood.answers.clone());
            let busy = move || {
                while !stop.load(Ordering::Relaxed) {
                    // A connection that is lost is followed by another.
                    let _ = connect(server).map(|stream| ask_on(stream, number, &stop, &answers));
                    thread::sleep(Duration::from_millis(5));
                }
            };
            flood.threads.push(thread::spawn(busy));
        }
        let stop = flood.stop.clone();
        let slow = thread::spawn(move || open_slowly(server, &stop));
        flood.threads.push(slow);
        flood
    }

    /// Signed answers that were taken so far.
    fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Asks without pause.
fn ask_on(
    stream: TcpStream,
    number: usize,
    stop: &AtomicBool,
    answers: &AtomicU64,
) -> std::io::Result<()> {
    let questions = dear_question(number).repeat(AT_ONCE);
    let mut answer = Vec::new();
    let mut received = BufReader::with_capacity(1 << 16, &stream);
    loop {
        (&stream).write_all(&questions)?;
        for _ in 0..AT_ONCE {
            let mut length = [0; 2];
            received.read_exact(&mut length)?;
            answer.resize(usize::from(u16::from_be_bytes(length)), 0);
            received.read_exact(&mut answer)?;
            answers.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }
}

/// Opens connections, each of which then sends nothing, a part of a question, or questions whose
/// answers it doesn't read; and holds them, whether the server still does or not.
fn open_slowly(server: SocketAddr, stop: &AtomicBool) {
    let mut held = Vec::new();
    for number in 0..SLOW {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(mut stream) = connect(server) else {
            continue;
        };
        let questions = dear_question(number).repeat(AT_ONCE);
        let sent = match number % 3 {
            0 => 0,
            1 => 1 + number % 30,
            _ => questions.len(),
        };
        let _ = stream.write_all(&questions[..sent]);
        held.push(stream);
        thread::sleep(Duration::from_millis(5));
    }
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a region says of the health of all.
fn health(api: SocketAddr) -> Value {
    let (status, body) = http(api, "GET", "/v1/health").expect("the API answers");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The verdict about the flooded region's API.
fn verdict(health: &Value) -> &str {
    let regions = health["regions"].as_array().unwrap();
    let region = regions.iter().find(|region| region["region"] == FLOODED);
    let services = region.unwrap()["services"].as_array().unwrap();
    let api = services.iter().find(|service| service["service"] == "api");
    api.map_or("unknown", |api| api["verdict"].as_str().unwrap())
}

/// How many times the flooded region's API was found dead.
fn falls(health: &Value) -> usize {
    let changes = health["history"].as_array().unwrap().iter();
    let fell = changes.filter(|change| {
        change["region"] == FLOODED && change["service"] == "api" && change["to"] == "unhealthy"
    });
    fell.count()
}

/// When the flooded region's API was probed last.
fn last_probe(health: &Value) -> Option<String> {
    let records = health["records"].as_array().unwrap();
    let id = format!("/{FLOODED}/api");
    let of_api = |record: &&Value| {
        record["healthCheckId"]
            .as_str()
            .is_some_and(|it| it.ends_with(&id))
    };
    let record = records.iter().find(of_api)?;
    record["lastChecked"].as_str().map(str::to_owned)
}

/// What a process's threads have taken of the processor since it began, in ticks: the thread of streams,
/// and all others.
fn processor_time(process: i32) -> (u64, u64) {
    let (mut streams, mut others) = (0, 0);
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        // One that has ended meanwhile has no file any more.
        let Ok(stat) = std::fs::read_to_string(thread.unwrap().path().join("stat")) else {
            continue;
        };
        let (name, fields) = stat.rsplit_once(") ").unwrap();
        // proc_pid_stat(5): utime and stime are the 14th and 15th field, of which two stand before.
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks: u64 = fields[11..=12]
            .iter()
            .map(|field| field.parse::<u64>().unwrap())
            .sum();
        match name.ends_with("(dns-streams") {
            true => streams += ticks,
            false => others += ticks,
        }
    }
    (streams, others)
}

#[test]
fn connections_by_the_hundred_keep_a_region_from_nothing() {
    let system = System::start_signed(28_400, TOPOLOGY);
    let server = system.dns(0);
    let observers = [system.api(1), system.api(2)];
    for observer in observers {
        eventually("the API is found healthy", PATIENCE, || {
            (verdict(&health(observer)) == "healthy").then_some(())
        });
    }

    // A region that began before the others may have found them dead at first.
    let all = [system.api(0), observers[0], observers[1]];
    let falls_before = all.map(|api| falls(&health(api)));
    let process = system.process(FLOODED);
    let before = processor_time(process);
    let flood = Flood::begin(server);
    let mut probes = [BTreeSet::new(), BTreeSet::new()];
    let mut datagrams = 0;
    let until = Instant::now() + PATIENCE;
    while probes.iter().any(|seen| seen.len() < PROBES) {
        assert!(Instant::now() < until, "not probed any more: {probes:?}");
        assert_eq!(ask(server, NAME, A, None).count, 1);
        datagrams += 1;
        for (observer, seen) in observers.into_iter().zip(&mut probes) {
            let health = health(observer);
            // Slow it may be where the machine is.
            assert!(
                matches!(verdict(&health), "healthy" | "degraded"),
                "{health:#}"
            );
            seen.extend(last_probe(&health));
        }
        thread::sleep(Duration::from_millis(20));
    }
    // Its own API answers too, and nobody ever thought otherwise.
    assert_eq!(all.map(|api| falls(&health(api))), falls_before);
    // Its work was one thread's, and none of those that have the region's other work.
    let after = processor_time(process);
    let (streams, others) = (after.0 - before.0, after.1 - before.1);
    assert!(
        streams > others,
        "ticks: {streams} of streams, {others} of others"
    );
    // It was a flood.
    let signed = flood.answers();
    drop(flood);
    assert!(signed > 500, "{signed} signed answers");
    assert!(datagrams > PROBES, "{datagrams} datagrams");
}
