//! Programs of others as clients: dig, kdig, and unbound, which believes only what is signed. Where one
//! isn't installed its test says so and ends.

use super::PATIENCE;
use super::ask::{A, Client, NSEC, TXT, ask, question};
use super::support::{eventually, free_base, meridian, text};
use super::system::System;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TOPOLOGY: &str = r#"
zone = "meridian.test"
[[region]]
name = "us-east-1"
[[dataset]]
name = "main"
engine = "embedded"
strategy = "last-writer-wins"
[dns]
dnssec-key-file = "secrets/zone.key"
[dns.records]
"@" = ["MX 10 mail.example.com.", "60 TXT \"hello\""]
www = "CNAME app.global"
"*.any" = "TXT \"by wildcard\""
"_x._tcp" = "SRV 1 2 443 app.us-east-1"
big = [TEXTS]
"#;

#[expect(
    clippy::print_stderr,
    reason = "whoever reads the test's output is told what wasn't tried"
)]
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let is_there = directories.any(|directory| directory.join(program).is_file());
    if !is_there {
        eprintln!("skipped: {program} is not installed");
    }
    is_there
}

/// A region whose zone is signed, with a set of records that no datagram holds.
fn signed(from: u16) -> System {
    let texts: Vec<_> = (0..60)
        .map(|number| format!("'TXT \"text number {number} of a set that is too large\"'"))
        .collect();
    let topology = TOPOLOGY.replace("TEXTS", &texts.join(", "));
    System::start_signed(from, &topology)
}

fn said(program: &str, server: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(arguments)
        .output()
        .unwrap();
    text(&output)
}

#[test]
fn dig_and_kdig_read_the_answers() {
    let programs: Vec<_> = ["dig", "kdig"]
        .into_iter()
        .filter(|program| is_installed(program))
        .collect();
    if programs.is_empty() {
        return;
    }
    let system = signed(29_480);
    let server = system.dns(0);
    for program in programs {
        let asked = |arguments: &[&str]| said(program, server, arguments);
        let short = asked(&["+short", "www.meridian.test", "A"]);
        let lines: Vec<_> = short.lines().map(str::trim).collect();
        assert_eq!(lines, ["app.global.meridian.test.", "127.0.1.1"], "{short}");
        // By datagram it is cut short, and asked for again over a connection.
        let big = asked(&["+short", "big.meridian.test", "TXT"]);
        assert_eq!(big.matches("text number").count(), 60, "{big}");
        let service = asked(&["+short", "_x._tcp.meridian.test", "SRV"]);
        assert!(service.contains("1 2 443 app.us-east-1.meridian.test."));
        let signed = asked(&["+dnssec", "meridian.test", "SOA"]);
        assert!(signed.contains("RRSIG"), "{signed}");
        let with_subnet = asked(&["+subnet=2.0.0.0/24", "app.global.meridian.test", "A"]);
        assert!(with_subnet.contains("2.0.0.0/24/8"), "{with_subnet}");
        let named = asked(&["+nsid", "meridian.test", "SOA"]);
        assert!(named.contains("us-east-1"), "{named}");
        let refused = asked(&["example.com", "A"]);
        assert!(refused.contains("REFUSED"), "{refused}");
    }
}

/// unbound in the foreground, ended when it is dropped.
struct Unbound {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Unbound {
    fn start(zone: SocketAddr, anchor: &str, from: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_base(from);
        let config = format!(
            "server:\n interface: 127.0.0.1@{port}\n do-ip6: no\n username: \"\"\n chroot: \"\"\n \
             directory: \"{here}\"\n pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n num-threads: 1\n \
             do-not-query-localhost: no\n module-config: \"validator iterator\"\n \
             trust-anchor: \"{anchor}\"\n local-zone: \"test.\" nodefault\n \
             access-control: 127.0.0.0/8 allow\n\
             remote-control:\n control-enable: no\n\
             stub-zone:\n name: \"meridian.test.\"\n stub-addr: 127.0.0.1@{zone}\n",
            here = directory.path().display(),
            zone = zone.port(),
        );
        let file = directory.path().join("unbound.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(program("unbound"))
            .args(["-d", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let unbound = Self {
            child,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            _directory: directory,
        };
        let question = question("localhost", A, None);
        eventually("unbound answers", PATIENCE, || {
            let client = Client::of(unbound.address);
            client.send(&question);
            client.receive(Duration::from_millis(500))
        });
        unbound
    }
}

/// Where a program is that may be for the administrator.
fn program(name: &str) -> String {
    let administrators = format!("/usr/sbin/{name}");
    match Path::new(&administrators).is_file() {
        true => administrators,
        false => name.to_owned(),
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn unbound_believes_what_is_signed_and_nothing_else() {
    if !is_installed("unbound") {
        return;
    }
    let system = signed(23_480);
    let mut command = meridian(system.path());
    let ds = command.args(["dns", "ds"]).output().unwrap();
    assert!(ds.status.success(), "{}", text(&ds));
    let anchor = text(&ds).trim().to_owned();

    let unbound = Unbound::start(system.dns(0), &anchor, 23_480);
    let asked = |name: &str, rtype| ask(unbound.address, name, rtype, None);
    for (name, rtype) in [
        ("app.global.meridian.test", A),
        ("www.meridian.test", A),
        ("x.any.meridian.test", TXT),
        ("big.meridian.test", TXT),
        // What isn't there is denied with a signature too.
        ("app.global.meridian.test", TXT),
        ("nothing.meridian.test", A),
        // The denial's own record, of names that are there, that are an alias, and that aren't there.
        ("app.global.meridian.test", NSEC),
        ("www.meridian.test", NSEC),
        ("nothing.meridian.test", NSEC),
    ] {
        let answer = asked(name, rtype);
        assert!(answer.is_authentic, "{name} {rtype}: {answer:?}");
    }
    assert_eq!(
        asked("www.meridian.test", A).addresses,
        [Ipv4Addr::new(127, 0, 1, 1)]
    );

    // Another key's record: nothing that the zone says is believed.
    let (before, digest) = anchor.rsplit_once(' ').unwrap();
    let other = format!("{before} {}", "0".repeat(digest.len()));
    let doubting = Unbound::start(system.dns(0), &other, 23_480);
    let answer = ask(doubting.address, "app.global.meridian.test", A, None);
    assert_eq!((answer.rcode, answer.count), (2, 0), "{answer:?}");
}
