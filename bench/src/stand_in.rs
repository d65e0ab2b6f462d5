//! Regions that are none: in-memory servers with as much of the API as the clients here use. The
//! clients' tests run against them, and a client's own cost can be measured with a server that does
//! nothing else.
//!
//! A write is visible in its region at once and in the others after a delay; the greatest version
//! stands. Nothing is durable, and keys are taken as they stand in the path, not decoded.

use crate::cluster::Region;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::ETAG;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use meridian_model::{Hlc, OriginId, Version};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const NAMES: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

type Rows = BTreeMap<(String, String), (Version, Option<Bytes>)>;

/// What the stand-ins share.
#[derive(Default)]
struct World {
    clock: AtomicU64,
    rows: [Mutex<Rows>; 3],
    delay: Duration,
    /// Every so many-th delete is acknowledged and forgotten; 0 is none.
    forgotten_deletes: u64,
}

/// How the stand-ins behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// From written in one region to visible in the others.
    pub delay: Duration,
    /// Every so many-th delete is acknowledged and forgotten, which a checker must notice; 0 is none.
    pub forgotten_deletes: u64,
}

/// Starts three regions that live as long as the runtime.
///
/// # Errors
/// When a port can't be had.
pub async fn start(behaviour: Behaviour) -> std::io::Result<Vec<Region>> {
    let world = Arc::new(World {
        delay: behaviour.delay,
        forgotten_deletes: behaviour.forgotten_deletes,
        ..World::default()
    });
    let mut regions = Vec::new();
    for (index, name) in NAMES.into_iter().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        regions.push(Region {
            name,
            api: listener.local_addr()?,
        });
        let region = StandIn {
            index,
            world: world.clone(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(region.clone().serve(stream));
            }
        });
    }
    Ok(regions)
}

#[derive(Clone)]
struct StandIn {
    index: usize,
    world: Arc<World>,
}

impl StandIn {
    async fn serve(self, stream: TcpStream) {
        // As the clients do; a small reply would else wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| self.answer(request));
        // A client that goes away is no concern of a test's server.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map_or_else(|_| Bytes::new(), |body| body.to_bytes());
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let reply = match (head.method, path.as_slice()) {
            (Method::GET, ["v1", "tables", table, "rows"]) => self.first_row(table),
            (Method::GET, ["v1", "tables", table, "checksum"]) => self.checksum(table),
            (Method::GET, ["v1", "tables", table, "rows", key]) => self.row(table, key),
            (Method::PUT, ["v1", "tables", table, "rows", key]) => {
                let version = self.write(table, key, Some(body));
                with_etag(version, Bytes::new())
            }
            (Method::POST, ["v1", "transactions"]) => self.delete(&body),
            (Method::GET, ["v1", "replication"]) => {
                document(&json!({"region": NAMES[self.index], "peers": []}))
            }
            (Method::GET, ["v1", "conflicts"]) => document(&json!({"conflicts": [], "total": 0})),
            (Method::GET, ["readyz"]) => status(StatusCode::OK, ""),
            _ => status(StatusCode::NOT_FOUND, ""),
        };
        Ok(reply)
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.world.rows[self.index]
            .lock()
            .expect("no holder of the lock panics")
    }

    fn row(&self, table: &str, key: &str) -> Response<Full<Bytes>> {
        match self.rows().get(&(table.to_owned(), key.to_owned())) {
            Some((version, Some(document))) => with_etag(*version, document.clone()),
            _ => status(StatusCode::NOT_FOUND, ""),
        }
    }

    fn first_row(&self, table: &str) -> Response<Full<Bytes>> {
        let rows = self.rows();
        let row = rows.iter().find_map(|((of, key), (version, document))| {
            let document: Value = serde_json::from_slice(document.as_ref()?).ok()?;
            (of == table)
                .then(|| json!({"key": key, "version": version.to_string(), "document": document}))
        });
        document(&json!({"rows": row.into_iter().collect::<Vec<_>>(), "next": null}))
    }

    fn checksum(&self, table: &str) -> Response<Full<Bytes>> {
        let rows = self.rows();
        let mut hasher = DefaultHasher::new();
        let present = rows
            .iter()
            .filter(|((of, _), (_, document))| of == table && document.is_some());
        let count = present.inspect(|row| row.hash(&mut hasher)).count();
        document(&json!({"rows": count, "checksum": format!("{:016x}", hasher.finish())}))
    }

    /// The one transaction that clients here send: a single delete.
    fn delete(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let operation = &body["operations"][0];
        match (operation["table"].as_str(), operation["key"].as_str()) {
            (Some(table), Some(key)) if operation["op"] == "delete" => {
                let version = self.write(table, key, None);
                document(&json!({"version": version.to_string()}))
            }
            _ => status(StatusCode::UNPROCESSABLE_ENTITY, ""),
        }
    }

    fn write(&self, table: &str, key: &str, body: Option<Bytes>) -> Version {
        let reading = self.world.clock.fetch_add(1, Ordering::SeqCst) + 1;
        let version = Version {
            hlc: Hlc::from_raw(reading),
            origin: OriginId(self.index as u64),
        };
        let forgets = self.world.forgotten_deletes;
        if body.is_some() || forgets == 0 || !reading.is_multiple_of(forgets) {
            let key = (table.to_owned(), key.to_owned());
            self.world.apply(self.index, &key, version, body.as_ref());
            tokio::spawn(replicate(
                self.world.clone(),
                self.index,
                key,
                version,
                body,
            ));
        }
        version
    }
}

impl World {
    fn apply(&self, region: usize, key: &(String, String), version: Version, body: Option<&Bytes>) {
        let mut rows = self.rows[region]
            .lock()
            .expect("no holder of the lock panics");
        if rows.get(key).is_none_or(|(present, _)| *present < version) {
            rows.insert(key.clone(), (version, body.cloned()));
        }
    }
}

async fn replicate(
    world: Arc<World>,
    from: usize,
    key: (String, String),
    version: Version,
    body: Option<Bytes>,
) {
    if !world.delay.is_zero() {
        tokio::time::sleep(world.delay).await;
    }
    for region in (0..world.rows.len()).filter(|region| *region != from) {
        world.apply(region, &key, version, body.as_ref());
    }
}

fn status(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}

fn document(value: &Value) -> Response<Full<Bytes>> {
    Response::new(Full::new(value.to_string().into()))
}

fn with_etag(version: Version, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder()
        .header(ETAG, format!("\"{version}\""))
        .body(Full::new(body))
        .expect("a version is a valid header value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meridian::MeridianClient;

    #[tokio::test]
    async fn the_client_speaks_the_api() {
        let regions = start(Behaviour::default()).await.unwrap();
        let mut writer = MeridianClient::connect(regions[0].api, "t").await.unwrap();
        let mut reader = MeridianClient::connect(regions[1].api, "t").await.unwrap();
        assert_eq!(reader.row("a-b").await.unwrap(), None);
        let put = writer.put("a-b", "{\"n\":1}".into()).await.unwrap();
        while reader.row("a-b").await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let row = reader.row("a-b").await.unwrap().unwrap();
        assert_eq!((row.version, row.document), (put, "{\"n\":1}".into()));
        let checksum = reader.checksum().await.unwrap();
        assert_eq!(checksum.rows, 1);
        assert_eq!(checksum, writer.checksum().await.unwrap());
        assert!(reader.delete("a-b").await.unwrap() > Some(put));
        assert_eq!(reader.checksum().await.unwrap().rows, 0);
        assert_eq!(writer.conflicts().await.unwrap(), 0);
        assert!(writer.json("/v1/nothing").await.is_err());
    }
}
