//! Regions as processes, and a client for their API.

use crate::proxy::Proxy;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const MERIDIAN: &str = env!("CARGO_BIN_EXE_meridian");

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct System {
    pub names: Vec<String>,
    pub directory: TempDir,
    agent: ureq::Agent,
    apis: Vec<SocketAddr>,
    links: Vec<SocketAddr>,
    processes: Vec<Option<Child>>,
    proxies: BTreeMap<(usize, usize), Proxy>,
    /// What else regions are started with.
    pub arguments: Vec<&'static str>,
}

/// What the API said.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub etag: Option<String>,
    pub session: Option<String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

/// Addresses that nobody listens on: each is given once, and none is among those that the system
/// gives to outgoing connections.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 8_000).expect("below the divisor");
    loop {
        let port = 22_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Runs `meridian` to its end, which must be a success.
pub fn meridian(arguments: &[&str]) -> String {
    let output = Command::new(MERIDIAN)
        .args(arguments)
        .output()
        .expect("meridian starts");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "meridian {arguments:?}: {talk}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs `meridian` to its end; its exit code and what it printed.
pub fn meridian_exit(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(MERIDIAN)
        .args(arguments)
        .output()
        .expect("meridian starts");
    let printed = String::from_utf8(output.stdout).expect("text");
    (output.status.code().expect("an exit"), printed)
}

/// Makes an authority with certificates for these regions.
pub fn certificates(directory: &Path, names: &[String]) {
    let at = directory.to_str().expect("a text path");
    meridian(&["certs", "authority", "--directory", at]);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    meridian(&[&["certs", "region"], &names[..], &["--directory", at]].concat());
}

/// A client's agent, which sends this token.
fn agent(token: Option<&str>) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(Duration::from_secs(20)))
        .timeout_connect(Some(Duration::from_secs(2)))
        .max_idle_connections_per_host(0);
    let Some(token) = token else {
        return config.build().into();
    };
    let bearer = format!("Bearer {token}");
    let bearer = ureq::http::HeaderValue::try_from(bearer).expect("a token is header text");
    let send = move |mut request: ureq::http::Request<ureq::SendBody<'_>>,
                     next: ureq::middleware::MiddlewareNext<'_>| {
        request
            .headers_mut()
            .insert("authorization", bearer.clone());
        next.handle(request)
    };
    config.middleware(send).build().into()
}

impl System {
    /// Starts these regions and waits until they take writes. `dataset` is TOML that goes into the
    /// dataset's section.
    pub fn start(names: &[&str], dataset: &str) -> Self {
        let mut system = Self::prepare(names, dataset);
        for region in 0..names.len() {
            system.start_region(region);
        }
        for region in 0..names.len() {
            system.wait_ready(region);
        }
        system
    }

    /// Writes topologies and certificates, and starts nothing.
    pub fn prepare(names: &[&str], dataset: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        certificates(&directory.path().join("certs"), &names);
        let apis: Vec<_> = names.iter().map(|_| free_address()).collect();
        let links: Vec<_> = names.iter().map(|_| free_address()).collect();
        let mut proxies = BTreeMap::new();
        for from in 0..names.len() {
            for to in (0..names.len()).filter(|to| *to != from) {
                proxies.insert((from, to), Proxy::start(links[to]));
            }
        }
        let processes = names.iter().map(|_| None).collect();
        let agent = agent(None);
        let system = Self {
            names,
            directory,
            agent,
            apis,
            links: links.clone(),
            processes,
            proxies,
            arguments: Vec::new(),
        };
        for own in 0..system.names.len() {
            let text = system.topology_of(own, &links, dataset);
            fs::write(system.topology_path(own), text).expect("a topology file");
        }
        system
    }

    /// From now on clients send this token.
    pub fn use_token(&mut self, token: &str) {
        self.agent = agent(Some(token));
    }

    fn topology_of(&self, own: usize, links: &[SocketAddr], dataset: &str) -> String {
        let certs = self.directory.path().join("certs");
        let certs = certs.display();
        let mut text = format!(
            "zone = \"meridian.test\"\n[tls]\nauthority = \"{certs}/authority.pem\"\n\
             certificate = \"{certs}/{{region}}.pem\"\nkey = \"{certs}/{{region}}.key.pem\"\n"
        );
        for (region, name) in self.names.iter().enumerate() {
            let link = self
                .proxies
                .get(&(own, region))
                .map_or(links[region], |proxy| proxy.address);
            text += &format!(
                "[[region]]\nname = \"{name}\"\nlocation = {{ latitude = 0.0, longitude = 0.0 }}\n\
                 api = \"{}\"\nlink = \"{link}\"\n",
                self.apis[region]
            );
        }
        text + "[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n" + dataset
    }

