//! A server, and how it is reached.

use std::path::PathBuf;

/// Where a server is and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// A connection URL (`postgresql://user@host:port/database?sslmode=…`) without password.
    pub url: String,
    /// Where the password is, if one is needed.
    pub password: Option<PasswordSource>,
    /// The certificate authorities that vouch for the server (PEM); the system's where `None`.
    pub root_certificates: Option<PathBuf>,
}

/// Where a password is read from, each time that a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// A file; a newline at its end doesn't count.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}
