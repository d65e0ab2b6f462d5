//! `[dns]`: what the zone's name servers answer beside the services.

use crate::fault::Position;
use std::path::PathBuf;
use std::time::Duration;

/// How the zone is served.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// For how long a service's answer may be kept.
    pub ttl: Duration,
    /// For how long a static record may be kept that doesn't say so itself.
    pub records_ttl: Duration,
    /// The zone's name servers; without any, each region with a `dns` address is one, as
    /// `ns.REGION.ZONE`.
    pub name_servers: Vec<String>,
    /// Whom to write to about the zone; `hostmaster` at the zone's name if nobody is named.
    pub hostmaster: Option<String>,
    /// The static records, in the order of the file.
    pub records: Vec<StaticRecord>,
    /// The zone's private key (PKCS #8), with which it is signed.
    pub dnssec_key_file: Option<PathBuf>,
    /// Answers of a kind that a network is sent in a second; 0: all.
    pub answers_per_second_max: u32,
    /// Whether loopback counts too.
    pub limits_loopback: bool,
    /// Whether the client's network counts where a resolver tells it (RFC 7871).
    pub client_subnet: bool,
    /// The secret that cookies are made with, 32 hexadecimal digits: the same on all servers behind
    /// one address. Without it each makes its own.
    pub cookie_secret_file: Option<PathBuf>,
    /// Threads for each address.
    pub threads: usize,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
            records_ttl: Duration::from_secs(300),
            name_servers: Vec::new(),
            hostmaster: None,
            records: Vec::new(),
            dnssec_key_file: None,
            answers_per_second_max: 100,
            limits_loopback: false,
            client_subnet: true,
            cookie_secret_file: None,
            threads: 1,
        }
    }
}

/// A record that is the same for everybody.
#[derive(Clone, Debug)]
pub struct StaticRecord {
    /// Whose it is: a name below the zone, `@` for the zone itself.
    pub name: String,
    /// What stands behind the name in a zone file (RFC 1035 §5.1): `[TTL] TYPE DATA`.
    pub text: String,
    /// Where it stands in the file, which is no part of what it is; `None` without a file.
    pub position: Option<Position>,
}

impl PartialEq for StaticRecord {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Eq for StaticRecord {}