    pub fn topology_path(&self, region: usize) -> PathBuf {
        self.directory
            .path()
            .join(format!("{}.toml", self.names[region]))
    }

    pub fn data_dir(&self, region: usize) -> PathBuf {
        self.directory.path().join(&self.names[region])
    }

    fn talk_path(&self, region: usize) -> PathBuf {
        self.directory
            .path()
            .join(format!("{}.talk", self.names[region]))
    }

    /// What the region's processes have said on stderr.
    pub fn talk(&self, region: usize) -> String {
        fs::read_to_string(self.talk_path(region)).unwrap_or_default()
    }

    pub fn start_region(&mut self, region: usize) {
        let data_dir = self.data_dir(region);
        self.start_region_in(region, &data_dir);
    }

    /// Starts a region on another data directory than its own.
    pub fn start_region_in(&mut self, region: usize, data_dir: &Path) {
        self.start_release(region, Path::new(MERIDIAN), &[], data_dir);
    }

    /// Starts a region with a release of its own and more arguments.
    pub fn start_release(
        &mut self,
        region: usize,
        binary: &Path,
        arguments: &[&str],
        data_dir: &Path,
    ) {
        let mut talk = File::options();
        let talk = talk
            .create(true)
            .append(true)
            .open(self.talk_path(region))
            .expect("a file");
        let child = Command::new(binary)
            .args(["serve", "--region", &self.names[region], "--config"])
            .arg(self.topology_path(region))
            .arg("--data-dir")
            .arg(data_dir)
            .args(arguments)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(talk)
            .spawn();
        self.processes[region] = Some(child.expect("meridian starts"));
    }

    /// Starts a region that joins the others.
    pub fn start_joining(&mut self, region: usize) {
        let data_dir = self.data_dir(region);
        self.start_release(region, Path::new(MERIDIAN), &["--join"], &data_dir);
    }

    pub fn api(&self, region: usize) -> SocketAddr {
        self.apis[region]
    }

    pub fn link(&self, region: usize) -> SocketAddr {
        self.links[region]
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self, region: usize) {
        if let Some(mut child) = self.processes[region].take() {
            child.kill().expect("a signal");
            child.wait().expect("its end");
        }
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self, region: usize) {
        if let Some(mut child) = self.processes[region].take() {
            let id = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a signal");
            child.wait().expect("its end");
        }
    }

    pub fn process_id(&self, region: usize) -> u32 {
        self.processes[region]
            .as_ref()
            .expect("a running region")
            .id()
    }

    pub fn cut(&self, from: usize, to: usize) {
        self.proxies[&(from, to)].cut();
    }

    /// Cuts the links of two regions in both directions.
    pub fn part(&self, one: usize, other: usize) {
        self.cut(one, other);
        self.cut(other, one);
    }

    pub fn heal(&self) {
        self.proxies.values().for_each(Proxy::heal);
    }

    pub fn wait_ready(&self, region: usize) {
        self.until(&format!("{} is ready", self.names[region]), || {
            self.try_get(region, "/readyz")
                .is_some_and(|reply| reply.status == 200)
        });
    }

    /// Waits for something, and fails loudly when it doesn't come.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > deadline {
                let names = self.names.iter().enumerate();
                let talk = names.map(|(region, name)| format!("\n{name}: {}", self.talk(region)));
                panic!("in vain: {what}{}", talk.collect::<String>());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn api_url(&self, region: usize) -> String {
        format!("http://{}", self.apis[region])
    }

    pub fn client(&self, region: usize) -> Client {
        self.client_at(self.apis[region])
    }

    /// A client of a region that isn't the system's.
    pub fn client_at(&self, api: SocketAddr) -> Client {
        Client {
            agent: self.agent.clone(),
            api,
        }
    }

    pub fn try_get(&self, region: usize, path: &str) -> Option<Reply> {
        self.client(region).get(path).ok()
    }

    pub fn get(&self, region: usize, path: &str) -> Reply {
        self.client(region).get(path).expect("an answer")
    }

    pub fn put(&self, region: usize, key: &str, document: &str) -> Reply {
        self.client(region).put(key, document).expect("an answer")
    }

    pub fn checksum(&self, region: usize) -> Option<String> {
        let reply = self.try_get(region, "/v1/tables/rows/checksum")?;
        (reply.status == 200).then_some(reply.body)
    }

    /// Waits until a row is in each of these regions.
    pub fn wait_row(&self, key: &str, regions: &[usize]) {
        for region in regions {
            self.until("the row is there", || {
                let row = self.client(*region).row(key);
                row.is_ok_and(|row| row.status == 200)
            });
        }
    }

