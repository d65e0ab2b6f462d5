//! Leads every name of an agent to one address.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How many addresses of a name are tried at most; the library holds 16.
const ADDRESSES_MAX: usize = 16;

/// The host and port behind an agent.
pub struct Door {
    host: String,
    port: u16,
}

impl Door {
    pub fn new(host: &str, port: u16) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self {
            host: host.to_owned(),
            port,
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({}:{})", self.host, self.port)
    }
}

impl Resolver for Door {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        // A numeric address needs no resolver of the system, which might be slow or absent.
        if let Ok(address) = self.host.parse::<IpAddr>() {
            found.push(SocketAddr::new(address, self.port));
            return Ok(found);
        }
        let addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
        for address in addresses.take(ADDRESSES_MAX) {
            found.push(address);
        }
        if found.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(found)
    }
}
