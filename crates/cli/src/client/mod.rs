//! A client of one region's API.
//!
//! Blocking, on one shared agent whose connections are kept and may be used from several threads.
//! Proxies of the environment are left aside: a region's API is a private address.
//!
//! Where `https` is spoken and the region is named, the certificate must be that region's
//! (`REGION.region.meridian`), whatever the address is called: the name in the URL that goes to the
//! TLS library is the region's, and [`Door`] leads it to the address.

mod door;
mod reply;

pub use reply::{CallError, Reply};

use crate::error::{CliError, CliResult};
use door::Door;
use meridian_link::certs::REGION_SUFFIX;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fmt::{self, Display};
use std::fs;
use std::path::Path;
use std::time::Duration;
use ureq::config::Config;
use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

/// All but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where a region's API is, and how to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub url: String,
    /// The region's name, where known.
    pub region: Option<String>,
    /// The bearer token.
    pub token: Option<String>,
    /// The authority's certificates (PEM), for `https`.
    pub authority_pem: Option<String>,
}

/// A client of one region's API.
#[derive(Clone)]
pub struct Api {
    agent: ureq::Agent,
    /// What stands before the path.
    base: String,
    address: Address,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is nobody's business.
        f.debug_tuple("Api").field(&self.address.url).finish()
    }
}

impl Api {
    /// A client; nothing is sent yet. `patience` is how long a whole call may take.
    pub fn new(address: Address, patience: Duration) -> CliResult<Self> {
        let uri = parse_url(&address.url)?;
        let authority = uri.authority().expect("parse_url saw to it");
        let scheme = uri.scheme_str().expect("parse_url saw to it");
        let port = authority
            .port_u16()
            .unwrap_or(if scheme == "https" { 443 } else { 80 });
        let named = match &address.region {
            Some(region) if scheme == "https" => format!("{region}{REGION_SUFFIX}"),
            _ => authority.host().to_owned(),
        };
        let mut config = Config::builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            .timeout_connect(Some(patience.min(Duration::from_secs(5))))
            .timeout_global(Some(patience))
            .user_agent(concat!("meridian/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &address.authority_pem {
            config = config.tls_config(trusting(pem)?);
        }
        let door = Door::new(authority.host(), port);
        let agent = ureq::Agent::with_parts(config.build(), DefaultConnector::default(), door);
        Ok(Self {
            agent,
            base: format!("{scheme}://{named}:{port}"),
            address,
        })
    }

    /// The region's name if it is known, else the URL.
    pub fn name(&self) -> &str {
        self.address.region.as_deref().unwrap_or(&self.address.url)
    }

    /// Takes the region's name from what it says of itself (the member `region`), unless it is known.
    pub fn learn_name(&mut self, said: &Value) {
        let name = said["region"].as_str().map(str::to_owned);
        self.address.region = self.address.region.take().or(name);
    }

    /// The region as a person would call it: `region NAME`, or the URL.
    pub fn place(&self) -> String {
        match &self.address.region {
            Some(region) => format!("region {region}"),
            None => self.address.url.clone(),
        }
    }

    /// The URL as it was given.
    pub fn url(&self) -> &str {
        &self.address.url
    }

    /// Reads a resource, whatever its status.
    pub fn get(&self, path: &str) -> Result<Reply, CallError> {
        self.call("GET", path, &[], &[])
    }

    /// Reads what the region has of its own now, however much its datasets' reads are to show.
    pub fn get_as_it_is(&self, path: &str) -> Result<Reply, CallError> {
        self.call("GET", path, &[("meridian-consistency", "eventual")], &[])
    }

    /// Writes, whatever the reply's status.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Reply, CallError> {
        self.call(method, path, &[], body)
    }

    /// Any call.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, CallError> {
        let what = format!("{method} {path}");
        let no_answer = |reason: String| CallError {
            region: self.name().to_owned(),
            url: self.address.url.clone(),
            what: what.clone(),
            reason,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.address.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let response = if body.is_empty() {
            let request = request
                .body(())
                .map_err(|error| no_answer(error.to_string()))?;
            self.agent.run(request)
        } else {
            let request = request
                .body(body)
                .map_err(|error| no_answer(error.to_string()))?;
            self.agent.run(request)
        };
        let response = response.map_err(|error| no_answer(reply::reason(&error)))?;
        Reply::of(response, self.place(), &what).map_err(|error| no_answer(reply::reason(&error)))
    }
}

/// Percent-encodes a part of a path: a table's name, a key.
pub fn encode(part: &str) -> impl Display + '_ {
    utf8_percent_encode(part, ENCODED)
}

fn parse_url(url: &str) -> CliResult<Uri> {
    let wrong = || {
        CliError::usage(format!("{url:?} is not the URL of a region's API"))
            .hint("for example --api http://127.0.0.1:7000")
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = uri.path_and_query().is_none_or(|path| path == "/");
    let host = uri.authority().is_some_and(|at| !at.host().is_empty());
    if scheme && bare && host {
        return Ok(uri);
    }
    Err(wrong())
}

fn trusting(pem: &str) -> CliResult<TlsConfig> {
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(pem.as_bytes())
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(
            CliError::usage("the authority's file holds no PEM certificate")
                .hint("`meridian certs authority` writes it as authority.pem"),
        );
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .build())
}

/// Reads a token file: its text without the white space around it.
pub fn read_token(path: &Path) -> CliResult<String> {
    let text = fs::read_to_string(path).map_err(|error| {
        CliError::usage(format!("read the token in {}", path.display())).because(&error)
    })?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            CliError::usage(format!("{} holds no token", path.display()))
                .hint("a token is one line of visible ASCII characters"),
        );
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_characters_are_one_part_of_a_path() {
        assert_eq!(encode("a/b?c d%é").to_string(), "a%2Fb%3Fc%20d%25%C3%A9");
    }

    #[test]
    fn only_bare_urls_are_taken() {
        for good in [
            "http://127.0.0.1:7000",
            "https://eu.example.com/",
            "http://[::1]:1",
        ] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:7000", "ftp://a", "http://a/v1", "http:///"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "secret\n").unwrap();
        assert_eq!(read_token(&path).unwrap(), "secret");
        fs::write(&path, "two words").unwrap();
        assert!(read_token(&path).is_err());
    }
}
