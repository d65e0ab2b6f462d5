//! Connections that say nothing, too little, too slowly or something else, at the API and at the
//! link port.

use super::raw::{Answer, Words, hear, say};
use crate::system::System;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Of each region: connections that say nothing at all, and that never end their header.
const IDLE: usize = 100;
const SLOW: usize = 40;
/// And at the link port, which has room for fewer unknown diallers.
const HALF_OPEN: usize = 100;
/// How often a slow one says a byte more: often enough that no pause between two bytes gives it
/// away.
const DRIP: Duration = Duration::from_millis(400);

/// Connections that hold on for as long as they are let.
pub struct Holding {
    idle: Vec<TcpStream>,
    half_open: Vec<TcpStream>,
    /// A request at region a whose body never ends.
    body: TcpStream,
    dripping: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).expect("a connection")
}

impl Holding {
    pub fn start(system: &System) -> Self {
        let (mut idle, mut half_open) = (Vec::new(), Vec::new());
        let mut headers = Vec::new();
        for region in 0..3 {
            idle.extend((0..IDLE).map(|_| connect(system.api(region))));
            half_open.extend((0..HALF_OPEN).map(|_| connect(system.link(region))));
            headers.extend((0..SLOW).map(|_| endless_header(system.api(region))));
        }
        let body = endless_body(system.api(0));
        let copy = body.try_clone().expect("a descriptor");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        Self {
            idle,
            half_open,
            body,
            dripping: std::thread::spawn(move || drip(headers, copy, &stopped)),
            stop,
        }
    }

    /// Those that never made a request are let go, by now or soon.
    pub fn end_idle(&mut self) {
        self.idle.drain(..).for_each(ended);
        self.half_open.drain(..).for_each(ended);
    }

    /// And those that were too slow over one, with an answer where they had begun it.
    pub fn end(mut self) {
        hear(&mut self.body).problem("a body without end", 408, "body-timeout");
        self.stop.store(true, Ordering::Relaxed);
        self.dripping.join().expect("slow headers are let go");
    }
}

fn endless_header(api: SocketAddr) -> TcpStream {
    let mut stream = connect(api);
    let begun = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: region\r\nX: ");
    begun.expect("room for a line");
    stream
}

fn endless_body(api: SocketAddr) -> TcpStream {
    let mut stream = connect(api);
    let words = Words::new("PUT", "/v1/tables/rows/rows/bad").body(vec![b' '; 900]);
    let words = words.bytes();
    let begun = stream.write_all(&words[..words.len() - 900]);
    begun.expect("room for a header");
    stream
}

/// Waits until the region has closed a connection that never had a request. A reset is an end too.
fn ended(mut stream: TcpStream) {
    let patience = stream.set_read_timeout(Some(Duration::from_secs(20)));
    patience.expect("a stream takes a deadline");
    let mut left = Vec::new();
    if let Err(error) = stream.read_to_end(&mut left) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "held on to");
    }
}

/// Says a byte more now and then: of headers until they are let go, of the body until the end.
fn drip(mut headers: Vec<TcpStream>, mut body: TcpStream, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        headers.retain_mut(|stream| stream.write_all(b"x").is_ok());
        let _ = body.write_all(b" ");
        std::thread::sleep(DRIP);
    }
    assert!(headers.is_empty(), "{} are held on to", headers.len());
}

/// What is no HTTP, or only half of a request.
pub fn throw_at_apis(system: &System) {
    for region in 0..3 {
        let api = system.api(region);
        for words in [
            &b"\x16\x03\x01\x00\x05hello\r\n\r\n"[..],
            b"HELLO\r\n\r\n",
            b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"PUT /v1/tables/rows/rows/bad HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n1",
            b"PUT /v1/tables/rows/rows/bad HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\
              Content-Length: 2\r\n\r\n12",
            b"PUT /v1/tables/rows/rows/bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
              \r\nzz\r\n1\r\n0\r\n\r\n",
        ] {
            let answer = say(api, words);
            let said = String::from_utf8_lossy(words);
            let is_refused = matches!(answer.status, 400 | 401 | 505);
            assert!(is_refused, "{said:?}: {answer:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
        assert_eq!(say(api, long.as_bytes()).status, 414);
        let many = "x: y\r\n".repeat(200);
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
        assert_eq!(say(api, many.as_bytes()).status, 431);
        cut_off(api).problem("half a body", 400, "broken-body");
    }
}

/// A body of which only a part comes before the client says that it is done.
fn cut_off(api: SocketAddr) -> Answer {
    let words = Words::new("PUT", "/v1/tables/rows/rows/bad").body("[1,2,3,4,5,6]");
    let words = words.bytes();
    let mut stream = connect(api);
    let sent = stream.write_all(&words[..words.len() - 5]);
    sent.expect("room for a request");
    stream.shutdown(Shutdown::Write).expect("half an end");
    hear(&mut stream)
}

/// Large bodies that all but arrive, more of them than a region has room for: those beyond it are
/// refused at once, and writes of a usual size go on: the load is to notice nothing.
pub fn hoard(system: &System) {
    const HOARDERS: usize = 24;
    const BODY_BYTES: usize = 8 << 20;
    let words = Words::new("POST", "/v1/transactions").body(vec![b' '; BODY_BYTES]);
    let mut words = words.bytes();
    words.pop();
    let hoarders: Vec<_> = (0..HOARDERS)
        .map(|_| {
            let mut stream = connect(system.api(1));
            stream.write_all(&words).expect("it is taken off");
            stream
        })
        .collect();
    let (mut refused, mut held) = (0, 0);
    for mut stream in hoarders {
        let at_once = stream.set_read_timeout(Some(Duration::from_millis(100)));
        at_once.expect("a stream takes a deadline");
        if stream.peek(&mut [0]).is_ok() {
            let _ = stream.write_all(b" ");
            let answer = hear(&mut stream);
            answer.problem("a hoarder", 503, "too-busy");
            assert!(answer.head.contains("retry-after: "), "{answer:?}");
            refused += 1;
        } else {
            held += 1;
        }
    }
    assert!(refused > 0, "all {held} were taken");
    assert!(held > 8, "only {held} were taken");
}

/// What is no region's hello.
pub fn throw_at_links(system: &System) {
    let mut random = fastrand::Rng::with_seed(3);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(4096)
        .collect();
    for region in 0..3 {
        for words in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            noise.clone(),
            vec![0; 100_000],
            // The beginning of a TLS handshake, and no more.
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ] {
            let mut stream = connect(system.link(region));
            let _ = stream.write_all(&words);
            let _ = stream.shutdown(Shutdown::Write);
            ended(stream);
        }
        for reason in ["not_meridian", "too_many"] {
            system.until(&format!("{reason} is counted"), || {
                turned_away(system, region, reason) > 0
            });
        }
    }
}

/// How many diallers a region has turned away for a reason.
pub fn turned_away(system: &System, region: usize, reason: &str) -> u64 {
    let status = system.get(region, "/v1/status").json();
    let counts = &status["rejected_diallers"]["counts"];
    counts[reason].as_u64().unwrap_or_default()
}
