//! `GET` of a URL: the status, what the body contains, and for how long the certificate is good.

use super::{Outcome, connect, plain};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use meridian_engine_postgres::server::root_certificates;
use meridian_topology::{Address, HttpProbe};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig};

/// The body is read up to here.
const BODY_BYTES_MAX: usize = 1 << 20;
const DAY: Duration = Duration::from_hours(24);

/// How servers are verified, worked out at the first probe that needs it.
#[derive(Default)]
pub(super) struct Tls(OnceLock<Verifying>);

struct Verifying {
    connector: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

pub(super) async fn probe(probe: &HttpProbe, tls: &Tls) -> Outcome {
    let uri: Uri = probe
        .url
        .parse()
        .map_err(|error| format!("{} is no URL: {error}", probe.url))?;
    let host = uri.host().unwrap_or_default();
    let is_encrypted = uri.scheme_str() == Some("https");
    let port = uri
        .port_u16()
        .unwrap_or(if is_encrypted { 443 } else { 80 });
    let address: Address = format!("{host}:{port}")
        .parse()
        .map_err(|_| format!("{} names no host", probe.url))?;
    let stream = connect(&address).await?;
    let response = if is_encrypted {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = tls.over(probe, bare, stream).await?;
        get(&uri, stream).await?
    } else {
        get(&uri, stream).await?
    };
    judge(probe, response).await
}

async fn get<S>(uri: &Uri, stream: S) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let no_http = |error: hyper::Error| format!("no HTTP answers there: {error}");
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .map_err(no_http)?;
    // It ends with the answer, and what it says is said to the sender too.
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "*/*")
        .header(USER_AGENT, concat!("meridian/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("{uri} can't be asked for: {error}"))?;
    sender.send_request(request).await.map_err(no_http)
}

async fn judge(probe: &HttpProbe, response: Response<Incoming>) -> Outcome {
    let status = response.status();
    if !is_right(probe, status) {
        let wanted: Vec<_> = probe.statuses.iter().map(ToString::to_string).collect();
        let wanted = match wanted.is_empty() {
            true => "200 to 299".to_owned(),
            false => wanted.join(" or "),
        };
        let got = status.as_u16();
        return Err(format!("status {got}, and {wanted} is wanted"));
    }
    let Some(text) = &probe.body else {
        return Ok(());
    };
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
    let body = body.collect().await;
    let body = body.map_err(|error| format!("the body can't be read: {error}"))?;
    let body = body.to_bytes();
    let contains = body
        .windows(text.len().max(1))
        .any(|window| window == text.as_bytes());
    match contains {
        true => Ok(()),
        false => Err(format!("the body does not contain {text:?}")),
    }
}

fn is_right(probe: &HttpProbe, status: StatusCode) -> bool {
    match probe.statuses.is_empty() {
        true => status.is_success(),
        false => probe.statuses.contains(&status.as_u16()),
    }
}

impl Tls {
    async fn over<S>(
        &self,
        probe: &HttpProbe,
        host: &str,
        stream: S,
    ) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let verifying = match self.0.get() {
            Some(verifying) => verifying,
            None => {
                let made = Verifying::new(probe)?;
                self.0.get_or_init(|| made)
            }
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate could have"))?;
        let stream = verifying.connector.connect(name.clone(), stream).await;
        let stream = stream.map_err(|error| format!("TLS failed: {}", plain(&error)))?;
        verifying.check_days(probe.certificate_days_min, &name, &stream)?;
        Ok(stream)
    }
}

impl Verifying {
    fn new(probe: &HttpProbe) -> Result<Self, String> {
        let roots = root_certificates(probe.root_certificates.as_deref());
        let roots = Arc::new(roots.map_err(|error| error.to_string())?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let verifier = verifier.map_err(|error| format!("TLS can't be set up: {error}"))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS can't be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            verifier,
        })
    }

    /// Whether the certificate would still be good in so many days: by verifying it as of then.
    fn check_days<S>(
        &self,
        days_min: u32,
        name: &ServerName<'_>,
        stream: &TlsStream<S>,
    ) -> Outcome {
        let Some([own, chain @ ..]) = stream.get_ref().1.peer_certificates() else {
            return Ok(());
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let is_good_in = |days: u32| {
            let then = UnixTime::since_unix_epoch(now + DAY * days);
            let verified = self
                .verifier
                .verify_server_cert(own, chain, name, &[], then);
            verified.is_ok()
        };
        if days_min == 0 || is_good_in(days_min) {
            return Ok(());
        }
        // It is good now, and no more in `days_min` days.
        let (mut good, mut bad) = (0, days_min);
        while bad - good > 1 {
            let between = good + (bad - good) / 2;
            match is_good_in(between) {
                true => good = between,
                false => bad = between,
            }
        }
        Err(format!(
            "its certificate is good for {good} more days, and {days_min} are wanted"
        ))
    }
}
