//! Clients that misbehave on a real socket, and servers that stop.

use crate::world::{Served, World, short};
use meridian_node::api::ServeLimits;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A test that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const LIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

async fn connect(served: &Served) -> TcpStream {
    TcpStream::connect(served.address).await.unwrap()
}

/// Reads a reply's head and the beginning of its body.
async fn reply(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = timeout(PATIENCE, stream.read_buf(&mut text)).await.expect("a reply").unwrap();
        assert_ne!(read, 0, "the connection ended after {:?}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

/// Waits until the server has closed the connection. A reset is an end too.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut left = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut left)).await.expect("an end");
    left
}

#[tokio::test]
async fn connections_that_bring_no_request_are_closed() {
    let served = World::new().serve(short(), None).await;
    let beginnings = ["", "P", "PRI * HTTP/2.0\r\n", "GET /livez HT", "GET /livez HTTP/1.1\r\nhost: a\r\n"];
    for beginning in beginnings {
        let mut stream = connect(&served).await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let left = ended(&mut stream).await;
        assert!(!left.starts_with(b"HTTP/1.1 200"), "{beginning:?}");
    }
}

#[tokio::test]
async fn a_header_that_comes_byte_by_byte_is_cut_off() {
    let served = World::new().serve(short(), None).await;
    let mut stream = connect(&served).await;
    let started = Instant::now();
    let (mut from, mut to) = stream.split();
    let trickle = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        to.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
        while to.write_all(b"x").await.is_ok() {
            pace.tick().await;
        }
    };
    tokio::select! {
        _ = ended(&mut from) => {}
        () = trickle => {}
    }
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let served = World::new().serve(short(), None).await;
    let mut stream = connect(&served).await;
    for _ in 0..3 {
        stream.write_all(LIVE).await.unwrap();
        assert!(reply(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let served = World::new().serve(ServeLimits::default(), None).await;
    let io = hyper_util::rt::TokioIo::new(connect(&served).await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = |method, path| {
        let uri = format!("http://region{path}");
        hyper::Request::builder().method(method).uri(uri).body("[1]".to_owned()).unwrap()
    };
    let path = "/v1/tables/t/rows/a%2Fb%00";
    assert_eq!(sender.send_request(request("PUT", path)).await.unwrap().status(), 201);
    assert_eq!(sender.send_request(request("GET", path)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_of_20_mb_is_refused_before_it_is_sent() {
    let served = World::new().serve(ServeLimits::default(), None).await;
    let mut stream = connect(&served).await;
    let head = "PUT /v1/tables/t/rows/k HTTP/1.1\r\nhost: a\r\ncontent-length: 20000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(reply(&mut stream).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_client_that_sends_20_mb_before_it_reads_sees_why_not() {
    let served = World::new().serve(ServeLimits::default(), None).await;
    for framing in ["content-length: 20000000", "transfer-encoding: chunked"] {
        let mut stream = connect(&served).await;
        let head = format!("PUT /v1/tables/t/rows/k HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = vec![b'1'; 1_000_000];
        for _ in 0..20 {
            if framing.ends_with("chunked") {
                stream.write_all(b"f4240\r\n").await.unwrap();
                stream.write_all(&chunk).await.unwrap();
                stream.write_all(b"\r\n").await.unwrap();
            } else {
                stream.write_all(&chunk).await.unwrap();
            }
        }
        assert!(reply(&mut stream).await.starts_with("HTTP/1.1 413 "), "{framing}");
    }
}

#[tokio::test]
async fn as_many_connections_as_allowed_are_served_at_once() {
    let limits = ServeLimits { connections_max: 1, ..ServeLimits::default() };
    let served = World::new().serve(limits, None).await;
    let (mut first, mut second) = (connect(&served).await, connect(&served).await);
    for stream in [&mut first, &mut second] {
        stream.write_all(LIVE).await.unwrap();
    }
    reply(&mut first).await;
    let early = timeout(Duration::from_millis(100), second.readable()).await;
    assert!(early.is_err(), "the second was served while the first was open");
    drop(first);
    reply(&mut second).await;
}

#[tokio::test]
async fn a_request_under_way_is_finished_at_the_stop() {
    let limits = ServeLimits { drain_timeout: PATIENCE, ..short() };
    let served = World::new().serve(limits, None).await;
    let mut idle = connect(&served).await;
    idle.write_all(LIVE).await.unwrap();
    reply(&mut idle).await;
    let mut busy = connect(&served).await;
    let head = "PUT /v1/tables/t/rows/k HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
    busy.write_all(head.as_bytes()).await.unwrap();
    assert!(reply(&mut busy).await.starts_with("HTTP/1.1 100 "), "the handler waits for the body");
    served.stop.send(true).unwrap();
    ended(&mut idle).await;
    busy.write_all(b"1234").await.unwrap();
    assert!(reply(&mut busy).await.starts_with("HTTP/1.1 201 "));
    timeout(PATIENCE, served.task).await.expect("the server ends").unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_stop() {
    let served = World::new().serve(short(), None).await;
    let mut stream = connect(&served).await;
    let head = "PUT /v1/tables/t/rows/k HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    reply(&mut stream).await;
    served.stop.send(true).unwrap();
    timeout(PATIENCE, served.task).await.expect("the server ends").unwrap();
    assert!(ended(&mut stream).await.is_empty());
}

#[tokio::test]
async fn tls_is_spoken_and_nothing_else_on_its_port() {
    let (server, connector) = tls();
    let served = World::new().serve(short(), Some(server)).await;
    // A plain request; half a record; nothing at all.
    for beginning in [LIVE, b"\x16\x03\x01\x02\x00\x01", b""] {
        let mut stream = connect(&served).await;
        stream.write_all(beginning).await.unwrap();
        assert!(!ended(&mut stream).await.starts_with(b"HTTP/"));
    }
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, connect(&served).await).await.unwrap();
    stream.write_all(LIVE).await.unwrap();
    assert!(reply(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

fn tls() -> (ServerConfig, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, TlsConnector::from(Arc::new(client)))
}
