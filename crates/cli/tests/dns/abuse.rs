//! Whatever is sent to a region's name server, it goes on, and floods nobody.

use super::PATIENCE;
use super::ask::{A, ANY, Client, TXT, ask, ask_by_tcp, question};
use super::support::{eventually, free_base, meridian, text};
use super::system::System;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Output, Stdio};
use std::time::Duration;

const NAME: &str = "app.global.meridian.test";
const ONE_REGION: &str = r#"
zone = "meridian.test"
[[region]]
name = "us-east-1"
[[dataset]]
name = "main"
engine = "embedded"
strategy = "last-writer-wins"
"#;

#[test]
fn malformed_messages_and_slow_clients_disturb_nobody() {
    let system = System::start(20_200, Some(ONE_REGION), &[]);
    let server = system.dns(0);
    let client = Client::of(server);
    let good = question(NAME, A, Some([2, 0, 0]));
    for end in 0..good.len() {
        client.send(&good[..end]);
    }
    // A name that points to itself, one that points ahead, and one without an end.
    let header = [0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for name in [&[0xc0, 12][..], &[0xc0, 0xff], &[63; 400]] {
        let mut octets = header.to_vec();
        octets.extend(name);
        octets.extend([0, 1, 0, 1]);
        client.send(&octets);
    }
    // Networks that are none: more bits than an address has, octets that are missing, another family.
    let at = good.len() - 7;
    for (offset, octet) in [(2, 33), (2, 32), (1, 9), (3, 24)] {
        let mut octets = good.clone();
        octets[at + offset] = octet;
        client.send(&octets);
    }
    let mut answer = good.clone();
    answer[2] |= 0x80;
    client.send(&answer);
    assert_eq!(ask(server, NAME, A, None).count, 1);

    // As many connections as one address may have, each silent in another way.
    let mut idle = Vec::new();
    for number in 0..64u8 {
        let mut stream = TcpStream::connect(server).unwrap();
        let begun = [0, number, 1, 2];
        stream.write_all(&begun[..usize::from(number % 5)]).unwrap();
        idle.push(stream);
    }
    assert_eq!(ask(server, NAME, A, None).count, 1);
    // They lose their connections, and others get theirs.
    for mut stream in idle {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let end = stream.read(&mut [0; 16]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    let answer = eventually("a connection", PATIENCE, || {
        std::panic::catch_unwind(|| ask_by_tcp(server, &good)).ok()
    });
    assert_eq!(answer.count, 1);
}

#[test]
fn one_network_is_not_flooded_through_it() {
    let limits = "[dns]\nanswers-per-second-max = 5\nlimit-loopback = true\n";
    let texts: Vec<_> = (0..60)
        .map(|number| format!("'TXT \"text number {number} of a set that is too large\"'"))
        .collect();
    let records = format!("[dns.records]\nbig = [{}]\n", texts.join(", "));
    let topology = format!("{ONE_REGION}{limits}{records}");
    let system = System::start(22_500, Some(&topology), &[]);
    let server = system.dns(0);
    // No answer is larger than a datagram that arrives whole, and ANY gets no more than one record.
    for (name, rtype) in [("big.meridian.test", TXT), ("big.meridian.test", ANY)] {
        let answer = ask(server, name, rtype, None);
        assert!(answer.octets.len() <= 1232, "{}", answer.octets.len());
    }
    let client = Client::of(server);
    let asked = question(NAME, A, None);
    for _ in 0..500 {
        client.send(&asked);
    }
    let mut whole = 0;
    let mut cut = 0;
    while let Some(answer) = client.receive(Duration::from_secs(2)) {
        match answer.is_truncated {
            true => cut += 1,
            false => whole += 1,
        }
    }
    // Five at once and five for each second that sending took; every second one of the rest is cut.
    assert!(whole >= 1 && whole + cut <= 400, "{whole} whole, {cut} cut");
    assert!(cut >= 1, "{whole} whole, {cut} cut");
    assert_eq!(ask_by_tcp(server, &asked).count, 1);
}

fn refused(output: &Output, words: &[&str]) {
    assert!(!output.status.success());
    let said = text(output);
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_zone_with_errors_is_refused_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let topology = format!(
        "{ONE_REGION}[dns.records]\nwww = \"A nonsense\"\n\"app.global\" = \"A 192.0.2.1\"\n"
    );
    std::fs::write(directory.path().join("meridian.toml"), &topology).unwrap();
    let check = meridian(directory.path())
        .args(["config", "check"])
        .output()
        .unwrap();
    let line = ONE_REGION.lines().count() + 2;
    let at = format!("error: meridian.toml:{line}:7: the record \"A nonsense\" of \"www\"");
    refused(&check, &[&at, "hint: write it like \"A 192.0.2.1\""]);
    let up = meridian(directory.path())
        .args(["up", "--config", "meridian.toml"])
        .output()
        .unwrap();
    refused(&up, &[&at, "hint:"]);
    let addresses = "api = \"127.0.0.1:1\"\nlink = \"127.0.0.1:2\"\ndns = \"127.0.0.1:3\"\n";
    let served = topology.replace("[[dataset]]", &format!("{addresses}[[dataset]]"));
    std::fs::write(directory.path().join("meridian.toml"), served).unwrap();
    let serve = meridian(directory.path())
        .args([
            "serve",
            "--config",
            "meridian.toml",
            "--data-dir",
            "data",
            "--watch-stdin",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    refused(&serve, &["\"A nonsense\" of \"www\"", "hint:"]);
}

#[test]
fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let base = free_base(25_100);
    let _taken = UdpSocket::bind(("127.0.0.1", base + 2)).unwrap();
    let up = meridian(directory.path())
        .args(["up", "--base-port", &base.to_string()])
        .output()
        .unwrap();
    let port = format!("port {} on 127.0.0.1", base + 2);
    refused(&up, &[&port, "name server", "--base-port"]);
}
