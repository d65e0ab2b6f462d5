//! A dataset that begins with a copy of a peer's tables, over a real link, while the peer is written
//! to; then it runs, and has everything.

use meridian_engine_kv::{Limits, Strategies};
use meridian_link::{
    Authority, Connection, Dialer, Endpoint, Identity, IdentityPaths, WireVersions,
};
use meridian_model::{
    Answer, Envelope, Message, Question, RegionName, WIRE_VERSION_MAX, WIRE_VERSION_MIN,
};
use meridian_node::dataset::{
    AskError, AskPeers, BootstrapProgress, DatasetConfig, bootstrap, needs_bootstrap,
};
use meridian_node::faults::DiskLevers;
use meridian_node::{Serve, Wan, serve};
use meridian_replicate::Config;
use meridian_topology::{Promises, Topology};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

/// An address below those that the system gives to clients.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 4_000).unwrap();
    loop {
        let port = 17_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 4_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

struct System {
    directory: tempfile::TempDir,
    topology: Topology,
    /// What a's file says, where b joins.
    founding: Option<Topology>,
    apis: [SocketAddr; 2],
    links: [SocketAddr; 2],
}

impl System {
    fn new() -> Self {
        Self::with("", &["a", "b"])
    }

    fn with(limits: &str, founders: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let authority = Authority::create(SystemTime::now()).unwrap();
        authority.write(at).unwrap();
        for region in ["a", "b"] {
            let issued = authority.issue(region, SystemTime::now()).unwrap();
            issued.write(at).unwrap();
        }
        let apis = [free_address(), free_address()];
        let links = [free_address(), free_address()];
        let file = |regions: &[&str]| {
            let mut text = "zone = \"meridian.test\"\n[tls]\nauthority = \"authority.pem\"\n\
                            certificate = \"{region}.pem\"\nkey = \"{region}.key.pem\"\n"
                .to_owned();
            for (index, region) in regions.iter().enumerate() {
                text += &format!(
                    "[[region]]\nname = \"{region}\"\nlocation = {{ latitude = 0.0, longitude = 0.0 }}\n\
                     api = \"{}\"\nlink = \"{}\"\n",
                    apis[index], links[index]
                );
            }
            text += &format!("[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n{limits}");
            Topology::parse(&text, &at.join("meridian.toml")).unwrap()
        };
        Self {
            topology: file(&["a", "b"]),
            founding: (founders.len() == 1).then(|| file(founders)),
            directory,
            apis,
            links,
        }
    }

    fn start(&self, region: &str) -> Running {
        let founding = self.founding.as_ref().filter(|_| region == "a");
        let serving = Serve {
            topology_file: None,
            topology: founding.unwrap_or(&self.topology).clone(),
            region: region.to_owned(),
            data_dir: self.directory.path().join(region),
            wan: Wan::None,
            wire_version_max: WIRE_VERSION_MAX,
            allow_faults: false,
            geo: None,
            join: self.founding.is_some() && region == "b",
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async move { drop(stopped.await) };
            serve(serving, shutdown).await.unwrap();
        });
        Running { stop, task }
    }

    /// The dataset of region b.
    fn joining(&self) -> DatasetConfig {
        DatasetConfig {
            name: "main".to_owned(),
            directory: self.directory.path().join("b/datasets/main"),
            replica: Config {
                region: RegionName::new("b"),
                regions: ["a", "b"].map(RegionName::new).to_vec(),
                arrival: meridian_replicate::Arrival::Founding,
                evict_after: None,
                log_bytes_max: 1 << 30,
                log_bytes_limit: 1 << 31,
                drift_max: Duration::from_millis(500),
                report_interval: Duration::from_millis(500),
                settle: Duration::ZERO,
                log_retention: Duration::ZERO,
                wire_version: WIRE_VERSION_MAX,
                witnesses: std::collections::BTreeSet::new(),
            },
            limits: Limits::default(),
            promises: Promises::default(),
            strategies: Strategies::default(),
            disk: DiskLevers::default(),
            stop_at_dead_letters: false,
            postgres: None,
            repair: meridian_node::dataset::RepairConfig::default(),
            nearest: Vec::new(),
        }
    }

    /// A connection that b dials to a.
    async fn link(&self) -> Link {
        let at = self.directory.path();
        let paths = IdentityPaths {
            authority: at.join("authority.pem"),
            certificate: at.join("b.pem"),
            key: at.join("b.key.pem"),
        };
        let identity = Identity::load("b", &paths, SystemTime::now()).unwrap();
        let endpoint = Endpoint {
            versions: WireVersions {
                lowest: WIRE_VERSION_MIN,
                highest: WIRE_VERSION_MAX,
            },
            ..Endpoint::new(identity)
        };
        let dialer = Dialer::new(&endpoint).unwrap();
        let connect = async || dialer.connect("a", &self.links[0].to_string()).await.ok();
        // It may have yet to hear that it has a new member.
        let dialled = async {
            loop {
                match connect().await {
                    Some(connection) => break connection,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let connection = tokio::time::timeout(PATIENCE, dialled).await;
        Link(Mutex::new((0, connection.expect("a lets it in"))))
    }

    async fn wait_ready(&self, region: usize) {
        self.until(async || {
            let reply = try_http(self.apis[region], "GET", "/readyz", "").await;
            reply.is_some_and(|(status, _)| status == 200)
        })
        .await;
    }

    async fn until(&self, holds: impl AsyncFn() -> bool) {
        let wait = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("in vain");
    }

    async fn get(&self, region: usize, path: &str) -> Value {
        let (status, body) = try_http(self.apis[region], "GET", path, "").await.unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn write(&self, operations: Vec<Value>) {
        let body = json!({ "operations": operations }).to_string();
        let reply = try_http(self.apis[0], "POST", "/v1/transactions", &body).await;
        let (status, body) = reply.unwrap();
        assert_eq!(status, 200, "{body}");
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }
}

/// Questions over a connection of their own; only region a is there.
struct Link(Mutex<(u64, Connection)>);

impl AskPeers for Link {
    async fn ask(
        &self,
        peer: &RegionName,
        question: Question,
        _timeout: Duration,
    ) -> Result<Answer, AskError> {
        if peer.as_str() != "a" {
            return Err(AskError::Unreachable {
                peer: peer.clone(),
                reason: "it is cut off".to_owned(),
            });
        }
        let mut link = self.0.lock().await;
        let (last, connection) = &mut *link;
        *last += 1;
        let envelope = Envelope {
            dataset: "main".to_owned(),
            message: Message::Ask {
                id: *last,
                question,
            },
        };
        connection.sender.send(envelope.encode()).await.unwrap();
        loop {
            let bytes = connection.receiver.recv().await.unwrap().unwrap();
            match Envelope::decode(&bytes).unwrap().message {
                Message::Answer { id, answer } if id == *last => return Ok(answer),
                _ => {}
            }
        }
    }
}

async fn try_http(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

fn put(key: usize, words: &str) -> Value {
    let document = json!({ "n": key, "text": words.repeat(500) });
    json!({ "op": "put", "table": "t", "key": format!("k{key:04}"), "document": document })
}

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, and a word about it, where this user may not mount.
    #[expect(clippy::print_stderr, reason = "a test that can't run here says so")]
    fn mount(at: PathBuf, mebibytes: u64) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&at)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: this user may not mount a file system");
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A link behind which the joining region's disk fills, to the last byte, before the answer to one
/// question is there.
struct Filling<'a> {
    link: &'a Link,
    asked: AtomicU16,
    full_at: u16,
    filler: &'a Path,
}

impl AskPeers for Filling<'_> {
    async fn ask(
        &self,
        peer: &RegionName,
        question: Question,
        timeout: Duration,
    ) -> Result<Answer, AskError> {
        if self.asked.fetch_add(1, Ordering::Relaxed) == self.full_at {
            let mut filler = File::create(self.filler).unwrap();
            for piece in [1 << 16, 1] {
                while filler.write_all(&vec![1; piece]).is_ok() {}
            }
        }
        self.link.ask(peer, question, timeout).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_under_a_copy_takes_it_once_there_is_room() {
    let system = System::new();
    let Some(disk) = SmallDisk::mount(system.directory.path().join("b"), 160) else {
        return;
    };
    let a = system.start("a");
    system.wait_ready(0).await;
    // Some parts, of what doesn't compress.
    let mut random = fastrand::Rng::with_seed(1);
    for batch in 0..8 {
        let mut row = |row: usize| {
            let text: String = std::iter::repeat_with(|| random.alphanumeric())
                .take(50_000)
                .collect();
            let key = format!("k{:04}", batch * 10 + row);
            json!({ "op": "put", "table": "t", "key": key, "document": text })
        };
        system.write((0..10).map(&mut row).collect()).await;
    }

    let config = system.joining();
    let filler = disk.0.join("filler");
    let link = system.link().await;
    // Under the first part, one in the middle, and the last one.
    for full_at in [0, 1, 3] {
        if config.directory.exists() {
            std::fs::remove_dir_all(&config.directory).unwrap();
        }
        let filling = Filling {
            link: &link,
            asked: AtomicU16::new(0),
            full_at,
            filler: &filler,
        };
        let mut waited = 0;
        let note = |progress: BootstrapProgress| {
            if let Some(lack) = progress.waits_for_room {
                let is_clear = lack.contains("are free") || lack.contains("is full");
                assert!(is_clear, "{lack}");
                let whole = matches!(needs_bootstrap(&config.directory), Ok(false));
                assert!(!whole, "half a copy counts for a whole one");
                waited += 1;
                let _ = std::fs::remove_file(&filler);
            }
        };
        let candidates = vec![RegionName::new("a")];
        let filled = bootstrap(&config, &filling, candidates, note);
        tokio::time::timeout(PATIENCE, filled)
            .await
            .expect("in vain")
            .unwrap();
        assert!(waited > 0, "it never filled at question {full_at}");
        assert!(!needs_bootstrap(&config.directory).unwrap());
    }
    drop(link);
    let b = system.start("b");
    system.wait_ready(1).await;
    let checksum = "/v1/tables/t/checksum";
    let expected = system.get(0, checksum).await;
    assert_eq!(expected["rows"], 80);
    system
        .until(async || system.get(1, checksum).await == expected)
        .await;
    b.stop().await;
    a.stop().await;
}

fn first_log_file(directory: &Path) -> String {
    let files = std::fs::read_dir(directory.join("log")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".log")).min().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_with_a_copy_and_gets_the_rest_by_the_stream() {
    let system = System::new();
    let a = system.start("a");
    system.wait_ready(0).await;
    for batch in 0..10 {
        let rows = (0..100).map(|row| put(batch * 100 + row, "word "));
        system.write(rows.collect()).await;
    }
    let deleted = json!({ "op": "delete", "table": "t", "key": "k0003" });
    let counted = json!({ "op": "increment", "table": "t", "key": "c", "field": "n", "by": 5 });
    system.write(vec![deleted, counted.clone()]).await;

    let config = system.joining();
    assert!(needs_bootstrap(&config.directory).unwrap());
    let link = system.link().await;
    // Given up in the middle: what is there is no dataset.
    let candidates = ["c", "a"].map(RegionName::new).to_vec();
    // With its first rows, before it can ask for the rest.
    let has_some = Notify::new();
    let note = |progress: BootstrapProgress| {
        if progress.records > 0 {
            has_some.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = has_some.notified() => {}
        done = bootstrap(&config, &link, candidates.clone(), note) => panic!("ended: {done:?}"),
    }
    // Written after that view, and under the second one.
    system.write(vec![counted.clone(), put(7, "other ")]).await;
    let has_released = async || needs_bootstrap(&config.directory).is_ok();
    system.until(has_released).await;
    assert!(needs_bootstrap(&config.directory).unwrap());

    let mut attempts = 0;
    let note = |progress: BootstrapProgress| attempts = progress.attempt;
    let filled = bootstrap(&config, &link, candidates, note);
    tokio::time::timeout(PATIENCE, filled)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(attempts, 2, "nobody is at c");
    assert!(!needs_bootstrap(&config.directory).unwrap());
    system.write(vec![counted, put(8, "tail ")]).await;
    drop(link);

    let b = system.start("b");
    system.wait_ready(1).await;
    let checksum = "/v1/tables/t/checksum";
    let expected = system.get(0, checksum).await;
    assert_eq!(expected["rows"], 1000);
    system
        .until(async || system.get(1, checksum).await == expected)
        .await;
    assert_eq!(
        system.get(1, "/v1/tables/t/rows/c").await,
        json!({ "n": 15 })
    );
    assert_ne!(
        first_log_file(&config.directory),
        "00000000000000000000.log",
        "its log begins where the copy ends"
    );
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_whose_copy_is_too_old_copies_anew() {
    let limits = "[dataset.limits]\ntransaction-bytes-max = \"1MiB\"\nlog-bytes-max = \"12MiB\"\n\
                  log-reserve-bytes = \"2MiB\"\n";
    let system = System::with(limits, &["a"]);
    let a = system.start("a");
    system.wait_ready(0).await;
    let write = async |from: usize| {
        let rows = (0..100).map(|row| put(from + row, "word "));
        system.write(rows.collect()).await;
    };
    write(0).await;
    let (api, link) = (system.apis[1].to_string(), system.links[1].to_string());
    let body = json!({ "name": "b", "api": api, "link": link }).to_string();
    let reply = try_http(system.apis[0], "POST", "/v1/regions", &body).await;
    assert_eq!(reply.as_ref().map(|it| it.0), Some(202), "{reply:?}");
    let is_expected = async || {
        let regions = system.get(0, "/v1/regions").await;
        let members = regions["datasets"][0]["members"].as_array().cloned();
        members.is_some_and(|members| members.len() == 2)
    };
    system.until(is_expected).await;
    let config = system.joining();
    let link = system.link().await;
    let filled = bootstrap(&config, &link, vec![RegionName::new("a")], |_| {});
    tokio::time::timeout(PATIENCE, filled)
        .await
        .unwrap()
        .unwrap();
    drop(link);
    // The log's budget is used up while b has yet to begin, and no client is refused.
    for batch in 1..60 {
        write(batch * 100).await;
    }
    let mark = config.directory.with_file_name("main.joining");
    std::fs::write(mark, r#"{"set_aside":null}"#).unwrap();
    let began_at = first_log_file(&config.directory);
    let b = system.start("b");
    system.wait_ready(1).await;
    let checksum = "/v1/tables/t/checksum";
    let expected = system.get(0, checksum).await;
    assert_eq!(expected["rows"], 6000);
    system
        .until(async || system.get(1, checksum).await == expected)
        .await;
    assert_ne!(first_log_file(&config.directory), began_at);
    b.stop().await;
    a.stop().await;
}
