//! What the tests share: the binary, and a tiny HTTP server to stand in for a region.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod disk;
pub mod local;
pub mod region;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The binary, in a directory.
pub fn meridian(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command.current_dir(directory).env_remove("MERIDIAN_LOG");
    command
}

/// Stdout and stderr as text.
pub fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .concat()
}

/// Waits until something is so; panics with `what` if it isn't in time.
pub fn eventually<T>(what: &str, patience: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < until, "not in {patience:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The first of 40 ports that nobody had a moment ago, from `from` on: below those that the system
/// gives to outgoing connections, which could take one at any moment. Tests of one process begin at
/// different places, as they may run at once.
pub fn free_base(from: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const BLOCK: u16 = 40;
    const BLOCKS: u16 = 50;
    assert!(from <= 32_000 - BLOCK * BLOCKS, "{from} is too high");
    let first = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut bases = (0..BLOCKS).map(|block| from + (first + block) % BLOCKS * BLOCK);
    let is_free =
        |base: &u16| (0..BLOCK).all(|port| TcpListener::bind(("127.0.0.1", base + port)).is_ok());
    bases.find(is_free).expect("some ports are free")
}

/// A request as the server read it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

/// What the server replies: status, more header lines, body.
pub type Reply = (u16, Vec<String>, String);

/// A server that lives as long as the test's process.
pub struct Server {
    pub address: SocketAddr,
}

impl Server {
    /// Starts a server that replies what `handle` says; none closes the connection.
    pub fn start(handle: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, handle)
    }

    /// The same on a socket that listens already.
    pub fn on(
        listener: TcpListener,
        handle: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let handle = Arc::new(handle);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let handle = Arc::clone(&handle);
                thread::spawn(move || converse(stream.unwrap(), connection, &*handle));
            }
        });
        Self { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn converse(stream: TcpStream, connection: usize, handle: &dyn Fn(&Request) -> Option<Reply>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read(&mut reader, connection) {
        let Some((status, headers, body)) = handle(&request) else {
            return;
        };
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let reply =
            format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        let reply = if status == 204 {
            format!("HTTP/1.1 204 x\r\n{headers}\r\n")
        } else {
            reply
        };
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead, connection: usize) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
        connection,
    })
}
