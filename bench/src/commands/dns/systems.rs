//! The systems compared: how each is told what to serve, and started.

use super::world::{self, REGIONS, STEERED, STEERED_TTL_SECONDS, ZONE};
use crate::commands::durable_writes::install;
use anyhow::{Context, Result};
use clap::ValueEnum;
use meridian_bench::process::Server;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// Meridian's server, steering by the nearest region
    Meridian,
    /// gdnsd with its geoip plugin and a map of networks
    Gdnsd,
    /// Knot DNS with its geoip module and the same map
    Knot,
}

/// Where a system listens and with how many threads for datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub address: SocketAddr,
    pub threads: usize,
}

impl System {
    /// The name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meridian => "Meridian",
            Self::Gdnsd => "gdnsd",
            Self::Knot => "Knot",
        }
    }

    /// Sees to it that its programs are there.
    pub async fn ensure(self) -> Result<()> {
        match self {
            Self::Meridian => Ok(()),
            Self::Gdnsd => install::ensure("gdnsd", "gdnsd").await,
            Self::Knot => {
                install::ensure("knotd", "knot").await?;
                let what = "Knot's geoip module";
                install::ensure_that(what, "knot-module-geoip", has_knot_geoip).await
            }
        }
    }

    /// What it says of its version.
    pub fn version(self) -> Result<String> {
        let (program, argument) = match self {
            Self::Meridian => return Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Self::Gdnsd => ("gdnsd", "-h"),
            Self::Knot => ("knotd", "-V"),
        };
        let output = Command::new(program)
            .arg(argument)
            .output()
            .with_context(|| format!("ask {program} for its version"))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        // The last word of the first line that names one.
        let words = text.lines().find_map(|line| {
            let last = line.split_whitespace().last()?;
            last.starts_with(|first: char| first.is_ascii_digit())
                .then(|| last.to_owned())
        });
        Ok(words.unwrap_or_else(|| "of unknown version".to_owned()))
    }

    /// Starts it over an empty directory.
    pub fn start(self, directory: &Path, place: Place, names: u32) -> Result<Server> {
        let zone = world::zone_file(names);
        let (program, arguments) = match self {
            Self::Meridian => meridian(directory, place, &zone)?,
            Self::Gdnsd => gdnsd(directory, place, &zone)?,
            Self::Knot => knot(directory, place, &zone)?,
        };
        Ok(Server::start(&program, &arguments, &directory.join("log"))?)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn meridian(directory: &Path, place: Place, zone: &str) -> Result<(PathBuf, Vec<OsString>)> {
    let file = directory.join("zone");
    write(&file, zone)?;
    let program = std::env::current_exe().context("find this program")?;
    let arguments = vec![
        "dns-server".into(),
        "--address".into(),
        place.address.to_string().into(),
        "--threads".into(),
        place.threads.to_string().into(),
        "--zone-file".into(),
        file.into(),
    ];
    Ok((program, arguments))
}

fn gdnsd(directory: &Path, place: Place, zone: &str) -> Result<(PathBuf, Vec<OsString>)> {
    for part in ["zones", "run", "state"] {
        std::fs::create_dir_all(directory.join(part)).context("create a directory for gdnsd")?;
    }
    let steered = format!("{STEERED} {STEERED_TTL_SECONDS} DYNA geoip!near\n");
    write(
        &directory.join("zones").join(ZONE),
        &format!("{zone}{steered}"),
    )?;
    let nets = world::networks()?;
    let nets = nets
        .iter()
        .map(|(block, region)| format!("{block}.0.0.0/8 => [r{region}]"));
    let nets = nets.collect::<Vec<_>>().join(", ");
    let targets: Vec<_> = (0..REGIONS.len())
        .map(|region| format!("r{region} => {}", REGIONS[region].1))
        .collect();
    let all: Vec<_> = (0..REGIONS.len()).map(|it| format!("r{it}")).collect();
    let config = format!(
        "options => {{\n listen => {{ {address} => {{ udp_threads => {threads}, tcp_threads => 1 }} }}\n \
         run_dir => {run}\n state_dir => {state}\n}}\n\
         plugins => {{ geoip => {{\n maps => {{ near => {{ datacenters => [{all}], nets => {{ {nets} }} }} }}\n \
         resources => {{ near => {{ map => near, service_types => up, dcmap => {{ {targets} }} }} }}\n}} }}\n",
        address = place.address,
        threads = place.threads,
        run = directory.join("run").display(),
        state = directory.join("state").display(),
        all = all.join(", "),
        targets = targets.join(", "),
    );
    write(&directory.join("config"), &config)?;
    Ok((
        PathBuf::from("gdnsd"),
        vec!["-c".into(), directory.into(), "start".into()],
    ))
}

fn knot(directory: &Path, place: Place, zone: &str) -> Result<(PathBuf, Vec<OsString>)> {
    let fallback = format!("{STEERED} {STEERED_TTL_SECONDS} A {}\n", REGIONS[0].1);
    write(&directory.join("zone"), &format!("{zone}{fallback}"))?;
    let mut map = format!("{STEERED}.{ZONE}:\n");
    for (block, region) in world::networks()? {
        map += &format!("  - net: {block}.0.0.0/8\n    A: {}\n", REGIONS[region].1);
    }
    write(&directory.join("networks"), &map)?;
    let here = directory.display();
    let config = format!(
        "server:\n    listen: {ip}@{port}\n    rundir: {here}\n    udp-workers: {threads}\n    \
         tcp-workers: 1\n    background-workers: 1\n    edns-client-subnet: on\n\
         database:\n    storage: {here}\n\
         mod-geoip:\n  - id: near\n    config-file: {here}/networks\n    ttl: {STEERED_TTL_SECONDS}\n    mode: subnet\n\
         zone:\n  - domain: {ZONE}\n    file: {here}/zone\n    zonefile-load: whole\n    \
         journal-content: none\n    zonefile-sync: -1\n    module: mod-geoip/near\n",
        ip = place.address.ip(),
        port = place.address.port(),
        threads = place.threads,
    );
    write(&directory.join("knot.conf"), &config)?;
    Ok((
        PathBuf::from("knotd"),
        vec!["-c".into(), directory.join("knot.conf").into()],
    ))
}

/// Whether Knot's module is where Debian's package puts it, from where it is loaded by itself.
fn has_knot_geoip() -> bool {
    let entries = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    entries(PathBuf::from("/usr/lib"))
        .flat_map(|library| entries(library.path().join("knot")))
        .any(|modules| modules.path().join("geoip.so").is_file())
}
