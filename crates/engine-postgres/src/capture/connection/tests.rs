use super::*;
use crate::server::ServerConfig;
use tokio::net::TcpListener;

/// A server that answers everybody with these bytes, and what becomes of somebody who connects.
async fn answered(url_end: &str, answer: &'static [u8]) -> CaptureError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("authority.pem");
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&authority, certificate.cert.pem()).unwrap();
    let server = ServerConfig {
        url: format!(
            "postgresql://clerk@{}/shop{url_end}",
            listener.local_addr().unwrap()
        ),
        password: None,
        root_certificates: Some(authority),
    };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        stream.write_all(answer).await.unwrap();
    });
    let endpoint = Endpoint::of(&server).unwrap();
    match Connection::open(&endpoint).await {
        Ok(_) => panic!("it takes {answer:?} for PostgreSQL"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_is_no_server_is_told() {
    for (answer, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "protocol"),
        (b"", "closed the connection"),
        (b"R\0\0\0\x02", "protocol"),
        (b"R\x7f\xff\xff\xff\0\0\0\0", "longer than any"),
        (b"W\0\0\0\x07\0\0\0", "before authentication"),
        (b"R\0\0\0\x08\0\0\0\x07", "another proof than a password"),
        (b"R\0\0\0\x08\0\0\0\x03", "over TLS only"),
        (b"R\0\0\0\x0c\0\0\0\x0c\0\0\0\0", "out of its order"),
        (
            b"E\0\0\0\x1aSFATAL\0C57P03\0Mwait\xe9\0\0",
            "no connections now: wait",
        ),
    ] {
        let error = answered("", answer).await;
        let told = format!("{error:#}");
        assert!(
            told.contains(words) && told.contains("\nhint: "),
            "{answer:?}: {told}"
        );
    }
}

#[tokio::test]
async fn without_tls_nothing_is_sent_where_it_is_asked_for() {
    for (answer, words) in [
        (&b"N"[..], "the server doesn't offer it"),
        (b"H", "answers with 0x48"),
        (b"Sno TLS", "no TLS with PostgreSQL at 127.0.0.1"),
    ] {
        let error = answered("?sslmode=verify-full", answer).await;
        let told = error.to_string();
        assert!(told.contains(words), "{answer:?}: {told}");
    }
}

#[tokio::test]
async fn small_messages_that_are_kept_share_their_buffers() {
    const MESSAGES: usize = 500;
    let (mut server, client) = tokio::io::duplex(1 << 10);
    let mut connection = Connection {
        transport: Box::new(client),
        incoming: BytesMut::new(),
        place: "here".to_owned(),
    };
    let message = [&b"d\0\0\x01\x2c"[..], &[7; 296]].concat();
    let mut kept: Vec<Bytes> = Vec::new();
    for _ in 0..MESSAGES {
        server.write_all(&message).await.unwrap();
        match connection.receive().await.unwrap() {
            Received::Message(Message::CopyData(body)) => kept.push(body.into_bytes()),
            _ => panic!("it is taken for something else"),
        }
    }
    let behind = |pair: &&[Bytes]| {
        let distance = pair[1]
            .as_ptr()
            .addr()
            .wrapping_sub(pair[0].as_ptr().addr());
        distance == message.len()
    };
    let buffers = MESSAGES - kept.windows(2).filter(behind).count();
    assert!(
        buffers <= 2 + MESSAGES * message.len() / (READ_BYTES - ROOM_MIN),
        "{buffers}"
    );
}

#[tokio::test]
async fn the_kernel_looks_whether_the_other_end_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    keep_alive(&stream).unwrap();
    assert!(sockopt::socket_keepalive(&stream).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), IDLE);
    let unacknowledged = sockopt::tcp_user_timeout(&stream).unwrap();
    assert_eq!(unacknowledged, UNACKNOWLEDGED_MS_MAX);
}
