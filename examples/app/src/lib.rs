//! A small application that runs in every region, as `meridian up` starts it: it says which region
//! answers, counts visits and keeps notes, all in tables of its own region.
//!
//! ```text
//! client ─DNS─▶ nearest region ─HTTP─▶ app ─HTTP─▶ the region's API ─▶ tables, the same everywhere
//! ```
//!
//! It knows its own region only. That a visit in one region shows in the others, that increments on
//! both sides of an ocean add up, and that clients are sent elsewhere when a region is lost is not its
//! work.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /` | the region's name and the visits of each region |
//! | `POST /` | counts a visit in this region |
//! | `GET`, `PUT`, `DELETE /notes/KEY` | a note, a JSON document |
//! | `GET /healthz` | 200 where the region serves reads and writes, else 503 |

mod api;

pub use api::{Api, ApiError};

use api::Reply;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::routing::get;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The tables in which the application keeps its rows, over the region's API.
pub const TABLES: [&str; 2] = [VISITS, NOTES];

const VISITS: &str = "visits";
const NOTES: &str = "notes";
/// The row that counts them.
const VISITS_KEY: &str = "app";
const REGION: HeaderName = HeaderName::from_static("meridian-region");

/// What the application is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region that it runs in.
    pub region: String,
    /// That region's API.
    pub api: SocketAddr,
}

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("the sample application can't listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Takes the application's addresses.
///
/// # Errors
/// [`BindError`] naming the one that isn't to be had.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let address = *address;
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|source| BindError { address, source })?);
    }
    Ok(listeners)
}

/// Serves at all of them, for as long as it is polled.
pub async fn serve(listeners: Vec<TcpListener>, settings: Settings) {
    let router = router(settings);
    let mut servers = JoinSet::new();
    for listener in listeners {
        servers.spawn(axum::serve(listener, router.clone()).into_future());
    }
    while servers.join_next().await.is_some() {}
}

/// The application itself.
pub fn router(settings: Settings) -> Router {
    let note = get(read_note).put(write_note).delete(remove_note);
    Router::new()
        .route("/", get(visits).post(visit))
        .route("/notes/{key}", note)
        .route("/healthz", get(health))
        .with_state(App {
            api: Api::at(settings.api),
            region: settings.region,
        })
}

#[derive(Clone)]
struct App {
    region: String,
    api: Api,
}

async fn visits(State(app): State<App>) -> Response<Body> {
    let path = row(VISITS, VISITS_KEY);
    let reply = app.api.ask(Method::GET, &path, Bytes::new()).await;
    app.visits(reply)
}

async fn visit(State(app): State<App>) -> Response<Body> {
    let increment = json!({ "field": app.region, "by": 1 });
    let path = format!("{}/increment", row(VISITS, VISITS_KEY));
    let reply = app.api.ask(Method::POST, &path, text(&increment)).await;
    app.visits(reply)
}

async fn read_note(State(app): State<App>, Path(key): Path<String>) -> Response<Body> {
    app.note(Method::GET, &key, Bytes::new()).await
}

async fn write_note(
    State(app): State<App>,
    Path(key): Path<String>,
    note: Bytes,
) -> Response<Body> {
    app.note(Method::PUT, &key, note).await
}

async fn remove_note(State(app): State<App>, Path(key): Path<String>) -> Response<Body> {
    app.note(Method::DELETE, &key, Bytes::new()).await
}

async fn health(State(app): State<App>) -> Response<Body> {
    let reply = app.api.ask(Method::GET, "/readyz", Bytes::new()).await;
    match reply {
        Ok(reply) if reply.status == StatusCode::OK => {
            app.reply(StatusCode::OK, text(&json!({ "region": app.region })))
        }
        Ok(reply) => app.reply(StatusCode::SERVICE_UNAVAILABLE, reply.body),
        Err(error) => app.unavailable(&error),
    }
}

impl App {
    /// The row of visits, as the front page shows it; none have been counted where there is no row.
    fn visits(&self, reply: Result<Reply, ApiError>) -> Response<Body> {
        let visits = match reply {
            Ok(reply) if reply.status.is_success() => {
                serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
            }
            Ok(reply) if has_no_row(&reply) => json!({}),
            Ok(reply) => return self.reply(reply.status, reply.body),
            Err(error) => return self.unavailable(&error),
        };
        let page = json!({ "service": "app", "region": self.region, "visits": visits });
        self.reply(StatusCode::OK, text(&page))
    }

