//! The API's connections: TLS, HTTP/2, how many at once, and how they are cut off.

use crate::support::Region;
use meridian_node::api::{ServeLimits, serve_within};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Whatever takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const LIVE: &[u8] = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
const PUT: &[u8] = b"PUT /v1/tables/t/rows/k HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\
    expect: 100-continue\r\n\r\n";

struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    _region: Region,
}

impl Served {
    async fn start(limits: ServeLimits, tls: Option<ServerConfig>) -> Self {
        let region = Region::start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let tls = tls.map(Arc::new);
        let serving = serve_within(limits, listener, region.router.clone(), tls, stopped);
        let task = tokio::spawn(serving);
        Self {
            address,
            stop,
            task,
            _region: region,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// One short deadline, the others beyond a test's patience.
fn limits() -> ServeLimits {
    ServeLimits {
        handshake_timeout: PATIENCE * 2,
        header_timeout: PATIENCE * 2,
        drain_timeout: PATIENCE * 2,
        ..ServeLimits::default()
    }
}

const SHORT: Duration = Duration::from_millis(200);

/// Reads a reply's head.
async fn reply(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = timeout(PATIENCE, stream.read_buf(&mut text))
            .await
            .expect("a reply")
            .unwrap();
        assert_ne!(
            read,
            0,
            "the connection ended after {:?}",
            String::from_utf8_lossy(&text)
        );
    }
    String::from_utf8(text).unwrap()
}

/// Waits until the server has closed the connection. A reset is an end too.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut left = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut left))
        .await
        .expect("an end");
    left
}

#[tokio::test]
async fn a_later_header_that_comes_byte_by_byte_is_cut_off() {
    let served = Served::start(
        ServeLimits {
            header_timeout: SHORT,
            ..limits()
        },
        None,
    )
    .await;
    let mut stream = served.connect().await;
    // With a first request there, it is the header that has a deadline and not the connection.
    stream.write_all(LIVE).await.unwrap();
    assert!(reply(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let (mut from, mut to) = stream.split();
    let trickle = async {
        let mut pace = tokio::time::interval(SHORT / 10);
        to.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
        while to.write_all(b"x").await.is_ok() {
            pace.tick().await;
        }
    };
    tokio::select! {
        _ = ended(&mut from) => {}
        () = trickle => {}
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let served = Served::start(limits(), None).await;
    let mut stream = served.connect().await;
    for _ in 0..3 {
        stream.write_all(LIVE).await.unwrap();
        assert!(reply(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let served = Served::start(limits(), None).await;
    let io = hyper_util::rt::TokioIo::new(served.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    for (method, status) in [("PUT", 201), ("GET", 200)] {
        let request = hyper::Request::builder().method(method);
        let request = request.uri("http://region/v1/tables/t/rows/a%2Fb%00");
        let sent = sender.send_request(request.body("[1]".to_owned()).unwrap());
        assert_eq!(sent.await.unwrap().status(), status, "{method}");
    }
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_served_at_once() {
    let served = Served::start(
        ServeLimits {
            connections_max: 1,
            ..limits()
        },
        None,
    )
    .await;
    let (mut first, mut second) = (served.connect().await, served.connect().await);
    for stream in [&mut first, &mut second] {
        stream.write_all(LIVE).await.unwrap();
    }
    reply(&mut first).await;
    let early = timeout(SHORT, second.readable()).await;
    assert!(
        early.is_err(),
        "the second was served while the first was open"
    );
    drop(first);
    reply(&mut second).await;
}

#[tokio::test]
async fn at_the_stop_idle_connections_end_and_busy_ones_finish() {
    let served = Served::start(limits(), None).await;
    let (mut idle, mut busy) = (served.connect().await, served.connect().await);
    idle.write_all(LIVE).await.unwrap();
    reply(&mut idle).await;
    busy.write_all(PUT).await.unwrap();
    assert!(
        reply(&mut busy).await.starts_with("HTTP/1.1 100 "),
        "the handler wants the body"
    );
    served.stop.send(true).unwrap();
    ended(&mut idle).await;
    busy.write_all(b"1234").await.unwrap();
    assert!(reply(&mut busy).await.starts_with("HTTP/1.1 201 "));
    timeout(PATIENCE, served.task)
        .await
        .expect("the server ends")
        .unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_stop() {
    let served = Served::start(
        ServeLimits {
            drain_timeout: SHORT,
            ..limits()
        },
        None,
    )
    .await;
    let mut stream = served.connect().await;
    stream.write_all(PUT).await.unwrap();
    reply(&mut stream).await;
    served.stop.send(true).unwrap();
    timeout(PATIENCE, served.task)
        .await
        .expect("the server ends")
        .unwrap();
    assert!(ended(&mut stream).await.is_empty());
}

#[tokio::test]
async fn nothing_but_tls_is_spoken_on_its_port() {
    let (server, connector) = tls();
    let limits = ServeLimits {
        handshake_timeout: SHORT,
        ..limits()
    };
    let served = Served::start(limits, Some(server)).await;
    // A plain request; half a record; nothing at all.
    for beginning in [LIVE, b"\x16\x03\x01\x02\x00\x01", b""] {
        let mut stream = served.connect().await;
        stream.write_all(beginning).await.unwrap();
        assert!(!ended(&mut stream).await.starts_with(b"HTTP/"));
    }
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector
        .connect(name, served.connect().await)
        .await
        .unwrap();
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
