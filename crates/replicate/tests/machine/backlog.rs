//! Long backlogs: logs at their limits, slow links.

use crate::support::{Region, put, request, seconds, two};
use meridian_log::MemoryDisk;
use meridian_model::{Envelope, Message, OriginId, WIRE_VERSION_MAX};
use meridian_replicate::Sender;
use std::collections::VecDeque;
use std::time::Duration;

/// Runs both regions with links in both directions, whole seconds from `from` to `to`.
fn live(regions: &mut [Region; 2], senders: &mut [Sender<MemoryDisk>; 2], from: u64, to: u64) {
    for step in from * 10..to * 10 {
        let time = Duration::from_millis(step * 100);
        for receiver in 0..2 {
            let now = regions[receiver].now(time);
            regions[receiver].machine().tick(now).expect("a tick");
            pump(regions, senders, receiver, time);
        }
    }
}

/// Moves everything that is due from the other region to this one, and its answers back.
fn pump(
    regions: &mut [Region; 2],
    senders: &mut [Sender<MemoryDisk>; 2],
    receiver: usize,
    time: Duration,
) {
    let sender = 1 - receiver;
    let (to, from) = (regions[receiver].name.clone(), regions[sender].name.clone());
    let (now, sent_at) = (regions[receiver].now(time), regions[sender].now(time));
    loop {
        regions[receiver].machine().flush(now).expect("a commit");
        for (_, message) in regions[receiver].machine().take_outgoing() {
            let known = regions[sender].machine().road().member(&to);
            if let Message::Ack {
                session,
                next,
                held,
            } = message
            {
                senders[sender].acknowledged(session, next, &held);
                if let Some(known) = known {
                    regions[sender].machine().holds(known, &held);
                }
                continue;
            }
            let answer = senders[sender]
                .subscribe(sent_at, known, message)
                .expect("a log");
            if let Some(answer) = answer {
                regions[receiver]
                    .machine()
                    .message(now, &from, answer.message)
                    .expect("a log");
            }
        }
        let Some(message) = senders[sender].poll(sent_at).expect("a log") else {
            return;
        };
        regions[receiver]
            .machine()
            .message(now, &from, message)
            .expect("a log");
    }
}

/// Starts both, lets them write apart, then connects them for ten minutes.
fn meet_after(mut regions: [Region; 2], write: impl Fn(&mut [Region; 2])) -> [Region; 2] {
    regions[0].start(1);
    regions[1].start(2);
    let mut senders = [regions[0].sender(), regions[1].sender()];
    write(&mut regions);
    let names = [regions[0].name.clone(), regions[1].name.clone()];
    for index in 0..2 {
        let now = regions[index].now(seconds(2));
        regions[index]
            .machine()
            .connected(now, &names[1 - index], WIRE_VERSION_MAX);
    }
    live(&mut regions, &mut senders, 2, 600);
    regions
}

#[test]
fn two_sides_that_wrote_more_than_half_their_budget_apart_come_together() {
    let mut regions = [Region::new("a"), Region::new("b")];
    for region in &mut regions {
        // The proportions of the defaults: 4 GiB, 256 MiB of them reserved, segments of 16 MiB.
        region.log_bytes_limit = 1 << 20;
        region.log_bytes_max = (1 << 20) - (64 << 10);
    }
    let document = format!("\"{}\"", "x".repeat(1000));
    let mut regions = meet_after(regions, |regions| {
        for step in 0..600 {
            for region in &mut *regions {
                let key = format!("{}{step}", region.name);
                region
                    .run(seconds(1), &request(&key, put(&document)))
                    .expect("room");
            }
        }
    });
    for region in &mut regions {
        region
            .run(seconds(601), &request("after", put("1")))
            .expect("room again");
        region.row("a599");
        region.row("b599");
    }
}

