//! Why a region doesn't answer questions of DNS.

use meridian_dns::OwnerError;
use meridian_dns::dnssec::KeyFault;
use meridian_dns::server::ServeError;
use meridian_topology::TopologyError;
use std::io;
use std::path::PathBuf;
use tokio_rustls::rustls::pki_types::pem;

/// Why the name server isn't there.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The zone has faults.
    #[error(transparent)]
    Zone(#[from] TopologyError),
    /// The zone's name is none.
    #[error("the zone has no name that could be served")]
    ZoneName(#[source] OwnerError),
    /// The zone's key can't be read.
    #[error("the zone's key {} can't be read", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The zone's key is none.
    #[error("{} holds no key for a zone", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyFault,
    },
    /// The secret of cookies can't be used.
    #[error("the secret for DNS cookies {} can't be used", path.display())]
    CookieSecret {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing to make secrets of.
    #[error("no secret for DNS cookies")]
    Randomness(#[source] KeyFault),
    /// It can't listen.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl DnsError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::KeyFile { .. } | Self::Key { .. } => {
                Some("`meridian dns key FILE` makes one (ECDSA P-256, PKCS #8, PEM)")
            }
            Self::CookieSecret { .. } => {
                Some("write 32 hexadecimal digits into it: `openssl rand -hex 16`")
            }
            Self::Serve(ServeError::Listen { source, .. }) => Some(match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need a privilege: CAP_NET_BIND_SERVICE (for systemd AmbientCapabilities=CAP_NET_BIND_SERVICE), or choose a higher port"
                }
                io::ErrorKind::AddrInUse => {
                    "something else answers there, perhaps a resolver of the system: see `ss -lntup`, or change `dns` or `dns-listen`"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "the machine has no such address: put those that it has into `dns-listen`"
                }
                _ => return None,
            }),
            _ => None,
        }
    }
}
