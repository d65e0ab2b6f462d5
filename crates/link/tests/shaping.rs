//! Delays and cuts.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{EU, US, authority, connect, dial, endpoint, listen, pair, recv, with_limits};
use meridian_link::{ConnectionError, DialError, LinkFaults};

#[tokio::test]
async fn a_delay_keeps_order_and_overlaps() {
    let (mut eu, mut us) = pair().await;
    let delay = Duration::from_millis(50);
    eu.control.set_delay(delay);
    let start = Instant::now();
    for number in 0..100_u8 {
        eu.sender
            .send(Bytes::copy_from_slice(&[number]))
            .await
            .unwrap();
    }
    for number in 0..100_u8 {
        assert_eq!(recv(&mut us).await, [number].as_slice());
        assert!(start.elapsed() >= delay, "message {number} came too early");
    }
    assert!(start.elapsed() < 20 * delay, "{:?}", start.elapsed());
}

#[tokio::test]
async fn each_message_has_its_own_delay() {
    let (mut eu, mut us) = pair().await;
    let delay = Duration::from_millis(80);
    eu.control.set_delay(delay);
    eu.sender.send(Bytes::from_static(b"first")).await.unwrap();
    tokio::time::sleep(delay / 2).await;
    let second_sent = Instant::now();
    eu.sender.send(Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(recv(&mut us).await, "first");
    assert_eq!(recv(&mut us).await, "second");
    assert!(
        second_sent.elapsed() >= delay,
        "{:?}",
        second_sent.elapsed()
    );
}

#[tokio::test]
async fn a_delay_that_shrinks_lets_nothing_overtake() {
    let (mut eu, mut us) = pair().await;
    eu.control.set_delay(Duration::from_millis(80));
    eu.sender.send(Bytes::from_static(b"slow")).await.unwrap();
    eu.control.set_delay(Duration::ZERO);
    eu.sender.send(Bytes::from_static(b"quick")).await.unwrap();
    assert_eq!(recv(&mut us).await, "slow");
    assert_eq!(recv(&mut us).await, "quick");
}

#[tokio::test]
async fn the_queue_of_a_delayed_link_is_bounded() {
    let authority = authority();
    let small = with_limits(endpoint(&authority, EU), |limits| {
        limits.queue_bytes_max = 4096
    });
    let (mut eu, _us) = connect(&small, &endpoint(&authority, US)).await;
    let delay = Duration::from_millis(200);
    eu.control.set_delay(delay);
    let start = Instant::now();
    for _ in 0..5 {
        eu.sender.send(Bytes::from(vec![1; 1000])).await.unwrap();
    }
    assert!(start.elapsed() >= delay, "the fifth message fitted");
}

#[tokio::test]
async fn a_cut_outgoing_direction_holds_messages_until_restored() {
    let (mut eu, mut us) = pair().await;
    eu.control.cut_outgoing();
    eu.sender.send(Bytes::from_static(b"held")).await.unwrap();
    us.sender
        .send(Bytes::from_static(b"the other way"))
        .await
        .unwrap();
    assert_eq!(recv(&mut eu).await, "the other way");
    let early = tokio::time::timeout(Duration::from_millis(100), us.receiver.recv()).await;
    assert!(early.is_err(), "a message came through the cut");
    eu.control.restore();
    assert_eq!(recv(&mut us).await, "held");
}

#[tokio::test]
async fn a_cut_incoming_direction_holds_what_arrives_until_restored() {
    let (mut eu, mut us) = pair().await;
    // The receiver waits on the socket already when the cut comes.
    let waiting = tokio::time::timeout(Duration::from_millis(20), us.receiver.recv()).await;
    assert!(waiting.is_err());
    us.control.cut_incoming();
    eu.sender.send(Bytes::from_static(b"held")).await.unwrap();
    eu.sender.flush().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), us.receiver.recv()).await;
    assert!(early.is_err(), "a message came through the cut");
    us.control.restore();
    assert_eq!(recv(&mut us).await, "held");
}

#[tokio::test]
async fn a_cut_that_lasts_ends_the_connection_on_both_sides() {
    let authority = authority();
    let short = |region| {
        with_limits(endpoint(&authority, region), |limits| {
            limits.read_idle_timeout = Duration::from_millis(150);
            limits.write_timeout = Duration::from_millis(150);
        })
    };
    let (mut eu, mut us) = connect(&short(EU), &short(US)).await;
    eu.control.cut_outgoing();
    eu.sender.send(Bytes::from_static(b"lost")).await.unwrap();
    let stalled = eu.sender.flush().await.unwrap_err();
    assert!(
        matches!(stalled, ConnectionError::WriteStalled { .. }),
        "{stalled:?}"
    );
    us.receiver.recv().await.unwrap_err();
}

#[tokio::test]
async fn while_a_link_is_cut_nobody_connects() {
    let authority = authority();
    let dialling = with_limits(endpoint(&authority, EU), |limits| {
        limits.handshake_timeout = Duration::from_millis(300);
    });
    let listening = endpoint(&authority, US);
    let mut listener = listen(&listening, &[EU]).await;
    let address = listener.local_address();
    let accepting = tokio::spawn(async move {
        loop {
            let accepted = listener.accept().await;
            if accepted.control.is_cut() {
                panic!("connected through a cut");
            }
        }
    });
    for control in [dialling.shaping.peer(US), listening.shaping.peer(EU)] {
        control.cut_incoming();
        let error = dial(&dialling, US, address).await.unwrap_err();
        assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
        control.restore();
    }
    // A plain timeout of the dialler is generous enough for a handshake on a busy machine.
    let patient = with_limits(dialling, |limits| {
        limits.handshake_timeout = common::PATIENCE
    });
    dial(&patient, US, address).await.unwrap();
    assert!(!accepting.is_finished());
    accepting.abort();
}

#[tokio::test]
async fn a_lost_message_never_arrives_and_the_ones_behind_it_do() {
    let (mut eu, mut us) = pair().await;
    eu.control.set_faults(LinkFaults {
        loss: 1.0,
        ..LinkFaults::default()
    });
    eu.sender.send(Bytes::from_static(b"lost")).await.unwrap();
    eu.control.set_faults(LinkFaults::default());
    eu.sender.send(Bytes::from_static(b"next")).await.unwrap();
    assert_eq!(recv(&mut us).await, "next");
}

#[tokio::test]
async fn jitter_lets_nothing_overtake() {
    let (mut eu, mut us) = pair().await;
    eu.control.set_faults(LinkFaults {
        added_delay: Duration::from_millis(20),
        jitter: Duration::from_millis(40),
        ..LinkFaults::default()
    });
    let start = Instant::now();
    for number in 0..50_u8 {
        let message = Bytes::copy_from_slice(&[number]);
        eu.sender.send(message).await.unwrap();
    }
    for number in 0..50_u8 {
        assert_eq!(recv(&mut us).await, [number].as_slice());
    }
    assert!(start.elapsed() >= Duration::from_millis(20));
}
