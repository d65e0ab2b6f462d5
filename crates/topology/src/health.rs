//! `[health]` and `[region.service.NAME]`: how often is looked, and at what.

use crate::address::Address;
use crate::postgres::{Password, PostgresServer};
use meridian_health::{Maintenance, Preset};
use std::path::PathBuf;
use std::time::Duration;

/// How the regions observe each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// How often, and how much it takes to change one's mind.
    pub preset: Preset,
    /// When what is expected to be away.
    pub maintenance: Vec<Maintenance>,
}

/// How one service of a region is probed.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What is asked, and which answer is right.
    pub kind: ProbeKind,
    /// When a probe is given up; usually when its answer couldn't count any more.
    pub timeout: Option<Duration>,
    /// Who probes.
    pub by: ProbedBy,
}

/// Who probes a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbedBy {
    /// The region itself, for what can be reached only from there.
    Own,
    /// Every region.
    All,
}

impl ProbedBy {
    /// The name, as in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::All => "all",
        }
    }
}

/// What is asked, and which answer is right.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeKind {
    /// `GET` of a URL.
    Http(HttpProbe),
    /// A connection that is accepted.
    Tcp(Address),
    /// A PostgreSQL server that takes writes.
    Postgres {
        /// The server.
        server: PostgresServer,
        /// Whether it is wrong if it is read-only.
        accepts_writes: bool,
    },
    /// A Redis or Valkey server that answers `PING`.
    Redis {
        /// Where.
        address: Address,
        /// The password, if one is needed.
        password: Option<Password>,
        /// Whether a replica is wrong.
        is_primary: bool,
    },
    /// A name server that has the address of a name.
    Dns {
        /// The server.
        server: Address,
        /// The name.
        name: String,
    },
    /// A program that ends with 0; without a shell.
    Command(Vec<String>),
}

/// `GET` of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// `http://` or `https://`.
    pub url: String,
    /// The right status codes; 200 to 299 if none are named.
    pub statuses: Vec<u16>,
    /// What the body must contain.
    pub body: Option<String>,
    /// The authorities that vouch for the server (PEM), if not the system's.
    pub root_certificates: Option<PathBuf>,
    /// For how many days its certificate must be good at least.
    pub certificate_days_min: u32,
}

impl ProbeKind {
    /// The name, as in the file.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Postgres { .. } => "postgres",
            Self::Redis { .. } => "redis",
            Self::Dns { .. } => "dns",
            Self::Command(_) => "command",
        }
    }

    /// Where is looked, as a person would read it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match self {
            Self::Http(http) => http.url.clone(),
            Self::Tcp(address) => format!("tcp://{address}"),
            Self::Postgres { server, .. } => server.url.clone(),
            Self::Redis { address, .. } => format!("redis://{address}"),
            Self::Dns { server, name } => format!("dns://{server}/{name}"),
            Self::Command(words) => words.join(" "),
        }
    }

    /// Whether it asks this machine only.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        let is_loopback = |address: &str| {
            let with_port = match address.parse::<Address>() {
                Ok(address) => Ok(address),
                Err(_) => format!("{address}:1").parse::<Address>(),
            };
            with_port.is_ok_and(|address| address.is_loopback())
        };
        match self {
            Self::Http(http) => is_loopback(authority_of(&http.url)),
            Self::Tcp(address)
            | Self::Redis { address, .. }
            | Self::Dns {
                server: address, ..
            } => address.is_loopback(),
            Self::Postgres { server, .. } => is_loopback(authority_of(&server.url)),
            Self::Command(_) => true,
        }
    }
}

/// Host and port of a URL, without user.
pub(crate) fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_this_machine_only() {
        let http = |url: &str| {
            ProbeKind::Http(HttpProbe {
                url: url.to_owned(),
                statuses: Vec::new(),
                body: None,
                root_certificates: None,
                certificate_days_min: 0,
            })
        };
        for (url, here) in [
            ("http://127.0.0.1:7003/health", true),
            ("http://localhost/", true),
            ("https://[::1]:8443", true),
            ("https://shop.example.com/", false),
            ("http://127.0.0.1@shop.example.com/", false),
        ] {
            assert_eq!(http(url).is_of_this_machine(), here, "{url}");
        }
    }
}
