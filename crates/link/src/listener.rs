//! The listening end: lets in regions of this topology, and nobody else.
//!
//! Each TCP connection is one task until its peer is known, bounded in time
//! ([`Limits::handshake_timeout`](crate::Limits)) and in number. At the bound the *oldest* unknown
//! dialler gives way: an honest one is done within a few round trips, so whoever holds connections
//! half open shuts out others like itself first.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::allowed::Allowed;
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::preamble::{Hello, ReadError, Verdict};
use crate::rejection::{Rejected, Rejection, Rejections};
use crate::tls::{self, Fault};

/// After a failed accept, usually for want of file descriptors, trying at once would only spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long, and for how many bytes, a rejected dialler is still listened to. Closing with unread
/// bytes makes TCP reset the connection, and the reason could be lost on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// Why a listener does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be used.
    #[error(
        "cannot listen for other regions on {address}\n\nhint: another process may hold this port"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up with this identity.
    #[error("TLS cannot be set up with this region's certificates")]
    Tls(#[source] rustls::Error),
}

/// Accepts connections from other regions.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
    handshakes: JoinSet<Option<Connection>>,
    unknown: VecDeque<(AbortHandle, SocketAddr)>,
}

/// What every handshake needs.
struct Door {
    endpoint: Endpoint,
    allowed: Allowed,
    acceptor: TlsAcceptor,
    rejections: Rejections,
}

impl Listener {
    /// Listens on an address, for the regions in `allowed`; [`Listener::allowed`] changes them.
    pub async fn bind(
        endpoint: &Endpoint,
        address: SocketAddr,
        allowed: BTreeSet<String>,
    ) -> Result<Self, ListenError> {
        let config = tls::server_config(&endpoint.identity).map_err(ListenError::Tls)?;
        let bind_error = |source| ListenError::Bind { address, source };
        let tcp = TcpListener::bind(address).await.map_err(bind_error)?;
        Ok(Self {
            address: tcp.local_addr().map_err(bind_error)?,
            tcp,
            door: Arc::new(Door {
                endpoint: endpoint.clone(),
                allowed: Allowed::new(allowed),
                acceptor: TlsAcceptor::from(Arc::new(config)),
                rejections: Rejections::default(),
            }),
            handshakes: JoinSet::new(),
            unknown: VecDeque::new(),
        })
    }

    /// The address in use, with the port that the system chose if port 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// A handle on who is let in.
    pub fn allowed(&self) -> Allowed {
        self.door.allowed.clone()
    }

    /// A handle on the count of those turned away.
    pub fn rejections(&self) -> Rejections {
        self.door.rejections.clone()
    }

    /// Waits for the next connection from an allowed region. Dropping the future loses none.
    pub async fn accept(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    if let Some(connection) = finished(ended) {
                        return connection;
                    }
                }
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, address)) => self.start(stream, address),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_RETRY).await;
                    }
                },
            }
        }
    }

    fn start(&mut self, stream: TcpStream, address: SocketAddr) {
        self.unknown
            .retain(|(handshake, _)| !handshake.is_finished());
        if self.unknown.len() >= self.door.endpoint.limits.handshakes_max.max(1)
            && let Some((oldest, address)) = self.unknown.pop_front()
        {
            oldest.abort();
            let fault = Fault::new(Rejection::TooMany, "it was the oldest one unfinished");
            self.door.reject(address, None, fault);
        }
        let door = Arc::clone(&self.door);
        let handshake = self
            .handshakes
            .spawn(async move { door.admit(stream, address).await });
        self.unknown.push_back((handshake, address));
    }
}

