//! A connection URL, taken apart.

use super::{ServerConfig, ServerError, Trouble};
use std::fmt;
use std::net::IpAddr;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// What a connection URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A DNS name or an IP address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Whether the connection is encrypted and the server verified.
    pub is_encrypted: bool,
}

/// PostgreSQL's port.
const PORT: u16 = 5432;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            port,
            user,
            database,
            ..
        } = self;
        write!(f, "{user}@{host}:{port}/{database}")
    }
}

impl ServerConfig {
    /// Takes the URL apart.
    ///
    /// # Errors
    /// [`ServerError`] with [`Trouble::Configuration`] if it is none, names no host, user or
    /// database, names several hosts, holds a password, or asks for what isn't done here.
    pub fn target(&self) -> Result<Target, ServerError> {
        target(&self.url)
    }

    /// The same server for another role, without a password.
    ///
    /// # Errors
    /// [`ServerError`] as of [`ServerConfig::target`].
    pub fn as_user(&self, user: &str) -> Result<Self, ServerError> {
        self.target()?;
        // A URL that could be taken apart has them.
        let (scheme, rest) = self
            .url
            .split_once("://")
            .unwrap_or(("postgresql", &self.url));
        let server = rest.split_once('@').map_or(rest, |(_, server)| server);
        Ok(Self {
            url: format!("{scheme}://{}@{server}", encoded(user)),
            password: None,
            root_certificates: self.root_certificates.clone(),
        })
    }
}

/// A role's name as a URL has it.
fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn target(url: &str) -> Result<Target, ServerError> {
    let fault = |reason: &str| ServerError::new(Trouble::Configuration, reason);
    if !["postgresql://", "postgres://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(fault("a server's URL begins with postgresql://"));
    }
    let (url, mode) = without_mode(url);
    let config: Config = url
        .parse()
        .map_err(|error: tokio_postgres::Error| fault(&format!("the URL is none: {error}")))?;
    if config.get_password().is_some() {
        return Err(fault("the URL holds a password, where everybody sees it"));
    }
    let host = match config.get_hosts() {
        [Host::Tcp(host)] => host.clone(),
        [] => return Err(fault("the URL names no host")),
        [Host::Unix(_)] => return Err(fault("the URL names a socket; use host and port")),
        _ => return Err(fault("the URL names several hosts; name the one to follow")),
    };
    let is_encrypted = match mode.as_deref() {
        None => !is_loopback(&host),
        Some("disable") => false,
        Some("require" | "verify-ca" | "verify-full") => true,
        Some(mode) => {
            return Err(fault(&format!(
                "sslmode={mode} isn't possible here: use verify-full or disable"
            )));
        }
    };
    Ok(Target {
        port: config.get_ports().first().copied().unwrap_or(PORT),
        user: config
            .get_user()
            .ok_or_else(|| fault("the URL names no user"))?
            .to_owned(),
        database: config
            .get_dbname()
            .ok_or_else(|| fault("the URL names no database"))?
            .to_owned(),
        host,
        is_encrypted,
    })
}

/// Takes `sslmode` out: the parser knows three of its six words.
fn without_mode(url: &str) -> (String, Option<String>) {
    let Some((front, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let (modes, others): (Vec<&str>, Vec<&str>) = query
        .split('&')
        .partition(|parameter| parameter.starts_with("sslmode="));
    let mode = modes
        .last()
        .and_then(|parameter| parameter.split_once('='))
        .map(|(_, mode)| mode.to_owned());
    if others.is_empty() {
        (front.to_owned(), mode)
    } else {
        (format!("{front}?{}", others.join("&")), mode)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Target {
    /// What `tokio_postgres` connects with, without the password.
    pub(super) fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
            .ssl_mode(if self.is_encrypted {
                SslMode::Require
            } else {
                SslMode::Disable
            });
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target = target("postgresql://me@db.example/shop?sslmode=verify-full").unwrap();
        assert_eq!(target.to_string(), "me@db.example:5432/shop");
        assert!(target.is_encrypted);
    }

    #[test]
    fn another_role_of_the_same_server() {
        let server = ServerConfig {
            url: "postgresql://me@db.example:5433/shop?sslmode=require".to_owned(),
            password: None,
            root_certificates: None,
        };
        let other = server.as_user("the owner@home").unwrap().target().unwrap();
        assert_eq!(other.to_string(), "the owner@home@db.example:5433/shop");
        assert!(other.is_encrypted);
    }

    #[test]
    fn only_loopback_is_spoken_to_in_the_clear_unasked() {
        let encrypted = |url: &str| target(url).unwrap().is_encrypted;
        assert!(!encrypted("postgres://a@127.0.0.1:7006/b"));
        assert!(!encrypted("postgres://a@localhost/b"));
        assert!(!encrypted("postgres://a@[::1]/b"));
        assert!(encrypted("postgres://a@10.0.0.1/b"));
        assert!(!encrypted("postgres://a@10.0.0.1/b?sslmode=disable"));
        assert!(encrypted(
            "postgres://a@127.0.0.1/b?connect_timeout=3&sslmode=require"
        ));
    }

    #[test]
    fn what_is_missing_or_unsafe_is_told() {
        for (url, word) in [
            ("mysql://a@h/b", "postgresql://"),
            ("postgres://a:secret@h/b", "password"),
            ("postgres://h/b", "user"),
            ("postgres://a@h", "database"),
            ("postgres://a@h,i/b", "several"),
            ("postgres://a@%2Ftmp/b", "socket"),
            ("postgres://a@h/b?sslmode=prefer", "sslmode"),
            ("postgres://a@h:x/b", "URL"),
        ] {
            let error = target(url).unwrap_err();
            assert!(error.to_string().contains(word), "{url}: {error}");
            assert!(!error.to_string().contains("secret"));
            assert!(error.hint().is_some() && !error.is_transient(), "{url}");
        }
    }
}