    async fn note(&self, method: Method, key: &str, note: Bytes) -> Response<Body> {
        match self.api.ask(method, &row(NOTES, key), note).await {
            Ok(reply) => self.reply(reply.status, reply.body),
            Err(error) => self.unavailable(&error),
        }
    }

    fn unavailable(&self, error: &ApiError) -> Response<Body> {
        let page = json!({ "service": "app", "region": self.region, "error": error.to_string() });
        self.reply(StatusCode::SERVICE_UNAVAILABLE, text(&page))
    }

    fn reply(&self, status: StatusCode, body: Bytes) -> Response<Body> {
        let mut reply = Response::new(Body::from(body));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        // A region's name is a DNS label.
        if let Ok(region) = HeaderValue::from_str(&self.region) {
            headers.insert(REGION, region);
        }
        reply
    }
}

/// Whether the table is there and the row isn't; where the table isn't, nothing can be counted.
fn has_no_row(reply: &Reply) -> bool {
    let problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    reply.status == StatusCode::NOT_FOUND && problem["type"] == "/problems/row-not-found"
}

fn text(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

/// Where a row is in the API.
fn row(table: &str, key: &str) -> String {
    format!("/v1/tables/{table}/rows/{}", encoded(key))
}

/// A key as a segment of a path: what isn't unreserved (RFC 3986 §2.3) is escaped.
fn encoded(key: &str) -> String {
    let escape = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(octet).to_string()
        }
        _ => format!("%{octet:02X}"),
    };
    key.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::Request;
    use axum::routing::any;
    use http_body_util::BodyExt as _;
    use std::net::Ipv4Addr;
    use tower::ServiceExt as _;

    /// A region's API that answers every path with what it was asked.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route(
            "/{*path}",
            any(|request: Request| async move {
                let asked = format!("{} {}", request.method(), request.uri());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null);
                text(&json!({ "asked": asked, "body": body }))
            }),
        );
        tokio::spawn(axum::serve(listener, router).into_future());
        address
    }

    async fn ask(api: SocketAddr, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let settings = Settings {
            region: "eu-west-1".to_owned(),
            api,
        };
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let reply = router(settings).oneshot(request).await.unwrap();
        assert_eq!(reply.headers()[REGION], "eu-west-1");
        let status = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_visit_counts_in_the_field_of_its_region() {
        let api = echo().await;
        let (status, page) = ask(api, Method::POST, "/", "").await;
        assert_eq!(
            (status, &page["region"]),
            (StatusCode::OK, &json!("eu-west-1"))
        );
        let expected = json!({
            "asked": "POST /v1/tables/visits/rows/app/increment",
            "body": { "field": "eu-west-1", "by": 1 },
        });
        assert_eq!(page["visits"], expected);
    }

    #[tokio::test]
    async fn a_note_is_a_row_whatever_its_key() {
        let api = echo().await;
        let (_, said) = ask(api, Method::PUT, "/notes/a%2Fb%20c", "{\"n\":1}").await;
        assert_eq!(said["asked"], "PUT /v1/tables/notes/rows/a%2Fb%20c");
        assert_eq!(said["body"], json!({ "n": 1 }));
    }

    /// A region's API that finds nothing, for this reason.
    async fn without(kind: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let problem =
            move || async move { (StatusCode::NOT_FOUND, text(&json!({ "type": kind }))) };
        let router = Router::new().fallback(problem);
        tokio::spawn(axum::serve(listener, router).into_future());
        address
    }

    #[tokio::test]
    async fn only_where_the_table_is_there_nobody_has_visited() {
        let api = without("/problems/row-not-found").await;
        let (status, page) = ask(api, Method::GET, "/", "").await;
        assert_eq!((status, &page["visits"]), (StatusCode::OK, &json!({})));

        let api = without("/problems/table-not-served").await;
        for method in [Method::GET, Method::POST] {
            let (status, page) = ask(api, method, "/", "").await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert_eq!(page["type"], "/problems/table-not-served");
        }
    }

    #[tokio::test]
    async fn without_its_region_it_is_not_healthy() {
        let nobody = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        for path in ["/", "/healthz", "/notes/1"] {
            let (status, page) = ask(address, Method::GET, path, "").await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(page["region"], "eu-west-1");
        }
    }
}
