//! Regions for tests: HTTP servers that reply as they are told.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;

/// The URL of one. It replies to one request after another, with the status and the body that `reply`
/// gives.
pub fn region(mut reply: impl FnMut() -> (u16, Value) + Send + 'static) -> String {
    answering(move |_| reply())
}

/// The same, where the reply goes by the request's method and path: `GET /livez`.
pub fn answering(mut reply: impl FnMut(&str) -> (u16, Value) + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = take_request(&stream);
            let (status, body) = reply(&request);
            let body = body.to_string();
            let head = format!("Content-Length: {}\r\nConnection: close", body.len());
            // Whoever asked may have given up.
            let _ = write!(stream, "HTTP/1.1 {status} -\r\n{head}\r\n\r\n{body}");
        }
    });
    url
}

/// The URLs of some that reply so, none before all are asked.
pub fn regions_asked_at_once<const COUNT: usize>(bodies: [Value; COUNT]) -> Vec<String> {
    let all_asked = Arc::new(Barrier::new(COUNT));
    let regions = bodies.map(|body| {
        let all_asked = Arc::clone(&all_asked);
        region(move || {
            all_asked.wait();
            (200, body.clone())
        })
    });
    regions.into()
}

/// Reads a request to its end, since one that is left unread resets the connection: its method and path.
fn take_request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream);
    let mut request = String::new();
    lines.read_line(&mut request).unwrap();
    let (request, _) = request.rsplit_once(' ').unwrap();
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(length) = line.strip_prefix("content-length:") {
            body_bytes = length.trim().parse().unwrap();
        }
    }
    lines.read_exact(&mut vec![0; body_bytes]).unwrap();
    request.to_owned()
}
