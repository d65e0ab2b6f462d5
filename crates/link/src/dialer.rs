//! The dialling end: reaches a region, makes sure it is that one, and says why when it cannot.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::certs::{host_name, is_region_name};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::preamble::{Hello, ReadError, Verdict, WireVersions};
use crate::rejection::Rejection;
use crate::tls;

/// Why a region could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name to dial is no region name.
    #[error("{name:?} is not a region name")]
    RegionName {
        /// The name.
        name: String,
    },
    /// There is no TCP connection.
    #[error("{peer} at {address} cannot be reached")]
    Unreachable {
        /// The region dialled.
        peer: String,
        /// Where.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Nothing was refused and nothing came.
    #[error("{peer} at {address} did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// The region dialled.
        peer: String,
        /// Where.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// Another region answered.
    #[error("dialled {dialled}, but {reached} answered")]
    WrongRegion {
        /// The region dialled.
        dialled: String,
        /// The region whose certificate was shown.
        reached: String,
    },
    /// This side does not trust the peer's certificate.
    #[error("the certificate of {peer} is not accepted: {reason} ({detail})")]
    PeerCertificate {
        /// The region dialled.
        peer: String,
        /// What is wrong with it.
        reason: Rejection,
        /// More, for people.
        detail: String,
    },
    /// The peer does not let this side in.
    #[error("{peer} refuses this region: {reason} ({detail})")]
    Refused {
        /// The region dialled.
        peer: String,
        /// Why.
        reason: Rejection,
        /// In the peer's words.
        detail: String,
    },
    /// The two releases have no wire version in common.
    #[error("this region speaks wire version {ours}, {peer} speaks {theirs}")]
    Version {
        /// The region dialled.
        peer: String,
        /// What this side speaks.
        ours: WireVersions,
        /// What the peer speaks.
        theirs: WireVersions,
    },
    /// Something else answers there.
    #[error("what answers at {address} is not the link of {peer}: {detail}")]
    NotMeridian {
        /// The region dialled.
        peer: String,
        /// Where.
        address: String,
        /// What was seen.
        detail: String,
    },
    /// The peer went away before it said yes or no.
    #[error("{peer} went away during the handshake")]
    Lost {
        /// The region dialled.
        peer: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl DialError {
    /// What a person may do about it; `None` where waiting is all.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::RegionName { .. } => Some("region names are lower-case DNS labels"),
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                Some("check that the region runs, and its address and firewall")
            }
            Self::Lost { .. } => None,
            Self::WrongRegion { .. } => Some("check the addresses of both regions in the topology"),
            Self::PeerCertificate { reason, .. } | Self::Refused { reason, .. } => match reason {
                Rejection::OtherAuthority => Some("all regions need certificates of one authority"),
                Rejection::OutsideValidity => {
                    Some("renew the certificate with `meridian certs`, or set the clock right")
                }
                Rejection::RegionNotAllowed => Some(
                    "it has to be added there first, unless both regions are to have the same topology",
                ),
                _ => Some("issue the region's certificate anew with `meridian certs`"),
            },
            Self::Version { .. } => Some("upgrade the older release; one step apart they agree"),
            Self::NotMeridian { .. } => {
                Some("the address must be the region's link port, not its API")
            }
        }
    }
}

/// Dials other regions.
#[derive(Clone)]
pub struct Dialer {
    endpoint: Endpoint,
    connector: TlsConnector,
}

impl Dialer {
    /// A dialler that shows the endpoint's identity.
    pub fn new(endpoint: &Endpoint) -> Result<Self, rustls::Error> {
        let config = tls::client_config(&endpoint.identity)?;
        Ok(Self {
            endpoint: endpoint.clone(),
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Connects to a region at `HOST:PORT`; done once that region has agreed.
    pub async fn connect(&self, peer: &str, address: &str) -> Result<Connection, DialError> {
        let server_name = ServerName::try_from(host_name(peer))
            .ok()
            .filter(|_| is_region_name(peer))
            .ok_or_else(|| DialError::RegionName {
                name: peer.to_owned(),
            })?;
        let attempt = Attempt {
            endpoint: &self.endpoint,
            peer,
            address,
        };
        let (tcp, remote) = attempt.in_time(attempt.reach()).await?;
        let stream = attempt.in_time(async {
            let connected = self.connector.connect(server_name, tcp).await;
            let mut stream = connected.map_err(|error| attempt.handshake_error(error))?;
            let version = attempt.converse(&mut stream).await?;
            Ok((stream, version))
        });
        let (stream, version) = stream.await?;
        Ok(Connection::new(
            &self.endpoint,
            stream.into(),
            peer.to_owned(),
            remote,
            version,
        ))
    }
}

struct Attempt<'a> {
    endpoint: &'a Endpoint,
    peer: &'a str,
    address: &'a str,
}

impl Attempt<'_> {
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        let after = self.endpoint.limits.handshake_timeout;
        match timeout(after, work).await {
            Ok(done) => done,
            Err(_) => Err(DialError::TimedOut {
                peer: self.peer.to_owned(),
                address: self.address.to_owned(),
                after,
            }),
        }
    }

