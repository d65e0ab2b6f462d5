//! A running `meridian up`.

use super::PATIENCE;
use super::support::{eventually, free_base, meridian, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Output, Stdio};

/// A system, ended with its regions when it is dropped.
pub struct System {
    pub directory: tempfile::TempDir,
    pub base: u16,
    up: Child,
}

impl System {
    /// Starts one on ports from `from` on, of this topology or the built-in one, and waits until every
    /// region serves.
    pub fn start(from: u16, topology: Option<&str>, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, from, topology, arguments)
    }

    /// One of this topology, with a key for its zone at `secrets/zone.key`.
    pub fn start_signed(from: u16, topology: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = meridian(directory.path())
            .args(["dns", "key", "secrets/zone.key"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text(&made));
        Self::start_in(directory, from, Some(topology), &[])
    }

    fn start_in(
        directory: tempfile::TempDir,
        from: u16,
        topology: Option<&str>,
        arguments: &[&str],
    ) -> Self {
        let base = free_base(from);
        let out = File::create(directory.path().join("out.txt")).unwrap();
        let mut command = meridian(directory.path());
        command
            .args(["up", "--data-dir", "data", "--output", "json"])
            .args(["--base-port", &base.to_string()])
            .args(arguments);
        if let Some(topology) = topology {
            std::fs::write(directory.path().join("meridian.toml"), topology).unwrap();
            command.args(["--config", "meridian.toml"]);
        }
        let up = command
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn()
            .unwrap();
        let mut system = Self {
            directory,
            base,
            up,
        };
        eventually("all regions serve", PATIENCE, || {
            let ended = system.up.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", system.said());
            (!system.events("serving").is_empty()).then_some(())
        });
        system
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("out.txt")).unwrap()
    }

    /// The events of this name so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let said = self.said();
        let events = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).collect()
    }

    /// Where region `index` answers questions of DNS.
    pub fn dns(&self, index: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.base + 10 * index + 2).into()
    }

    /// The region's API.
    pub fn api(&self, index: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.base + 10 * index).into()
    }

    /// The sample application at an address that DNS answered with.
    pub fn app(&self, address: Ipv4Addr) -> SocketAddr {
        (address, self.base + 3).into()
    }

    /// The number of a region's process.
    pub fn process(&self, region: &str) -> i32 {
        let started = self.events("started");
        let last = started.iter().rfind(|event| event["region"] == region);
        let id = last.unwrap()["process_id"].as_i64().unwrap();
        i32::try_from(id).unwrap()
    }

    /// Kills a region's process, as a crash would.
    pub fn kill(&self, region: &str) {
        let pid = Pid::from_raw(self.process(region)).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    /// A verb that finds the system by its data directory.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = meridian(self.directory.path());
        command.args(arguments).args(["--data-dir", "data"]);
        command.output().unwrap()
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // Its regions see their stdin close and end by themselves.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

/// Status and body of a request; none where nobody answers.
pub fn http(address: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
