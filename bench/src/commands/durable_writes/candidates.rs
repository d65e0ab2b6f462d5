//! The systems compared: how each is started, connected to and read back.

use super::Options;
use super::report::CrossCheck;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use meridian_bench::cluster::is_ready;
use meridian_bench::etcd::EtcdClient;
use meridian_bench::http_writer::HttpWriter;
use meridian_bench::load::KeyWriter;
use meridian_bench::meridian::MeridianClient;
use meridian_bench::ports::free_port;
use meridian_bench::process::Server;
use meridian_bench::redis::RedisClient;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

const REGION: &str = "bench";
const TABLE: &str = "bench";
/// etcd's clients share connections, as they do in real life: so many streams on each.
const STREAMS_PER_CONNECTION: usize = 8;

/// A system under load.
pub trait Candidate {
    /// A client's connection, made for load.
    type Writer: KeyWriter;
    /// A connection to look with.
    type Reader;

    /// Starts a server over `directory`, empty or not.
    fn start(&self, directory: &Path, address: SocketAddr) -> Result<Server>;
    /// Connects `count` clients.
    async fn writers(&self, address: SocketAddr, count: usize) -> Result<Vec<Self::Writer>>;
    /// A connection to read with.
    async fn reader(&self, address: SocketAddr) -> Result<Self::Reader>;
    /// Reads a value back.
    async fn read(reader: &mut Self::Reader, key: &str) -> Result<Option<Bytes>>;
    /// How many keys there are; fails while the server isn't ready.
    async fn count(&self, address: SocketAddr) -> Result<u64>;
    /// What the server says of its version.
    fn version(&self) -> Result<String>;
}

/// One region alone.
pub struct Meridian {
    /// The binary.
    pub program: PathBuf,
}

impl Candidate for Meridian {
    type Writer = HttpWriter;
    type Reader = MeridianClient;

    fn start(&self, directory: &Path, address: SocketAddr) -> Result<Server> {
        let topology = directory.join("meridian.toml");
        std::fs::write(&topology, topology_of_one(address, free_port()?))
            .context("write the topology")?;
        let arguments = [
            "serve".into(),
            "--region".into(),
            REGION.into(),
            "--config".into(),
            topology.into(),
            "--data-dir".into(),
            directory.join("data").into(),
        ];
        Ok(Server::start(
            &self.program,
            &arguments,
            &directory.join("log"),
        )?)
    }

    async fn writers(&self, address: SocketAddr, count: usize) -> Result<Vec<HttpWriter>> {
        let mut writers = Vec::new();
        for _ in 0..count {
            writers.push(HttpWriter::connect(address, TABLE).await?);
        }
        Ok(writers)
    }

    async fn reader(&self, address: SocketAddr) -> Result<MeridianClient> {
        Ok(MeridianClient::connect(address, TABLE).await?)
    }

    async fn read(reader: &mut MeridianClient, key: &str) -> Result<Option<Bytes>> {
        Ok(reader.row(key).await?.map(|row| row.document))
    }

    async fn count(&self, address: SocketAddr) -> Result<u64> {
        ensure!(is_ready(address).await, "the region is not ready");
        Ok(self.reader(address).await?.checksum().await?.rows)
    }

    fn version(&self) -> Result<String> {
        first_line(&self.program)
    }
}

fn topology_of_one(api: SocketAddr, link_port: u16) -> String {
    format!(
        "zone = \"meridian.test\"\n\n\
         [[region]]\nname = \"{REGION}\"\nlocation = {{ latitude = 0.0, longitude = 0.0 }}\n\
         api = \"{api}\"\nlink = \"127.0.0.1:{link_port}\"\n\n\
         [[dataset]]\nname = \"main\"\nengine = \"embedded\"\nstrategy = \"last-writer-wins\"\n"
    )
}

/// etcd, one member.
pub struct Etcd;

impl Candidate for Etcd {
    type Writer = EtcdClient;
    type Reader = EtcdClient;

    fn start(&self, directory: &Path, address: SocketAddr) -> Result<Server> {
        let client = format!("http://{address}");
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let arguments = [
            "--name=bench".into(),
            data_argument("--data-dir=", &directory.join("data")),
            format!("--listen-client-urls={client}").into(),
            format!("--advertise-client-urls={client}").into(),
            format!("--listen-peer-urls={peer}").into(),
            format!("--initial-advertise-peer-urls={peer}").into(),
            format!("--initial-cluster=bench={peer}").into(),
            "--log-level=error".into(),
        ];
        Ok(Server::start(
            Path::new("etcd"),
            &arguments,
            &directory.join("log"),
        )?)
    }

