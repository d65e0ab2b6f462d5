//! Regions that aren't what they say: of another authority, of no topology, or a second one of a
//! name that is taken.

use super::sockets::turned_away;
use crate::system::{MERIDIAN, System, certificates, free_address, meridian};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A region's process that belongs to no system of ours.
struct Stranger {
    process: Child,
    api: SocketAddr,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Stranger {
    /// Starts a region on region c's topology, changed, at addresses of its own. `kind` names its
    /// files.
    fn start(
        system: &System,
        kind: &str,
        name: &str,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let (api, link) = (free_address(), free_address());
        let text = fs::read_to_string(system.topology_path(2)).expect("a topology");
        let text = text.replace(&system.api(2).to_string(), &api.to_string());
        let text = text.replace(&system.link(2).to_string(), &link.to_string());
        let at = |end: &str| -> PathBuf { system.directory.path().join(format!("{kind}.{end}")) };
        fs::write(at("toml"), change(text)).expect("it is written");
        let process = Command::new(MERIDIAN)
            .args(["serve", "--region", name, "--config"])
            .arg(at("toml"))
            .arg("--data-dir")
            .arg(at("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("talk")).expect("a file"))
            .spawn();
        let process = process.expect("meridian starts");
        Self { process, api }
    }

    /// Waits until one of its streams says this of why it does not flow.
    fn is_told(&self, system: &System, words: &str) {
        system.until(&format!("a stranger is told {words:?}"), || {
            let report = system.client_at(self.api).get("/v1/replication");
            let report = report.map(|reply| reply.json()).unwrap_or_default();
            let peers = report["peers"].as_array().cloned().unwrap_or_default();
            let told = |peer: &Value| {
                let error = peer["last_error"].as_str().unwrap_or_default();
                error.contains(words)
            };
            peers.iter().any(told)
        });
    }
}

/// Waits until both other regions have turned away somebody for this reason.
fn is_turned_away(system: &System, reason: &str) {
    for region in 0..2 {
        system.until(&format!("{reason} is counted"), || {
            turned_away(system, region, reason) > 0
        });
    }
}

pub fn knock(system: &System) {
    of_another_authority(system);
    of_no_topology(system);
    of_a_name_that_is_taken(system);
}

/// One that trusts its own authority alone refuses ours, and one that trusts ours is refused.
fn of_another_authority(system: &System) {
    let foreign = system.directory.path().join("foreign");
    certificates(&foreign, &system.names);
    let own = system.directory.path().join("certs").display().to_string();
    let foreign = foreign.display().to_string();
    let stranger = Stranger::start(system, "foreign", "c", |text| text.replace(&own, &foreign));
    is_turned_away(system, "refused_us");
    stranger.is_told(system, "certificate");
    drop(stranger);
    let read = |directory: &str| {
        let path = format!("{directory}/authority.pem");
        fs::read_to_string(path).expect("an authority")
    };
    let both = system.directory.path().join("both.pem");
    fs::write(&both, read(&own) + &read(&foreign)).expect("it is written");
    let stranger = Stranger::start(system, "forged", "c", |text| {
        let text = text.replace(&own, &foreign);
        let authority = format!("{foreign}/authority.pem");
        text.replace(&authority, &both.display().to_string())
    });
    is_turned_away(system, "other_authority");
    stranger.is_told(system, "certificate");
}

fn of_no_topology(system: &System) {
    let certs = system.directory.path().join("certs");
    let at = certs.to_str().expect("a text path");
    meridian(&["certs", "region", "z", "--directory", at]);
    let stranger = Stranger::start(system, "unknown", "z", |text| {
        text.replace("name = \"c\"", "name = \"z\"")
    });
    is_turned_away(system, "region_not_allowed");
    stranger.is_told(system, "not a peer");
}

/// A copy of region c with its very certificate, on an empty directory: it can't be told from c
/// whose directory was replaced, and is refused as such, while the true c goes on.
fn of_a_name_that_is_taken(system: &System) {
    let stranger = Stranger::start(system, "second", "c", |text| text);
    stranger.is_told(system, "data directory was replaced");
    drop(stranger);
    for region in 0..2 {
        system.until("the true region's stream flows", || {
            system.stream(region, 2).0 == "streaming"
        });
    }
}
