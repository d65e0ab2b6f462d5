//! Who is let in, who is not, and what both sides are told.

mod common;

use std::time::Duration;

use common::{EU, US, authority, dial, endpoint, keep_closed, listen, next_rejection, with_limits};
use meridian_link::{DialError, Rejection, WireVersions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_peer_of_another_authority_is_refused_by_both() {
    let listener = listen(&endpoint(&authority(), US), &[EU]).await;
    let (address, rejections) = keep_closed(listener);
    let error = dial(&endpoint(&authority(), EU), US, address)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            DialError::PeerCertificate {
                reason: Rejection::OtherAuthority,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("another authority"), "{error}");
    let rejected = next_rejection(&rejections).await;
    assert_eq!(rejected.reason, Rejection::RefusedUs);
    assert!(
        rejected.detail.contains("another authority"),
        "{rejected:?}"
    );
}

/// The dialler trusts the listener but has a certificate that the listener does not: it learns why.
#[tokio::test]
async fn a_dialler_with_a_foreign_certificate_learns_why() {
    let (ours, other) = (authority(), authority());
    let (address, rejections) = keep_closed(listen(&endpoint(&ours, US), &[EU]).await);
    let directory = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now();
    let mut paths = other
        .issue(EU, now)
        .unwrap()
        .write(directory.path())
        .unwrap();
    // Its file of trusted authorities holds both, so that only the listener has a reason to refuse.
    paths.authority = directory.path().join("both.pem");
    let both = format!("{}{}", ours.certificate_pem(), other.certificate_pem());
    std::fs::write(&paths.authority, both).unwrap();
    let identity = meridian_link::Identity::load(EU, &paths, now).unwrap();
    let dialler = meridian_link::Endpoint::new(identity);

    let error = dial(&dialler, US, address).await.unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Refused {
                reason: Rejection::OtherAuthority,
                ..
            }
        ),
        "{error:?}"
    );
    let rejected = next_rejection(&rejections).await;
    assert_eq!(rejected.reason, Rejection::OtherAuthority);
    assert_eq!(rejections.counts()[&Rejection::OtherAuthority], 1);
}

#[tokio::test]
async fn a_region_outside_the_topology_is_refused() {
    let authority = authority();
    let (address, rejections) = keep_closed(listen(&endpoint(&authority, US), &[EU]).await);
    let error = dial(&endpoint(&authority, "ap-south-1"), US, address)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Refused {
                reason: Rejection::RegionNotAllowed,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("ap-south-1"), "{error}");
    let rejected = next_rejection(&rejections).await;
    assert_eq!(rejected.reason, Rejection::RegionNotAllowed);
    assert_eq!(rejected.region.as_deref(), Some("ap-south-1"));
}

#[tokio::test]
async fn dialling_one_region_and_reaching_another_is_an_error() {
    let authority = authority();
    let (address, rejections) = keep_closed(listen(&endpoint(&authority, US), &[EU]).await);
    let error = dial(&endpoint(&authority, EU), "eu-north-1", address)
        .await
        .unwrap_err();
    let DialError::WrongRegion { dialled, reached } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((dialled.as_str(), reached.as_str()), ("eu-north-1", US));
    assert_eq!(
        next_rejection(&rejections).await.reason,
        Rejection::RefusedUs
    );
}

