//! The API over real connections: large bodies, slow clients, the end.

use crate::support::{Region, Setting};
use meridian_node::api::{ServeLimits, serve_within};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    _region: Region,
}

async fn serve(region: Region, limits: ServeLimits) -> Served {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let serving = serve_within(limits, listener, region.router.clone(), None, stopped);
    Served {
        address,
        stop,
        task: tokio::spawn(serving),
        _region: region,
    }
}

async fn start() -> Served {
    serve(Region::start(), ServeLimits::default()).await
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The whole conversation, until the server closes the connection.
    async fn say(&self, words: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(words).await.unwrap();
        read_to_end(&mut stream).await
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8(heard).unwrap()
}

fn put(bytes: usize, more: &str) -> Vec<u8> {
    let head = "PUT /v1/tables/t/rows/k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    format!("{head}Content-Length: {bytes}\r\n{more}\r\n").into_bytes()
}

#[tokio::test]
async fn a_request_is_answered() {
    let served = start().await;
    let heard = served.say(&[put(1, "").as_slice(), b"1"].concat()).await;
    assert!(heard.starts_with("HTTP/1.1 201 "), "{heard}");
    let heard =
        served.say(b"GET /v1/tables/t/rows/k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let heard = heard.await;
    assert!(
        heard.starts_with("HTTP/1.1 200 ") && heard.ends_with("\r\n\r\n1"),
        "{heard}"
    );
}

#[tokio::test]
async fn a_body_of_20_mb_is_refused_before_it_is_sent() {
    let served = start().await;
    for more in ["", "Expect: 100-continue\r\n"] {
        let mut stream = served.connect().await;
        stream.write_all(&put(20_000_000, more)).await.unwrap();
        let mut heard = [0; 12];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"HTTP/1.1 413");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_20_mb_before_it_reads_sees_the_reply() {
    let body = vec![b' '; 20_000_000];
    let unauthorized = Setting {
        token: Some("secret".to_owned()),
        ..Setting::default()
    };
    for (setting, expected) in [(Setting::default(), "413"), (unauthorized, "401")] {
        let served = serve(Region::with(setting), ServeLimits::default()).await;
        let heard = served
            .say(&[put(body.len(), ""), body.clone()].concat())
            .await;
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{heard}"
        );
        assert!(heard.contains("application/problem+json"), "{heard}");
    }
}

#[tokio::test]
async fn clients_that_never_finish_their_header_are_let_go() {
    let limits = ServeLimits {
        header_timeout: Duration::from_millis(200),
        ..ServeLimits::default()
    };
    let served = serve(Region::start(), limits).await;
    let began = Instant::now();
    for words in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET /livez HTTP/1.1\r\nHost: a\r\nX: ",
    ] {
        let heard = served.say(words.as_bytes()).await;
        assert!(
            heard.is_empty() || heard.starts_with("HTTP/1.1 408"),
            "{words:?}: {heard}"
        );
    }
    assert!(
        began.elapsed() >= limits.header_timeout * 4,
        "not before the deadline"
    );
}

#[tokio::test]
async fn half_open_connections_do_not_keep_others_out_for_long() {
    let limits = ServeLimits {
        connections_max: 2,
        header_timeout: Duration::from_millis(200),
        ..ServeLimits::default()
    };
    let served = serve(Region::start(), limits).await;
    let _silent = [
        served.connect().await,
        served.connect().await,
        served.connect().await,
    ];
    let heard = served
        .say(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let served = start().await;
    for words in [
        &b"\x16\x03\x01\x00\x05hello\r\n\r\n"[..],
        b"HELLO\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let heard = served.say(words).await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
    let heard = served.say(long.as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 414 "), "{heard}");
}

#[tokio::test]
async fn the_end_is_quick_and_finishes_what_is_under_way() {
    let served = start().await;
    let mut idle = served.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut heard = [0; 12];
    idle.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"HTTP/1.1 200");
    let mut busy = served.connect().await;
    // The server answers "continue" once the handler asks for the body: then it is under way.
    busy.write_all(&put(1, "Expect: 100-continue\r\n"))
        .await
        .unwrap();
    let mut interim = [0; 25];
    busy.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    served.stop.send(true).unwrap();
    busy.write_all(b"1").await.unwrap();
    let heard = read_to_end(&mut busy).await;
    assert!(heard.starts_with("HTTP/1.1 201 "), "{heard}");
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}