fn finished(ended: Result<Option<Connection>, JoinError>) -> Option<Connection> {
    match ended {
        Ok(connection) => connection,
        Err(error) => {
            if error.is_panic() {
                tracing::error!(%error, "a handshake panicked");
            }
            None
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Refusal {
    fault: Fault,
    region: Option<String>,
    /// What is left to say good-bye on.
    stream: Box<dyn Stream>,
}

impl Door {
    async fn admit(&self, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
        let limit = self.endpoint.limits.handshake_timeout;
        match timeout(limit, self.greet(stream, address)).await {
            Ok(Ok(connection)) => Some(connection),
            Ok(Err(refusal)) => {
                self.reject(address, refusal.region, refusal.fault);
                linger(refusal.stream).await;
                None
            }
            Err(_) => {
                let detail = format!("it took longer than {} ms", limit.as_millis());
                self.reject(address, None, Fault::new(Rejection::Unfinished, detail));
                None
            }
        }
    }

    async fn greet(&self, tcp: TcpStream, address: SocketAddr) -> Result<Connection, Refusal> {
        if let Err(error) = tcp.set_nodelay(true) {
            return Err(refusal(Fault::new(Rejection::Unfinished, error), None, tcp));
        }
        let mut stream = match self.acceptor.accept(tcp).into_fallible().await {
            Ok(stream) => stream,
            Err((error, tcp)) => return Err(refusal(listener_fault(&error), None, tcp)),
        };
        let region = tls::peer_region(stream.get_ref().1);
        let known = region.clone().ok();
        match self.converse(&mut stream, region).await {
            Ok((peer, version)) => {
                let stream = stream.into();
                Ok(Connection::new(
                    &self.endpoint,
                    stream,
                    peer,
                    address,
                    version,
                ))
            }
            Err(fault) => Err(refusal(fault, known, stream)),
        }
    }

    /// Hears the dialler's hello and answers with this side's and the verdict.
    async fn converse(
        &self,
        stream: &mut TlsStream<TcpStream>,
        region: Result<String, Fault>,
    ) -> Result<(String, u16), Fault> {
        let hello = Hello::read(stream).await.map_err(|error| match error {
            ReadError::Io(error) => listener_fault(&error),
            ReadError::Preamble(error) => Fault::new(Rejection::Protocol, error),
        })?;
        let judged = region.and_then(|region| {
            let version = self.judge(&region, &hello)?;
            Ok((region, version))
        });
        if let Ok((peer, _)) = &judged {
            self.endpoint.shaping.peer(peer).both_open().await;
        }
        let verdict = match &judged {
            Ok((_, version)) => Verdict::Accepted { version: *version },
            Err(Fault { reason, detail }) => Verdict::Refused {
                reason: *reason,
                detail: detail.clone(),
            },
        };
        let mut answer = BytesMut::new();
        self.endpoint.hello().encode(&mut answer);
        verdict.encode(&mut answer);
        let written = match stream.write_all(&answer).await {
            Ok(()) => stream.flush().await,
            Err(error) => Err(error),
        };
        // The verdict on the dialler counts for more than its having gone away.
        let judged = judged?;
        written.map_err(|error| listener_fault(&error))?;
        Ok(judged)
    }

    fn judge(&self, region: &str, hello: &Hello) -> Result<u16, Fault> {
        let here = self.endpoint.identity.region();
        if !self.allowed.contains(region) {
            let detail = format!("region {region} is not a peer of {here}");
            return Err(Fault::new(Rejection::RegionNotAllowed, detail));
        }
        if hello.region != region {
            let detail = format!(
                "it calls itself {}, its certificate says {region}",
                hello.region
            );
            return Err(Fault::new(Rejection::NameMismatch, detail));
        }
        let ours = self.endpoint.versions;
        ours.common(hello.versions).ok_or_else(|| {
            let detail = format!(
                "{here} speaks wire version {ours}, {region} speaks {}",
                hello.versions
            );
            Fault::new(Rejection::Version, detail)
        })
    }

    fn reject(&self, address: SocketAddr, region: Option<String>, fault: Fault) {
        self.rejections.add(Rejected {
            reason: fault.reason,
            detail: fault.detail,
            address,
            region,
            at: SystemTime::now(),
        });
    }
}

fn refusal(fault: Fault, region: Option<String>, stream: impl Stream + 'static) -> Refusal {
    Refusal {
        fault,
        region,
        stream: Box::new(stream),
    }
}

/// An alert means that the dialler refused this side, whatever it says about the certificate.
fn listener_fault(error: &io::Error) -> Fault {
    let fault = tls::fault(error);
    if tls::is_alert(error) {
        return Fault::new(Rejection::RefusedUs, fault.detail);
    }
    fault
}

async fn linger(mut stream: Box<dyn Stream>) {
    // Whatever fails here, the dialler is gone already.
    let _ = timeout(LINGER, async {
        stream.shutdown().await?;
        let mut rest = stream.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    })
    .await;
}