#[test]
fn a_log_that_is_over_its_limit_trims_when_its_peer_is_back() {
    let mut regions = [Region::new("a"), Region::new("b")];
    regions[0].log_bytes_max = 60 << 10;
    // The last write oversteps the budget, and with so small a reserve the limit too.
    regions[0].log_bytes_limit = 61 << 10;
    regions[0].segment_bytes = 16 << 10;
    let mut regions = meet_after(regions, |regions| {
        let write = |step: i32| request(&step.to_string(), put(&format!("\"{step:01000}\"")));
        (0..1000)
            .find_map(|step| regions[0].run(seconds(1), &write(step)).err())
            .expect("a refusal");
    });
    regions[0]
        .run(seconds(601), &request("after", put("1")))
        .expect("room again");
}

#[test]
fn a_round_keeps_to_the_budget() {
    let (mut a, _) = two();
    a.log_bytes_max = 64 << 10;
    a.machine = None;
    a.start(1);
    let now = a.now(seconds(1));
    let document = format!("\"{}\"", "x".repeat(1000));
    for step in 0..500 {
        let request = request(&step.to_string(), put(&document));
        // Refused from some point on, which is what this is about.
        let _ = a
            .machine()
            .write(now, |tables, version| tables.execute(version, &request));
    }
    a.machine().flush(now).expect("a commit");
    let bytes = a.machine().log_bytes();
    assert!(bytes <= 80 << 10, "{bytes} bytes of a budget of 64 KiB");
}

/// A link of `rate` bytes a second with 8 MiB of queue, silent from 3 s to 9 s, shorter than any
/// timeout of the transport. Gives after how many seconds all has arrived, and how often it was
/// asked for.
fn over_a_slow_link(rate: usize) -> (u64, u32) {
    let [mut a, mut b] = [Region::new("a"), Region::new("b")];
    for region in [&mut a, &mut b] {
        region.segment_bytes = 16 << 20;
    }
    a.start(1);
    b.start(2);
    let document = format!("\"{}\"", "x".repeat(100_000));
    for step in 0..200 {
        a.run(seconds(0), &request(&step.to_string(), put(&document)))
            .expect("a write");
    }
    let (name, mut sender) = (a.name.clone(), a.sender());
    let mut wire: VecDeque<(usize, Message)> = VecDeque::new();
    let (mut queued, mut credit, mut subscriptions) = (0, 0, 0);
    let mut said = Vec::new();
    let now = b.now(seconds(0));
    b.machine().connected(now, &name, WIRE_VERSION_MAX);
    for step in 0..30_000 {
        let time = Duration::from_millis(step * 10);
        let (sent_at, now) = (a.now(time), b.now(time));
        if step % 10 == 0 {
            b.machine().tick(now).expect("a tick");
        }
        b.machine().flush(now).expect("a commit");
        said.extend(b.machine().take_outgoing());
        if (300..900).contains(&step) {
            continue;
        }
        for (_, message) in said.drain(..) {
            if let Message::Ack {
                session,
                next,
                held,
            } = message
            {
                sender.acknowledged(session, next, &held);
                continue;
            }
            subscriptions += 1;
            if let Some(answer) = sender.subscribe(sent_at, None, message).expect("a log") {
                wire.push_back((100, answer.message));
                queued += 100;
            }
        }
        while queued < 8 << 20
            && let Some(message) = sender.poll(sent_at).expect("a log")
        {
            let envelope = Envelope {
                dataset: "main".into(),
                message,
            };
            let bytes = envelope.encode().len();
            queued += bytes;
            wire.push_back((bytes, envelope.message));
        }
        credit += rate / 100;
        while let Some((bytes, message)) = wire.pop_front_if(|(bytes, _)| *bytes <= credit) {
            credit -= bytes;
            queued -= bytes;
            b.machine().message(now, &name, message).expect("a log");
        }
        if b.machine().marks().get(OriginId(1)) == a.machine().marks().get(OriginId(1)) {
            return (time.as_secs(), subscriptions);
        }
    }
    panic!("not all has arrived after 300 s and {subscriptions} subscriptions");
}

#[test]
fn a_slow_link_that_was_silent_for_a_while_delivers_all() {
    for rate in [5_000_000, 500_000] {
        let (after_s, subscriptions) = over_a_slow_link(rate);
        assert!(
            subscriptions <= 4,
            "asked {subscriptions} times at {rate} bytes a second"
        );
        assert!(after_s < 250, "{after_s} s at {rate} bytes a second");
    }
}