    async fn writers(&self, address: SocketAddr, count: usize) -> Result<Vec<EtcdClient>> {
        let mut writers = Vec::new();
        while writers.len() < count {
            let connection = self.reader(address).await?;
            let streams = STREAMS_PER_CONNECTION.min(count - writers.len());
            writers.extend(std::iter::repeat_n(connection, streams));
        }
        Ok(writers)
    }

    async fn reader(&self, address: SocketAddr) -> Result<EtcdClient> {
        Ok(EtcdClient::connect(address).await?)
    }

    async fn read(reader: &mut EtcdClient, key: &str) -> Result<Option<Bytes>> {
        Ok(reader.get(key.as_bytes()).await?)
    }

    async fn count(&self, address: SocketAddr) -> Result<u64> {
        Ok(self.reader(address).await?.count().await?)
    }

    fn version(&self) -> Result<String> {
        first_line(Path::new("etcd"))
    }
}

/// Redis with every write synced.
pub struct Redis;

impl Candidate for Redis {
    type Writer = RedisClient;
    type Reader = RedisClient;

    fn start(&self, directory: &Path, address: SocketAddr) -> Result<Server> {
        let port = address.port().to_string();
        let settings = [
            ("--bind", "127.0.0.1"),
            ("--port", &port),
            ("--daemonize", "no"),
            ("--appendonly", "yes"),
            ("--appendfsync", "always"),
            // Snapshots would be extra work that the comparison doesn't ask for.
            ("--save", ""),
        ];
        let mut arguments: Vec<OsString> = settings
            .iter()
            .flat_map(|(name, value)| [OsString::from(name), OsString::from(value)])
            .collect();
        arguments.extend(["--dir".into(), directory.into()]);
        Ok(Server::start(
            Path::new("redis-server"),
            &arguments,
            &directory.join("log"),
        )?)
    }

    async fn writers(&self, address: SocketAddr, count: usize) -> Result<Vec<RedisClient>> {
        let mut writers = Vec::new();
        for _ in 0..count {
            writers.push(self.reader(address).await?);
        }
        Ok(writers)
    }

    async fn reader(&self, address: SocketAddr) -> Result<RedisClient> {
        Ok(RedisClient::connect(address).await?)
    }

    async fn read(reader: &mut RedisClient, key: &str) -> Result<Option<Bytes>> {
        Ok(reader.get(key).await?)
    }

    async fn count(&self, address: SocketAddr) -> Result<u64> {
        Ok(self.reader(address).await?.count().await?)
    }

    fn version(&self) -> Result<String> {
        first_line(Path::new("redis-server"))
    }
}

/// Runs `redis-benchmark` with the same clients and value length.
pub async fn redis_benchmark(
    address: SocketAddr,
    options: &Options,
    requests: u64,
) -> Result<CrossCheck> {
    let output = tokio::process::Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-t", "set", "-P", "1", "--csv"])
        .args(["-p", &address.port().to_string()])
        .args(["-c", &options.clients.to_string()])
        .args(["-d", &options.value_bytes.to_string()])
        .args(["-n", &requests.to_string()])
        .args(["-r", "1000000000"])
        .kill_on_drop(true)
        .output()
        .await
        .context("run redis-benchmark")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(figure) = set_rate(&text) else {
        bail!("redis-benchmark gave no figure for SET: {text}");
    };
    Ok(CrossCheck {
        tool: "redis-benchmark -P 1",
        requests,
        writes_per_second: figure,
    })
}

/// The second field of the line for SET.
fn set_rate(csv: &str) -> Option<f64> {
    let line = csv.lines().find(|line| line.starts_with("\"SET\""))?;
    line.split(',').nth(1)?.trim_matches('"').parse().ok()
}

fn data_argument(name: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(name);
    argument.push(path);
    argument
}

fn first_line(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("ask {} for its version", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or("unknown").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_topology::Topology;

    #[test]
    fn the_topology_of_one_region_is_complete() {
        let address = "127.0.0.1:4000".parse().unwrap();
        let text = topology_of_one(address, 4001);
        let topology = Topology::parse(&text, Path::new("meridian.toml")).unwrap();
        let serving = topology.for_serve(REGION).unwrap();
        assert!(serving.peers.is_empty());
    }

    #[test]
    fn the_rate_is_read_from_csv() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET\",\"12345.67\",\"0.5\"\n";
        assert_eq!(set_rate(csv), Some(12_345.67));
        assert_eq!(set_rate("Could not connect"), None);
    }
}