    async fn reach(&self) -> Result<(TcpStream, SocketAddr), DialError> {
        self.endpoint.shaping.peer(self.peer).both_open().await;
        let connected = async {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            let remote = tcp.peer_addr()?;
            Ok((tcp, remote))
        };
        connected.await.map_err(|source| DialError::Unreachable {
            peer: self.peer.to_owned(),
            address: self.address.to_owned(),
            source,
        })
    }

    async fn converse(&self, stream: &mut TlsStream<TcpStream>) -> Result<u16, DialError> {
        // Checked beyond what TLS does: a certificate with a wildcard fits any name.
        let reached = tls::peer_region(stream.get_ref().1).map_err(|fault| self.bad_peer(fault))?;
        if reached != self.peer {
            return Err(self.wrong_region(reached));
        }
        let ours = self.endpoint.hello();
        let mut greeting = BytesMut::new();
        ours.encode(&mut greeting);
        let written = match stream.write_all(&greeting).await {
            Ok(()) => stream.flush().await,
            Err(error) => Err(error),
        };
        // A listener that refuses this side's certificate says so only now, in TLS 1.3; where writing
        // failed for that, reading still finds the reason.
        let theirs = Hello::read(stream).await.map_err(|e| self.read_error(e))?;
        written.map_err(|error| self.handshake_error(error))?;
        let verdict = Verdict::read(stream)
            .await
            .map_err(|error| self.read_error(error))?;
        match verdict {
            Verdict::Refused {
                reason: Rejection::Version,
                ..
            } => Err(DialError::Version {
                peer: self.peer.to_owned(),
                ours: ours.versions,
                theirs: theirs.versions,
            }),
            Verdict::Refused { reason, detail } => Err(DialError::Refused {
                peer: self.peer.to_owned(),
                reason,
                detail,
            }),
            Verdict::Accepted { version }
                if ours.versions.common(theirs.versions) == Some(version) =>
            {
                Ok(version)
            }
            Verdict::Accepted { version } => {
                Err(self.not_meridian(format!("it chose wire version {version} of its own accord")))
            }
        }
    }

    fn read_error(&self, error: ReadError) -> DialError {
        match error {
            ReadError::Io(error) => self.handshake_error(error),
            ReadError::Preamble(error) => self.not_meridian(format!("its preamble: {error}")),
        }
    }

    fn handshake_error(&self, error: io::Error) -> DialError {
        if let Some(reached) = tls::reached_region(&error) {
            return self.wrong_region(reached);
        }
        let fault = tls::fault(&error);
        match fault.reason {
            Rejection::NotMeridian => self.not_meridian(fault.detail),
            Rejection::Unfinished => DialError::Lost {
                peer: self.peer.to_owned(),
                source: error,
            },
            reason if tls::is_alert(&error) => DialError::Refused {
                peer: self.peer.to_owned(),
                reason,
                detail: fault.detail,
            },
            _ => self.bad_peer(fault),
        }
    }

    fn bad_peer(&self, fault: tls::Fault) -> DialError {
        match fault.reason {
            Rejection::NotMeridian => self.not_meridian(fault.detail),
            reason => DialError::PeerCertificate {
                peer: self.peer.to_owned(),
                reason,
                detail: fault.detail,
            },
        }
    }

    fn wrong_region(&self, reached: String) -> DialError {
        DialError::WrongRegion {
            dialled: self.peer.to_owned(),
            reached,
        }
    }

    fn not_meridian(&self, detail: String) -> DialError {
        DialError::NotMeridian {
            peer: self.peer.to_owned(),
            address: self.address.to_owned(),
            detail,
        }
    }
}