#[tokio::test]
async fn releases_without_a_common_version_tell_each_other() {
    let authority = authority();
    let mut newer = endpoint(&authority, US);
    newer.versions = WireVersions {
        lowest: 7,
        highest: 9,
    };
    let (address, rejections) = keep_closed(listen(&newer, &[EU]).await);
    let error = dial(&endpoint(&authority, EU), US, address)
        .await
        .unwrap_err();
    let DialError::Version { ours, theirs, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(ours.highest, 1);
    assert_eq!(*theirs, newer.versions);
    let rejected = next_rejection(&rejections).await;
    assert_eq!(rejected.reason, Rejection::Version);
    assert!(rejected.detail.contains("7 to 9"), "{rejected:?}");
}

#[tokio::test]
async fn the_highest_common_version_is_agreed() {
    let authority = authority();
    let (mut old, mut new) = (endpoint(&authority, EU), endpoint(&authority, US));
    old.versions = WireVersions {
        lowest: 1,
        highest: 3,
    };
    new.versions = WireVersions {
        lowest: 2,
        highest: 5,
    };
    let (dialled, accepted) = common::connect(&old, &new).await;
    assert_eq!((dialled.wire_version, accepted.wire_version), (3, 3));
    assert_eq!((dialled.peer.as_str(), accepted.peer.as_str()), (US, EU));
}

#[tokio::test]
async fn garbage_on_the_port_is_refused_and_the_listener_lives() {
    let authority = authority();
    let mut listener = listen(&endpoint(&authority, US), &[EU]).await;
    let (address, rejections) = (listener.local_address(), listener.rejections());
    let accepting = tokio::spawn(async move { listener.accept().await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(
        next_rejection(&rejections).await.reason,
        Rejection::NotMeridian
    );

    let dialled = dial(&endpoint(&authority, EU), US, address).await.unwrap();
    assert_eq!(dialled.peer, US);
    assert_eq!(accepting.await.unwrap().peer, EU);
}

#[tokio::test]
async fn dialling_something_else_says_so() {
    let listener = TcpListener::bind(common::anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"220 mail.example ESMTP\r\n")
            .await
            .unwrap();
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink).await;
    });
    let error = dial(&endpoint(&authority(), EU), US, address)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::NotMeridian { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("link port"));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind(common::anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = dial(&endpoint(&authority(), EU), US, address)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_half_open_connection_is_dropped_in_time() {
    let listening = with_limits(endpoint(&authority(), US), |limits| {
        limits.handshake_timeout = Duration::from_millis(100);
    });
    let (address, rejections) = keep_closed(listen(&listening, &[EU]).await);
    let mut silent = TcpStream::connect(address).await.unwrap();
    let rejected = next_rejection(&rejections).await;
    assert_eq!(rejected.reason, Rejection::Unfinished);
    let closed = tokio::time::timeout(common::PATIENCE, silent.read_u8()).await;
    assert!(closed.expect("still open").is_err());
}

#[tokio::test]
async fn a_silent_listener_is_given_up() {
    let listener = TcpListener::bind(common::anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let dialling = with_limits(endpoint(&authority(), EU), |limits| {
        limits.handshake_timeout = Duration::from_millis(100);
    });
    let error = dial(&dialling, US, address).await.unwrap_err();
    assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn half_open_connections_do_not_shut_out_a_peer() {
    let authority = authority();
    let listening = with_limits(endpoint(&authority, US), |limits| {
        limits.handshakes_max = 4;
        limits.handshake_timeout = 10 * common::PATIENCE;
    });
    let mut listener = listen(&listening, &[EU]).await;
    let (address, rejections) = (listener.local_address(), listener.rejections());
    // The listener is handed back: dropping it would close everything.
    let accepting = tokio::spawn(async move { (listener.accept().await, listener) });
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let dialled = dial(&endpoint(&authority, EU), US, address).await.unwrap();
    assert_eq!(dialled.peer, US);
    let (accepted, _listener) = accepting.await.unwrap();
    assert_eq!(accepted.peer, EU);
    assert_eq!(rejections.counts()[&Rejection::TooMany], 7);
    let closed = tokio::time::timeout(common::PATIENCE, silent[0].read_u8()).await;
    assert!(closed.expect("the oldest is still open").is_err());
}

#[tokio::test]
async fn who_is_let_in_may_change_while_it_listens() {
    let authority = authority();
    let mut listener = listen(&endpoint(&authority, US), &[]).await;
    let (address, allowed) = (listener.local_address(), listener.allowed());
    let accepting = tokio::spawn(async move {
        let mut peers = Vec::new();
        while peers.len() < 2 {
            let connection = listener.accept().await;
            peers.push(connection.peer.clone());
        }
        peers
    });
    let (eu, ap) = (endpoint(&authority, EU), endpoint(&authority, "ap-south-1"));
    let refused = |error: DialError| {
        let DialError::Refused { reason, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(reason, Rejection::RegionNotAllowed);
    };
    refused(dial(&eu, US, address).await.unwrap_err());
    allowed.set([EU.to_owned()].into());
    dial(&eu, US, address).await.unwrap();
    refused(dial(&ap, US, address).await.unwrap_err());
    allowed.set(["ap-south-1".to_owned()].into());
    refused(dial(&eu, US, address).await.unwrap_err());
    dial(&ap, US, address).await.unwrap();
    assert_eq!(accepting.await.unwrap(), [EU, "ap-south-1"]);
}
