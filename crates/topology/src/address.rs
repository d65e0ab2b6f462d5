//! Where a region listens and is reached.
//!
//! `api` and `link` are where *others reach* the region: an IP address or a DNS name, with a port.
//! It listens there too, unless `api-listen` or `link-listen` says otherwise, which is what a
//! region behind a load balancer or address translation needs.

use crate::name::is_dns_label;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An IP address or a DNS name, with a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A DNS name in lower case and a port.
    Name {
        /// The DNS name.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address with a port")]
pub struct AddressError {
    text: String,
}

impl Address {
    /// 127.0.0.1 with this port.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }

    /// Whether only this machine can reach it. Of DNS names only `localhost` counts (RFC 6761);
    /// what another name resolves to may change.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().to_canonical().is_loopback(),
            Self::Name { host, .. } => host == "localhost",
        }
    }

    /// Whether it is `0.0.0.0` or `[::]`: good to listen on, but nobody can connect to it.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        matches!(self, Self::Ip(address) if address.ip().to_canonical().is_unspecified())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Ip(address));
        }
        let error = || AddressError {
            text: text.to_owned(),
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let host = host.to_ascii_lowercase();
        let last_label = host.rsplit('.').next().unwrap_or_default();
        // A last label of digits alone is a mistyped IPv4 address, never a top-level domain.
        let good = host.len() <= 253
            && host.split('.').all(is_dns_label)
            && !last_label.bytes().all(|byte| byte.is_ascii_digit())
            && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().map_err(|_| error())?;
        good.then_some(Self::Name { host, port }).ok_or_else(error)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// One of a region's two doors: where others reach it, and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where others reach it.
    pub address: Address,
    /// Where it listens; the same, unless the file says otherwise.
    pub listen: Address,
}

impl Endpoint {
    /// An endpoint that listens where it is reached.
    #[must_use]
    pub fn at(address: Address) -> Self {
        Self {
            listen: address.clone(),
            address,
        }
    }

    /// The first of its two addresses that is not loopback.
    pub(crate) fn exposed(&self) -> Option<&Address> {
        [&self.address, &self.listen]
            .into_iter()
            .find(|address| !address.is_loopback())
    }
}

/// Where a region's name server is asked, and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Where others ask it.
    pub address: Address,
    /// Where it listens, for datagrams and streams.
    pub listen: Vec<SocketAddr>,
}

impl NameServer {
    /// One that listens where it is asked.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address: Address::Ip(address),
            listen: vec![address],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows() {
        for text in [
            "127.0.0.1:7000",
            "[::1]:7000",
            "eu.example.com:7001",
            "localhost:1",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(
            "EU.Example.com:1".parse::<Address>().unwrap().to_string(),
            "eu.example.com:1"
        );
    }

    #[test]
    fn refuses() {
        for bad in [
            "",
            ":1",
            "host",
            "host:",
            "host:+1",
            "host:65536",
            "256.0.0.1:1",
            "a b:1",
            "::1:70000",
            "http://a:1",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback() {
        for text in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "localhost:1",
        ] {
            assert!(text.parse::<Address>().unwrap().is_loopback(), "{text}");
        }
        for text in [
            "0.0.0.0:1",
            "10.0.0.1:1",
            "[::]:1",
            "localhost.example.com:1",
        ] {
            assert!(!text.parse::<Address>().unwrap().is_loopback(), "{text}");
        }
    }
}
