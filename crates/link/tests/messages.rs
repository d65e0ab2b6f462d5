//! Messages over connections that stand, and how connections end.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{EU, PATIENCE, US, authority, connect, endpoint, pair, recv, with_limits};
use meridian_link::frame::FrameError;
use meridian_link::{ConnectionError, MESSAGE_BYTES_MAX};

/// Bytes that do not compress.
fn noise(length: usize) -> Bytes {
    let mut state = 9_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

#[tokio::test]
async fn messages_go_both_ways_whole_and_in_order() {
    let (mut eu, mut us) = pair().await;
    let messages = [
        Bytes::new(),
        Bytes::from_static(b"hello"),
        Bytes::from(vec![7; 1_000_000]),
        noise(1_000_000),
        Bytes::from_static(b"after"),
    ];
    for message in &messages {
        eu.sender.send(message.clone()).await.unwrap();
        us.sender.send(message.clone()).await.unwrap();
    }
    for message in &messages {
        assert_eq!(recv(&mut us).await, message);
        assert_eq!(recv(&mut eu).await, message);
    }
}

#[tokio::test]
async fn the_largest_message_passes_although_it_exceeds_the_queue() {
    let (mut eu, mut us) = pair().await;
    let largest = noise(MESSAGE_BYTES_MAX);
    eu.sender.send(largest.clone()).await.unwrap();
    assert_eq!(recv(&mut us).await, largest);
}

#[tokio::test]
async fn a_message_too_large_is_refused_and_the_connection_stays() {
    let (mut eu, mut us) = pair().await;
    let refused = eu
        .sender
        .send(Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]))
        .await;
    assert!(matches!(
        refused,
        Err(ConnectionError::Frame(FrameError::TooLarge { .. }))
    ));
    eu.sender
        .send(Bytes::from_static(b"still here"))
        .await
        .unwrap();
    assert_eq!(recv(&mut us).await, "still here");
}

#[tokio::test]
async fn small_messages_that_are_kept_share_their_room() {
    let (mut eu, mut us) = pair().await;
    let mut kept: Vec<Bytes> = Vec::new();
    for _ in 0..500 {
        eu.sender.send(noise(300)).await.unwrap();
        kept.push(recv(&mut us).await);
    }
    // Those that share it lie one behind the other.
    let apart = |pair: &&[Bytes]| {
        let distance = pair[1]
            .as_ptr()
            .addr()
            .wrapping_sub(pair[0].as_ptr().addr());
        distance > 400
    };
    let rooms = 1 + kept.windows(2).filter(apart).count();
    assert!(rooms < 10, "{rooms} for 150,000 bytes");
}

#[tokio::test]
async fn many_small_messages_arrive_in_order() {
    let (mut eu, mut us) = pair().await;
    let count = 20_000_u32;
    let sending = tokio::spawn(async move {
        for number in 0..count {
            eu.sender
                .send(Bytes::copy_from_slice(&number.to_be_bytes()))
                .await
                .unwrap();
        }
        eu.sender.flush().await.unwrap();
        eu
    });
    for number in 0..count {
        assert_eq!(recv(&mut us).await, number.to_be_bytes().as_slice());
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn closing_delivers_the_rest_and_then_the_end() {
    let (eu, mut us) = pair().await;
    let (mut sender, _receiver) = eu.split();
    sender.send(Bytes::from_static(b"last")).await.unwrap();
    sender.close().await.unwrap();
    assert_eq!(recv(&mut us).await, "last");
    assert!(us.receiver.recv().await.unwrap().is_none());
    assert!(us.receiver.recv().await.unwrap().is_none());
}

#[tokio::test]
async fn a_silent_peer_is_noticed_and_both_halves_say_so() {
    let authority = authority();
    let short = with_limits(endpoint(&authority, EU), |limits| {
        limits.read_idle_timeout = Duration::from_millis(80);
    });
    let (mut eu, _us) = connect(&short, &endpoint(&authority, US)).await;
    let error = eu.receiver.recv().await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::ReadIdle { .. }),
        "{error:?}"
    );
    let error = eu.sender.send(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::ReadIdle { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn asking_again_and_again_does_not_hide_a_silent_peer() {
    let authority = authority();
    let short = with_limits(endpoint(&authority, EU), |limits| {
        limits.read_idle_timeout = Duration::from_millis(150);
    });
    let (mut eu, _us) = connect(&short, &endpoint(&authority, US)).await;
    let asking = async {
        loop {
            let turn = Duration::from_millis(10);
            if let Ok(received) = tokio::time::timeout(turn, eu.receiver.recv()).await {
                return received;
            }
        }
    };
    let received = tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("never noticed");
    assert!(matches!(received, Err(ConnectionError::ReadIdle { .. })));
}

#[tokio::test]
async fn a_peer_that_reads_nothing_stops_the_sender_and_is_noticed() {
    let authority = authority();
    let short = with_limits(endpoint(&authority, EU), |limits| {
        limits.write_timeout = Duration::from_millis(150);
        limits.queue_bytes_max = 256 * 1024;
    });
    let (mut eu, _us) = connect(&short, &endpoint(&authority, US)).await;
    let block = noise(64 * 1024);
    let filling = async {
        loop {
            if let Err(error) = eu.sender.send(block.clone()).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, filling)
        .await
        .expect("memory grew for ever");
    assert!(
        matches!(error, ConnectionError::WriteStalled { .. }),
        "{error:?}"
    );
    let error = eu.receiver.recv().await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::WriteStalled { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_peer_that_vanishes_is_an_error_not_an_end() {
    let authority = authority();
    let (eu, us) = (endpoint(&authority, EU), endpoint(&authority, US));
    // A runtime that is torn down leaves its sockets as a killed process does.
    let (handed, taken) = std::sync::mpsc::channel();
    let mut listener = common::listen(&us, &[EU]).await;
    let address = listener.local_address();
    let killed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let connection = runtime.block_on(common::dial(&eu, US, address)).unwrap();
        taken.recv().unwrap();
        runtime.shutdown_background();
        drop(connection);
    });
    let mut accepted = listener.accept().await;
    handed.send(()).unwrap();
    let error = accepted.receiver.recv().await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::Truncated | ConnectionError::Read(_)),
        "{error:?}"
    );
    killed.join().unwrap();
}