    /// Waits until these regions hold the same rows.
    pub fn wait_converged(&self, regions: &[usize]) {
        self.until("the regions converge", || {
            let mut checksums = regions.iter().map(|region| self.checksum(*region));
            let first = checksums.next().flatten();
            first.is_some() && checksums.all(|checksum| checksum == first)
        });
    }

    /// The state at `region` of the main dataset's stream from its peer, and what last went wrong.
    pub fn stream(&self, region: usize, peer: usize) -> (String, String) {
        self.stream_of(region, peer, "main")
    }

    /// The same of another dataset.
    pub fn stream_of(&self, region: usize, peer: usize, dataset: &str) -> (String, String) {
        let report = self.get(region, "/v1/replication").json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let is_wanted = |found: &Value| {
            found["peer"] == self.names[peer].as_str() && found["dataset"] == dataset
        };
        let found = find_peers(&report).into_iter().find(is_wanted);
        found.map_or_else(Default::default, |peer| {
            (text(&peer["state"]), text(&peer["last_error"]))
        })
    }
}

fn find_peers(report: &Value) -> Vec<Value> {
    match report {
        Value::Array(entries) => entries.clone(),
        Value::Object(fields) => fields
            .values()
            .find_map(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for region in 0..self.processes.len() {
            self.kill(region);
        }
    }
}

/// Talks to one region. All rows are in table `rows`.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    api: SocketAddr,
}

impl Client {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }

    pub fn get(&self, path: &str) -> Result<Reply, ureq::Error> {
        read(self.agent.get(self.url(path)).call()?)
    }

    pub fn row(&self, key: &str) -> Result<Reply, ureq::Error> {
        self.get(&format!("/v1/tables/rows/rows/{key}"))
    }

    /// Reads a row with these headers.
    pub fn row_with(&self, key: &str, headers: &[(&str, &str)]) -> Result<Reply, ureq::Error> {
        let request = self
            .agent
            .get(self.url(&format!("/v1/tables/rows/rows/{key}")));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        read(request.call()?)
    }

    /// Writes a row with these headers.
    pub fn put_with(
        &self,
        key: &str,
        headers: &[(&str, &str)],
        document: &str,
    ) -> Result<Reply, ureq::Error> {
        let request = self
            .agent
            .put(self.url(&format!("/v1/tables/rows/rows/{key}")));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        read(request.send(document)?)
    }

    pub fn put(&self, key: &str, document: &str) -> Result<Reply, ureq::Error> {
        self.put_at(&format!("/v1/tables/rows/rows/{key}"), document)
    }

    pub fn put_at(&self, path: &str, document: &str) -> Result<Reply, ureq::Error> {
        read(self.agent.put(self.url(path)).send(document)?)
    }

    pub fn put_if_match(
        &self,
        key: &str,
        document: &str,
        tags: &str,
    ) -> Result<Reply, ureq::Error> {
        let url = self.url(&format!("/v1/tables/rows/rows/{key}"));
        read(
            self.agent
                .put(url)
                .header("If-Match", tags)
                .send(document)?,
        )
    }

    pub fn post(&self, path: &str, body: &str) -> Result<Reply, ureq::Error> {
        read(self.agent.post(self.url(path)).send(body)?)
    }

    pub fn delete_at(&self, path: &str) -> Result<Reply, ureq::Error> {
        read(self.agent.delete(self.url(path)).call()?)
    }

    pub fn delete(&self, key: &str) -> Result<Reply, ureq::Error> {
        read(
            self.agent
                .delete(self.url(&format!("/v1/tables/rows/rows/{key}")))
                .call()?,
        )
    }

    pub fn increment(&self, key: &str, idempotency: &str) -> Result<Reply, ureq::Error> {
        let url = self.url(&format!("/v1/tables/rows/rows/{key}/increment"));
        let request = self.agent.post(url).header("Idempotency-Key", idempotency);
        read(request.send(r#"{"field":"n","by":1}"#)?)
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Reply, ureq::Error> {
    let etag = response
        .headers()
        .get("etag")
        .and_then(|etag| etag.to_str().ok());
    let etag = etag.map(|etag| etag.trim_matches('"').to_owned());
    let session = response.headers().get("meridian-session");
    let session = session.and_then(|token| Some(token.to_str().ok()?.to_owned()));
    let status = response.status().as_u16();
    Ok(Reply {
        status,
        etag,
        session,
        body: response.body_mut().read_to_string()?,
    })
}

/// A version's order: its clock, then its origin.
pub fn version(text: &str) -> (u64, u64) {
    let (hlc, origin) = text.split_once('-').expect("CLOCK-ORIGIN");
    (
        hlc.parse().expect("a number"),
        u64::from_str_radix(origin, 16).expect("a number"),
    )
}
